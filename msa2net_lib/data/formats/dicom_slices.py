"""The slices of a DICOM series: headers parsed by pydicom, and their order if they make one volume.

The order is that of the positions along the slices' normal: file names and instance numbers may run otherwise.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_description
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial
from pydicom.multival import MultiValue
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

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

_UNEVEN = 0.1
"""Allowed deviation from even spacing, in slice distances: headers round positions to 0.1 or 0.01 mm."""

_TOLERANCES = {"size": 0.0, "pixel spacing": 1e-3, "orientation": 1e-3}
"""Relative differences between the slices' headers that are rounding."""

_OF_A_SCAN = ("FrameOfReferenceUID", "SeriesNumber", "Modality")

_ADRIFT = 0.5
"""Allowed sideways shift between slices, in pixels."""


class Slice(NamedTuple):
    """A file and its elements."""

    path: Path
    header: Dataset


class Series(NamedTuple):
    """One series of slices in a folder; by ``uid`` or ``description`` ``read_volume(folder, series=...)`` takes it."""

    uid: str
    description: str
    modality: str
    slices: int
    is_localizer: bool

    def __str__(self) -> str:
        kind = ", a localizer" if self.is_localizer else ""
        return (
            f"{self.uid} ({self.description or 'no description'}, {self.modality or '?'}, {self.slices} slices{kind})"
        )

    def is_called(self, name: str) -> bool:
        """Tell whether ``name`` is its UID or, in whatever case, its description."""
        return name == self.uid or (bool(name) and name.casefold() == self.description.casefold())


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


def describe(uid: str, slices: list[Slice]) -> Series:
    """Say of the slices of a series what it is."""
    path, header = slices[0]
    description, modality = (text(path, header, keyword) for keyword in ("SeriesDescription", "Modality"))
    return Series(uid, description, modality, len(slices), all(is_localizer(one.header) for one in slices))


def needs_no_image(path: Path, header: Dataset, series_uid: str) -> bool:
    """Tell whether files of this class need none: reports, structure sets, a maker's own objects of a series."""
    sop_class = UID(text(path, header, "SOPClassUID"), validation_mode=IGNORE)
    if sop_class.name != sop_class:  # the standard has a name for it
        return "Image Storage" not in sop_class.name
    return sop_class.is_valid and sop_class.is_private and bool(series_uid)


def uid_of_damaged(file: Path, content: bytes) -> str:
    """Return the series of a file that cannot be read, as far as it can be known."""
    try:
        return text(file, parse(file, content, ["SeriesInstanceUID"]), "SeriesInstanceUID")
    except InputError:
        return ""


def ordered(path: Path, slices: list[Slice]) -> tuple[list[Slice], NDArray[np.float64]]:
    """Return the slices of a series from first to last, and the affine (3, 4) from index (x, y, z) to LPS mm.

    Raises InputError, naming files, if they differ in size, pixel spacing, orientation or kind, if two lie at
    one position, one is missing, or the stack leans over (gantry tilt).
    """
    for one in slices:
        _check_plain(one)
    _check_alike(slices)
    across, down, normal = _axes(slices[0])
    positions = np.array([numbers(one.path, one.header, "ImagePositionPatient", 3) for one in slices])
    order = np.argsort(positions @ normal, kind="stable")
    slices, positions = [slices[index] for index in order], positions[order]
    row_spacing, column_spacing = _pixel_spacing(slices[0])
    step = _step(path, slices, positions @ normal)
    line = positions[0] + np.outer((positions - positions[0]) @ normal, normal)
    if np.linalg.norm(positions - line, axis=1).max() > _ADRIFT * min(row_spacing, column_spacing):
        raise InputError(f"{path}: its slices lean over (gantry tilt); resample it to an upright grid first")
    return slices, np.column_stack([across * column_spacing, down * row_spacing, normal * step, positions[0]])


def _check_plain(one: Slice) -> None:
    """Raise InputError unless the file is a single gray image."""
    path, header = one
    kind = text(path, header, "PhotometricInterpretation")
    if whole(path, header, "SamplesPerPixel") != 1 or kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise InputError(f"{path}: is a color image ({kind}), not a slice of a scan; choose another series")
    if header.get("NumberOfFrames") not in (None, "", 1):
        raise InputError(f"{path}: holds several slices in one file (multi-frame); export one file a slice, or NIfTI")


