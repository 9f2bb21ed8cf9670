"""What lies in folders beside slices: neighbors, copies, localizers, slices without the UID of their series."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pydicom
import pytest
from dicom_files import POSITION, SERIES, write_series, write_slice
from PIL import Image
from pydicom import uid

from msa2net_lib.data.volumes import read_volume

SCOUT = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}


@pytest.fixture
def array():
    return np.random.default_rng(0).integers(-1024, 3000, (6, 24, 20)).astype(np.int16)


@pytest.fixture
def ct(tmp_path, array):
    """A folder with one series of six slices."""
    write_series(tmp_path / "ct", array)
    return tmp_path / "ct"


def notes_of(path, array, **choice):
    volume = read_volume(path, **choice)
    np.testing.assert_array_equal(volume.array, array)
    return volume.notes


@pytest.mark.parametrize("ending", [".img", ".png", ".txt", ".zip", ".nii.gz", ".h5", ""])
@pytest.mark.parametrize("first", [0, 3])
def test_endings_decide_nothing(ct, array, ending, first):
    """Some slices, or all of them, end as files of other kinds do."""
    for index in range(first, 6):
        (ct / f"slice{index}.dcm").rename(ct / f"{index}{ending}")
    assert notes_of(ct, array) == ()
    assert notes_of(ct / f"5{ending}", array) == ()


NEIGHBORS = {
    "film.mp4": bytes(64),
    "empty": b"",
    "empty.dcm": b"",
    "zeros.dcm": bytes(3000),
    "viewer.exe": b"MZ\x90\0" + bytes(range(256)) * 40,
    "scan.nii": b"\x5c\x01\0\0" + bytes(600),
}


@pytest.mark.parametrize("name", NEIGHBORS)
def test_unrelated_neighbor_is_told_and_blocks_nothing(ct, array, name):
    (ct / name).write_bytes(NEIGHBORS[name])
    for path in (ct, ct / "slice2.dcm"):
        (note,) = notes_of(path, array)
        assert "no DICOM image" in note
        assert name in note


def test_all_neighbors_are_one_note(ct, array):
    for name, content in NEIGHBORS.items():
        (ct / name).write_bytes(content)
    Image.new("L", (4, 4)).save(ct / "key.jpg")
    os.mkfifo(ct / "pipe")
    (note,) = notes_of(ct, array)
    assert note.endswith("empty, empty.dcm, film.mp4, key.jpg, and 3 more")


def test_text_and_what_belongs_to_a_disc_needs_no_word(ct, array):
    (ct / "README").write_text("from the clinic: 1.2.840.10008.5.1.4.1.1.2")
    (ct / ".DS_Store").write_bytes(bytes(40))
    assert notes_of(ct, array) == ()


def test_damaged_slice_of_another_study(ct, array, refused):
    """It blocks neither a file that is named nor, once that is named, its series; in the same series it would."""
    path = write_slice(ct / "other.dcm", array[0], SeriesInstanceUID=SERIES + ".9")
    whole = path.read_bytes()
    for end in (whole.index(b"\x28\0\x10\0US"), whole.index(b"\x28\0\x10\0US") + 3):
        path.write_bytes(whole[:end])
        for source in (ct, ct / "slice0.dcm"):
            (note,) = notes_of(source, array)
            assert "other.dcm" in note
    cut = (ct / "slice5.dcm").read_bytes()
    (ct / "slice5.dcm").write_bytes(cut[: cut.index(b"\x28\0\x10\0US") + 3])
    refused([ct / "slice5.dcm"], read_volume, ct)
    refused([ct / "slice5.dcm"], read_volume, ct / "slice0.dcm")


@pytest.mark.parametrize("frame", [None, SERIES + ".3"])
@pytest.mark.parametrize("number", [None, 4])
def test_series_uid_emptied(ct, array, frame, number):
    for path in ct.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID = ""
        for keyword, value in (("FrameOfReferenceUID", frame), ("SeriesNumber", number)):
            if value is not None:
                setattr(dataset, keyword, value)
        dataset.save_as(path)
    for source in (ct, ct / "slice3.dcm"):
        (note,) = notes_of(source, array)
        assert "Series Instance UID is empty" in note


APART = [
    {"SeriesNumber": 7},
    {"FrameOfReferenceUID": SERIES + ".8"},
    {"PixelSpacing": [0.8, 0.9]},
    {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]},
    {"Modality": "PT"},
]


@pytest.mark.parametrize("elements", APART, ids=lambda elements: next(iter(elements)))
def test_slices_without_uid_of_two_scans_are_kept_apart(tmp_path, array, refused, elements):
    write_series(tmp_path, array, SeriesInstanceUID="")
    step = {"ImagePositionPatient": [*POSITION[:2], 90.0]}
    write_slice(
        tmp_path / "x.dcm", array[0], **{"SeriesInstanceUID": "", "SeriesDescription": "Else", **step, **elements}
    )
    refused([tmp_path, "2 series", "without-uid-1 (Abdomen", "without-uid-2 (Else"], read_volume, tmp_path)
    assert "is empty" in notes_of(tmp_path, array, series="without-uid-1")[0]
    assert notes_of(tmp_path, array, series="Abdomen")


def test_folders_keep_slices_without_uid_apart(tmp_path, array, refused):
    for name in ("one", "two"):
        write_series(tmp_path / name, array, SeriesInstanceUID="")
    refused([tmp_path, "2 series"], read_volume, tmp_path)
    notes_of(tmp_path / "two", array)


@pytest.mark.parametrize("name", ["slice2 (1).dcm", "again", "deeper/slice2.dcm"])
def test_exact_copy_of_a_slice(ct, array, name):
    (ct / name).parent.mkdir(exist_ok=True)
    shutil.copy(ct / "slice2.dcm", ct / name)
    (note,) = notes_of(ct, array)
    assert "exact cop" in note
    assert name in note
    assert "slice2.dcm" in note


def test_whole_series_twice(ct, array):
    shutil.copytree(ct, ct / "backup")
    (note,) = notes_of(ct, array)
    assert "and 2 more" in note


def test_copy_with_one_other_pixel_is_none(ct, array, refused):
    array[2, 3, 4] += 1
    write_slice(ct / "again.dcm", array[2], ImagePositionPatient=[*POSITION[:2], POSITION[2] + 5])
    refused([ct, "again.dcm and slice2.dcm lie at the same position"], read_volume, ct)


def test_localizers_are_left_out_and_refused_alone(ct, array, refused):
    scout = write_slice(ct / "scout.dcm", array[0], SeriesInstanceUID=SERIES + ".2", SeriesDescription="Topo", **SCOUT)
    assert notes_of(ct, array) == ("left out 1 localizer",)
    assert read_volume(ct).series == ""
    notes_of(ct / "slice1.dcm", array)
    refused([scout, "a localizer", "give the series of the scan"], read_volume, scout)
    refused([ct, "a localizer"], read_volume, ct, series="topo")
    write_slice(ct / "third.dcm", array[0], SeriesInstanceUID=SERIES + ".3", SeriesDescription="Arterial")
    line = refused([ct, "3 series"], read_volume, ct)
    assert line.endswith("(Topo, CT, 1 slices, a localizer)")
    notes_of(ct, array, series="Abdomen")


def test_localizers_within_a_series(ct, array):
    for index in range(2):
        write_slice(ct / f"scout{index}.dcm", array[index], **SCOUT)
    assert notes_of(ct, array) == ("left out 2 localizers",)


def test_folder_with_localizers_only(tmp_path, array, refused):
    for index in range(3):
        write_slice(tmp_path / f"{index}.dcm", array[index], SeriesInstanceUID=f"{SERIES}.{index}", **SCOUT)
    refused([tmp_path, "3 series", "a localizer"], read_volume, tmp_path)


def test_modality_of_the_folder_is_carried(tmp_path, array):
    for modality in ("CT", "MR", "PT"):
        write_series(tmp_path / modality, array, Modality=modality)
        assert read_volume(tmp_path / modality).modality == modality


def test_links_to_slices_count_and_those_to_nothing_are_named(tmp_path, ct, array, refused):
    linked = tmp_path / "linked"
    linked.mkdir()
    for path in ct.iterdir():
        (linked / path.name).symlink_to(path)
    assert notes_of(linked, array) == ()
    (tmp_path / "above").mkdir()
    (tmp_path / "above" / "folder").symlink_to(ct)
    (tmp_path / "above" / "around").symlink_to(tmp_path / "above")
    assert notes_of(tmp_path / "above", array) == ()
    (ct / "slice5.dcm").unlink()
    refused([linked / "slice5.dcm", "link to a file that is not there"], read_volume, linked)
    refused([linked / "slice5.dcm", "link to a file that is not there"], read_volume, linked / "slice0.dcm")


OTHERS = {
    "structure set": {"SOPClassUID": uid.RTStructureSetStorage, "SeriesInstanceUID": SERIES + ".5"},
    "structure set without a UID": {"SOPClassUID": uid.RTStructureSetStorage, "SeriesInstanceUID": ""},
    "maker's own": {"SOPClassUID": "1.3.12.2.1107.5.9.1", "SeriesInstanceUID": SERIES + ".6"},
}


@pytest.mark.parametrize("name", OTHERS)
def test_objects_without_an_image_need_no_word(ct, array, name):
    write_slice(ct / "other.dcm", array[0], Rows=None, **OTHERS[name])
    assert notes_of(ct, array) == ()


@pytest.mark.parametrize("class_uid", ["1.2.840.10", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.9"])
def test_slice_of_which_little_is_left_is_no_other_object(ct, array, refused, class_uid):
    write_slice(ct / "slice5.dcm", array[5], Rows=None, SOPClassUID=class_uid, SeriesInstanceUID=None)
    refused([ct / "slice5.dcm", "a slice without its image"], read_volume, ct)
