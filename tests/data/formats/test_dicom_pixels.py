"""Pixels of DICOM slices in every compression, against what was stored and against pydicom's decoders."""

from __future__ import annotations

import errno
import io
import os
import tempfile

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from dicom_files import frame_of, set_frame, write_slice
from PIL import Image
from pydicom import uid
from pydicom.data import get_testdata_file

from msa2net_lib.data.volumes import read_volume

WRITTEN = [
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.RLELossless,
    uid.JPEG2000Lossless,
    uid.JPEGLosslessSV1,
]
COMPRESSED = WRITTEN[4:]


@pytest.fixture
def pixels():
    rows, columns = np.mgrid[:40, :36]
    noise = np.random.default_rng(0).integers(-20, 20, rows.shape)
    return (900 * np.sin(rows / 9) * np.cos(columns / 7) + noise).astype(np.int16)


@pytest.mark.parametrize("syntax", WRITTEN, ids=lambda syntax: syntax.keyword)
@pytest.mark.parametrize("dtype", ["int16", "uint16", "uint8"])
def test_lossless_pixels_come_back(tmp_path, refused, capfd, pixels, syntax, dtype):
    stored = (pixels + 1000).astype(dtype)
    path = write_slice(tmp_path / "one.dcm", stored, syntax=syntax, RescaleSlope=2, RescaleIntercept=-1024)
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == syntax
    if (syntax, dtype) == (uid.ExplicitVRBigEndian, "uint8"):  # such bytes come swapped in pairs, or not
        refused([path, "1.2.840.10008.1.2.2) is not read"], read_volume, path)
        return
    np.testing.assert_array_equal(read_volume(path).array[0], stored.astype(int) * 2 - 1024)
    assert capfd.readouterr() == ("", "")


SHIPPED = [
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_expb.dcm",
    "MR_small_implicit.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jp2klossless.dcm",
    "JPEG2000.dcm",
    "693_J2KI.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "examples_overlay.dcm",
    "image_dfl.dcm",
]
"""Files in pydicom's own package, as scanners and old tools wrote them."""


@pytest.fixture
def shipped(tmp_path):
    """Copy a file of pydicom's package; most lack a place in the patient, which they get."""

    def copy(name):
        dataset = pydicom.dcmread(get_testdata_file(name, download=False))
        place = {"ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
        given = {"SeriesInstanceUID": "1.2.3", "SliceThickness": 1, "Modality": "OT", "SOPClassUID": uid.CTImageStorage}
        for keyword, value in {**given, **place, "PixelSpacing": [1, 1]}.items():
            if keyword not in dataset or keyword not in given:
                setattr(dataset, keyword, value)
        (tmp_path / name).mkdir()
        dataset.save_as(tmp_path / name / "one.dcm")
        return tmp_path / name / "one.dcm"

    return copy


@pytest.mark.parametrize("name", SHIPPED)
def test_files_of_pydicom_read_as_pydicom_reads_them(shipped, name):
    path = shipped(name)
    dataset = pydicom.dcmread(path)
    theirs = dataset.pixel_array * float(dataset.get("RescaleSlope", 1)) + float(dataset.get("RescaleIntercept", 0))
    np.testing.assert_array_equal(read_volume(path).array[0], theirs)


def test_jpeg_ls_holds_the_uncompressed_image(shipped):
    ours, plain = (read_volume(shipped(f"MR_small{name}.dcm")).array for name in ("_jpeg_ls_lossless", ""))
    np.testing.assert_array_equal(ours, plain)


DECODED_ELSEWHERE = {
    "JPEGLSNearLossless_08.dcm": ((1, 45, 10), 0, 255, 25_000, 0),
    "JPEGLSNearLossless_16.dcm": ((1, 50, 10), 0, 65_535, 6_007_250, 0),
    "JPGExtended.dcm": ((1, 1024, 256), 0, 264, 3_770_427, 10_000),
}
"""Shape, lowest, highest and sum as pylibjpeg-libjpeg 2.5 decoded them, and how far rounding may take the sum.

That decoder's license keeps it out of the test requirements.
"""


@pytest.mark.parametrize("name", DECODED_ELSEWHERE)
def test_lossy_files_of_pydicom(shipped, capfd, name):
    shape, lowest, highest, total, rounding = DECODED_ELSEWHERE[name]
    path = shipped(name)
    capfd.readouterr()
    array = read_volume(path).array
    assert capfd.readouterr() == ("", "")  # GDCM's 8-bit decoder complains of 12 bits before the other is asked
    assert (array.shape, array.min(), array.max()) == (shape, lowest, highest)
    assert abs(int(array.sum(dtype=np.int64)) - total) <= rounding


def test_baseline_jpeg(tmp_path, pixels):
    """The 8-bit JPEG of photographs, written by Pillow."""
    stored = (pixels // 16 + 128).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(stored).save(buffer, "JPEG", quality=95)
    path = write_slice(tmp_path / "one.dcm", stored)
    dataset = pydicom.dcmread(path)
    set_frame(dataset, buffer.getvalue(), uid.JPEGBaseline8Bit)
    dataset.save_as(path)
    decoded = np.asarray(Image.open(buffer)).astype(int)
    assert np.abs(read_volume(path).array[0] - decoded).max() <= 1
    assert np.abs(decoded - stored).max() < 20


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.RLELossless])
@pytest.mark.parametrize("signed", [False, True])
def test_bits_above_the_stored_ones_are_dropped(tmp_path, syntax, signed):
    """Twelve bits in sixteen; the others hold an overlay, as old scanners did."""
    values = np.arange(40 * 36).reshape(40, 36) * 2 - (2048 if signed else 0)
    stored = ((values & 0x0FFF) | (np.indices(values.shape)[0] % 16 << 12)).astype(np.uint16)
    elements = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": int(signed)}
    path = write_slice(tmp_path / "one.dcm", stored, syntax=syntax, **elements)
    np.testing.assert_array_equal(read_volume(path).array[0], values)


