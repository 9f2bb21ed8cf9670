"""Preparing folders of images: content, splits, errors, and being stopped at any moment."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from PIL import Image
from stopping import SLOW_RENAMES, alive, children

from msa2net_lib.data.images import prepare as prepare_images
from msa2net_lib.data.images.dataset import ImageDataset
from msa2net_lib.data.synapse import prepare_synapse
from msa2net_lib.utils import files

pytestmark = pytest.mark.slow

IDS = ["a", "b", "c", "d", "e"]
SPLIT = {"train": ["d", "a"], "validation": ["c"], "test": ["b", "e"]}
SIZE = (16, 24)


@pytest.fixture
def source(tmp_path):
    """Five images of different sizes with masks, in two folders."""
    rng = np.random.default_rng(1)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for number, name in enumerate(IDS):
        height, width = 30 + 7 * number, 50 - 3 * number
        y, x = np.mgrid[:height, :width]
        mask = (y - height / 2) ** 2 + (x - width / 2) ** 2 < (8 + number) ** 2
        image = rng.integers(90, 160, (height, width, 3)) - 60 * mask[..., None]
        Image.fromarray(image.astype(np.uint8)).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray(np.uint8(255) * mask).save(tmp_path / "masks" / f"{name}_segmentation.png")
    return tmp_path


def prepare(source, destination, **options):
    options = {"split": SPLIT, "size": SIZE, "workers": 1, "progress": False, **options}
    return prepare_images.prepare_images(source / "images", source / "masks", destination, **options)


def mask_of(source, name):
    return cv2.imread(str(source / "masks" / f"{name}_segmentation.png"), cv2.IMREAD_GRAYSCALE) > 0


# ---- what is written --------------------------------------------------------------------------------------


def test_content_against_opencv_and_pillow(source, tmp_path):
    prepare(source, tmp_path / "out", recipe="dlka")
    for part, ids in SPLIT.items():
        images = np.load(tmp_path / "out" / f"{part}_images.npy")
        masks = np.load(tmp_path / "out" / f"{part}_masks.npy")
        assert (images.shape, images.dtype) == ((len(ids), *SIZE, 3), np.uint8)
        assert (masks.shape, masks.dtype) == ((len(ids), *SIZE), np.uint8)
        assert (tmp_path / "out" / "lists" / f"{part}.txt").read_text().split() == ids
        for row, name in enumerate(ids):
            image = cv2.imread(str(source / "images" / f"{name}.png"))[..., ::-1]
            expected = Image.fromarray(image).resize(SIZE[::-1], Image.Resampling.BILINEAR)
            np.testing.assert_array_equal(images[row], np.asarray(expected))
            soft = Image.fromarray(np.uint8(255) * mask_of(source, name)).resize(SIZE[::-1], Image.Resampling.BILINEAR)
            np.testing.assert_array_equal(masks[row], np.asarray(soft) > 127)


def test_manifest_and_prevalence(source, tmp_path):
    manifest = prepare(source, tmp_path / "out").manifest
    assert manifest["recipe"]["name"] == "dermosegdiff"
    assert manifest["recipe"]["notes"]["mask_filter"]
    assert (manifest["height_width"], manifest["synthetic"], manifest["empty_masks"]) == ([16, 24], None, [])
    for part, ids in SPLIT.items():
        masks = [mask_of(source, name) for name in ids]
        pooled = sum(mask.sum() for mask in masks) / sum(mask.size for mask in masks)
        assert manifest["prevalence"][part]["source"] == pytest.approx(pooled, abs=1e-6)
        prepared = np.load(tmp_path / "out" / f"{part}_masks.npy").mean()
        assert manifest["prevalence"][part]["prepared"] == pytest.approx(prepared, abs=1e-6)
    entry = manifest["images"]["e"]
    assert (entry["split"], entry["row"], entry["shape"]) == ("test", 1, [58, 38])
    for kind, name in (("image", "images/e.png"), ("mask", "masks/e_segmentation.png")):
        digest = hashlib.sha256((source / name).read_bytes()).hexdigest()
        assert entry["sources"][kind] == {"file": name.rpartition("/")[2], "sha256": digest}
    assert str(tmp_path) not in json.dumps(manifest)


def test_default_split_is_by_sorted_ids(source, tmp_path):
    dataset = prepare(source, tmp_path / "out", split=(0.7, 0.1, 0.2))
    assert (dataset.train_ids, dataset.validation_ids, dataset.test_ids) == (["a", "b", "c"], [], ["d", "e"])


def test_synthetic_images_stay_synthetic(source, tmp_path, refused):
    record = {"plan": {"generator": "some.program", "seed": 3, "more": 1}, "images": {}}
    (source / "synthetic.json").write_text(json.dumps(record))
    dataset = prepare(source, tmp_path / "out")
    assert dataset.is_synthetic
    assert dataset.manifest["synthetic"] == {"generator": "some.program", "seed": 3}
    (source / "synthetic.json").write_text("{}")
    refused([source / "synthetic.json", "damaged"], prepare, source, tmp_path / "out2")


def test_processes_write_what_one_process_writes(source, tmp_path, tree):
    prepare(source, tmp_path / "one", workers=1)
    prepare(source, tmp_path / "two", workers=2)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert len(tree(tmp_path / "one")) == 6 + 5 + 3 + 1


# ---- what is refused --------------------------------------------------------------------------------------


def test_mask_without_lesion_is_refused_by_name_unless_allowed(source, tmp_path, refused):
    path = source / "masks" / "b_segmentation.png"
    Image.fromarray(np.zeros(mask_of(source, "b").shape, np.uint8)).save(path)
    refused([path, "no pixel is lesion", "allow_empty=True", "--allow-empty"], prepare, source, tmp_path / "out")
    assert not (tmp_path / "out" / "dataset.json").exists()
    dataset = prepare(source, tmp_path / "out", allow_empty=True)
    assert dataset.manifest["empty_masks"] == ["b"]
    assert not dataset.load("b").mask.any()
    refused([path, "no pixel is lesion"], prepare, source, tmp_path / "out")  # not taken over from that run
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_damaged_files_and_gray_masks(source, tmp_path, refused):
    path = source / "masks" / "c_segmentation.png"
    Image.fromarray(np.uint8(200) * mask_of(source, "c") + np.uint8(20)).save(path)
    refused([path, "threshold=127"], prepare, source, tmp_path / "out")
    prepare(source, tmp_path / "out", threshold=127)
    image = source / "images" / "e.png"
    image.write_bytes(image.read_bytes()[:-400])
    refused([image, "damaged"], prepare, source, tmp_path / "out", threshold=127)
    refused([image, "damaged"], prepare, source, tmp_path / "two", threshold=127, workers=2)
    refused([tmp_path / "two", "did not finish"], ImageDataset.open, tmp_path / "two")
    Image.fromarray(np.full((58, 38, 3), 77, np.uint8)).save(image)
    refused([image, "one color"], prepare, source, tmp_path / "out", threshold=127)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"workers": 0}, "workers=0"),
        ({"recipe": "bcdu"}, "'bcdu'"),
        ({"size": 0}, "size"),
        ({"split": (1, 1, 1)}, "sum to 1"),
        ({"split": {"train": ["z"]}}, "z is not among"),
        ({"mask_suffix": "_x"}, "no mask matches"),
    ],
)
def test_wrong_arguments_before_any_work(source, tmp_path, refused, options, words):
    refused(words, prepare, source, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_destinations_that_hold_something_else(source, tmp_path, refused, tree):
    refused([source / "masks", "choose another folder"], prepare, source, source / "masks")
    other = tmp_path / "other"
    (other / "cases").mkdir(parents=True)
    (other / "dataset.json").write_text('{"format": 1, "window_hu": [-125, 275]}')
    refused([other, "of another kind"], prepare, source, other)
    (other / "dataset.json").unlink()
    (other / "train_npz").mkdir()
    refused([other, "of another kind"], prepare, source, other)
    loose = tmp_path / "loose"
    loose.mkdir()
    (loose / "test_masks.npy").write_bytes(b"theirs")
    refused([loose, "something else put there"], prepare, source, loose)
    assert tree(loose) == {"test_masks.npy": b"theirs"}
    mine = tmp_path / "mine"
    (mine / "cases").mkdir(parents=True)
    (mine / "cases" / "john.json").write_text("{}")
    refused([mine, "something else put there"], prepare, source, mine)
    assert tree(mine) == {"cases/john.json": b"{}"}


def test_clean_up_leaves_what_is_no_record(source, tmp_path):
    out = tmp_path / "out"
    prepare(source, out)
    (out / "cases" / "john.json").write_text('{"age": 40}')
    prepare(source, out, split={"test": ["b", "d"]})
    assert sorted(path.name for path in out.glob("cases/*.json")) == ["b.json", "d.json", "john.json"]


@pytest.mark.parametrize("lost", [[], ["test_images.npy", "test_masks.npy"], ["*.npy"]])
def test_scans_do_not_replace_unfinished_images(source, btcv, tmp_path, refused, tree, lost):
    """Also when only the records are left."""
    out = tmp_path / "out"
    prepare(source, out)
    for pattern in ("dataset.json", *lost):
        for path in out.glob(pattern):
            path.unlink()
    before = tree(out)
    refused([out, "holds prepared images"], prepare_synapse, btcv, out, workers=1, progress=False)
    assert tree(out) == before


def test_full_disk(source, tmp_path, refused, monkeypatch, tree):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=5 * math.prod(SIZE) * 4 - 1))
    refused([tmp_path / "out", "make room"], prepare, source, tmp_path / "out")
    monkeypatch.undo()
    fsync, calls = os.fsync, iter(range(100))

    def full(handle):
        if next(calls) == 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    refused([tmp_path / "out", "disk is full"], prepare, source, tmp_path / "out")
    monkeypatch.undo()
    prepare(source, tmp_path / "out")
    prepare(source, tmp_path / "clean")
    assert tree(tmp_path / "out") == tree(tmp_path / "clean")


# ---- stopping and running again ---------------------------------------------------------------------------


def test_second_run_does_nothing_again(source, tmp_path, monkeypatch, tree):
    prepare(source, tmp_path / "out")
    before = tree(tmp_path / "out")
    monkeypatch.setattr(prepare_images, "read_pair", lambda *_: pytest.fail("a finished image was read again"))
    prepare(source, tmp_path / "out")
    assert tree(tmp_path / "out") == before


def test_stopped_at_every_single_write_and_run_again(source, tmp_path, monkeypatch, tree):
    """Every record and array, and every row of the arrays, is one place to stop."""
    split = {"train": ["b"], "test": ["e", "a"]}
    prepare(source, tmp_path / "clean", split=split)
    clean, replace, fsync = tree(tmp_path / "clean"), os.replace, os.fsync
    stops = 0
    for stop in range(100):
        calls = iter(range(1000))

        def counted(function, calls=calls, stop=stop):
            def stopping(*arguments):
                if next(calls) == stop:
                    raise KeyboardInterrupt
                return function(*arguments)

            return stopping

        monkeypatch.setattr(files.os, "replace", counted(replace))
        monkeypatch.setattr(files.os, "fsync", counted(fsync))
        try:
            prepare(source, tmp_path / f"stopped{stop}", split=split)
            break
        except KeyboardInterrupt:
            stops += 1
        finally:
            monkeypatch.undo()
        assert not (tmp_path / f"stopped{stop}" / "dataset.json").exists()
        prepare(source, tmp_path / f"stopped{stop}", split=split)
        assert tree(tmp_path / f"stopped{stop}") == clean
    # Arrays, records, lists and manifest are written and renamed; each image has two rows besides.
    assert stops == 2 * (6 + 3 + 3 + 1) + 3 * 2


KILLED = (
    SLOW_RENAMES
    + """
