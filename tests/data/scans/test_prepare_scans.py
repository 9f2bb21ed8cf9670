"""What all preparations of scans share, mostly through `prepare_pairs`: content, errors, stops, memory."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
import tracemalloc
import zipfile

import nibabel as nib
import nrrd
import numpy as np
import pytest
from dicom_files import write_series
from stopping import SLOW_RENAMES, interrupted_at

from msa2net_lib.data.scans import prepare as scans
from msa2net_lib.data.scans.files import checksum, find_scans
from msa2net_lib.data.scans.own import prepare_pairs
from msa2net_lib.data.scans.recipe import MR_WINDOW, ScanRecipe, Window, choose_window
from msa2net_lib.data.synapse import prepare_synapse
from msa2net_lib.data.volumes import window
from msa2net_lib.utils import files

pytestmark = pytest.mark.slow

CLASSES = {"liver": 6, "kidneys": [300, 2], "tumour": 41}


def prepare(images, labels, destination, **options):
    defaults = {"classes": CLASSES, "test": ["berta"], "workers": 1, "progress": False}
    return prepare_pairs(images, labels, destination, **defaults | options)


def own_scan(seed, slices=4):
    rng = np.random.default_rng(seed)
    image = rng.integers(-1024, 1500, (slices, 24, 20)).astype(np.int16)
    return image, rng.choice([0, 2, 6, 41, 300], image.shape).astype(np.int16)


@pytest.fixture
def own(tmp_path, save_nifti):
    """Three pairs: anna and a name with blanks and an umlaut to train on, berta to test on."""
    for seed, case in enumerate(("anna", "berta", "J\u00fcrgen 2 (neu)")):
        image, label = own_scan(seed, slices=4 + seed)
        save_nifti(tmp_path / "images" / f"{case}.nii.gz", image)
        save_nifti(tmp_path / "labels" / f"{case}.nii", label)
    return tmp_path / "images", tmp_path / "labels"


# ---- windows and ids ---------------------------------------------------------------------------------------


def test_windows_by_modality():
    assert choose_window("CT", None) == choose_window(" ct ", None) == Window(-125, 275, "HU")
    assert choose_window("MRI", None) == MR_WINDOW == Window(0.5, 99.5, "percentile")
    assert choose_window("CT", (-160, 240)) == Window(-160, 240, "HU")
    assert choose_window("T1", (0, 900)) == Window(0, 900, "intensity")


@pytest.mark.parametrize("bad", [(1, 1), (275, -125), (0, float("nan")), (0, float("inf"))])
def test_bad_windows(refused, bad):
    refused("is empty", choose_window, "CT", bad)


@pytest.mark.parametrize("bad", [(1,), (1, 2, 3), ("a", "b"), 5])
def test_windows_that_are_no_pair(refused, bad):
    refused(["window=", "two numbers"], choose_window, "CT", bad)


def test_percentiles_by_counting():
    """Of 0 to 200, one voxel in 200 lies below 1 and one above 199; the order of the voxels means nothing."""
    image = np.random.default_rng(0).permutation(201).reshape(3, 67, 1).astype(np.int16)
    assert MR_WINDOW.limits(image) == (1.0, 199.0)
    assert Window(-125, 275).limits(image) == (-125.0, 275.0)


def test_images_with_nothing_in_the_window(refused):
    stored_from_zero = np.arange(900, 1500, dtype=np.uint16)[None, None]  # HU + 1024, as some scanners store it
    refused(["[-125, 275]", "900 to 1499"], Window().limits, stored_from_zero)
    refused("[7, 7]", MR_WINDOW.limits, np.full((2, 3, 4), 7))


def recipe(**options):
    return ScanRecipe("CT", Window(), **{"classes": {"a": [5], "b": [2, 300]}, "advice": "mend it"} | options)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.int64, np.float32, np.float64])
def test_relabel_against_a_dictionary(dtype):
    labels = np.random.default_rng(1).choice([0, 2, 5, 9, 300], (4, 6, 5)).astype(dtype)
    prepared, voxels, _ = recipe(background=[9]).relabel(labels)
    expected = np.vectorize({0: 0, 2: 2, 5: 1, 9: 0, 300: 2}.get)(labels)
    assert prepared.dtype == np.uint8
    np.testing.assert_array_equal(prepared, expected)
    assert voxels == {"a": (expected == 1).sum(), "b": (expected == 2).sum()}


def test_relabel_with_all_else_background(refused):
    labels = np.array([[[0, 2, 5, 301, -3, 254, 255, 60000]]])
    prepared, _, dropped = recipe(background=None).relabel(labels)
    assert dropped == {"301": 1, "-3": 1, "254": 1, "255": 1, "60000": 1}
    assert prepared.tolist() == [[[0, 2, 1, 0, 0, 0, 0, 0]]]
    refused("2.5", recipe(background=None).relabel, labels + 0.5)


@pytest.mark.parametrize("bad", [1, -1, 299, 301, 255, 70000, 2.5])
def test_relabel_names_what_it_does_not_know(refused, bad):
    labels = np.zeros((3, 4, 5))
    labels[1, 2, 3], labels[2, 0, 0] = 300, bad
    message = refused(["label values", f"{bad:g} found", "mend it"], recipe().relabel, labels)
    assert "300" not in message


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ({"liver": 0}, ["'liver'", "0"]),
        ({"liver": -1}, "'liver'"),
        ({"liver": 1.0}, "'liver'"),
        ({"liver": "1"}, ["'liver'", "'1'"]),
        ({"liver": 65536}, "65535"),
        ({"liver": 1, "spleen": 1}, ["'spleen'", "'liver'"]),
        ({"liver": []}, "no id"),
        ({}, "0 classes"),
        ({str(n): n for n in range(1, 256)}, "255 classes"),
        (["liver"], "classes="),
    ],
)
def test_wrong_classes(own, tmp_path, refused, classes, words):
    refused(words, prepare, *own, tmp_path / "out", classes=classes)
    assert not (tmp_path / "out").exists()


# ---- content -----------------------------------------------------------------------------------------------


def test_own_data_against_arithmetic(own, tmp_path):
    prepared = prepare(
        *own, tmp_path / "out", classes=CLASSES | {"np": np.int64(7)}, validation=["J\u00fcrgen 2 (neu)"]
    )
    assert prepared.test_cases == ["berta"]
    cases = [name.rpartition("_slice")[0] for name in prepared.train_slices]
    assert cases == ["J\u00fcrgen_2_(neu)"] * 6 + ["anna"] * 4
    image, label = own_scan(2, slices=6)
    for z in range(6):
        with np.load(tmp_path / "out" / "train_npz" / f"J\u00fcrgen_2_(neu)_slice{z:03d}.npz") as stored:
            assert (stored["image"].dtype, stored["label"].dtype) == (np.float32, np.uint8)
            np.testing.assert_allclose(stored["image"], (np.clip(image[z], -125.0, 275) + 125) / 400, atol=1e-6)
            for number, ids in {0: [0], 1: [6], 2: [2, 300], 3: [41]}.items():
                np.testing.assert_array_equal(stored["label"] == number, np.isin(label[z], ids))
    case = prepared.load_case("berta")
    image, label = own_scan(1, slices=5)
    np.testing.assert_allclose(case.image, (np.clip(image, -125.0, 275) + 125) / 400, atol=1e-6)
    np.testing.assert_array_equal(case.label == 2, (label == 2) | (label == 300))
    assert case.spacing == pytest.approx((2.5, 0.8, 0.7))


def test_dataset_json(own, tmp_path):
    manifest = prepare(*own, tmp_path / "out", validation=["J\u00fcrgen 2 (neu)"]).manifest
    assert manifest["organs"] == {"liver": 1, "kidneys": 2, "tumour": 3}
    assert manifest["source_ids"] == {"liver": [6], "kidneys": [300, 2], "tumour": [41]}
    assert manifest["modality"] == "CT"
    assert manifest["window"] == {"low": -125, "high": 275, "unit": "HU"}
    assert manifest["validation"] == ["J\u00fcrgen_2_(neu)"]
    assert list(manifest["cases"]) == ["J\u00fcrgen_2_(neu)", "anna", "berta"]
    case = manifest["cases"]["berta"]
    assert case["sources"]["label"]["file"] == "labels/berta.nii"
    _, label = own_scan(1, slices=5)
    assert case["voxels"] == {"liver": (label == 6).sum(), "kidneys": np.isin(label, [2, 300]).sum(),
                              "tumour": (label == 41).sum()}  # fmt: skip
    assert str(tmp_path) not in json.dumps(manifest)


def test_without_unit_each_volume_has_its_own_window(own, tmp_path, save_nifti):
    images, labels = own
    image, _ = own_scan(1, slices=5)
    save_nifti(images / "berta.nii.gz", image.astype(np.float32) * 3 + 0.1)
    prepared = prepare(images, labels, tmp_path / "out", modality="MR")
    assert prepared.manifest["window"] == {"low": 0.5, "high": 99.5, "unit": "percentile"}
    low, high = np.percentile(image.astype(np.float32) * 3 + 0.1, [0.5, 99.5])
    assert prepared.manifest["cases"]["berta"]["window_values"] == pytest.approx([low, high])
    stored = prepared.load_case("berta").image
    np.testing.assert_allclose(stored, np.clip((image * 3.0 + 0.1 - low) / (high - low), 0, 1), atol=1e-5)
    assert (stored.min(), stored.max()) == (0, 1)


def test_no_window_leaves_the_unit_interval(own, tmp_path):
    """Rounding in float32 can carry the upper end a hair beyond 1, which would be refused on reading."""
    worst = max(float(window(1e6, low, low + 0.1)) for low in np.random.default_rng(0).uniform(-1000, 1000, 999))
    assert worst > 1
    odd = next(low for low in np.random.default_rng(0).uniform(-1000, 1000, 999) if window(1e6, low, low + 0.1) > 1)
    prepared = prepare(*own, tmp_path / "out", window=(odd, odd + 0.1))
    assert prepared.load_case("berta").image.max() == 1


def test_every_format_gives_the_same(own, tmp_path, tree, save_nifti):
    """NRRD written by pynrrd and a DICOM series by pydicom, against the NIfTI by nibabel."""
    images, labels = own
    prepare(images, labels, tmp_path / "nifti")
    z, y, x = 2.5, 0.8, 0.7
    header = {"space": "left-posterior-superior", "space directions": np.diag([x, y, z]),
              "space origin": [-20.0, 30.0, 40.0], "encoding": "gzip"}  # fmt: skip
    for seed, case in enumerate(("anna", "berta")):
        image, label = own_scan(seed, slices=4 + seed)
        nrrd.write(str(labels / f"{case}.nrrd"), np.ascontiguousarray(label.T), header)
        (labels / f"{case}.nii").unlink()
    image, _ = own_scan(0)
    (images / "anna.nii.gz").unlink()
    write_series(images / "anna", image)
    prepare(images, labels, tmp_path / "mixed")
    nifti, mixed = tree(tmp_path / "nifti"), tree(tmp_path / "mixed")
    assert nifti.keys() == mixed.keys()
    for name in nifti:
        if name.endswith(".npz"):
            assert nifti[name] == mixed[name]
    assert json.loads(mixed["cases/anna.json"])["sources"]["image"]["file"] == "images/anna"


def test_slices_are_plain_npz_files(own, tmp_path):
    """Only deflate's level differs from what NumPy writes, so any reader of npz files reads them."""
    prepare(*own, tmp_path / "out")
    path = tmp_path / "out" / "train_npz" / "anna_slice000.npz"
    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored)
    theirs = io.BytesIO()
    np.savez_compressed(theirs, **arrays)
    with zipfile.ZipFile(path) as ours, zipfile.ZipFile(theirs) as numpys:
        assert ours.testzip() is None
        assert ours.namelist() == numpys.namelist() == ["image.npy", "label.npy"]
        for name in ours.namelist():
            assert ours.read(name) == numpys.read(name)
            assert ours.getinfo(name).compress_type == zipfile.ZIP_DEFLATED
            assert ours.getinfo(name).date_time == numpys.getinfo(name).date_time


