"""Cohorts of virtual patients, from a small source so that many fit in a second."""

from __future__ import annotations

import json
import multiprocessing
import signal
import time

import nibabel as nib
import numpy as np
import pytest
from stopping import interrupted_at

from msa2net_lib.data import prepare
from msa2net_lib.data.labels import BTCV_IDS, ORGANS
from msa2net_lib.data.splits import SYNAPSE_TEST_CASES, SYNAPSE_TRAIN_CASES
from msa2net_lib.data.virtual import cohort as virtual_cohort
from msa2net_lib.data.virtual.cohort import SYNAPSE_SIZE, CohortSize, write_virtual_cohort
from msa2net_lib.data.virtual.patient import PHASES, make_virtual_patient
from msa2net_lib.data.virtual.scan import ScanSize
from msa2net_lib.data.volumes import read_pair

SMALL = CohortSize(train_slices=(20, 24), test_slices=(22,), pixels=40)


@pytest.fixture
def source(tmp_path, save_nifti):
    """A BTCV folder with one blocky patient."""
    rng = np.random.default_rng(0)
    image = rng.normal(40, 10, (24, 30, 28)).astype(np.int16)
    label = np.zeros(image.shape, np.uint8)
    for number in range(1, 14):
        row, column = divmod(number, 4)
        label[6:18, 2 + 7 * row : 8 + 7 * row, 1 + 7 * column : 6 + 7 * column] = number
    folder = tmp_path / "raw"
    save_nifti(folder / "img" / "img0001.nii.gz", image, spacing=(5.0, 3.0, 3.0))
    save_nifti(folder / "label" / "label0001.nii.gz", label, spacing=(5.0, 3.0, 3.0))
    return folder


def cohort(source, out, **options):
    return write_virtual_cohort(source, out, **{"train": 3, "test": 2, "workers": 1, "progress": False, **options})


def test_cohort_layout(source, tmp_path, tree):
    out = tmp_path / "out"
    assert cohort(source, out) == (["1001", "1002", "1003"], ["2001", "2002"])
    names = [f"{kind}/{kind}{case}.nii.gz" for case in (1001, 1002, 1003, 2001, 2002) for kind in ("img", "label")]
    assert sorted(tree(out)) == sorted([*names, "cohort.json"])
    original = nib.load(source / "img" / "img0001.nii.gz")
    for name in names:
        written = nib.load(out / name)
        np.testing.assert_allclose(written.affine[:, :3], original.affine[:, :3], atol=1e-5)
        slices = (written.affine[:3, 3] - original.affine[:3, 3]) / 5.0  # of 5 mm, cut off below
        np.testing.assert_allclose(slices, [0, 0, round(slices[2])], atol=1e-5)
        assert 0 < slices[2] < 6  # organs begin at slice 6 or so, three slices of margin
        assert written.shape[2] < original.shape[2]
        assert written.get_data_dtype() == (np.int16 if name.startswith("img") else np.uint8)
    patients = json.loads((out / "cohort.json").read_text())["items"]
    seeds = {group: [p["seed"] for p in patients.values() if p["group"] == group] for group in ("train", "held out")}
    assert [len(seeds[group]) for group in seeds] == [3, 2]
    assert len({*seeds["train"], *seeds["held out"]}) == 5
    assert {p["phase"] for p in patients.values() if p["group"] == "train"} == set(PHASES)
    assert str(tmp_path) not in (out / "cohort.json").read_text()
    # The recorded seed and phase make the recorded patient.
    real = read_pair(source / "img" / "img0001.nii.gz", source / "label" / "label0001.nii.gz")
    again = make_virtual_patient(*real, patients["2002"]["seed"], phase=patients["2002"]["phase"])
    stored = read_pair(out / "img" / "img2002.nii.gz", out / "label" / "label2002.nii.gz")
    np.testing.assert_array_equal(stored[0].array, again[0].array)
    np.testing.assert_array_equal(stored[1].array, again[1].array)