from pathlib import Path
from msa2net_lib.data.images.prepare import prepare_images
if __name__ == "__main__":
    source, out, workers = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    prepare_images(source / "images", source / "masks", out, size=32, workers=workers, progress=False)
"""
)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Fifty larger images, and what they are when prepared without disturbance."""
    root = tmp_path_factory.mktemp("many")
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    for number in range(50):
        image = rng.integers(0, 256, (240, 300, 3), dtype=np.uint8)
        Image.fromarray(image).save(root / "images" / f"p{number:02d}.jpg")
        Image.fromarray(np.uint8(255) * (image[..., 0] > 128)).save(root / "masks" / f"p{number:02d}.png")
    prepare(root, root / "clean", split=(0.7, 0.1, 0.2), size=32)
    return root


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(("workers", "after"), [(1, 1), (1, 33), (2, 12)])
def test_killed_and_run_again(many, tmp_path, tree, workers, after):
    script, out = tmp_path / "killed.py", tmp_path / "out"
    script.write_text(KILLED)
    process = subprocess.Popen([sys.executable, script, many, out, str(workers)])
    deadline = time.monotonic() + 60
    while len(list(out.glob("cases/*.json"))) < after and time.monotonic() < deadline:
        time.sleep(0.002)
    started = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert after <= len(list(out.glob("cases/*.json"))) < 50
    assert not (out / "dataset.json").exists()  # it was killed in the middle of its work
    while any(map(alive, started)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(alive, started))
    (out / "cases" / ".partial-1-p00.json").write_bytes(b"half")
    prepare(many, out, split=(0.7, 0.1, 0.2), size=32)
    assert tree(out) == tree(many / "clean")


