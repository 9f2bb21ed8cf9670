"""Reading and writing volumes, against nibabel's reading and against arithmetic."""

from __future__ import annotations

import gzip
import os

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from dicom_files import write_series

from msa2net_lib.data.scans.files import find_scans
from msa2net_lib.data.volumes import SUFFIXES, Volume, check_same_geometry, read_pair, read_volume, window, write_volume
from msa2net_lib.prediction.source import read_source


@pytest.mark.parametrize("axes", ["LPS", "RAS", "LAS", "RPI", "SPL", "AIR"])
def test_any_orientation_reads_as_the_same_volume(tmp_path, save_nifti, scan, axes):
    array, _ = scan(0)
    path = save_nifti(tmp_path / "scan.nii.gz", array, axes)
    assert "".join(nib.aff2axcodes(nib.load(path).affine)) == axes  # the file really is turned
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, array)
    assert volume.array.dtype == np.int16
    np.testing.assert_allclose(volume.spacing, (2.5, 0.8, 0.7), rtol=1e-6)
    np.testing.assert_allclose(volume.origin, (-20, 30, 40), rtol=1e-6)
    np.testing.assert_allclose(volume.direction, np.eye(3).ravel(), atol=1e-6)


@pytest.mark.parametrize("number", ["0001", "0002"])
def test_shipped_scans_read_as_nibabel_reads_them(example_ct, number):
    path = example_ct / "img" / f"img{number}.nii.gz"
    theirs = nib.load(path)
    ours = read_volume(path)
    np.testing.assert_array_equal(ours.array, np.asarray(theirs.dataobj).T)
    np.testing.assert_allclose(ours.spacing, theirs.header.get_zooms()[::-1], rtol=1e-6)


FILES = [
    "scan.nii",
    "scan.NII.GZ",
    "scan.hdr",
    "scan.img",
    "scan.nrrd",
    "scan.nhdr",
    "scan.mha",
    "scan.mhd",
    "SCAN.MHA",
]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("folder", ["plain", "with spaces, and Größe µ 体积"])
def test_every_format_reads_as_the_same_volume(tmp_path, scan, name, folder):
    """Also from paths with spaces and letters beyond ASCII, of which the header may name a second one."""
    array, _ = scan(0)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((-20.0, 30.0, 40.0))
    path = tmp_path / folder / f"{folder} {name.lower()}"
    path.parent.mkdir()
    sitk.WriteImage(image, str(path), useCompression=True)
    path = path.rename(path.with_name(f"{folder} {name}"))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, array)
    assert volume.array.dtype == np.int16
    np.testing.assert_allclose((*volume.spacing, *volume.origin), (2.5, 0.8, 0.7, -20, 30, 40), rtol=1e-6)
    assert path.name.lower().endswith(SUFFIXES)


def test_dicom_folder_reads_as_the_same_volume(tmp_path, scan):
    array, _ = scan(0)
    folder = tmp_path / "with spaces, and Größe µ 体积"
    write_series(folder, array, names="Ebene {} é.dcm")
    for path in (folder, folder / "Ebene 3 é.dcm"):
        volume = read_volume(path)
        np.testing.assert_array_equal(volume.array, array)
        np.testing.assert_allclose((*volume.spacing, *volume.origin), (2.5, 0.8, 0.7, -20, 30, 40))


@pytest.mark.parametrize("name", ["scan.png", "scan", "scan.gz", "scan.nii.zip"])
def test_file_of_no_known_format(tmp_path, refused, name):
    path = tmp_path / name
    path.write_bytes(bytes(2000))
    refused([path, "not a format that is read", *SUFFIXES, "DICOM"], read_volume, path)


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.mha", "scan.dcm", "scan"])
def test_pipe_is_refused_and_not_waited_for(tmp_path, refused, name):
    os.mkfifo(tmp_path / name)
    for read in (read_volume, read_source):
        refused([tmp_path / name, "is a pipe or a device"], read, tmp_path / name)


