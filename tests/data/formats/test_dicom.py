"""DICOM series: found, chosen, put in order; against SimpleITK's own reading of a series."""

from __future__ import annotations

import shutil

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from dicom_files import POSITION, SERIES, write_series, write_slice
from pydicom import uid
from pydicom.data import get_testdata_file

from msa2net_lib.data.volumes import read_volume


@pytest.fixture
def array():
    return np.random.default_rng(0).integers(-1024, 3000, (5, 24, 20)).astype(np.int16)


@pytest.fixture
def ct(tmp_path, array):
    """A folder with one series of five slices."""
    write_series(tmp_path / "ct", array)
    return tmp_path / "ct"


def by_simpleitk(folder):
    """Read a series with GDCM's own sorting, in LPS."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return sitk.DICOMOrient(reader.Execute(), "LPS")


def change(path, **elements):
    """Replace elements of a file; None removes one."""
    dataset = pydicom.dcmread(path)
    for keyword, value in elements.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(path)


def test_series_reads_as_simpleitk_reads_it(ct, array):
    volume, theirs = read_volume(ct), by_simpleitk(ct)
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(theirs))
    assert volume.array.dtype == np.int16
    np.testing.assert_allclose(volume.spacing, (2.5, 0.8, 0.7))
    np.testing.assert_allclose(volume.spacing, theirs.GetSpacing()[::-1])
    np.testing.assert_allclose(volume.origin, POSITION)
    np.testing.assert_allclose(volume.origin, theirs.GetOrigin())
    np.testing.assert_allclose(volume.direction, theirs.GetDirection(), atol=1e-9)


ORIENTATIONS = {
    "from head to feet": ([1, 0, 0, 0, 1, 0], [0, 0, -2.5]),
    "coronal": ([1, 0, 0, 0, 0, -1], [0, 2.5, 0]),
    "sagittal": ([0, 1, 0, 0, 0, -1], [2.5, 0, 0]),
    "lying on the belly": ([-1, 0, 0, 0, -1, 0], [0, 0, 2.5]),
    "oblique": ([np.cos(0.3), np.sin(0.3), 0, -np.sin(0.3), np.cos(0.3), 0], [0, 0, 2.5]),
}


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_any_orientation(tmp_path, array, name):
    orientation, step = ORIENTATIONS[name]
    for index, pixels in enumerate(array):
        position = [float(f"{value:.6f}") for value in np.add(POSITION, np.multiply(step, index))]
        orientation = [float(f"{value:.10f}") for value in orientation]
        elements = {"ImagePositionPatient": position, "ImageOrientationPatient": orientation}
        write_slice(tmp_path / f"{index}.dcm", pixels, **elements)
    volume, theirs = read_volume(tmp_path), by_simpleitk(tmp_path)
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(theirs))
    np.testing.assert_allclose(volume.spacing, theirs.GetSpacing()[::-1], rtol=1e-6)
    np.testing.assert_allclose(volume.origin, theirs.GetOrigin(), atol=1e-4)
    np.testing.assert_allclose(volume.direction, theirs.GetDirection(), atol=1e-6)


def test_order_is_that_of_the_positions(ct, array):
    for index, path in enumerate(sorted(ct.iterdir())):
        change(path, InstanceNumber=5 - index)
        path.rename(ct / f"{(3 * index) % 5}")  # without a suffix, as scanners do
    np.testing.assert_array_equal(read_volume(ct).array, array)


def test_one_file_stands_for_its_series(ct, array):
    write_slice(ct / "scout.dcm", array[0], SeriesInstanceUID=SERIES + ".2")
    np.testing.assert_array_equal(read_volume(ct / "slice3.dcm").array, array)
    np.testing.assert_array_equal(read_volume(ct / "scout.dcm").array, array[:1])
    (ct / "slice3.dcm").rename(ct / "slice3")
    np.testing.assert_array_equal(read_volume(ct / "slice3").array, array)


def test_several_series_are_listed_and_one_is_chosen(ct, array, refused):
    other = SERIES + ".7"
    write_series(ct / "deeper" / "down", array[:2] + 1, SeriesInstanceUID=other, SeriesDescription="Scout\\0.5 Ä\n")
    words = [
        ct,
        "2 series",
        "series=), or keep one series per folder",
        f"{SERIES} (Abdomen, CT, 5 slices)",
        f"{other} (Scout\\0.5",
        "CT, 2 slices)",
    ]
    refused(words, read_volume, ct)
    np.testing.assert_array_equal(read_volume(ct, series=SERIES).array, array)
    np.testing.assert_array_equal(read_volume(ct, series=other).array, array[:2] + 1)
    assert read_volume(ct, series="ABDOMEN").series == "Abdomen"
    refused([ct, "no series '1.2.3'", SERIES, other], read_volume, ct, series="1.2.3")


def test_many_series_are_not_all_named(tmp_path, array, refused):
    for index in range(30):
        write_slice(tmp_path / f"{index}.dcm", array[0, :2, :2], SeriesInstanceUID=f"{SERIES}.{index}")
    assert len(refused("30 series", read_volume, tmp_path).split("; ")) == 22


def test_other_files_in_the_folder_are_passed_over(ct, array):
    (ct / "README").write_text("from the clinic")
    (ct / "Thumbs.db").write_bytes(bytes(500))
    (ct / "._slice0.dcm").write_bytes(bytes(500))
    (ct / ".hidden").mkdir()
    shutil.copy(ct / "slice0.dcm", ct / ".hidden")
    shutil.copy(get_testdata_file("DICOMDIR", download=False), ct / "DICOMDIR")
    shutil.copy(get_testdata_file("DICOMDIR", download=False), ct / "index")
    shutil.copy(get_testdata_file("reportsi.dcm", download=False), ct)
    volume = read_volume(ct)
    np.testing.assert_array_equal(volume.array, array)
    assert (volume.modality, volume.is_dicom, volume.series, volume.path) == ("CT", True, "", ct)


def test_folder_without_images(tmp_path, refused):
    refused([tmp_path, "no DICOM images"], read_volume, tmp_path)
    shutil.copy(get_testdata_file("reportsi.dcm", download=False), tmp_path)
    shutil.copy(get_testdata_file("rtplan.dcm", download=False), tmp_path)
    refused([tmp_path, "only RTPLAN, SR"], read_volume, tmp_path)
    refused([tmp_path / "rtplan.dcm", "no DICOM images"], read_volume, tmp_path / "rtplan.dcm")


def drop(ct):
    (ct / "slice2.dcm").unlink()


def shift(ct):
    change(ct / "slice2.dcm", ImagePositionPatient=[*POSITION[:2], 40 + 2.5 * 2 + 0.6])


def tilt(ct):
    for index in range(5):
        change(ct / f"slice{index}.dcm", ImagePositionPatient=[-20, 30 + 0.4 * index, 40 + 2.5 * index])


def no_prefix(ct):
    whole = (ct / "slice4.dcm").read_bytes()
    (ct / "slice4.dcm").write_bytes(whole.replace(b"DICM", b"DICN", 1))


def dangling(ct):
    (ct / "slice4.dcm").unlink()
    (ct / "slice4.dcm").symlink_to(ct / "elsewhere" / "slice4.dcm")


def header_only(ct):
    whole = (ct / "slice4.dcm").read_bytes()
    (ct / "slice4.dcm").write_bytes(whole[: whole.index(b"\x28\x00\x10\x00US")])  # up to Rows


def other(**elements):
    """Return a damage: the last slice with other elements."""

    def damage(ct):
        change(ct / "slice4.dcm", **elements)

    damage.__name__ = "_".join(elements)
    return damage


SPOILT = [
    (drop, "5 mm between slice1.dcm and slice3.dcm, 2.5 mm elsewhere"),
    (shift, "slices are missing or uneven"),
    (tilt, "gantry tilt"),
    (no_prefix, "slice4.dcm: a damaged DICOM file"),
    (dangling, "slice4.dcm: is a link to a file that is not there"),
    (header_only, "slice4.dcm: a slice without its image"),
    (other(Rows=23), "slice4.dcm: another size (23x20 and 24x20) than slice0.dcm of the same series"),
    (other(Rows=None), "slice4.dcm: a slice without its image"),
    (other(Rows=None, SOPClassUID=uid.EnhancedSRStorage), "holds files without an image too"),
    (other(PixelSpacing=[0.8, 0.6]), "slice4.dcm: another pixel spacing"),
    (other(PixelSpacing=[0.0, 0.7]), "Pixel Spacing is (0.0, 0.7)"),
    (other(PixelSpacing=None), "Pixel Spacing is missing"),
    (other(ImageOrientationPatient=[1, 0, 0, 0, 0.996195, 0.087156]), "slice4.dcm: another orientation"),
    (other(ImageOrientationPatient=[1, 0, 0, 0, 1]), "Image Orientation (Patient) is missing or damaged"),
    (other(ImagePositionPatient=None), "Image Position (Patient) is missing"),
    (other(Modality="PT"), "another modality (PT and CT)"),
    (other(SeriesInstanceUID=None), "2 series"),
    (other(SeriesInstanceUID=None), "without-uid-1 (Abdomen, CT, 1 slices)"),
    (other(ImagePositionPatient=[*POSITION[:2], 47.5]), "slice3.dcm and slice4.dcm lie at the same position"),
    (other(SamplesPerPixel=3), "color image"),
    (other(PhotometricInterpretation="PALETTE COLOR"), "color image (PALETTE COLOR)"),
    (other(NumberOfFrames=2), "multi-frame"),
    (other(RescaleSlope=None), "Rescale Slope is missing"),
    (other(RescaleSlope=None, RescaleIntercept=None), "Rescale Slope is missing"),
    (other(RescaleSlope=0), "Rescale Slope is 0"),
    (other(BitsStored=17), "17 bits in 16"),
    (other(HighBit=14), "high bit 14"),
    (other(PixelRepresentation=None), "Pixel Representation is missing"),
    (other(PixelData=None), "has no pixels"),
]


@pytest.mark.parametrize(("damage", "words"), SPOILT)
def test_series_that_makes_no_volume(ct, refused, capfd, damage, words):
    damage(ct)
    refused([ct, words], read_volume, ct)
    assert capfd.readouterr() == ("", "")


def test_position_may_be_rounded(ct, array):
    for index in range(5):
        change(ct / f"slice{index}.dcm", ImagePositionPatient=[*POSITION[:2], round(40 + 0.625 * index, 1)])
    np.testing.assert_array_equal(read_volume(ct).array, array)


def test_every_slice_has_its_own_scaling(ct, array):
    for index in range(5):
        change(ct / f"slice{index}.dcm", RescaleSlope=0.5 * index + 0.25, RescaleIntercept=-1000.5 + index)
    volume = read_volume(ct)
    expected = [pixels * (0.5 * index + 0.25) + (-1000.5 + index) for index, pixels in enumerate(array)]
    np.testing.assert_array_equal(volume.array, np.stack(expected).astype(np.float32))
    assert volume.array.dtype == np.float32


@pytest.mark.parametrize(("slope", "intercept", "dtype"), [(1, -1024, "int16"), (2, -1024, "int16"), (20, 7, "int32")])
def test_whole_scaling_keeps_integers(ct, array, slope, intercept, dtype):
    for path in ct.iterdir():
        change(path, RescaleSlope=slope, RescaleIntercept=intercept)
    volume = read_volume(ct)
    np.testing.assert_array_equal(volume.array, array.astype(np.int64) * slope + intercept)
    assert volume.array.dtype == dtype


def test_scaling_beyond_all_bounds(ct, refused):
    change(ct / "slice4.dcm", RescaleSlope="1e300")
    refused([ct, "voxels are not finite"], read_volume, ct)


def test_magnetic_resonance_needs_no_scaling(tmp_path, array):
    write_series(tmp_path, array, Modality="MR", RescaleSlope=None, RescaleIntercept=None)
    np.testing.assert_array_equal(read_volume(tmp_path).array, array)


def test_table_in_place_of_a_slope(ct, refused):
    change(ct / "slice4.dcm", ModalityLUTSequence=[pydicom.Dataset()])
    refused([ct / "slice4.dcm", "Modality LUT"], read_volume, ct)


def test_single_slice_needs_a_thickness(tmp_path, array, refused):
    path = write_slice(tmp_path / "one.dcm", array[0], SpacingBetweenSlices=3)
    assert read_volume(tmp_path).spacing == (2.5, 0.8, 0.7)  # as thick as it is, not as far from a neighbor
    change(path, SliceThickness=None)
    assert read_volume(tmp_path).spacing == (3, 0.8, 0.7)
    change(path, SpacingBetweenSlices=None)
    refused([path, "without a thickness"], read_volume, path)


def test_series_of_a_file_that_is_none(tmp_path, save_nifti, scan, refused):
    path = save_nifti(tmp_path / "scan.nii", scan(0)[0])
    refused([path, "no series 1.2.3"], read_volume, path, series="1.2.3")
