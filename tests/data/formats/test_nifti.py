"""NIfTI files by nibabel; headers that make no sense, which SimpleITK would read as something."""

from __future__ import annotations

import struct

import nibabel as nib
import numpy as np
import pytest

from msa2net_lib.data.volumes import read_volume

AFFINE = np.array([[-0.7, 0, 0, 20], [0, -0.8, 0, -30], [0, 0, 2.5, 40], [0, 0, 0, 1.0]])


@pytest.fixture
def plain(tmp_path):
    """An uncompressed file whose header says its place twice, as qform and as sform."""
    image = nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), AFFINE)
    image.set_qform(AFFINE, 1)
    nib.save(image, tmp_path / "scan.nii")
    return tmp_path / "scan.nii"


def overwrite(path, offset, kind, *values):
    content = bytearray(path.read_bytes())
    struct.pack_into(f"<{kind}", content, offset, *values)
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("suffix", [".hdr", ".img"])
@pytest.mark.parametrize("endianness", "<>")
def test_pair_of_header_and_image(tmp_path, suffix, endianness):
    header = nib.nifti1.Nifti1PairHeader(endianness=endianness)
    header.set_data_dtype(f"{endianness}i2")
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    nib.save(nib.Nifti1Pair(array, AFFINE, header), tmp_path / "scan.img")
    volume = read_volume(tmp_path / f"scan{suffix}")
    np.testing.assert_array_equal(volume.array, array.T)
    np.testing.assert_allclose((*volume.spacing, *volume.origin), (2.5, 0.8, 0.7, -20, 30, 40), rtol=1e-6)


def test_pair_of_which_one_is_missing_or_short(tmp_path, refused):
    nib.save(nib.Nifti1Pair(np.zeros((3, 4, 5), np.int16), AFFINE), tmp_path / "scan.img")
    content = (tmp_path / "scan.img").read_bytes()
    (tmp_path / "scan.img").write_bytes(content[:-3])
    refused(
        [tmp_path / "scan.img", "117 of the 120 bytes", "that scan.hdr declares"], read_volume, tmp_path / "scan.hdr"
    )
    (tmp_path / "scan.img").unlink()
    refused([tmp_path / "scan.img", "no such file"], read_volume, tmp_path / "scan.hdr")
    (tmp_path / "scan.hdr").rename(tmp_path / "scan.img")
    refused([tmp_path / "scan.hdr", "no such file"], read_volume, tmp_path / "scan.img")


NONSENSE = [
    ((42, "h", 4000), "of the 160000 bytes"),
    ((42, "h", 2), "more than the 80 bytes"),
    ((42, "h", -3), "size as"),
    ((40, "h", 9), "size as"),
    ((70, "h", 8), "voxel type 8 of 16 bits"),
    ((70, "h", 1536), "voxel type 1536"),
    ((72, "h", 8), "voxel type 4 of 8 bits"),
    ((76 + 4, "f", 0.0), "voxel size"),
    ((76 + 12, "f", np.nan), "voxel size"),
    ((76 + 8, "f", -0.8), "voxel size"),
    ((76 + 4, "f", 0.9), "qform and its sform"),
    ((108, "f", 0.0), "begin at byte 0"),
    ((108, "f", 353.5), "begin at byte 353.5"),
    ((108, "f", np.inf), "begin at byte inf"),
    ((112, "2f", np.inf, 0), "slope inf"),
    ((112, "2f", 2, np.nan), "intercept nan"),
    ((112, "2f", 1e-20, 0), "slope 1e-20"),
    ((112, "2f", 0, 5), "slope 0, intercept 5"),
    ((123, "B", 1), "not in mm"),
    ((252, "2h", 0, 0), "how the patient lies"),
    ((252, "2h", -2917, 2), "codes are (-2917, 2)"),
    ((252, "2h", 1, 16), "codes are (1, 16)"),
    ((268, "f", 99.0), "qform and its sform"),
    ((280, "f", -0.9), "qform and its sform"),
    ((280, "f", np.nan), "qform and its sform"),
    ((344, "4s", b"n+2\0"), "not a NIfTI-1 file"),
    ((344, "4s", b"ni1\0"), "not a NIfTI-1 file"),
]


@pytest.mark.parametrize(("change", "words"), NONSENSE)
def test_header_that_makes_no_sense(plain, refused, capfd, change, words):
    read_volume(plain)
    overwrite(plain, *change)
    refused([plain, words], read_volume, plain)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (2, 4)])
def test_place_said_once_is_enough(plain, codes):
    overwrite(plain, 252, "2h", *codes)
    np.testing.assert_allclose(read_volume(plain).origin, (-20, 30, 40), rtol=1e-6)


def test_slope_of_zero_means_none(plain):
    overwrite(plain, 112, "2f", 0, 0)
    assert read_volume(plain).array.dtype == np.int16


def test_bytes_behind_the_voxels(plain, refused):
    plain.write_bytes(plain.read_bytes() + b"\0")
    refused([plain, "more than the 120 bytes"], read_volume, plain)


def test_fourth_axis_of_length_one_is_no_axis(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((3, 4, 5, 1), np.int16), AFFINE), tmp_path / "scan.nii")
    assert read_volume(tmp_path / "scan.nii").array.shape == (5, 4, 3)


def test_analyze_which_knows_no_orientation(tmp_path, refused):
    nib.save(nib.AnalyzeImage(np.zeros((3, 4, 5), np.int16), np.eye(4)), tmp_path / "scan.img")
    refused([tmp_path / "scan.hdr", "not a NIfTI-1 file"], read_volume, tmp_path / "scan.img")
