"""ISIC 2018: the shipped id lists, finding the release's files, and preparing them."""

from __future__ import annotations

import functools
import hashlib
import http.server
import re
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image

from msa2net_lib.data import isic
from msa2net_lib.data.images.split import split_ids
from msa2net_lib.data.isic import (
    IMAGES,
    ISIC_IDS_SHA256,
    ISIC_SHARES,
    MASKS,
    check_complete,
    download_isic,
    find_isic,
    prepare_isic,
)

SPLIT = {"train": ["ISIC_0000001", "ISIC_0000003"], "test": ["ISIC_0000000"]}
IDS = sorted(name for part in SPLIT.values() for name in part)


@pytest.fixture(scope="module")
def listed(root):
    """The shipped lists, part -> ids."""
    folder = root / "data" / "splits"
    return {part: (folder / f"isic2018_{part}.txt").read_text().split() for part in ("train", "validation", "test")}


@pytest.fixture
def release(tmp_path):
    """Return a function that writes three images in the release's layout below a folder."""

    def write(folder):
        rng = np.random.default_rng(0)
        for name in (IMAGES, MASKS):
            (folder / name).mkdir(parents=True)
            (folder / name / "LICENSE.txt").write_text("terms")
        for name in IDS:
            image = rng.integers(0, 256, (30, 44, 3), dtype=np.uint8)
            Image.fromarray(image).save(folder / IMAGES / f"{name}.jpg", quality=95)
            Image.fromarray(image[..., 1] > 128).save(folder / MASKS / f"{name}_segmentation.png")
        return folder

    return write


def zipped(folder, destination):
    """Zip each of the two folders with its own name inside, as the release's archives are."""
    destination.mkdir(parents=True, exist_ok=True)
    for name in (IMAGES, MASKS):
        with zipfile.ZipFile(destination / f"{name}.zip", "w") as archive:
            for path in sorted((folder / name).iterdir()):
                archive.write(path, f"{name}/{path.name}")
    return destination


def prepare(source, destination, **options):
    return prepare_isic(source, destination, **{"split": SPLIT, "size": 32, "workers": 1, "progress": False, **options})


# ---- the id lists -----------------------------------------------------------------------------------------


def test_shipped_lists_are_the_sorted_ids_cut_as_the_lineage_cuts(listed):
    assert {part: len(ids) for part, ids in listed.items()} == {"train": 1815, "validation": 259, "test": 520}
    ids = [name for part in listed.values() for name in part]
    assert ids == sorted(set(ids))
    assert all(re.fullmatch(r"ISIC_00\d{5}", name) for name in ids)
    assert (ids[0], ids[-1]) == ("ISIC_0000000", "ISIC_0016072")
    assert listed == split_ids(ids, ISIC_SHARES)


def test_digest_in_the_code_is_that_of_the_lists(listed):
    text = "".join(f"{name}\n" for part in listed.values() for name in part)
    assert hashlib.sha256(text.encode()).hexdigest() == ISIC_IDS_SHA256


def test_ids_of_the_challenges_other_sets_are_not_among_them(listed):
    """Both are documented members of the challenge's validation and test set."""
    ids = {name for part in listed.values() for name in part}
    assert not ids & {"ISIC_0012255", "ISIC_0012169"}


def test_completeness_is_by_names(listed, tmp_path, refused):
    for part in listed.values():
        for name in part:
            (tmp_path / f"{name}.jpg").touch()
    check_complete(tmp_path)
    (tmp_path / "ATTRIBUTION.txt").touch()
    check_complete(tmp_path)
    (tmp_path / "ISIC_0000003.jpg").rename(tmp_path / "ISIC_0000002.jpg")
    refused([tmp_path, "2594 images are not the 2594"], check_complete, tmp_path)
    (tmp_path / "ISIC_0000002.jpg").unlink()
    refused([tmp_path, "2593 images", "isic2018_*.txt"], check_complete, tmp_path)