def test_second_run_makes_only_what_is_missing_or_altered(source, tmp_path, monkeypatch, tree):
    out = tmp_path / "out"
    cohort(source, out)
    before = tree(out)
    made = []

    def counted(image, label, seed, **options):
        made.append(seed)
        return make_virtual_patient(image, label, seed, **options)

    monkeypatch.setattr(virtual_cohort, "make_virtual_patient", counted)
    cohort(source, out)
    assert made == []
    (out / "img" / "img1002.nii.gz").write_bytes(b"altered")
    (out / "label" / "label2001.nii.gz").unlink()
    (out / "img" / ".partial-1-img1003.nii.gz").write_bytes(b"half")
    cohort(source, out)
    assert made == [2024_1002, 2024_2001]
    assert tree(out) == before


def test_stopped_and_run_again(source, tmp_path, tree):
    cohort(source, tmp_path / "clean")
    for stop in (1, 5):
        out = tmp_path / f"stopped{stop}"
        with interrupted_at(stop, virtual_cohort, "write_volume"):
            cohort(source, out)
        cohort(source, out)
        assert tree(out) == tree(tmp_path / "clean")


@pytest.mark.parametrize("options", [{"seed": 5}, {"train": 1}, {"test": 0}])
def test_other_parameters_make_another_cohort(source, tmp_path, tree, options):
    out = tmp_path / "out"
    cohort(source, out)
    first = tree(out)
    cohort(source, out, **options)
    cohort(source, tmp_path / "clean", **options)
    assert tree(out) == tree(tmp_path / "clean") != first


def test_wrong_cohorts(source, tmp_path, refused, tree):
    out = tmp_path / "out"
    refused([source / "img" / "img0003.nii.gz", "no such file"], cohort, source, out, patient="0003")
    refused("train=-1", cohort, source, out, train=-1)
    refused("seed=-1", cohort, source, out, seed=-1)
    refused([source, "no cohort.json"], cohort, source, source)
    path = source / "img" / "img0001.nii.gz"
    path.write_bytes(path.read_bytes()[:-200])
    refused([path, "truncated"], cohort, source, out)
    assert not out.exists()


# ---- ids, sizes, processes -------------------------------------------------------------------------------


def test_ids_of_a_cohort_of_any_number():
    """A larger cohort holds the smaller one; four digits, none twice, none of BTCV's own."""
    train, test = virtual_cohort._case_ids(1500, 1200, None)
    assert (len(train), len(test)) == (1500, 1200)
    assert virtual_cohort._case_ids(6, 4, None) == (train[:6], test[:4])
    assert (train[998:1001], test[998:1001]) == (["1999", "3001", "3002"], ["2999", "6001", "6002"])
    every = [*virtual_cohort._case_ids(3998, 4998, None)[0], *virtual_cohort._case_ids(3998, 4998, None)[1]]
    assert len(every) == len(set(every)) == 8996
    assert {len(case) for case in every} == {4}
    assert not set(every) & {*SYNAPSE_TRAIN_CASES, *SYNAPSE_TEST_CASES}


def test_ids_beyond_four_digits(source, tmp_path, refused):
    refused(["train=3999", "0 to 3998"], cohort, source, tmp_path / "out", train=3999)
    refused(["test=4999", "0 to 4998"], cohort, source, tmp_path / "out", test=4999)
    assert not (tmp_path / "out").exists()


def test_synapse_size():
    """Numbers of slices: of the split's training cases 2211; of all 30 those that TransUNet's authors give."""
    train, test = virtual_cohort._case_ids(None, None, SYNAPSE_SIZE)
    assert (len(train), len(test)) == (len(SYNAPSE_TRAIN_CASES), len(SYNAPSE_TEST_CASES)) == (18, 12)
    slices = (*SYNAPSE_SIZE.train_slices, *SYNAPSE_SIZE.test_slices)
    assert sum(SYNAPSE_SIZE.train_slices) == 2211
    assert (sum(slices), min(slices), max(slices), SYNAPSE_SIZE.pixels) == (3779, 85, 198, 512)
    assert dict(zip(SYNAPSE_TRAIN_CASES, SYNAPSE_SIZE.train_slices, strict=True))["0040"] == 195


