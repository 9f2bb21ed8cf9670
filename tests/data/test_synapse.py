"""Preparing the BTCV layout: content, splits, errors, interruption."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import threading
import time

import h5py
import nibabel as nib
import numpy as np
import pytest
from stopping import SLOW_RENAMES, alive, children, interrupted_at

from msa2net_lib.data.datasets import PreparedDataset
from msa2net_lib.data.scans import prepare as scans
from msa2net_lib.data.splits import SYNAPSE_TEST_CASES, SYNAPSE_TRAIN_CASES
from msa2net_lib.data.synapse import SYNAPSE_RECIPE, prepare_synapse
from msa2net_lib.utils import files

pytestmark = pytest.mark.slow

RAW_TO_A = {8: 1, 4: 2, 3: 3, 2: 4, 6: 5, 11: 6, 1: 7, 7: 8}

# Slices a training case, as published; together 2211.
SLICES = {5: 117, 6: 131, 7: 163, 9: 149, 10: 148, 21: 143, 23: 96, 24: 124, 26: 131, 27: 88, 28: 89, 30: 153}
SLICES |= {31: 93, 33: 104, 34: 98, 37: 99, 39: 90, 40: 195}


def prepare(source, destination, **options):
    return prepare_synapse(source, destination, **{"workers": 1, "progress": False, **options})


def expected(folder, case):
    """Read a case with nibabel and prepare it by hand; the files are in LPS."""
    hu = np.asarray(nib.load(folder / "img" / f"img{case}.nii.gz").dataobj).T.astype(np.float64)
    raw = np.asarray(nib.load(folder / "label" / f"label{case}.nii.gz").dataobj).T
    label = np.zeros(raw.shape, np.uint8)
    for number, target in RAW_TO_A.items():
        label[raw == number] = target
    return (np.clip(hu, -125, 275) + 125) / 400, label


def leftovers(folder):
    return [path.name for path in folder.rglob(".partial-*")]


def test_published_split(root):
    for name, cases, count in (("train", SYNAPSE_TRAIN_CASES, 18), ("test", SYNAPSE_TEST_CASES, 12)):
        text = (root / "data" / "splits" / f"synapse_{name}.txt").read_text(encoding="utf-8")
        assert tuple(text.split()) == cases
        assert len(set(cases)) == count
    assert not set(SYNAPSE_TRAIN_CASES) & set(SYNAPSE_TEST_CASES)
    assert [int(case) for case in SYNAPSE_TRAIN_CASES] == list(SLICES)
    assert sum(SLICES.values()) == 2211


def test_content_against_nibabel_and_arithmetic(btcv, tmp_path):
    prepared = prepare(btcv, tmp_path / "out")
    assert prepared.train_slices == [f"case0005_slice{z:03d}" for z in range(4)] + [
        f"case0006_slice{z:03d}" for z in range(5)
    ]
    assert prepared.test_cases == ["case0008"]
    image, label = expected(btcv, "0006")
    for z in range(5):
        with np.load(tmp_path / "out" / "train_npz" / f"case0006_slice{z:03d}.npz") as stored:
            assert sorted(stored.files) == ["image", "label"]
            assert (stored["image"].dtype, stored["label"].dtype) == (np.float32, np.uint8)
            np.testing.assert_allclose(stored["image"], image[z], atol=1e-6)
            np.testing.assert_array_equal(stored["label"], label[z])
    image, label = expected(btcv, "0008")
    with h5py.File(tmp_path / "out" / "test_vol_h5" / "case0008.npy.h5") as stored:
        assert sorted(stored) == ["image", "label"]
        assert (stored["image"].dtype, stored["label"].dtype) == (np.float32, np.uint8)
        np.testing.assert_allclose(stored["image"], image, atol=1e-6)
        np.testing.assert_array_equal(stored["label"], label)
        np.testing.assert_allclose(stored.attrs["spacing"], (2.5, 0.8, 0.7), rtol=1e-6)
    case = prepared.load_case("case0008")
    assert case.spacing == pytest.approx((2.5, 0.8, 0.7))
    np.testing.assert_array_equal(case.label, label)


def test_manifest(btcv, tmp_path):
    manifest = prepare(btcv, tmp_path / "out").manifest
    assert (manifest["window_hu"], manifest["label_scheme"]) == ([-125, 275], "A")
    assert list(manifest["cases"]) == ["case0005", "case0006", "case0008"]
    case = manifest["cases"]["case0008"]
    assert (case["split"], case["shape"]) == ("test", [6, 24, 20])
    assert case["spacing_mm"] == pytest.approx([2.5, 0.8, 0.7])
    for kind, name in (("image", "img/img0008.nii.gz"), ("label", "label/label0008.nii.gz")):
        digest = hashlib.sha256((btcv / name).read_bytes()).hexdigest()
        assert case["sources"][kind] == {"file": name, "sha256": digest}
    _, label = expected(btcv, "0008")
    for organ, number in manifest["organs"].items():
        assert case["voxels"][organ] == np.count_nonzero(label == number)
    assert str(tmp_path) not in json.dumps(manifest)


def test_shipped_scans(example_ct, tmp_path):
    """Both are test cases of the published split by their numbers; patient 1 can be asked for as training."""
    prepared = prepare(example_ct, tmp_path / "out", train_cases=["0001"], test_cases=["0002"])
    assert len(prepared.train_slices) == 112
    image, label = expected(example_ct, "0002")
    case = prepared.load_case("case0002")
    np.testing.assert_allclose(case.image, image, atol=1e-6)
    np.testing.assert_array_equal(case.label, label)
    assert case.spacing == (2.0, 0.9765625, 0.9765625)
    # 8 organs less the kidneys and the gallbladder, by the folder's README.
    assert sorted(set(np.unique(case.label)) - {0}) == [1, 5, 6, 7, 8]


def test_orientation_of_the_file_does_not_matter(btcv, tmp_path, save_nifti, scan, tree):
    prepare(btcv, tmp_path / "lps")
    for seed, case in enumerate(("0005", "0006", "0008")):
        image, label = scan(seed, slices=4 + seed)
        save_nifti(btcv / "img" / f"img{case}.nii.gz", image, axes="RAS")
        save_nifti(btcv / "label" / f"label{case}.nii.gz", label, axes="SAL")
    prepare(btcv, tmp_path / "turned")
    lps, turned = tree(tmp_path / "lps"), tree(tmp_path / "turned")
    checked = [name for name in lps if name.endswith((".npz", ".h5"))]
    assert len(checked) == 10
    for name in checked:
        if name.endswith(".npz"):
            assert lps[name] == turned[name]
    ours, theirs = (PreparedDataset.open(tmp_path / name).load_case("case0008") for name in ("lps", "turned"))
    np.testing.assert_array_equal(ours.image, theirs.image)
    np.testing.assert_array_equal(ours.label, theirs.label)
    assert ours.spacing == pytest.approx(theirs.spacing)


def test_processes_write_what_one_process_writes(btcv, tmp_path, tree):
    prepare(btcv, tmp_path / "one", workers=1)
    prepare(btcv, tmp_path / "two", workers=2)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")
    assert len(tree(tmp_path / "one")) == 9 + 1 + 3 + 3


def test_given_cases_are_taken_as_given(btcv, tmp_path):
    prepared = prepare(btcv, tmp_path / "out", train_cases=["0008", "0005"])
    assert [name[:8] for name in prepared.train_slices] == ["case0008"] * 6 + ["case0005"] * 4
    assert prepared.test_cases == []


# ---- what is wrong with the source ------------------------------------------------------------------------


def test_empty_folders(tmp_path, refused):
    source, out = tmp_path / "raw", tmp_path / "out"
    refused([source / "img", "no such folder"], prepare, source, out)
    source.mkdir()
    refused([source / "img", "no such folder"], prepare, source, out)
    (source / "img").mkdir()
    refused([source / "label", "no such folder"], prepare, source, out)
    (source / "label").mkdir()
    refused([source / "img", "no scan"], prepare, source, out)
    assert not out.exists()


def test_no_case_of_the_split(btcv, tmp_path, refused):
    for path in [*btcv.glob("*/*0005*"), *btcv.glob("*/*0006*"), *btcv.glob("*/*0008*")]:
        path.rename(path.with_name(path.name.replace("00", "10")))
    refused([btcv, "published split", "train_cases"], prepare, btcv, tmp_path / "out")
    assert prepare(btcv, tmp_path / "out", test_cases=["1008"]).test_cases == ["case1008"]


@pytest.mark.parametrize("kind", ["img", "label"])
@pytest.mark.parametrize("chosen", [{}, {"train_cases": ["0005"], "test_cases": ["0006"]}])
def test_missing_file_is_found_before_any_work(btcv, tmp_path, refused, kind, chosen):
    path = btcv / kind / f"{kind}0006.nii.gz"
    path.unlink()
    refused([path, "0006"], prepare, btcv, tmp_path / "out", **chosen)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"train_cases": ["5"]}, "four digits"),
        ({"train_cases": ["0005"], "test_cases": ["0005"]}, "twice"),
        ({"train_cases": [], "test_cases": []}, "empty"),
        ({"workers": 0}, "workers=0"),
    ],
)
def test_wrong_arguments(btcv, tmp_path, refused, chosen, words):
    refused(words, prepare, btcv, tmp_path / "out", **chosen)
    assert not (tmp_path / "out").exists()


def bad_shape(image, label):
    return image, label[:-1], {}, "label"


def bad_geometry(image, label):
    return image, label, {"origin": (0.0, 0.0, 0.0)}, "label"


def bad_four_d(image, label):
    return np.stack([image, image]), label, {}, "img"


def bad_nan(image, label):
    image = image.astype(np.float32)
    image[-1, -1, -1] = np.nan
    return image, label, {}, "img"


def bad_id(image, label):
    label[-1, -1, -1] = 14
    return image, label, {}, "label"


def bad_rgb(image, label):
    return image.astype([("R", "u1"), ("G", "u1"), ("B", "u1")]), label, {}, "img"


def bad_truncated(image, label):
    return image, label, {}, "truncated"


SPOILS = [bad_shape, bad_geometry, bad_four_d, bad_nan, bad_id, bad_rgb, bad_truncated]


# One kind of failure with two processes is enough to see how failures travel between them.
@pytest.mark.parametrize(("spoil", "workers"), [*((spoil, 1) for spoil in SPOILS), (bad_id, 2)])
def test_bad_case_stops_the_run_and_leaves_nothing_half_written(
    btcv, tmp_path, save_nifti, scan, refused, spoil, workers
):
    image, label = scan(2, slices=6)
    image, label, geometry, culprit = spoil(image, label)
    paths = {kind: btcv / kind / f"{kind}0008.nii.gz" for kind in ("img", "label")}
    if image.ndim == 3:
        save_nifti(paths["img"], image)
    else:
        nib.save(nib.Nifti1Image(image.T, np.eye(4)), paths["img"])
    save_nifti(paths["label"], label, **geometry)
    if culprit == "truncated":
        culprit = "img"
        paths["img"].write_bytes(paths["img"].read_bytes()[:-500])
    out = tmp_path / "out"
    refused([paths[culprit]], prepare, btcv, out, workers=workers)
    written = [path.name for path in out.rglob("*") if path.is_file()]
    assert not [name for name in written if name.startswith("case0008")]
    assert not leftovers(out)
    refused([out, "did not finish"], PreparedDataset.open, out)


# ---- stopping and running again ---------------------------------------------------------------------------


def test_second_run_does_nothing_again(btcv, tmp_path, monkeypatch, tree):
    prepare(btcv, tmp_path / "out")
    before = tree(tmp_path / "out")
    monkeypatch.setattr(scans, "read_volume", lambda *_: pytest.fail("a finished case was read again"))
    prepare(btcv, tmp_path / "out")
    assert tree(tmp_path / "out") == before


def test_stopped_at_every_single_write_and_run_again(btcv, tmp_path, tree):
    prepare(btcv, tmp_path / "clean")
    clean = tree(tmp_path / "clean")
    for stop in range(len(clean)):
        out = tmp_path / f"stopped{stop}"
        with interrupted_at(stop, files.os, "replace"):
            prepare(btcv, out)
        assert not leftovers(out)
        assert not (out / "dataset.json").exists()
        prepare(btcv, out)
        assert tree(out) == clean


KILLED = (
    SLOW_RENAMES
    + """
