"""The label map lies on the image in ITK's physical space, whoever wrote the image and however it is turned."""

from __future__ import annotations

import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from msa2net_lib.data.volumes import read_volume
from msa2net_lib.prediction.run import predict_file


def rotation(*degrees):
    """A rotation about x, then y, then z."""
    turned = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        first, second = [other for other in range(3) if other != axis]
        one = np.eye(3)
        one[first, first] = one[second, second] = np.cos(angle)
        one[first, second], one[second, first] = -np.sin(angle), np.sin(angle)
        turned = one @ turned
    return turned


SIGNED = {
    "upright": np.eye(3),
    "flipped x": np.diag([-1.0, 1, 1]),
    "flipped y and z": np.diag([1.0, -1, -1]),
    "head down, mirrored": np.diag([-1.0, -1, -1]),
    "sagittal": np.eye(3)[:, [1, 2, 0]],
    "coronal, flipped": np.eye(3)[:, [0, 2, 1]] * [1, 1, -1],
}
OBLIQUE = {
    "oblique": rotation(10, -20, 15),
    "oblique, flipped and permuted": rotation(-12, 8, 25) @ SIGNED["coronal, flipped"],
    "halfway between two axes": rotation(0, 0, 45),
}
SPACING = np.array([0.7, 0.8, 2.5])  # along the file's axes
ORIGIN = np.array([-20.0, 30.0, 40.0])


def as_simpleitk(path, array, direction):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING.tolist())
    image.SetOrigin(ORIGIN.tolist())
    image.SetDirection(direction.ravel().tolist())
    sitk.WriteImage(image, str(path))


def as_nibabel(path, array, direction):
    affine = np.eye(4)
    affine[:3] = np.column_stack([direction * SPACING, ORIGIN]) * [[-1], [-1], [1]]
    nib.save(nib.Nifti1Image(np.ascontiguousarray(array.T), affine), path)


def as_pynrrd(path, array, direction):
    header = {
        "space": "left-posterior-superior",
        "space directions": (direction * SPACING).T,
        "space origin": ORIGIN,
        "kinds": ["domain"] * 3,
    }
    nrrd.write(str(path), np.ascontiguousarray(array.T), header)


WRITERS = {
    "scan.nii.gz": as_nibabel,
    "scan.nii": as_simpleitk,
    "scan.nrrd": as_pynrrd,
    "scan.mha": as_simpleitk,
}


def lands(image: sitk.Image, label_path, threshold: float):
    """Hold the label at every voxel's place in the scanner against the voxel; the label's reader is ITK's."""
    label = sitk.ReadImage(str(label_path))
    assert label.GetPixelID() == sitk.sitkUInt8
    assert sorted(label.GetSize()) == sorted(image.GetSize())
    found = 0
    for z, y, x in np.ndindex(*image.GetSize()[::-1]):
        place = image.TransformIndexToPhysicalPoint((x, y, z))
        expected = 5 if image[x, y, z] > threshold else 0
        assert label[label.TransformPhysicalPointToIndex(place)] == expected
        found += expected > 0
    assert 0 < found < image.GetNumberOfPixels()
    return label


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("turn", [*SIGNED, *OBLIQUE])
def test_label_map_lands_on_the_image(tmp_path, scan_hu, threshold, name, turn):
    direction = (SIGNED | OBLIQUE)[turn]
    WRITERS[name](tmp_path / name, scan_hu(), direction)
    made = predict_file(tmp_path / name, output_dir=tmp_path / "out", field_of_view="as-is", progress=False)
    image = sitk.ReadImage(str(tmp_path / name))
    label = lands(image, made.files["label map"], threshold)
    # Its own grid: the same voxels in the same order, not only the same places.
    assert label.GetSize() == image.GetSize()
    np.testing.assert_allclose(label.GetDirection(), image.GetDirection(), atol=1e-5)
    np.testing.assert_allclose(label.GetOrigin(), image.GetOrigin(), atol=1e-3)
    np.testing.assert_allclose(label.GetSpacing(), image.GetSpacing(), rtol=1e-5)
    told = [line for line in made.warnings if "slices" in line and "of the network" not in line]
    assert bool(told) == (turn in OBLIQUE or turn in ("sagittal", "coronal, flipped"))


@pytest.mark.parametrize("turn", [*SIGNED, *OBLIQUE])
def test_nibabel_sees_the_same_affine_and_the_same_voxels(tmp_path, scan_hu, threshold, turn):
    array = scan_hu(1)
    as_nibabel(tmp_path / "scan.nii.gz", array, (SIGNED | OBLIQUE)[turn])
    made = predict_file(tmp_path / "scan.nii.gz", output_dir=tmp_path, field_of_view="as-is", progress=False)
    image, label = nib.load(tmp_path / "scan.nii.gz"), nib.load(made.files["label map"])
    np.testing.assert_allclose(label.affine, image.affine, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(label.dataobj), np.where(threshold < array.T, 5, 0))
    assert label.get_data_dtype() == np.uint8


