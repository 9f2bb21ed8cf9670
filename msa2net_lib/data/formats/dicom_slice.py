"""One DICOM file of a series: its header parsed by pydicom, and values taken from it with the file named."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from pydicom.datadict import dictionary_description
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial
from pydicom.multival import MultiValue
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from msa2net_lib.data.formats.stream import last_line, printable
from msa2net_lib.errors import InputError

_KEYWORDS = (
    *("SpecificCharacterSet", "ImageType", "SOPClassUID", "Modality", "SeriesDescription"),
    *("SeriesInstanceUID", "SeriesNumber", "FrameOfReferenceUID", "ImagePositionPatient"),
    *("ImageOrientationPatient", "PixelSpacing", "SliceThickness", "SpacingBetweenSlices", "Rows"),
    *("Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated"),
    *("BitsStored", "HighBit", "PixelRepresentation", "RescaleSlope", "RescaleIntercept"),
    *("ModalityLUTSequence", "PixelData"),
)
_PIXEL_DATA = Tag("PixelData")


class Slice(NamedTuple):
    """A file and its elements."""

    path: Path
    header: Dataset


def is_localizer(header: Dataset) -> bool:
    """Tell whether a slice is a scout on which a scan was planned."""
    return "LOCALIZER" in str(header.get("ImageType", "")).upper()


def parse(path: Path, content: bytes, keywords: Sequence[str] = _KEYWORDS) -> Dataset:
    """Return the elements that a volume is made from, every one converted; InputError if one cannot be.

    ``content`` is the whole file: pydicom then never asks for more bytes than there are, whatever a damaged
    length says. What lies behind the pixels is not looked at.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that bend the standard; what is needed is checked on use
        try:
            header = read_partial(
                BytesIO(content),
                stop_when=lambda tag, vr, length: tag > _PIXEL_DATA,
                force=True,
                specific_tags=[*map(Tag, keywords)],
            )
            for _ in (*header.file_meta, *header):
                pass
        except Exception as error:  # of nearly every kind, when the bytes make no sense
            detail = last_line(error)
            raise InputError(f"{path}: a damaged DICOM file ({detail}); copy or download it again") from error
    implicit, _ = header.original_encoding
    if "TransferSyntaxUID" not in header.file_meta:  # it went with the preamble
        header.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    return header


def text(path: Path, header: Dataset, keyword: str) -> str:
    """Return an element's text, empty if it has none; InputError if it is not text."""
    value = header.get(keyword)
    words = "\\".join(map(str, value)) if isinstance(value, MultiValue) else value or ""
    if not isinstance(words, str):
        raise InputError(f"{path}: its {dictionary_description(keyword)} is damaged; copy it again")
    return printable(" ".join(words.split()))


def numbers(path: Path, header: Dataset, keyword: str, count: int) -> tuple[float, ...]:
    """Return the ``count`` finite numbers of an element; InputError if it is missing or holds something else."""
    value = header.get(keyword)
    try:
        values = tuple(float(one) for one in ([value] if count == 1 else value))  # pyright: ignore
    except (TypeError, ValueError):
        values = ()
    if len(values) != count or not all(math.isfinite(one) for one in values):
        name = dictionary_description(keyword)
        raise InputError(f"{path}: its {name} is missing or damaged; copy it again, or export the series anew")
    return values


def whole(path: Path, header: Dataset, keyword: str) -> int:
    """Return an element that is one whole number; InputError if it is missing or holds something else."""
    (value,) = numbers(path, header, keyword, 1)
    return int(value)