# ---- what is wrong with the source -------------------------------------------------------------------------


def test_no_folder_and_no_volume(own, tmp_path, refused):
    images, labels = own
    refused([tmp_path / "none", "no such folder"], prepare, tmp_path / "none", labels, tmp_path / "out")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("")
    refused([tmp_path / "empty", "holds no volume", ".mha"], prepare, images, tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_folders_in_each_others_way(own, refused):
    images, labels = own
    refused([images, "one folder"], prepare, images, images.parent / "labels" / ".." / "images", images.parent / "out")
    refused([images / "out", "lies within"], prepare, images, labels, images / "out")
    refused([labels, "lies within"], prepare, images, labels, labels)


def test_pairs_are_whole(own, tmp_path, refused):
    images, labels = own
    (labels / "anna.nii").rename(labels / "Anna.nii")
    refused([images / "anna.nii.gz", "no label map", labels], prepare, images, labels, tmp_path / "out")
    (images / "anna.nii.gz").unlink()
    refused([labels / "Anna.nii", "no image", images], prepare, images, labels, tmp_path / "out")
    for path in labels.iterdir():
        path.rename(path.with_name(f"mask_{path.name}"))
    refused([labels, "named like", "mask_Anna.nii", "(neu).nii.gz"], prepare, images, labels, tmp_path / "out")


def test_two_files_of_one_case(own, tmp_path, refused):
    images, labels = own
    (images / "anna.nrrd").write_bytes(b"")
    (images / "._anna.nii.gz").write_bytes(b"what macOS leaves")
    refused([images / "anna.nrrd", "case anna", "anna.nii.gz", "keep one"], prepare, images, labels, tmp_path / "out")


@pytest.mark.parametrize("twin", ["J\u00fcrgen_2_(neu)", "ANNA"])
def test_two_cases_of_one_prepared_name(own, tmp_path, refused, save_nifti, twin):
    images, labels = own
    for folder, array in zip(own, own_scan(0), strict=True):
        save_nifti(folder / f"{twin}.nii.gz", array)
    refused([twin, "rename"], prepare, images, labels, tmp_path / "out")


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"test": ["clara"]}, ["test", "'clara'", "anna"]),
        ({"test": ["anna", "anna"]}, ["test", "twice"]),
        ({"validation": ["berta"]}, ["validation", "'berta'"]),
        ({"workers": 0}, "workers=0"),
        ({"window": (5, 5)}, "[5.0, 5.0]"),
    ],
)
def test_wrong_arguments(own, tmp_path, refused, chosen, words):
    refused(words, prepare, *own, tmp_path / "out", **chosen)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_case_without_labels_stops_unless_it_may_be(own, tmp_path, refused, save_nifti, tree, workers):
    images, labels = own
    save_nifti(labels / "anna.nii", np.zeros((4, 24, 20), np.uint8))
    out = tmp_path / "out"
    refused([labels / "anna.nii", "case anna", "allow_empty"], prepare, images, labels, out, workers=workers)
    assert not [name for name in tree(out) if "anna" in name]
    before = {name: (out / name).stat().st_mtime_ns for name in tree(out)}
    prepared = prepare(images, labels, out, allow_empty=True)
    assert prepared.manifest["cases"]["anna"]["voxels"] == {"liver": 0, "kidneys": 0, "tumour": 0}
    for name, written in before.items():  # what was finished is not done again
        assert (out / name).stat().st_mtime_ns == written