def test_pipe_in_place_of_the_voxels(tmp_path, refused):
    image = sitk.GetImageFromArray(np.zeros((3, 4, 5), np.int16))
    for header, data in (("scan.mhd", "scan.raw"), ("scan.hdr", "scan.img"), ("scan.nhdr", "scan.raw")):
        sitk.WriteImage(image, str(tmp_path / header))
        (tmp_path / data).unlink()
        os.mkfifo(tmp_path / data)
        refused([tmp_path / data, "is a pipe or a device"], read_volume, tmp_path / header)
        (tmp_path / data).unlink()


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nrrd", "scan.dcm"])
def test_link_to_a_file_that_is_not_there(tmp_path, refused, name):
    (tmp_path / name).symlink_to(tmp_path / "annex" / name)
    refused([tmp_path / name, "link to a file that is not there"], read_volume, tmp_path / name)
    refused([tmp_path / name, "link to a file that is not there"], read_source, tmp_path / name)
    refused([tmp_path / name, "link to a file that is not there"], find_scans, tmp_path)


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.img", "scan.mha"])
def test_dicom_under_the_name_of_another_format(tmp_path, scan, name):
    array, _ = scan(0)
    write_series(tmp_path, array, names="{}" + name)
    for path in (tmp_path, tmp_path / f"3{name}"):
        np.testing.assert_array_equal(read_volume(path).array, array)


def test_image_of_which_reading_is_not_permitted(tmp_path, save_nifti, scan, refused, monkeypatch):
    """Root may read everything, so the refusal is played."""
    path = save_nifti(tmp_path / "scan.nii.gz", scan(0)[0])

    def forbid(*_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(gzip, "open", forbid)
    refused([path, "not permitted"], read_volume, path)


def test_single_slice_stays_a_volume(tmp_path, save_nifti, scan):
    array, _ = scan(0, slices=1)
    assert read_volume(save_nifti(tmp_path / "one.nii.gz", array)).array.shape == (1, 24, 20)


def test_scaled_integers_are_read_in_their_unit(tmp_path):
    image = nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.diag([-1, -1, 1, 1]))
    image.header.set_slope_inter(2.0, -100.0)
    nib.save(image, tmp_path / "scaled.nii")
    expected = nib.load(tmp_path / "scaled.nii").get_fdata().T
    np.testing.assert_array_equal(read_volume(tmp_path / "scaled.nii").array, expected)
    assert (expected.min(), expected.max()) == (-100, 2 * 59 - 100)


@pytest.mark.parametrize("name", ["out.nii.gz", "out.nii"])
def test_written_volume_reads_back_in_nibabel(tmp_path, scan, name):
    array, _ = scan(3)
    volume = Volume(array, (2.5, 0.8, 0.7), (1.0, 2.0, 3.0))
    path = write_volume(volume, tmp_path / "new" / name)
    theirs = nib.load(path)
    np.testing.assert_array_equal(np.asarray(theirs.dataobj), array.T)
    expected = np.diag([-0.7, -0.8, 2.5, 1.0])
    expected[:3, 3] = -1, -2, 3
    np.testing.assert_allclose(theirs.affine, expected, atol=1e-6)
    assert [p.name for p in path.parent.iterdir()] == [name]


def test_window_is_the_published_recipe():
    hu = np.array([-2000, -125, -124, 75, 274, 275, 3000], dtype=np.int16)
    scaled = window(hu)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, [0, 0, 1 / 400, 0.5, 399 / 400, 1, 1], atol=1e-7)
    np.testing.assert_allclose(window(np.array([50.0]), 0, 200), [0.25])


def test_empty_window_is_refused(refused):
    refused("low must be smaller", window, np.zeros(3), 10, 10)


def save(path, array, affine=None):
    nib.save(nib.Nifti1Image(array, np.eye(4) if affine is None else affine), path)


def cut(path):
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def damage_missing(path):
    path.unlink()


def damage_four_d(path):
    save(path, np.zeros((4, 5, 6, 2), np.int16))


def damage_two_d(path):
    save(path, np.zeros((4, 5), np.int16))


def damage_rgb(path):
    save(path, np.zeros((4, 5, 6), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]))


def damage_vector(path):
    save(path, np.zeros((4, 5, 6, 1, 3), np.float32))


def damage_complex(path):
    save(path, np.zeros((4, 5, 6), np.complex64))


def damage_nan(path):
    save(path, np.full((4, 5, 6), np.nan, np.float32))


def damage_inf(path):
    array = np.zeros((4, 5, 6), np.float32)
    array[1, 2, 3] = -np.inf
    save(path, array)


def damage_sheared(path):
    affine = np.eye(4)
    affine[0, 1] = 0.4
    save(path, np.zeros((4, 5, 6), np.int16), affine)


def damage_short_stream(path):
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-100]))


def damage_bit_flip(path):
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    path.write_bytes(bytes(whole))


def damage_no_gzip(path):
    path.write_bytes(gzip.decompress(path.read_bytes()))


def damage_no_nifti(path):
    path.write_bytes(gzip.compress(b"this is a letter" * 100))


def damage_empty(path):
    path.write_bytes(b"")


