"""One DICOM file of a series: its header parsed by pydicom, and values taken from it with the file named."""

from __future__ import annotations

import math
import warnings
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import pydicom
from pydicom.datadict import dictionary_description
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from msa2net_lib.data.formats.stream import last_line, printable
from msa2net_lib.errors import InputError

_KEYWORDS = (
    "SpecificCharacterSet",
    "SOPClassUID",
    "Modality",
    "SeriesDescription",
    "SeriesInstanceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "PixelData",
)


class Slice(NamedTuple):
    """A file and its elements."""

    path: Path
    header: Dataset


def has_magic(head: bytes) -> bool:
    """Tell whether a file that begins with ``head`` calls itself DICOM."""
    return head[128:132] == b"DICM"


def parse(path: Path, content: bytes) -> Dataset:
    """Return the elements that a volume is made from, every one converted; InputError if one cannot be.

    ``content`` is the whole file: pydicom then never asks for more bytes than there are, whatever a damaged
    length says.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that bend the standard; what is needed is checked on use
        try:
            header = pydicom.dcmread(BytesIO(content), specific_tags=list(_KEYWORDS))
            for _ in (*header.file_meta, *header):
                pass
        except Exception as error:  # of nearly every kind, when the bytes make no sense
            detail = last_line(error)
            raise InputError(f"{path}: a damaged DICOM file ({detail}); copy or download it again") from error
    return header


def text(path: Path, header: Dataset, keyword: str) -> str:
    """Return an element's text, empty if it has none; InputError if it is not text, or a UID is missing."""
    value = header.get(keyword)
    words = "\\".join(map(str, value)) if isinstance(value, MultiValue) else value or ""
    if not isinstance(words, str) or (not words and keyword.endswith("UID")):
        raise InputError(f"{path}: its {dictionary_description(keyword)} is missing or damaged; copy it again")
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