def test_ids_without_class(own, tmp_path, refused):
    images, labels = own
    words = [labels, "label values 41", "others_are_background"]
    refused(words, prepare, images, labels, tmp_path / "out", classes={"liver": 6, "kidneys": [2, 300]})
    chosen = {"classes": {"kidneys": [300, 2]}, "others_are_background": True}
    prepared = prepare(images, labels, tmp_path / "out2", **chosen)
    _, label = own_scan(1, slices=5)
    np.testing.assert_array_equal(prepared.load_case("berta").label, np.isin(label, [2, 300]))


def test_label_of_another_geometry(own, tmp_path, refused, save_nifti):
    images, labels = own
    _, label = own_scan(0)
    save_nifti(labels / "anna.nii", label, spacing=(5.0, 0.8, 0.7))
    refused([labels / "anna.nii", images / "anna.nii.gz", "spacing"], prepare, images, labels, tmp_path / "out")
    save_nifti(labels / "anna.nii", label[1:])
    refused([labels / "anna.nii", images / "anna.nii.gz", "shape"], prepare, images, labels, tmp_path / "out")


def test_file_that_may_not_be_read(own, tmp_path, refused, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(scans, "checksum", denied)
    refused([own[0] / "J\u00fcrgen 2 (neu).nii.gz", "Permission denied"], prepare, *own, tmp_path / "out")


def test_folder_that_may_not_be_written(own, refused):
    """/proc takes no files, whoever asks."""
    if not sys.platform.startswith("linux"):
        pytest.skip("no /proc here")
    refused(["/proc/out", "cannot write there"], prepare, *own, "/proc/out")


def test_image_outside_the_window(own, tmp_path, refused, save_nifti):
    images, labels = own
    save_nifti(images / "anna.nii.gz", np.arange(4 * 24 * 20, dtype=np.int16).reshape(4, 24, 20) // 10 - 1000)
    refused([images / "anna.nii.gz", "no voxel lies within"], prepare, images, labels, tmp_path / "out")


def test_data_of_other_classes_are_not_replaced(own, btcv, tmp_path, refused, tree):
    """Also when they are unfinished, and the other way round."""
    out = tmp_path / "out"
    synapse = {"workers": 1, "progress": False}
    prepare_synapse(btcv, out, **synapse)
    before = tree(out)
    refused([out, "other classes"], prepare, *own, out)
    assert tree(out) == before
    (out / "dataset.json").unlink()
    refused([out, "other classes"], prepare, *own, out)
    prepare(*own, tmp_path / "own")
    refused([tmp_path / "own", "other classes"], prepare_synapse, btcv, tmp_path / "own", **synapse)
    prepare(*own, tmp_path / "own", window=(-100, 300))  # another window is another preparation of the same data


def test_find_scans(tmp_path):
    (tmp_path / "series").mkdir()
    (tmp_path / ".hidden").mkdir()
    for name in ("b.NII.GZ", "a.b.nii", "c.hdr", "c.img", "d.mhd", "d.raw", ".e.nii", "f.txt", "nii"):
        (tmp_path / name).write_bytes(b"")
    assert list(find_scans(tmp_path)) == ["a.b", "b", "c", "d"]
    assert list(find_scans(tmp_path, folders=True)) == ["a.b", "b", "c", "d", "series"]


@pytest.mark.parametrize(
    ("header", "text", "data"),
    [
        ("a.mhd", "ObjectType = Image\nElementDataFile = a voxels.raw\n", "a voxels.raw"),
        ("a.nhdr", "NRRD0004\ndata file: a.raw.gz\nsizes: 2 2 2\n", "a.raw.gz"),
        ("a.nhdr", "NRRD0004\ndatafile:a.raw\n", "a.raw"),
        ("a.hdr", "", "a.img"),
    ],
)
def test_checksum_covers_detached_voxels(tmp_path, header, text, data):
    (tmp_path / header).write_text(text)
    (tmp_path / data).write_bytes(b"one")
    (tmp_path / "other.raw").write_bytes(b"not ours")
    before = checksum(tmp_path / header)
    (tmp_path / "other.raw").write_bytes(b"changed")
    assert checksum(tmp_path / header) == before
    (tmp_path / data).write_bytes(b"two")
    assert checksum(tmp_path / header) != before


# ---- stopping and running again ----------------------------------------------------------------------------

STOPPED = (
    SLOW_RENAMES
    + """
from msa2net_lib.data.scans.own import prepare_pairs
if __name__ == "__main__":
    import signal
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell started in the background
    images, labels, out, workers = sys.argv[1:]
    prepare_pairs(images, labels, out, classes={"a": 1, "b": 7}, test=["c4"], workers=int(workers), progress=False)
"""
)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="kills processes as Linux does")
def test_stopped_at_random_moments_and_run_again(tmp_path, save_nifti, tree):
    """Killed and then interrupted, each time as soon as some more files are there, then run to the end."""
    rng, moments = np.random.default_rng(0), random.Random(7)
    for case in range(8):
        label = rng.choice([0, 1, 7], (24, 48, 48)).astype(np.uint8)
        save_nifti(tmp_path / "images" / f"c{case}.nii.gz", rng.integers(-200, 300, label.shape).astype(np.int16))
        save_nifti(tmp_path / "labels" / f"c{case}.nii.gz", label)
    script, out = tmp_path / "stopped.py", tmp_path / "out"
    script.write_text(STOPPED)
    folders = [tmp_path / "images", tmp_path / "labels"]
    written, codes = 0, []
    for stop in (signal.SIGKILL, signal.SIGINT):
        command = [sys.executable, script, *folders, out, "2"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
        goal = written + moments.randint(1, 12)
        deadline = time.monotonic() + 60
        while len(list(out.glob("t*_*/c*"))) < goal and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        process.send_signal(stop)
        codes.append(process.wait())
        wait_for_session(process.pid)
        assert not (out / "dataset.json").exists()
        written = len(list(out.glob("t*_*/c*")))
    assert codes == [-signal.SIGKILL, -signal.SIGINT]
    assert 0 < written < 7 * 24 + 1  # stopped in the middle of the work, not before or after it
    chosen = {"classes": {"a": 1, "b": 7}, "test": ["c4"]}
    prepare(*folders, out, **chosen)
    prepare(*folders, tmp_path / "clean", **chosen)
    assert tree(out) == tree(tmp_path / "clean")


def wait_for_session(leader):
    """Wait until no process of a stopped run is left to write anything."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.killpg(leader, 0)
        except ProcessLookupError:
            return
        time.sleep(0.005)
    pytest.fail("a worker outlived its run")


def test_stopped_while_done_again_with_another_window(own, tmp_path, tree):
    """What the stopped run replaced must not pass for what the first run had finished."""
    out = tmp_path / "out"
    prepare(*own, out)
    finished = tree(out)
    with interrupted_at(3, files.os, "replace"):
        prepare(*own, out, window=(0, 100))
    assert tree(out) != finished
    prepare(*own, out)
    assert tree(out) == finished


def test_changed_detached_voxels_are_prepared_again(own, tmp_path):
    images, labels = own
    image, _ = own_scan(0)
    (images / "anna.nii.gz").unlink()
    detached = {"space": "left-posterior-superior", "space directions": np.diag([0.7, 0.8, 2.5]),
                "space origin": [-20.0, 30.0, 40.0], "encoding": "raw"}  # fmt: skip
    nrrd.write(str(images / "anna.nhdr"), np.ascontiguousarray(image.T), detached, detached_header=True)
    first = prepare(images, labels, tmp_path / "out").load_slice("anna_slice000")[0]
    nrrd.write(str(images / "anna.nhdr"), np.ascontiguousarray(image.T[::-1]), detached, detached_header=True)
    second = prepare(images, labels, tmp_path / "out").load_slice("anna_slice000")[0]
    np.testing.assert_array_equal(second, first[:, ::-1])


# ---- memory and progress -----------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["train", "test"])
def test_no_whole_windowed_image_in_memory(tmp_path, save_nifti, part):
    """At their peak NumPy's arrays are the image twice, as its file has it and turned, the labels, and a few slices.

    The whole image windowed would be float32, as large as the image twice again.
    """
    image = np.full((64, 256, 256), 40, np.int16)  # compresses to nothing, so that the output weighs nothing
    label = np.zeros(image.shape, np.uint8)
    image[:, 64], label[:, 64], image[:, 0] = 90, 1, -1000
    save_nifti(tmp_path / "images" / "a.nii", image)
    save_nifti(tmp_path / "labels" / "a.nii", label)
    folders = tmp_path / "images", tmp_path / "labels"
    options = {"classes": {"a": 1}, "test": ["a"] if part == "test" else [], "workers": 1, "progress": False}
    prepare_pairs(*folders, tmp_path / "warm", **options)
    tracemalloc.start()
    try:
        prepare_pairs(*folders, tmp_path / "out", **options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert image.nbytes + label.nbytes < peak < 2 * image.nbytes + label.nbytes + 8 * 4 * 256 * 256


def test_progress_tells_the_time_left(own, tmp_path, capsys):
    prepare(*own, tmp_path / "out", progress=True)
    shown = capsys.readouterr().err
    assert "cases" in shown
    assert "3/3" in shown
    assert "<" in shown  # tqdm: elapsed < remaining
    prepare(*own, tmp_path / "out", progress=True)
    assert capsys.readouterr().err == ""


def test_masks_by_another_tool_lie_where_they_were_drawn(tmp_path, save_nifti):
    """A label map stored along other axes than its image still lands on the same voxels (nibabel writes both)."""
    image, label = own_scan(3)
    save_nifti(tmp_path / "images" / "a.nii.gz", image, axes="RAS")
    save_nifti(tmp_path / "labels" / "a.nii.gz", label, axes="LIP")
    prepared = prepare(tmp_path / "images", tmp_path / "labels", tmp_path / "out", test=["a"])
    assert nib.aff2axcodes(nib.load(tmp_path / "images" / "a.nii.gz").affine) == ("R", "A", "S")
    np.testing.assert_array_equal(prepared.load_case("a").label == 3, label == 41)