DAMAGES = [
    (damage_missing, "no such file"),
    (cut, "truncated"),
    (damage_short_stream, "truncated"),
    (damage_bit_flip, "corrupt"),
    (damage_no_gzip, "corrupt"),
    (damage_no_nifti, "not a NIfTI-1 file"),
    (damage_empty, "not a NIfTI-1 file"),
    (damage_four_d, "4-D"),
    (damage_two_d, "2-D"),
    (damage_rgb, "several values per voxel"),
    (damage_vector, "5-D"),
    (damage_complex, "several values per voxel"),
    (damage_nan, "120 voxels are not finite"),
    (damage_inf, "1 voxels are not finite"),
    (damage_sheared, "sheared"),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGES)
def test_damaged_file_is_refused_in_one_quiet_line(tmp_path, save_nifti, scan, refused, capfd, damage, words):
    path = save_nifti(tmp_path / "scan.nii.gz", scan(0)[0])
    damage(path)
    refused([path, words], read_volume, path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8", ">i2"])
def test_every_byte_order(tmp_path, refused, dtype):
    path = tmp_path / "scan.nii.gz"
    array = np.arange(60).reshape(3, 4, 5).astype(dtype)
    header = nib.Nifti1Header(endianness=dtype[0])
    header.set_data_dtype(dtype)
    nib.save(nib.Nifti1Image(array, np.eye(4), header), path)
    np.testing.assert_array_equal(read_volume(path).array, array[::-1, ::-1].T)
    if array.dtype.kind == "f":
        array[2, 3, 4] = np.nan
        nib.save(nib.Nifti1Image(array, np.eye(4), header), path)
        refused([path, "1 voxels are not finite"], read_volume, path)


def test_nifti_2_which_simpleitk_lacks(tmp_path, refused):
    path = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti2Image(np.zeros((3, 4, 5), np.int16), np.eye(4)), path)
    refused([path, "not a NIfTI-1 file"], read_volume, path)


def test_uncompressed_file_cut_short(tmp_path, save_nifti, scan, refused):
    path = save_nifti(tmp_path / "scan.nii", scan(0)[0])
    cut(path)
    refused([path, "truncated", f"{path.stat().st_size - 352} of the 4800 bytes"], read_volume, path)


def test_other_format_that_is_none(tmp_path, refused):
    path = tmp_path / "scan.mha"
    path.write_text("not an image")
    refused([path, "no MetaImage header"], read_volume, path)


GEOMETRIES = [
    ({"spacing": (2.5, 0.8, 0.75)}, "spacing", "0.75"),
    ({"origin": (-20.0, 31.0, 40.0)}, "origin", "31"),
]


@pytest.mark.parametrize(("change", "word", "value"), GEOMETRIES)
def test_label_on_other_voxels(tmp_path, save_nifti, scan, refused, change, word, value):
    image, label = scan(0)
    first = save_nifti(tmp_path / "img.nii.gz", image)
    second = save_nifti(tmp_path / "label.nii.gz", label, **change)
    refused([first, second, word, value], read_pair, first, second)


def test_label_of_other_shape(tmp_path, save_nifti, scan, refused):
    image, label = scan(0)
    first = save_nifti(tmp_path / "img.nii.gz", image)
    second = save_nifti(tmp_path / "label.nii.gz", label[:-1])
    refused([first, second, "shape", "(5, 24, 20)", "(4, 24, 20)"], read_pair, first, second)


def test_tilted_label_is_refused_and_rounding_is_not(refused):
    array = np.zeros((3, 4, 5), np.int16)
    straight = Volume(array, (2.0, 1.0, 1.0))
    cos, sin = np.cos(0.01), np.sin(0.01)
    tilted = Volume(array, (2.0, 1.0, 1.0), direction=(cos, -sin, 0, sin, cos, 0, 0, 0, 1))
    refused(["a.nii", "b.nii", "direction"], check_same_geometry, straight, tilted, "a.nii", "b.nii")
    rounded = Volume(array, (2.0001, 1.0, 1.0), (0.001, 0.0, 0.0))
    check_same_geometry(straight, rounded, "a.nii", "b.nii")


def test_label_ids_are_checked_with_the_file_named(tmp_path, save_nifti, scan, refused):
    image, label = scan(0)
    first = save_nifti(tmp_path / "img.nii.gz", image)
    good = save_nifti(tmp_path / "label.nii.gz", label.astype(np.float32))
    assert read_pair(first, good)[1].array.dtype == np.uint8
    label[2, 3, 4] = 14
    second = save_nifti(tmp_path / "label.nii.gz", label)
    refused([second, "14", "0 to 13"], read_pair, first, second)