from msa2net_lib.data.synapse import prepare_synapse
if __name__ == "__main__":
    prepare_synapse(sys.argv[1], sys.argv[2], workers=int(sys.argv[3]), progress=False)
"""
)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_and_run_again(tmp_path, save_nifti, tree, workers):
    rng = np.random.default_rng(0)
    for case in ("0005", "0006", "0008"):
        for kind, high in (("img", 1000), ("label", 14)):
            array = rng.integers(-1000 if kind == "img" else 0, high, (24, 48, 48)).astype(np.int16)
            save_nifti(tmp_path / "raw" / kind / f"{kind}{case}.nii.gz", array)
    script, out = tmp_path / "killed.py", tmp_path / "out"
    script.write_text(KILLED)
    process = subprocess.Popen([sys.executable, script, tmp_path / "raw", out, str(workers)])
    deadline = time.monotonic() + 60
    while len(list(out.glob("train_npz/case*"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.002)
    started = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(list(out.glob("train_npz/case*"))) >= 5
    assert not (out / "dataset.json").exists()  # it was killed in the middle of its work
    while any(map(alive, started)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(started) >= (0 if workers == 1 else workers)
    assert not any(map(alive, started))
    (out / "train_npz" / ".partial-1-case0005_slice000.npz").write_bytes(b"half")
    (out / ".partial-1-dataset.json").write_bytes(b"half")
    prepare(tmp_path / "raw", out)
    assert not leftovers(out)
    prepare(tmp_path / "raw", tmp_path / "clean")
    assert tree(out) == tree(tmp_path / "clean")


def test_changed_source_and_lost_output_are_prepared_again(btcv, tmp_path, save_nifti, scan, tree):
    out = tmp_path / "out"
    prepare(btcv, out)
    (out / "train_npz" / "case0005_slice001.npz").unlink()
    image, label = scan(9, slices=3)  # two slices fewer than before
    save_nifti(btcv / "img" / "img0006.nii.gz", image)
    save_nifti(btcv / "label" / "label0006.nii.gz", label)
    prepare(btcv, out)
    prepare(btcv, tmp_path / "clean")
    assert tree(out) == tree(tmp_path / "clean")


def test_other_split_removes_what_it_no_longer_lists(btcv, tmp_path, tree):
    out = tmp_path / "out"
    prepare(btcv, out)
    chosen = {"train_cases": ["0008"], "test_cases": ["0005"]}
    (out / "train_npz" / "case0006_notes.txt").write_text("the user's own")
    prepare(btcv, out, **chosen)
    prepare(btcv, tmp_path / "clean", **chosen)
    left = tree(out)
    assert left.pop("train_npz/case0006_notes.txt") == b"the user's own"
    assert left == tree(tmp_path / "clean")


def test_unreadable_record_counts_as_none(btcv, tmp_path, tree):
    out = tmp_path / "out"
    prepare(btcv, out)
    before = tree(out)
    for text in (
        "{",
        "[]",
        json.dumps({"settings": SYNAPSE_RECIPE.settings, "split": "train", "shape": [4, 24, 20]}),
    ):
        (out / "cases" / "case0005.json").write_text(text)
        prepare(btcv, out)
        assert tree(out) == before


def test_data_prepared_by_others_are_left_alone(btcv, tmp_path, refused, tree):
    out = tmp_path / "out"
    (out / "train_npz").mkdir(parents=True)
    (out / "train_npz" / "case0040_slice000.npz").write_bytes(b"theirs")
    refused([out, "train_npz", "something else put there"], prepare, btcv, out)
    assert tree(out) == {"train_npz/case0040_slice000.npz": b"theirs"}


def test_a_folder_called_cases_is_not_ours(btcv, tmp_path, refused, tree):
    """Nor is one with a dataset.json, nor one with notes; only our lock says that a folder is ours."""
    for name, file in (
        ("a", "cases/john.json"),
        ("b", "dataset.json"),
        ("c", "notes.txt"),
        ("d", "cases/case0005.json"),
    ):
        out = tmp_path / name
        (out / file).parent.mkdir(parents=True)
        (out / file).write_text("{}")
        refused([out, "something else put there"], prepare, btcv, out)
        assert tree(out) == {file: b"{}"}
    (tmp_path / "killed" / "cases").mkdir(parents=True)  # by a run that had not come to its lock
    (tmp_path / "killed" / ".DS_Store").write_bytes(b"")
    prepare(btcv, tmp_path / "killed")


def test_clean_up_removes_only_what_our_records_name(btcv, tmp_path, tree):
    out = tmp_path / "out"
    prepare(btcv, out)
    theirs = {"cases/paper.json": b'{"shape": [4, 1, 1], "split": "train"}', "cases/list.json": b"[1]",
              "cases/half.json": b'{"settings": {}, "split": "train", "shape": "wide"}',
              "train_npz/paper_slice000.npz": b"theirs", "train_npz/case0006_slice900.npz": b"theirs",
              "test_vol_h5/other.npy.h5": b"theirs"}  # fmt: skip
    for name, content in theirs.items():
        (out / name).write_bytes(content)
    prepare(btcv, out, train_cases=["0005"])
    prepare(btcv, tmp_path / "clean", train_cases=["0005"])
    assert tree(out) == tree(tmp_path / "clean") | theirs


def test_outputs_of_a_stopped_case_are_removed_with_it(btcv, tmp_path, tree):
    out = tmp_path / "out"
    with interrupted_at(3, files.os, "replace"):
        prepare(btcv, out, train_cases=["0006"])
    assert len(list(out.glob("train_npz/case0006*"))) == 2
    prepare(btcv, out, train_cases=["0005"])
    prepare(btcv, tmp_path / "clean", train_cases=["0005"])
    assert tree(out) == tree(tmp_path / "clean")


def test_two_runs_into_one_folder(btcv, tmp_path, refused, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setattr("msa2net_lib.data.prepare.PATIENCE", 0)
    out = tmp_path / "out"
    prepare(btcv, out)
    with open(out / "cases" / ".lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        prepare(btcv, out)  # all is there: it is opened, and nothing written
        (out / "dataset.json").unlink()
        refused([out, "another preparation"], prepare, btcv, out)
    prepare(btcv, out)


def test_a_run_waits_for_another_that_ends_soon(btcv, tmp_path):
    """Two lessons that open the same prepared data in the same moment both get them."""
    fcntl = pytest.importorskip("fcntl")
    out = tmp_path / "out"
    before = prepare(btcv, out).digest()
    (out / "dataset.json").unlink()  # whole data are opened without waiting
    handle = open(out / "cases" / ".lock", "w")  # noqa: SIM115 - closed by the timer, which is the other run's end
    fcntl.flock(handle, fcntl.LOCK_EX)
    timer = threading.Timer(0.5, handle.close)
    timer.start()
    assert prepare(btcv, out).digest() == before
    assert handle.closed
    timer.join()


def test_destination_that_is_a_file(btcv, tmp_path, refused):
    (tmp_path / "out").write_text("a file")
    refused([tmp_path / "out", "is a file"], prepare, btcv, tmp_path / "out")