@pytest.mark.parametrize(
    ("rows", "step"),
    [
        ((1, 0, 0, 0, 1, 0), 2.5),
        ((1, 0, 0, 0, 1, 0), -2.5),
        ((0, 1, 0, 0, 0, -1), 2.5),
        (tuple(rotation(5, 12, -9)[:, :2].T.ravel()), 2.5),
    ],
    ids=["axial", "from the head down", "sagittal", "oblique"],
)
def test_dicom_series_of_pydicom(tmp_path, scan_hu, write_dicom, threshold, rows, step):
    folder = write_dicom(tmp_path / "series", scan_hu(2), rows=rows, step=step)
    made = predict_file(folder, output_dir=tmp_path / "out", field_of_view="as-is", progress=False)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    label = lands(reader.Execute(), made.files["label map"], threshold)
    assert label.GetSize() == (20, 24, 5)  # columns, rows, slices: the grid of the slices, not one along the body
    own = predict_file(
        next(folder.iterdir()), output_dir=tmp_path / "one", field_of_view="as-is", progress=False
    )  # by one of its files
    np.testing.assert_array_equal(own.label, made.label)
    assert sitk.ReadImage(str(own.files["label map"])).GetDirection() == label.GetDirection()


@pytest.mark.parametrize("turn", ["head down, mirrored", "sagittal", "oblique, flipped and permuted"])
def test_what_the_network_sees_does_not_depend_on_how_it_is_stored(tmp_path, root, turn):
    """The shipped network on a piece of real patient 1, as it is and stored otherwise: the same organs in LPS."""
    image = sitk.ReadImage(str(root / "data" / "example_ct" / "img" / "img0001.nii.gz"))[:, :, 70:76]
    permuted = np.abs(SIGNED.get(turn, SIGNED["coronal, flipped"])).argmax(axis=0).tolist()
    stored = sitk.Flip(sitk.PermuteAxes(image, permuted), [True, False, True])
    sitk.WriteImage(image, str(tmp_path / "plain.nii.gz"))
    sitk.WriteImage(stored, str(tmp_path / "stored.nrrd"))
    plain, other = (predict_file(tmp_path / name, progress=False) for name in ("plain.nii.gz", "stored.nrrd"))
    assert len(plain.found) >= 4
    np.testing.assert_array_equal(other.label, plain.label)
    back = sitk.Flip(sitk.PermuteAxes(sitk.GetImageFromArray(plain.label), permuted), [True, False, True])
    np.testing.assert_array_equal(other.own.array, sitk.GetArrayFromImage(back))


@pytest.mark.parametrize("turn", [*SIGNED, *OBLIQUE])
def test_volume_knows_the_axes_of_its_file(tmp_path, scan_hu, turn):
    array, direction = scan_hu(), (SIGNED | OBLIQUE)[turn]
    as_simpleitk(tmp_path / "scan.mha", array, direction)
    volume = read_volume(tmp_path / "scan.mha")
    own = volume.on_file_axes(volume.array)
    np.testing.assert_array_equal(own.array, array)
    np.testing.assert_allclose(own.direction, direction.ravel(), atol=1e-9)
    np.testing.assert_allclose((*own.spacing[::-1], *own.origin), (*SPACING, *ORIGIN))
    assert (volume.path, volume.modality, volume.is_dicom) == (tmp_path / "scan.mha", "", False)


def along(x, y):
    """Direction cosines of a file whose rows run along x and columns along y, slices across both."""
    x = np.array(x, float) / np.linalg.norm(x)
    y = np.array(y, float) - np.dot(x, y) * x
    y = y / np.linalg.norm(y)
    return np.column_stack([x, y, np.cross(x, y)])


TOLD = {
    "sagittal": (along((0, 1, 0), (0, 0, -1)), "has sagittal slices: axial ones of 20 x 5 pixels", (5, 24, 20)),
    "coronal": (along((1, 0, 0), (0, 0, -1)), "has coronal slices: axial ones of 5 x 20 pixels", (5, 24, 20)),
    "tilted by 54": (rotation(54, 0, 0), "oblique slices, tilted by 54 degrees against axial ones", (5, 24, 20)),
    "cardiac short axis": (
        along((0.7, 0.7, -0.1), (0.2, -0.3, -0.93)),
        "oblique slices, tilted by 69 degrees",
        (5, 24, 20),
    ),
    "tilted by 30": (rotation(30, 0, 0), "tilted by 30 degrees against axial ones, the network was", (5, 24, 20)),
}


@pytest.mark.parametrize("kind", TOLD)
def test_the_plane_of_the_file_is_told_and_can_be_kept(tmp_path, scan_hu, threshold, kind):
    """A stack of 5 thick slices of 24 x 20: as axial slices it falls apart, stored as they are it does not."""
    direction, words, shape = TOLD[kind]
    as_simpleitk(tmp_path / "scan.nii.gz", scan_hu(), direction)
    options = {"field_of_view": "as-is", "progress": False}
    made = predict_file(tmp_path / "scan.nii.gz", output_dir=tmp_path / "axial", **options)
    assert [line for line in made.warnings if words in line], made.warnings
    kept = predict_file(tmp_path / "scan.nii.gz", output_dir=tmp_path / "stored", plane="stored", **options)
    assert (sorted(kept.label.shape), len(kept.label)) == (sorted(shape), 5)
    assert kept.spacing[0] == pytest.approx(2.5)
    image = sitk.ReadImage(str(tmp_path / "scan.nii.gz"))
    for one in (made, kept):
        label = lands(image, one.files["label map"], threshold)
        np.testing.assert_allclose(label.GetDirection(), image.GetDirection(), atol=1e-5)


def test_upright_slices_are_not_told_and_no_plane_is_no_plane(tmp_path, scan_hu, threshold, refused):
    as_simpleitk(tmp_path / "scan.nii.gz", scan_hu(), SIGNED["flipped y and z"])
    made = predict_file(tmp_path / "scan.nii.gz", plane="stored", field_of_view="as-is", progress=False)
    assert not [line for line in made.warnings if "slices" in line and "of the network" not in line]
    refused(["plane='oblique'", "axial, stored"], predict_file, tmp_path / "scan.nii.gz", plane="oblique")
