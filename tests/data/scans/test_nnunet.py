"""Preparing nnU-Net's raw format, both versions, and the Decathlon's."""

from __future__ import annotations

import json

import numpy as np
import pytest

from msa2net_lib.data.scans.nnunet import prepare_nnunet

VERSION_2 = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "spleen": 2, "liver": 1},
    "numTraining": 3,
    "file_ending": ".nii.gz",
}
TRAINING = ("BRATS_001", "case 7.b", "\u00fcber_0004")


def make_scan(seed, slices=4):
    rng = np.random.default_rng(seed)
    image = rng.integers(-1024, 1500, (slices, 24, 20)).astype(np.int16)
    return image, rng.integers(0, 3, image.shape).astype(np.uint8)


def describe(source, **changes):
    """Write dataset.json; a change to None takes the key out."""
    content = {key: value for key, value in (VERSION_2 | changes).items() if value is not None}
    (source / "dataset.json").write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def source(tmp_path, save_nifti):
    """Version 2: three cases to train on, one labeled test case."""
    source = tmp_path / "Dataset001_Organs"
    for seed, (part, case) in enumerate([*(("Tr", case) for case in TRAINING), ("Ts", "t1")]):
        image, label = make_scan(seed)
        save_nifti(source / f"images{part}" / f"{case}_0000.nii.gz", image)
        save_nifti(source / f"labels{part}" / f"{case}.nii.gz", label)
    describe(source)
    return source


def prepare(source, **options):
    return prepare_nnunet(source, source.parent / "out", **{"workers": 1, "progress": False} | options)


def cases(prepared):
    """Return the training cases in list order."""
    return list(dict.fromkeys(name.rpartition("_slice")[0] for name in prepared.train_slices))


def test_version_2_against_arithmetic(source):
    prepared = prepare(source, validation=["case 7.b"])
    assert cases(prepared) == ["BRATS_001", "case_7.b", "\u00fcber_0004"]
    assert prepared.test_cases == ["t1"]
    manifest = prepared.manifest
    assert manifest["organs"] == {"liver": 1, "spleen": 2}  # in the order of the ids, not of the file
    assert (manifest["modality"], manifest["source_format"], manifest["channel"]) == ("CT", "nnU-Net", 0)
    assert manifest["window"] == {"low": -125, "high": 275, "unit": "HU"}
    assert manifest["validation"] == ["case_7.b"]
    assert manifest["cases"]["t1"]["sources"]["image"]["file"] == "imagesTs/t1_0000.nii.gz"
    image, label = make_scan(3)
    case = prepared.load_case("t1")
    np.testing.assert_allclose(case.image, (np.clip(image, -125.0, 275) + 125) / 400, atol=1e-6)
    np.testing.assert_array_equal(case.label, label)
    image, label = make_scan(2)
    stored = prepared.load_slice("\u00fcber_0004_slice003")
    np.testing.assert_allclose(stored[0], (np.clip(image[3], -125.0, 275) + 125) / 400, atol=1e-6)
    np.testing.assert_array_equal(stored[1], label[3])


def test_version_1_is_the_same(source, tree):
    prepare(source)
    before = tree(source.parent / "out")
    old = {"0": "background", "2": "spleen", "1": "liver"}
    describe(source, channel_names=None, file_ending=None, modality={"0": "CT"}, labels=old)
    prepare_nnunet(source, source.parent / "version1", workers=1, progress=False)
    assert tree(source.parent / "version1") == before


def test_decathlon_names_are_the_same(source, tree):
    """One channel, no number in the names: "\u00fcber_0004" is a case and not channel 4."""
    prepare(source)
    before = tree(source.parent / "out")
    for path in source.glob("images*/*"):
        path.rename(path.with_name(path.name.replace("_0000.nii", ".nii")))
    (source / "imagesTr" / "._BRATS_001.nii.gz").write_bytes(b"macOS")
    prepared = prepare_nnunet(source, source.parent / "decathlon", workers=1, progress=False)
    assert prepared.manifest["cases"]["t1"]["sources"]["image"]["file"] == "imagesTs/t1.nii.gz"
    after = tree(source.parent / "decathlon")
    assert after.keys() == before.keys()
    for name in after:
        if not name.endswith(".json"):
            assert after[name] == before[name]


@pytest.mark.parametrize("name", ["MRI", "T2", "noNorm", "PET"])
def test_everything_but_ct_is_windowed_by_percentiles(source, name):
    describe(source, channel_names={"0": name})
    prepared = prepare(source)
    assert prepared.manifest["modality"] == name
    assert prepared.manifest["window"] == {"low": 0.5, "high": 99.5, "unit": "percentile"}
    image, _ = make_scan(3)
    low, high = np.percentile(image, [0.5, 99.5])
    assert prepared.manifest["cases"]["t1"]["window_values"] == pytest.approx([low, high])
    expected = np.clip((image - low) / (high - low), 0, 1)
    np.testing.assert_allclose(prepared.load_case("t1").image, expected, atol=1e-6)


