"""MetaImage files by SimpleITK, and by hand as the format's documentation says."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from msa2net_lib.data.volumes import read_volume

TURNED = (np.cos(0.2), -np.sin(0.2), 0, np.sin(0.2), np.cos(0.2), 0, 0, 0, 1)

BIG_ENDIAN = """\
ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = True
CompressedData = False
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = 1 2 3
ElementSpacing = 0.7 0.8 2.5
Comment = somebody's own
DimSize = 5 4 3
ElementType = MET_SHORT
ElementDataFile = LOCAL
"""


@pytest.fixture
def array():
    return np.random.default_rng(0).integers(-1024, 3000, (3, 4, 5)).astype(np.int16)


@pytest.fixture
def save(tmp_path, array):
    """Write the array with SimpleITK."""

    def write(name, compressed=False, dtype=np.int16):
        image = sitk.GetImageFromArray(array.astype(dtype))
        image.SetSpacing((0.7, 0.8, 2.5))
        image.SetOrigin((1.0, 2.0, 3.0))
        image.SetDirection(TURNED)
        sitk.WriteImage(image, str(tmp_path / name), useCompression=compressed)
        return tmp_path / name

    return write


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", ["scan.mha", "scan.mhd"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_files_of_simpleitk(save, array, name, compressed, dtype):
    volume = read_volume(save(name, compressed, dtype))
    np.testing.assert_array_equal(volume.array, array.astype(dtype))
    assert volume.array.dtype == dtype
    np.testing.assert_allclose((*volume.spacing, *volume.origin), (2.5, 0.8, 0.7, 1, 2, 3))
    np.testing.assert_allclose(volume.direction, TURNED)


def test_upper_case_and_big_endian_written_by_hand(tmp_path, array):
    path = tmp_path / "SCAN.MHA"
    path.write_bytes(BIG_ENDIAN.encode() + array.astype(">i2").tobytes())
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, array)
    assert (volume.spacing, volume.origin) == ((2.5, 0.8, 0.7), (1, 2, 3))


def test_axes_that_point_elsewhere(tmp_path, array):
    """The rows of TransformMatrix are the axes: here x runs to the right, y to the back, z to the feet."""
    path = tmp_path / "scan.mha"
    header = BIG_ENDIAN.replace("1 0 0 0 1 0 0 0 1", "-1 0 0 0 1 0 0 0 -1")
    path.write_bytes(header.encode() + array.astype(">i2").tobytes())
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, array[::-1, :, ::-1])
    np.testing.assert_allclose(volume.origin, (1 - 4 * 0.7, 2, 3 - 2 * 2.5))


HEADERS = [
    ("DimSize = 5 4 3", "DimSize = 5 4 30", "of the 1200 bytes"),
    ("DimSize = 5 4 3", "DimSize = 5 4 2", "more than the 80 bytes"),
    ("DimSize = 5 4 3", "DimSize = 5 4 -3", "`DimSize` with whole numbers"),
    ("DimSize = 5 4 3", "DimSize = 5 4", "NDims = 3"),
    ("NDims = 3", "NDims = 4", "NDims = 4"),
    ("NDims = 3\nBinaryData = True", "NDims = 2\nBinaryData = True\nx = 5", "NDims = 2"),
    ("BinaryData = True", "BinaryData = False", "only True"),
    ("BinaryDataByteOrderMSB = True\n", "", "`BinaryDataByteOrderMSB` with True or False"),
    ("CompressedData = False", "CompressedData = Talse", "`CompressedData` with True or False"),
    ("CompressedData = False", "CompressedData = True", "120 of an unknown number compressed bytes"),
    ("CompressedData = False", "CompressedData = True\nCompressedDataSize = 120", "corrupt"),
    ("ElementSpacing", "ElementSpaqing", "`ElementSpacing` with 3 numbers"),
    ("0.7 0.8 2.5", "0.7 0.8", "`ElementSpacing` with 3 numbers"),
    ("0.7 0.8 2.5", "0.7 0.8 -2.5", "voxel size"),
    ("0.7 0.8 2.5", "0.7 0.8 nan", "voxel size"),
    ("TransformMatrix", "TransformMatriy", "`TransformMatrix` with 9 numbers"),
    ("1 0 0 0 1 0 0 0 1", "1 0.5 0 0 1 0 0 0 1", "sheared"),
    ("1 0 0 0 1 0 0 0 1", "0 0 0 0 1 0 0 0 1", "no grid"),
    ("Offset", "Offse", "`Offset` with 3 numbers"),
    ("MET_SHORT", "MET_SHORT_ARRAY", "MET_SHORT_ARRAY is not read"),
    ("MET_SHORT", "MET_\x1b\xff", r"MET_\x1b\xff is not read"),
    ("Comment = somebody's own", "ElementNumberOfChannels = 3", "only 1"),
    ("Comment = somebody's own", "HeaderSize = 8", "only 0"),
    ("Comment = somebody's own", "DistanceUnits = cm", "only mm"),
    ("Comment = somebody's own", "Position = 4 5 6", "`Offset` twice"),
    ("Comment = somebody's own", "Comment", "no MetaImage header"),
    ("ElementType = MET_SHORT\n", "", "lacks `ElementType`"),
    ("= LOCAL", "= ../scan.raw", "not in the same folder"),
    ("= LOCAL", "= LIST", "`LIST` is missing"),
    ("= LOCAL", "= scan%03d.raw 1 3 1", "is missing"),
    ("ElementDataFile", "ElementFile", "no MetaImage header"),
]


@pytest.mark.parametrize(("before", "after", "words"), HEADERS)
def test_header_that_makes_no_sense(tmp_path, array, refused, capfd, before, after, words):
    assert before in BIG_ENDIAN
    path = tmp_path / "scan.mha"
    path.write_bytes(BIG_ENDIAN.replace(before, after).encode("latin-1") + array.astype(">i2").tobytes())
    refused([tmp_path, words], read_volume, path)
    assert capfd.readouterr() == ("", "")


def test_two_and_four_dimensions(tmp_path, refused):
    for shape, words in (((4, 5), "2-D (5 x 4)"), ((2, 3, 4, 5), "4-D (5 x 4 x 3 x 2)")):
        image = sitk.GetImageFromArray(np.zeros(shape, np.int16), isVector=False)
        sitk.WriteImage(image, str(tmp_path / "scan.mha"))
        refused([tmp_path / "scan.mha", words], read_volume, tmp_path / "scan.mha")


def test_several_values_a_voxel(tmp_path, refused):
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 4, 5, 3), np.uint8), isVector=True), str(tmp_path / "rgb.mha"))
    refused([tmp_path / "rgb.mha", "ElementNumberOfChannels = 3"], read_volume, tmp_path / "rgb.mha")


@pytest.mark.parametrize(("name", "data"), [("scan.mha", "scan.mha"), ("scan.mhd", "scan.raw")])
def test_raw_voxels_cut_short_or_too_many(save, refused, name, data):
    path = save(name)
    whole = (path.parent / data).read_bytes()
    (path.parent / data).write_bytes(whole[:-5])
    refused([path.parent / data, "truncated, 115 of the 120 bytes"], read_volume, path)
    (path.parent / data).write_bytes(whole + b"\0")
    refused([path.parent / data, "more than the 120 bytes"], read_volume, path)


@pytest.mark.parametrize(("name", "data"), [("scan.mha", "scan.mha"), ("scan.mhd", "scan.zraw")])
def test_compressed_voxels_damaged(save, refused, name, data):
    path = save(name, compressed=True)
    data = path.parent / data
    whole = data.read_bytes()
    for damaged in (whole[:-9], whole[:-9] + bytes(9), whole[:-40] + b"\xff" + whole[-39:], whole + b"\0"):
        data.write_bytes(damaged)
        refused([data, "corrupt"], read_volume, path)


def test_data_file_that_is_missing(save, refused):
    path = save("scan.mhd")
    (path.parent / "scan.raw").unlink()
    refused([path, "`scan.raw` is missing"], read_volume, path)


def test_voxels_that_are_not_finite(tmp_path, refused):
    array = np.zeros((3, 4, 5), np.float32)
    array[1, 2, 3:] = np.nan, np.inf
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "scan.mha"))
    refused([tmp_path / "scan.mha", "2 voxels are not finite"], read_volume, tmp_path / "scan.mha")