# ---- finding the files ------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", [".", "ISIC 2018"])
def test_found_at_the_top_and_one_level_down(release, tmp_path, inside):
    folder = release(tmp_path / "data" / inside)
    assert find_isic(tmp_path / "data") == (folder / IMAGES, folder / MASKS)


def test_found_in_a_folder_of_its_own_name(release, tmp_path):
    """As some unpackers leave it, and as ours does."""
    folder = release(tmp_path / "flat")
    for name in (IMAGES, MASKS):
        (tmp_path / "data" / name).mkdir(parents=True)
        (folder / name).rename(tmp_path / "data" / name / name)
    assert find_isic(tmp_path / "data") == tuple(tmp_path / "data" / name / name for name in (IMAGES, MASKS))


def test_archives_are_unpacked_once(release, tmp_path, tree):
    source = zipped(release(tmp_path / "release"), tmp_path / "data")
    images, masks = find_isic(source, progress=False)
    assert sorted(path.stem for path in images.glob("*.jpg")) == IDS
    assert tree(images) == tree(tmp_path / "release" / IMAGES)
    assert tree(masks) == tree(tmp_path / "release" / MASKS)
    before = {path: path.stat().st_mtime_ns for path in source.rglob("*")}
    find_isic(source, progress=False)
    assert {path: path.stat().st_mtime_ns for path in source.rglob("*")} == before


def test_not_found(release, tmp_path, refused):
    refused([tmp_path / "none", "no such folder"], find_isic, tmp_path / "none")
    refused([tmp_path, f"{IMAGES}.zip"], find_isic, tmp_path)
    (tmp_path / IMAGES).mkdir()
    refused([tmp_path, f"holds no {IMAGES}"], find_isic, tmp_path)
    folder = release(tmp_path / "deep")
    (folder / MASKS).rename(folder / "masks")
    refused([tmp_path / "deep", f"holds no {MASKS}"], find_isic, tmp_path / "deep")


# ---- preparing and downloading ----------------------------------------------------------------------------


def test_prepared(release, tmp_path):
    dataset = prepare(release(tmp_path / "raw"), tmp_path / "out", recipe="dlka")
    assert (dataset.train_ids, dataset.validation_ids, dataset.test_ids) == (SPLIT["train"], [], SPLIT["test"])
    assert dataset.recipe.name == "dlka"
    with Image.open(tmp_path / "raw" / IMAGES / "ISIC_0000003.jpg") as stored:
        expected = np.asarray(stored.resize((32, 32), Image.Resampling.BILINEAR)).astype(float)
    low, high = expected.min(), expected.max()
    np.testing.assert_allclose(dataset.load("ISIC_0000003").image, (expected - low) / (high - low), atol=1e-6)


def test_published_split_wants_all_of_it(release, tmp_path, refused):
    source = release(tmp_path / "raw")
    refused([source / IMAGES, "3 images", "split=(0.7, 0.1, 0.2)"], prepare, source, tmp_path / "out", split=None)
    assert not (tmp_path / "out").exists()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_downloaded_and_prepared(release, tmp_path, monkeypatch):
    """From a server on this machine, which plays the archive's."""
    served = zipped(release(tmp_path / "release"), tmp_path / "2018")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(served.parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(isic, "ISIC_ADDRESS", f"http://127.0.0.1:{server.server_port}/2018")
    said = []
    try:
        source = download_isic(tmp_path / "data", progress=False, say=said.append)
        for name in (IMAGES, MASKS):
            assert (source / f"{name}.zip").read_bytes() == (served / f"{name}.zip").read_bytes()
    finally:
        server.shutdown()
        server.server_close()
    assert len([text for text in said if "ISIC 2018" in text and "CC0" in text]) == 1
    download_isic(tmp_path / "data", progress=False, say=said.append)  # no server, and none needed
    assert prepare(source, tmp_path / "out").train_ids == SPLIT["train"]
