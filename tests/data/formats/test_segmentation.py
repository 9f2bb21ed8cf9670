"""Segmentations of 3D Slicer (`.seg.nrrd`), cropped to what they label, by pynrrd; placed as SimpleITK places them."""

from __future__ import annotations

import nrrd
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from msa2net_lib.data.scans.files import find_scans
from msa2net_lib.data.scans.own import prepare_pairs
from msa2net_lib.data.volumes import label_on_image, read_pair, read_volume

SPACING, ORIGIN = np.array([0.7, 0.8, 2.5]), np.array([-20.0, 30.0, 40.0])
EXTENTS = {
    "inside": ((2, 3, 1), (9, 8, 3)),
    "at a corner": ((0, 0, 0), (5, 4, 2)),
    "one slice": ((4, 2, 5), (12, 10, 6)),
}


@pytest.fixture
def label():
    """Labels (z, y, x) that reach from (2, 3, 1) to (9, 8, 3) along (x, y, z), and the image's grid."""
    return np.random.default_rng(0).integers(1, 4, (6, 12, 14)).astype(np.uint8)


@pytest.fixture
def save(tmp_path, label):
    """Write the image, and its label of one extent as Slicer does; returns both and the label on the whole grid."""

    def write(extent, space="left-posterior-superior", shift=(0.0, 0.0, 0.0), **keys):
        folders = [tmp_path / name for name in ("images", "labels")]
        for folder in folders:
            folder.mkdir(exist_ok=True)
        first, stop = extent
        there = tuple(slice(a, b) for a, b in zip(first[::-1], stop[::-1], strict=True))
        whole = np.zeros_like(label)
        whole[there] = label[there]
        sign = np.array([1, 1, 1] if space.startswith("left") else [-1, -1, 1])
        header = {"space": space, "space directions": np.diag(SPACING * sign), "space origin": ORIGIN * sign}
        image = np.random.default_rng(1).integers(-1024, 1500, label.shape).astype(np.int16)
        nrrd.write(str(folders[0] / "a.nrrd"), image, header, index_order="C")
        header["space origin"] = (ORIGIN + SPACING * (np.array(first) + shift)) * sign
        header |= {
            "Segment0_ID": "Segment_1",
            "Segment0_LabelValue": "1",
            "Segment0_Name": "Leber, links",
            "Segmentation_ReferenceImageExtentOffset": " ".join(map(str, first)),
            **keys,
        }
        nrrd.write(str(folders[1] / "a.seg.nrrd"), label[there], header, index_order="C")
        return folders[0] / "a.nrrd", folders[1] / "a.seg.nrrd", whole

    return write


@pytest.mark.parametrize("space", ["left-posterior-superior", "right-anterior-superior"])
@pytest.mark.parametrize("extent", EXTENTS)
def test_cropped_segmentation_is_put_in_its_place(save, extent, space):
    image, path, whole = save(EXTENTS[extent], space)
    placed = read_pair(image, path)[1]
    theirs = sitk.Resample(
        sitk.ReadImage(str(path)), sitk.ReadImage(str(image)), sitk.Transform(), sitk.sitkNearestNeighbor
    )
    np.testing.assert_array_equal(placed.array, sitk.GetArrayFromImage(theirs))
    np.testing.assert_array_equal(placed.array, whole)
    assert any("put in its place" in note for note in placed.notes)


def test_whole_segmentation_stays_as_it_is(save):
    image, path, whole = save(((0, 0, 0), (14, 12, 6)))
    placed = read_pair(image, path)[1]
    np.testing.assert_array_equal(placed.array, whole)
    assert placed.notes == ()


SPOILT = {
    "half a voxel aside": ({"shift": (0.5, 0, 0)}, "shape"),
    "beyond the last slice": ({"shift": (0, 0, 4)}, "of its labeled voxels lie outside of"),
    "before the first column": ({"shift": (-4, 0, 0)}, "of its labeled voxels lie outside of"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_segmentation_that_does_not_belong_is_refused_by_name(save, refused, name):
    change, words = SPOILT[name]
    image, path, _ = save(EXTENTS["inside"], **change)
    refused([path, words], read_pair, image, path)


def test_cropped_label_that_is_no_segmentation_is_refused(save, refused, tmp_path):
    image, path, _ = save(EXTENTS["inside"])
    sitk.WriteImage(sitk.ReadImage(str(path)), str(tmp_path / "plain.nii.gz"))
    refused([tmp_path / "plain.nii.gz", "shape"], read_pair, image, tmp_path / "plain.nii.gz")


def test_segments_in_layers(save, refused, label):
    _, path, _ = save(EXTENTS["inside"])
    directions = np.vstack([[np.nan] * 3, np.diag(SPACING)])
    header = {"space": "LPS", "space directions": directions, "space origin": ORIGIN, "Segment0_ID": "a"}
    header["kinds"] = ["list", "domain", "domain", "domain"]
    nrrd.write(str(path), np.stack([label, label], axis=-1), header, index_order="C")
    refused([path, "segments overlap", "as one label map"], read_volume, path)


def test_prepared_with_its_image(save, tmp_path):
    image, path, whole = save(EXTENTS["inside"])
    assert list(find_scans(path.parent)) == ["a"]
    prepared = prepare_pairs(
        image.parent,
        path.parent,
        tmp_path / "out",
        classes={"x": 1, "y": 2, "z": 3},
        test=["a"],
        workers=1,
        progress=False,
    )
    np.testing.assert_array_equal(prepared.load_case("a").label, whole)
    assert label_on_image(read_volume(image), read_volume(path), image, path).array.shape == whole.shape