def test_damaged_rows_lost_arrays_and_changed_sources_are_prepared_again(source, tmp_path, tree):
    out = tmp_path / "out"
    prepare(source, out)
    clean = tree(out)
    content = bytearray(clean["test_images.npy"])
    content[-5] ^= 1
    (out / "test_images.npy").write_bytes(content)
    (out / "train_masks.npy").unlink()
    (out / "validation_images.npy").write_bytes(clean["validation_images.npy"][:-1])
    (out / "cases" / "a.json").write_text("{")
    prepare(source, out)
    assert tree(out) == clean
    Image.fromarray(255 - np.asarray(Image.open(source / "images" / "a.png"))).save(source / "images" / "a.png")
    prepare(source, out)
    prepare(source, tmp_path / "clean")
    assert tree(out) == tree(tmp_path / "clean") != clean


@pytest.mark.parametrize(
    "options", [{"recipe": "dlka"}, {"size": 32}, {"split": (0.2, 0.2, 0.6)}, {"split": {"test": ["b", "d"]}}]
)
def test_other_settings_make_other_data(source, tmp_path, tree, options):
    out = tmp_path / "out"
    before = prepare(source, out)
    after = prepare(source, out, **options)
    prepare(source, tmp_path / "clean", **options)
    assert tree(out) == tree(tmp_path / "clean")
    assert after.digest() != before.digest()


def test_two_runs_into_one_folder(source, tmp_path, refused, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr("msa2net_lib.data.prepare.PATIENCE", 0)
    out = tmp_path / "out"
    prepare(source, out)
    with open(out / "cases" / ".lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        prepare(source, out)  # all is there: it is opened, and nothing written
        refused([out, "another preparation"], prepare, source, out, split={"test": ["b"]})
    prepare(source, out, split={"test": ["b"]})