@pytest.mark.slow
def test_cohort_of_a_given_size(source, tmp_path, tree):
    out = tmp_path / "out"
    assert cohort(source, out, train=None, test=None, size=SMALL) == (["1001", "1002"], ["2001"])
    patients = json.loads((out / "cohort.json").read_text())["items"]
    for case, slices in (("1001", 20), ("1002", 24), ("2001", 22)):
        image, label = read_pair(out / "img" / f"img{case}.nii.gz", out / "label" / f"label{case}.nii.gz")
        assert image.array.shape == label.array.shape == (slices, 40, 40)
        assert set(np.unique(label.array)) >= {BTCV_IDS[organ] for organ in ORGANS}
        real = read_pair(source / "img" / "img0001.nii.gz", source / "label" / "label0001.nii.gz")
        wanted = patients[case]
        made = make_virtual_patient(*real, wanted["seed"], phase=wanted["phase"], size=ScanSize(slices, 40))
        np.testing.assert_array_equal(image.array, made[0].array)
        np.testing.assert_allclose(image.spacing, made[0].spacing, rtol=1e-6)
    first = tree(out)
    # More patients than numbers: the numbers start over, and those already there stay.
    cohort(source, out, train=3, test=1, size=SMALL)
    assert nib.load(out / "img" / "img1003.nii.gz").shape == (40, 40, 20)
    assert all(tree(out)[name] == content for name, content in first.items() if name != "cohort.json")
    # Another size is another cohort, and so is none.
    for size in (CohortSize((20, 24), (22,), pixels=36), None):
        cohort(source, out, train=2, test=1, size=size)
        cohort(source, tmp_path / f"clean{size}", train=2, test=1, size=size)
        assert tree(out) == tree(tmp_path / f"clean{size}")


def test_sizes_that_are_none(source, tmp_path, refused):
    refused("1 slices", CohortSize, (20, 1), (20,))
    refused("8 pixels", CohortSize, (20,), (), pixels=8)
    out = tmp_path / "out"
    refused(["no number of slices", "held out"], cohort, source, out, size=CohortSize((20,), ()))
    refused("workers=0", cohort, source, out, workers=0)


def _write(source, out, workers):
    cohort(source, out, workers=workers, size=SMALL)


@pytest.mark.slow
def test_processes_killed_and_run_again(source, tmp_path, tree):
    """Killed in the middle of two processes' work; what they made is what one process makes undisturbed."""
    out, context = tmp_path / "out", multiprocessing.get_context("spawn")
    running = context.Process(target=_write, args=(source, out, 2))
    running.start()
    while running.is_alive() and not list(out.glob("img/img*")):
        time.sleep(0.01)
    running.kill()
    running.join(60)
    assert running.exitcode == -signal.SIGKILL
    _write(source, out, 1)
    _write(source, tmp_path / "clean", 1)
    assert tree(out) == tree(tmp_path / "clean")


def test_two_runs_into_one_folder(source, tmp_path, refused, monkeypatch):
    monkeypatch.setattr(prepare, "PATIENCE", 0.0)
    out = tmp_path / "out"
    with prepare.locked(out):
        refused([out, "another", "wait for it"], cohort, source, out)
    ids = cohort(source, out)
    with prepare.locked(out):
        assert cohort(source, out) == ids  # nothing to write, nothing to wait for


def test_damaged_record(source, tmp_path, refused):
    out = tmp_path / "out"
    out.mkdir()
    for content in ("{", "[]", '{"plan": {}, "items": 3, "made": {}}', '{"plan": 1}'):
        (out / "cohort.json").write_text(content)
        refused([out / "cohort.json", "not a record", "empty folder"], cohort, source, out)
