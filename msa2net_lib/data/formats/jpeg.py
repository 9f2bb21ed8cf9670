"""Pixels of the JPEG family (JPEG, JPEG-LS, JPEG 2000) in DICOM, decoded by SimpleITK's GDCM.

The compressed image is handed over in a file of its own that says nothing of rescaling, so that the stored
values come back whatever kind of object they are from. Other decoders need no such file but give back damaged images
without a word: of 40 lossless frames cut short, pylibjpeg-libjpeg 2.5 (GPL besides) and imagecodecs 2026.3 took 38
each, of 40 with six zeros put in 39 and 40 (imagecodecs' `jpegsof3`: 0 and 40), GDCM that is watched none.
"""

from __future__ import annotations

import os
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

from msa2net_lib.data.formats.grid import quiet_itk
from msa2net_lib.data.formats.stream import last_line
from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import tell_disk_full

_DAMAGE = (
    *(b"Corrupt JPEG data", b"Premature end of JPEG", b"Tile part length", b"Stream too short", b"Failed to decode"),
)
"""What the decoders print about damage that they then paper over."""

_HARMLESS = b"Unsupported JPEG data precision"  # of the 8-bit decoder, before the 12-bit one is tried
_CODESTREAM = b"\xff\x4f\xff\x51"  # how JPEG 2000 begins
_LOSSLESS = 0xC3
_IMAGE_MARKERS = frozenset({0xC0, 0xC1, 0xC2, _LOSSLESS, 0xF7})  # the headers of JPEG, lossless JPEG and JPEG-LS
_HUFFMAN_TABLES = 0xC4
_SCAN = 0xDA  # the header of the compressed pixels
_KEPT = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
_stderr_lock = threading.Lock()


def decode(path: Path, dataset: Dataset, frame: bytes) -> NDArray:
    """Return the stored values (rows, columns) of the compressed image ``frame`` of a file's ``dataset``.

    Raises InputError, naming ``path``, if the image has another size than the header says, or is damaged as
    far as its decoder notices: JPEG holds no checksum.
    """
    expected = int(dataset.Rows), int(dataset.Columns)
    try:
        size, bits = _jpeg_2000_size(frame) if frame.startswith(_CODESTREAM) else _jpeg_size(frame)
    except (IndexError, ValueError, struct.error) as error:
        raise InputError(f"{path}: corrupt, its pixels are no JPEG image; copy or download it again") from error
    if size != expected or bits > int(dataset.BitsAllocated):
        shown, header = (f"{rows} x {columns}" for rows, columns in (size, expected))
        raise InputError(
            f"{path}: corrupt, its pixels are {shown} of {bits} bits, its header says {header} of "
            f"{dataset.BitsAllocated}; copy or download it again"
        )
    with tell_disk_full(tempfile.gettempdir()), tempfile.TemporaryDirectory() as folder:
        alone = _write_alone(Path(folder, "image.dcm"), dataset, frame)
        try:
            with quiet_itk(), _stderr_watched():
                pixels = sitk.GetArrayFromImage(sitk.ReadImage(alone, imageIO="GDCMImageIO")).squeeze()
        except RuntimeError as error:
            detail = last_line(error).rpartition(": ")[2]
            raise InputError(f"{path}: corrupt pixels ({detail}); copy or download it again") from error
    if pixels.size != expected[0] * expected[1] or pixels.dtype.kind not in "iu":
        raise InputError(f"{path}: its pixels come out as {pixels.shape} of {pixels.dtype}; export it uncompressed")
    return pixels.reshape(expected)


def _jpeg_2000_size(frame: bytes) -> tuple[tuple[int, int], int]:
    """Return (rows, columns) and bits of a value, as the image has them itself."""
    width, height, left, top = struct.unpack_from(">4I", frame, 8)
    return (height - top, width - left), (frame[42] & 0x7F) + 1


def _jpeg_size(frame: bytes) -> tuple[tuple[int, int], int]:
    """Return (rows, columns) and bits of a value, as the image has them itself; GDCM crashes on too many bits."""
    position, found, lossless = 2, None, False
    while frame[position] == 0xFF:
        marker, start = frame[position + 1], position + 4
        if marker in _IMAGE_MARKERS:
            bits, rows, columns, components = struct.unpack_from(">BHHB", frame, start)
            found, lossless = ((rows, columns), bits), marker == _LOSSLESS
            if components != 1 or bits > 16:
                raise ValueError("not one gray value of at most 16 bits")
        if marker == _SCAN:
            predictor, end, shift = frame[start + 3 : start + 6]
            if found is None or (lossless and (not 1 <= predictor <= 7 or end or shift)):
                raise ValueError(
                    "no size, an impossible predictor, or a shift, of which decoders make different things"
                )
            return found
        position += 2 + struct.unpack_from(">H", frame, position + 2)[0]
        if marker == _HUFFMAN_TABLES:
            _check_tables(frame[start:position])
    raise ValueError("no pixels")


def _check_tables(tables: bytes) -> None:
    """Raise ValueError unless every Huffman table holds as many codes as it counts; GDCM does not mind."""
    while tables:
        codes = sum(tables[1:17])
        if len(tables) < 17 + codes:
            raise ValueError("a table is cut short")
        tables = tables[17 + codes :]


def _write_alone(path: Path, dataset: Dataset, frame: bytes) -> str:
    """Write a file with nothing but the image and return its name."""
    alone = Dataset({dataset[keyword].tag: dataset[keyword] for keyword in _KEPT})
    alone.SamplesPerPixel, alone.PhotometricInterpretation = 1, "MONOCHROME2"
    alone.SOPClassUID, alone.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    alone.file_meta = FileMetaDataset()
    alone.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    alone.PixelData = encapsulate([frame])
    alone["PixelData"].VR = "OB"
    alone.save_as(path, enforce_file_format=True)
    return str(path)


@contextmanager
def _stderr_watched() -> Iterator[None]:
    """Raise RuntimeError for what the C decoders print about damage; what others print meanwhile is passed on.

    If the block raises, what was printed is dropped: it is about the same.
    """
    with _stderr_lock, tempfile.TemporaryFile() as caught:
        saved = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
        caught.seek(0)
        for line in caught:
            if line.startswith(_DAMAGE):
                raise RuntimeError(line.decode("ascii", "replace"))
            if not line.startswith(_HARMLESS):
                os.write(2, line)