def test_chosen_windows(source):
    image, _ = make_scan(3)
    prepared = prepare(source, window=(0, 100))
    np.testing.assert_allclose(prepared.load_case("t1").image, np.clip(image / 100, 0, 1), atol=1e-6)
    assert "window_values" not in prepared.manifest["cases"]["t1"]
    describe(source, channel_names={"0": "MRI"})
    prepared = prepare(source, window=(0, 1000))
    assert prepared.manifest["window"] == {"low": 0, "high": 1000, "unit": "intensity"}
    np.testing.assert_allclose(prepared.load_case("t1").image, np.clip(image / 1000, 0, 1), atol=1e-6)


def test_channels(source, save_nifti, refused):
    describe(source, channel_names={"0": "T1", "1": "CT"})
    manifest = source / "dataset.json"
    refused([manifest, "2 channels", "0 T1, 1 CT", "channel="], prepare, source)
    refused(["channel=2", "0 T1, 1 CT"], prepare, source, channel=2)
    refused([source / "imagesTr", "CASE_0001.nii.gz"], prepare, source, channel=1)
    for seed, path in enumerate(sorted(source.glob("images*/*_0000.nii.gz"))):
        save_nifti(path.with_name(path.name.replace("_0000", "_0001")), make_scan(10 + seed)[0])
    prepared = prepare(source, channel=1)
    assert (prepared.manifest["modality"], prepared.manifest["channel"]) == ("CT", 1)
    assert prepared.manifest["cases"]["t1"]["sources"]["image"]["file"] == "imagesTs/t1_0001.nii.gz"
    assert cases(prepared) == ["BRATS_001", "case_7.b", "\u00fcber_0004"]


def test_test_cases(source, refused):
    chosen = ["\u00fcber_0004", "t1"]
    prepared = prepare(source, test_cases=chosen)
    assert (cases(prepared), prepared.test_cases) == (["BRATS_001", "case_7.b"], chosen)
    prepared = prepare(source, test_cases=["BRATS_001"])  # t1 is left out, and what was made of it is gone
    assert prepared.test_cases == ["BRATS_001"]
    assert cases(prepared) == ["case_7.b", "\u00fcber_0004"]
    assert [path.name for path in (prepared.root / "test_vol_h5").iterdir()] == ["BRATS_001.npy.h5"]
    assert prepare(source, test_cases=[]).test_cases == []
    refused(["test_cases", "'nobody'", "BRATS_001"], prepare, source, test_cases=["nobody"])
    refused(["test_cases", "twice"], prepare, source, test_cases=["t1", "t1"])
    refused(["validation", "'t1'"], prepare, source, validation=["t1"])


def test_unlabeled_test_images_are_left_alone(source):
    for path in source.glob("labelsTs/*"):
        path.unlink()
    (source / "labelsTs").rmdir()
    assert prepare(source).test_cases == []


# ---- what is wrong with the source -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"channel_names": None}, "names no channels"),
        ({"channel_names": ["CT"]}, "names no channels"),
        ({"channel_names": {"CT": 0}}, "names no channels"),
        ({"labels": None}, "names no labels"),
        ({"labels": {"background": 0}}, "besides background"),
        ({"labels": {"background": 0, "whole": [1, 2], "core": [2]}}, ["regions", "one class"]),
        ({"regions_class_order": [1, 2]}, "regions"),
        ({"labels": {"background": 0, "liver": 1, "ignore": 2}}, "ignore label"),
        ({"labels": {"background": 0, "liver": 1, "spleen": 1}}, "the same id"),
        ({"labels": {"0": "background", "1": "kidney", "2": "kidney"}}, "the same name"),
        ({"labels": {"background": 0, "liver": "one"}}, "neither name -> id"),
        ({"labels": {"background": 0, "liver": -1}}, "neither name -> id"),
        ({"file_ending": ".png"}, ["'.png'", ".nii.gz"]),
        ({"file_ending": ".mha"}, ["imagesTr", "_0000.nii.gz", ".mha"]),
        ({"numTraining": 4}, ["numTraining is 4", "holds 3"]),
        ({"dataset": {"a": {"images": ["a.nii.gz"], "label": "b.nii.gz"}}}, '"dataset"'),
    ],
)
def test_descriptions_that_cannot_be_used(source, refused, changes, words):
    describe(source, **changes)
    refused(words, prepare, source)
    if "file_ending" not in changes:
        refused(source / "dataset.json", prepare, source)
    assert not (source.parent / "out").exists()


