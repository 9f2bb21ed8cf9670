"""The pixels of one DICOM slice: decoded, held against what the header promises, and rescaled.

Uncompressed pixels are read by NumPy, RLE by pydicom, the JPEG family by SimpleITK's GDCM.
"""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import RLELosslessDecoder

from msa2net_lib.data.formats import jpeg
from msa2net_lib.data.formats.dicom_slices import Slice, numbers, text, whole
from msa2net_lib.data.formats.stream import last_line, printable
from msa2net_lib.errors import InputError

_JPEG = (*uid.JPEGTransferSyntaxes, *uid.JPEGLSTransferSyntaxes, uid.JPEG2000Lossless, uid.JPEG2000)
_ITEM = 0xE000FFFE
_LARGEST_WHOLE = 1 << 30
_LAYOUT = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")


class _Layout:
    """How the pixels of a file are stored: its ``shape`` (rows, columns), and bits of each value."""

    def __init__(self, path: Path, header: Dataset) -> None:
        rows, columns, self.allocated, self.stored, high, signed = (whole(path, header, name) for name in _LAYOUT)
        self.shape = rows, columns
        self.signed = bool(signed)
        bits_fit = self.allocated in (8, 16, 32) and 1 <= self.stored <= self.allocated and signed in (0, 1)
        if min(self.shape) < 1 or not bits_fit or high != self.stored - 1:
            raise InputError(
                f"{path}: {rows} x {columns} pixels of {self.stored} bits in {self.allocated} (high bit {high}) "
                "are not read; export the series anew"
            )

    @property
    def limits(self) -> tuple[int, int]:
        """Lowest and highest value that can be stored."""
        if self.signed:
            return -(1 << (self.stored - 1)), (1 << (self.stored - 1)) - 1
        return 0, (1 << self.stored) - 1

    @property
    def data_bytes(self) -> int:
        """Bytes of all pixels, uncompressed."""
        return self.shape[0] * self.shape[1] * self.allocated // 8

    def values(self, raw: bytes | bytearray, order: str) -> NDArray[np.int64]:
        """Return the stored values of uncompressed bytes; bits above the stored ones (overlays) are dropped."""
        words = np.frombuffer(raw, np.dtype(f"{order}u{self.allocated // 8}"), count=self.shape[0] * self.shape[1])
        values = words.reshape(self.shape).astype(np.int64) & ((1 << self.stored) - 1)
        if self.signed:
            sign = 1 << (self.stored - 1)
            values = (values ^ sign) - sign
        return values


def has_whole_values(one: Slice) -> bool:
    """Tell whether rescaling leaves the values of a slice whole, so that integers hold them exactly."""
    slope, intercept = _rescaling(one)
    return slope.is_integer() and intercept.is_integer() and max(abs(slope), abs(intercept)) < _LARGEST_WHOLE


def read_slice(one: Slice, whole: bool) -> NDArray:
    """Return the pixels (rows, columns) of a slice, rescaled with its own slope and intercept.

    The dtype is float32, or, if all are ``whole``, the smallest of int16, int32 and int64 that holds them. Raises
    InputError, naming the file, if the pixels are missing, cut short, damaged, of another size than the header
    says, or compressed in a way that is not read.
    """
    values = _stored_values(*one, _Layout(*one))
    slope, intercept = _rescaling(one)
    if whole:
        values = values * int(slope) + int(intercept)
        fits = (t for t in (np.int16, np.int32) if np.iinfo(t).min <= values.min() and values.max() <= np.iinfo(t).max)
        return values.astype(next(fits, np.int64))
    with np.errstate(over="ignore"):  # inf is refused with the volume
        return (values * slope + intercept).astype(np.float32)


def _rescaling(one: Slice) -> tuple[float, float]:
    """Return slope and intercept; a CT without them holds no Hounsfield units."""
    path, header = one
    present = [header.get(keyword) is not None for keyword in ("RescaleSlope", "RescaleIntercept")]
    if "ModalityLUTSequence" in header:
        raise InputError(f"{path}: its values go through a table (Modality LUT), which is not read; export it as NIfTI")
    if not any(present) and text(path, header, "Modality") != "CT":
        return 1.0, 0.0
    (slope,), (intercept,) = (numbers(path, header, keyword, 1) for keyword in ("RescaleSlope", "RescaleIntercept"))
    if slope == 0:
        raise InputError(f"{path}: its Rescale Slope is 0; export the series anew")
    return slope, intercept


def _stored_values(path: Path, dataset: Dataset, layout: _Layout) -> NDArray[np.int64]:
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    data = dataset.get("PixelData")
    if not isinstance(data, bytes) or not data:
        raise InputError(f"{path}: truncated, it has no pixels; copy or download it again")
    order = ">" if syntax == uid.ExplicitVRBigEndian else "<"
    if syntax in uid.UncompressedTransferSyntaxes and (layout.allocated > 8 or order == "<"):  # else swapped in pairs
        if len(data) < layout.data_bytes or data[layout.data_bytes + layout.data_bytes % 2 :].strip(b"\0"):  # padding
            raise InputError(
                f"{path}: truncated or corrupt, {len(data)} of {layout.data_bytes} bytes of pixels; "
                "copy or download it again"
            )
        return layout.values(data, order)
    if syntax != uid.RLELossless and syntax not in _JPEG:
        raise InputError(
            f"{path}: its compression ({printable(str(syntax))}) is not read; export the series uncompressed"
        )
    frame = _frame(path, data)
    if syntax == uid.RLELossless:
        return _decode_rle(path, dataset, layout)
    values = jpeg.decode(path, dataset, frame).astype(np.int64)
    low, high = layout.limits
    if values.min() < low or values.max() > high:
        raise InputError(f"{path}: its pixels do not fit the {layout.stored} bits of its header; export it anew")
    return values


def _frame(path: Path, data: bytes) -> bytes:
    """Return the compressed image, put together from its fragments, which must fill ``data``."""
    fragments, position = [], 0
    while position < len(data):
        tag, length = struct.unpack_from("<II", data.ljust(position + 8, b"\0"), position)
        fragments.append(data[position + 8 : position + 8 + length])
        position += 8 + length
        if tag != _ITEM or position > len(data):
            raise InputError(
                f"{path}: truncated or corrupt, its compressed pixels break off; copy or download it again"
            )
    return b"".join(fragments[1:])  # the first is a table of offsets


def _decode_rle(path: Path, dataset: Dataset, layout: _Layout) -> NDArray[np.int64]:
    if layout.data_bytes > 64 * len(dataset.PixelData):  # two bytes of it stand for 128 at most
        raise InputError(f"{path}: truncated or corrupt, its pixels cannot fill its size; copy or download it again")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            raw, _ = RLELosslessDecoder.as_buffer(dataset, index=0, decoding_plugin="pydicom")
        except Exception as error:  # of nearly every kind, warnings among them
            detail = last_line(error)
            raise InputError(f"{path}: truncated or corrupt pixels ({detail}); copy or download it again") from error
    return layout.values(bytes(raw), "<")