@pytest.mark.parametrize("syntax", WRITTEN, ids=lambda syntax: syntax.keyword)
def test_file_cut_short_anywhere(tmp_path, pixels, refused, capfd, syntax):
    path = write_slice(tmp_path / "one.dcm", pixels, syntax=syntax)
    whole = path.read_bytes()
    for length in np.linspace(0, len(whole) - 9, 40).astype(int):  # the last 8 bytes may only mark the end
        path.write_bytes(whole[:length])
        refused(path, read_volume, path)
    assert capfd.readouterr() == ("", "")


def test_uncompressed_pixels_of_another_number(tmp_path, pixels, refused):
    path = write_slice(tmp_path / "one.dcm", pixels, Rows=39)
    refused([path, "2880 of 2808 bytes of pixels"], read_volume, path)
    path = write_slice(tmp_path / "one.dcm", pixels, Columns=3600)
    refused([path, "2880 of 288000 bytes of pixels"], read_volume, path)


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda syntax: syntax.keyword)
@pytest.mark.parametrize("size", [{"Rows": 39}, {"Columns": 37}, {"Rows": 60000, "Columns": 60000}])
def test_compressed_pixels_of_another_size(tmp_path, pixels, refused, syntax, size):
    path = write_slice(tmp_path / "one.dcm", pixels, syntax=syntax)
    dataset = pydicom.dcmread(path)
    for keyword, value in size.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)
    refused([path, "corrupt"], read_volume, path)


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda syntax: syntax.keyword)
def test_image_cut_short_inside_its_fragment(tmp_path, pixels, refused, capfd, syntax):
    path = write_slice(tmp_path / "one.dcm", pixels, syntax=syntax)
    frame, dataset = frame_of(path), pydicom.dcmread(path)
    for length in np.linspace(2, len(frame) - 8, 20).astype(int) // 2 * 2:
        set_frame(dataset, frame[:length], syntax)
        dataset.save_as(path)
        refused([path, "corrupt"], read_volume, path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("syntax", COMPRESSED, ids=lambda syntax: syntax.keyword)
def test_fragments_that_break_off(tmp_path, pixels, refused, syntax):
    path = write_slice(tmp_path / "one.dcm", pixels, syntax=syntax)
    whole = path.read_bytes()
    path.write_bytes(whole[:-12] + whole[-8:])  # four bytes less before the mark of the end
    refused([path, "break off"], read_volume, path)


CHANGED = {
    "bits": (b"\xff\xc3", 4, 16, 20),
    "values a pixel": (b"\xff\xc3", 9, 1, 3),
    "codes in a table": (b"\xff\xc4", 20, 0, 200),
    "predictor": (b"\xff\xda", 7, 1, 0),
    "end of the scan": (b"\xff\xda", 8, 0, 63),
    "shift": (b"\xff\xda", 9, 0, 2),
}


@pytest.mark.parametrize("name", CHANGED)
def test_lossless_jpeg_that_its_decoder_should_not_be_given(tmp_path, pixels, refused, name):
    """With 20 bits a value GDCM ends the process; the others it decodes to something."""
    path = write_slice(tmp_path / "one.dcm", pixels, syntax=uid.JPEGLosslessSV1)
    dataset, frame = pydicom.dcmread(path), bytearray(frame_of(path))
    marker, place, old, new = CHANGED[name]
    place += frame.index(marker)
    assert frame[place] == old
    frame[place] = new
    set_frame(dataset, bytes(frame), uid.JPEGLosslessSV1)
    dataset.save_as(path)
    refused([path, "no JPEG image"], read_volume, path)


def test_damage_that_only_the_decoder_notices(tmp_path, pixels, refused, capfd):
    """GDCM prints a complaint about this image and returns it all the same."""
    path = write_slice(tmp_path / "one.dcm", pixels, syntax=uid.JPEGLosslessSV1)
    dataset, frame = pydicom.dcmread(path), frame_of(path)
    middle = len(frame) // 2
    set_frame(dataset, frame[:middle] + bytes(6) + frame[middle:], uid.JPEGLosslessSV1)
    dataset.save_as(path)
    refused([path, "corrupt pixels", "extraneous bytes"], read_volume, path)
    assert capfd.readouterr() == ("", "")


def test_what_others_print_meanwhile_is_not_lost(tmp_path, pixels, capfd, monkeypatch):
    path = write_slice(tmp_path / "one.dcm", pixels, syntax=uid.JPEGLosslessSV1)
    decode = sitk.ReadImage

    def print_and_decode(*args, **kwargs):
        os.write(2, b"another thread speaks\n")
        return decode(*args, **kwargs)

    monkeypatch.setattr(sitk, "ReadImage", print_and_decode)
    np.testing.assert_array_equal(read_volume(path).array[0], pixels)
    assert capfd.readouterr() == ("", "another thread speaks\n")


def test_no_room_for_the_decoders_file(tmp_path, pixels, refused, monkeypatch):
    path = write_slice(tmp_path / "one.dcm", pixels, syntax=uid.JPEGLosslessSV1)

    def fill(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pydicom.Dataset, "save_as", fill)
    refused([tempfile.gettempdir(), "the disk is full"], read_volume, path)


def test_compression_that_is_not_read(tmp_path, pixels, refused):
    path = write_slice(tmp_path / "one.dcm", pixels, syntax=uid.JPEG2000Lossless)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = uid.HTJ2KLossless
    dataset.save_as(path)
    refused([path, "compression (1.2.840.10008.1.2.4.201) is not read"], read_volume, path)


@pytest.mark.parametrize("syntax", WRITTEN, ids=lambda syntax: syntax.keyword)
def test_what_lies_around_the_elements_is_not_needed(tmp_path, pixels, syntax):
    """Padding of tapes and archives behind the pixels, and a preamble that a tool has cut off."""
    path = write_slice(tmp_path / "one.dcm", pixels, syntax=syntax)
    whole = path.read_bytes()
    for changed in (whole + bytes(512), whole + b"\xfc\xff\xfc\xffOB\0\0\x08\0\0\0" + bytes(8), whole[132:]):
        path.write_bytes(changed)
        np.testing.assert_array_equal(read_volume(path).array[0], pixels)
        path.rename(tmp_path / "one")
        np.testing.assert_array_equal(read_volume(tmp_path).array[0], pixels)
        path = (tmp_path / "one").rename(path)


@pytest.mark.parametrize("syntax", WRITTEN[:2], ids=lambda syntax: syntax.keyword)
def test_elements_without_any_file_header(tmp_path, pixels, syntax):
    dataset = pydicom.dcmread(write_slice(tmp_path / "one.dcm", pixels, syntax=syntax))
    implicit = syntax == uid.ImplicitVRLittleEndian
    del dataset.file_meta
    dataset.preamble = None
    dataset.save_as(tmp_path / "one.dcm", enforce_file_format=False, implicit_vr=implicit, little_endian=True)
    assert not pydicom.misc.is_dicom(tmp_path / "one.dcm")
    np.testing.assert_array_equal(read_volume(tmp_path).array[0], pixels)


@pytest.mark.parametrize("padding", [2, 72, 512])
def test_padding_within_the_pixels(tmp_path, pixels, refused, padding):
    path = write_slice(tmp_path / "one.dcm", pixels)
    for value in (0, 7):
        dataset = pydicom.dcmread(path)
        dataset.PixelData = pixels.tobytes() + bytes([value]) * padding
        dataset.save_as(path)
        if value:  # it may as well be rows that the header does not know of
            refused([path, f"{2880 + padding} of 2880 bytes"], read_volume, path)
        else:
            np.testing.assert_array_equal(read_volume(path).array[0], pixels)