@pytest.mark.parametrize("text", ["{", "[]", "", "\xff"])
def test_description_that_is_none(source, refused, text):
    (source / "dataset.json").write_bytes(text.encode("latin-1"))
    refused(source / "dataset.json", prepare, source)
    (source / "dataset.json").unlink()
    refused([source / "dataset.json", "no such file"], prepare, source)


def test_folders_missing_or_empty(source, refused):
    (source / "labelsTr").rename(source / "masks")
    refused([source / "labelsTr", "no such folder"], prepare, source)
    (source / "masks").rename(source / "labelsTr")
    (source / "imagesTr").rename(source / "elsewhere")
    refused([source / "imagesTr", "no such folder"], prepare, source)
    (source / "imagesTr").mkdir()
    refused([source / "imagesTr", "holds no image", "CASE_0000.nii.gz"], prepare, source)


@pytest.mark.parametrize("part", ["Tr", "Ts"])
def test_every_image_has_its_mask(source, refused, part):
    case = {"Tr": "case 7.b", "Ts": "t1"}[part]
    label = source / f"labels{part}" / f"{case}.nii.gz"
    image = source / f"images{part}" / f"{case}_0000.nii.gz"
    label.unlink()  # for Ts the folder is empty then: a mistake, not an unlabeled test set
    refused([image, f"case {case} has no label map", label.parent], prepare, source)


def test_every_mask_has_its_image(source, refused):
    image = source / "imagesTr" / "case 7.b_0000.nii.gz"
    image.unlink()
    refused([source / "labelsTr" / "case 7.b.nii.gz", "has no image", "CASE_0000"], prepare, source)


def test_duplicate_ids(source, refused, save_nifti):
    twin = save_nifti(source / "imagesTr" / "BRATS_001_0000.nii", make_scan(0)[0])
    refused([twin.with_name("BRATS_001_0000.nii.gz"), twin.name, "keep one"], prepare, source)
    twin.unlink()
    for folder in ("images", "labels"):
        path = next((source / f"{folder}Tr").glob("BRATS_001*"))
        (source / f"{folder}Ts" / path.name).write_bytes(path.read_bytes())
    refused(["BRATS_001", source / "imagesTs", "imagesTr too"], prepare, source)


def spoil_geometry(image, label):
    return image, label, {"spacing": (2.5, 0.9, 0.7)}, ["spacing"]


def spoil_size(image, label):
    return image, label[:, :-1], {}, ["shape", "(4, 24, 20)", "(4, 23, 20)"]


def spoil_value(image, label):
    label[-1, -1, -1] = 3
    return image, label, {}, ["label values 3 found", "dataset.json does not name"]


def spoil_emptiness(image, label):
    return image, label * 0, {}, ["case case 7.b has no voxel", "allow_empty=True"]


SPOILS = [spoil_geometry, spoil_size, spoil_value, spoil_emptiness]


@pytest.mark.parametrize("spoil", SPOILS)
def test_bad_masks_stop_the_run_and_leave_nothing_half_written(source, save_nifti, refused, spoil):
    image, label, geometry, words = spoil(*make_scan(1))
    save_nifti(source / "imagesTr" / "case 7.b_0000.nii.gz", image)
    path = save_nifti(source / "labelsTr" / "case 7.b.nii.gz", label, **geometry)
    refused([path, *words], prepare, source)
    out = source.parent / "out"
    assert not [file for file in out.rglob("*") if "7.b" in file.name or file.name == "dataset.json"]


def test_an_empty_case_can_be_allowed(source, save_nifti):
    _, label = make_scan(1)
    save_nifti(source / "labelsTr" / "case 7.b.nii.gz", label * 0)
    prepared = prepare(source, allow_empty=True)
    assert prepared.manifest["cases"]["case_7.b"]["voxels"] == {"liver": 0, "spleen": 0}
    assert cases(prepared) == ["BRATS_001", "case_7.b", "\u00fcber_0004"]


def test_many_classes_keep_their_numbers(source, save_nifti):
    """More than the eight of Synapse, with gaps in the ids: numbered 1 to 12 in the order of the ids."""
    ids = [1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233]
    describe(source, labels={"background": 0} | {f"part {n}": n for n in ids})
    image, _ = make_scan(0)
    label = np.random.default_rng(5).choice([0, *ids], image.shape).astype(np.uint8)
    for path in source.glob("labels*/*"):
        save_nifti(path, label)
    prepared = prepare(source)
    assert prepared.manifest["organs"] == {f"part {n}": k for k, n in enumerate(ids, start=1)}
    with np.load(prepared.slice_path("BRATS_001_slice000")) as stored:
        np.testing.assert_array_equal(stored["label"], np.searchsorted([0, *ids], label[0]))