def same_scan(first: Slice, one: Slice) -> bool:
    """Tell whether two slices that do not say so belong together: by folder, numbers, modality and grid."""
    same = all(first.header.get(keyword) == one.header.get(keyword) for keyword in _OF_A_SCAN)
    try:
        return same and first.path.parent == one.path.parent and not _difference(first, one)
    except InputError:
        return False


def without_copies(slices: list[Slice]) -> tuple[list[Slice], list[tuple[Slice, Slice]]]:
    """Return the slices of a series without exact copies, and each copy with what it is a copy of."""
    kept, copies = {}, []
    for one in sorted(slices, key=lambda one: (len(one.path.name), one.path)):
        same_place = kept.setdefault(str(one.header.get("ImagePositionPatient")), [])
        original = next((other for other in same_place if other.header == one.header), None)
        copies.append((one, original)) if original else same_place.append(one)
    return [one for same_place in kept.values() for one in same_place], copies


def _check_alike(slices: list[Slice]) -> None:
    for one in slices[1:]:
        if difference := _difference(slices[0], one):
            raise InputError(
                f"{one.path}: another {difference} than {slices[0].path.name} of the same series; "
                "take the slices that do not belong out"
            )


def _difference(first: Slice, one: Slice) -> str:
    """Return in what the grids or the modalities of two slices differ, with both values; nothing if in nothing."""
    for (name, tolerance), ours, theirs in zip(_TOLERANCES.items(), _grid(first), _grid(one), strict=True):
        if not np.allclose(ours, theirs, rtol=0, atol=tolerance * max(map(abs, ours))):
            shown = " and ".join("x".join(f"{value:.6g}" for value in values) for values in (theirs, ours))
            return f"{name} ({shown})"
    modalities = [text(*either, "Modality") for either in (one, first)]
    return "" if modalities[0] == modalities[1] else f"modality ({' and '.join(modalities)})"


def _grid(one: Slice) -> tuple[tuple[float, ...], ...]:
    size = tuple(whole(one.path, one.header, keyword) for keyword in ("Rows", "Columns"))
    return size, _pixel_spacing(one), numbers(one.path, one.header, "ImageOrientationPatient", 6)


def _pixel_spacing(one: Slice) -> tuple[float, ...]:
    """Return the distance between rows and between columns in mm."""
    spacing = numbers(one.path, one.header, "PixelSpacing", 2)
    if min(spacing) <= 0:
        raise InputError(f"{one.path}: its Pixel Spacing is {spacing}; export the series anew")
    return spacing


def _axes(one: Slice) -> tuple[NDArray, NDArray, NDArray]:
    """Return unit vectors along a row, down a column and from slice to slice."""
    across, down = np.reshape(numbers(one.path, one.header, "ImageOrientationPatient", 6), (2, 3))
    if not np.allclose([across @ across, down @ down, across @ down], [1, 1, 0], atol=1e-3):
        raise InputError(f"{one.path}: its Image Orientation (Patient) is no pair of unit vectors; copy it again")
    across = across / np.linalg.norm(across)
    down = down - (down @ across) * across
    down = down / np.linalg.norm(down)
    return across, down, np.cross(across, down)


def _step(path: Path, slices: list[Slice], heights: NDArray) -> float:
    """Return the distance between slices in mm, which must be the same all through."""
    if len(slices) == 1:
        return _thickness(slices[0])
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    for index in np.flatnonzero(gaps <= 0.01 * usual if usual > 0 else gaps <= 0):
        pair = f"{slices[index].path.name} and {slices[index + 1].path.name}"
        raise InputError(f"{path}: {pair} lie at the same position; keep one, or separate the two scans")
    step = float(heights[-1] - heights[0]) / (len(slices) - 1)
    if np.abs(heights - heights[0] - step * np.arange(len(slices))).max() > _UNEVEN * step:
        widest = int(np.argmax(gaps))
        pair = f"{slices[widest].path.name} and {slices[widest + 1].path.name}"
        raise InputError(
            f"{path}: slices are missing or uneven: {gaps[widest]:.4g} mm between {pair}, {usual:.4g} mm elsewhere; "
            "copy the whole series"
        )
    return step


def _thickness(one: Slice) -> float:
    for keyword in ("SliceThickness", "SpacingBetweenSlices"):
        if one.header.get(keyword) is not None:
            (value,) = numbers(one.path, one.header, keyword, 1)
            if value > 0:
                return value
    raise InputError(f"{one.path}: is a single slice without a thickness; give the folder with the whole series")
