"""The slices of a DICOM series in their order, if they make one volume.

The order is that of the positions along the slices' normal: file names and instance numbers may run otherwise.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from msa2net_lib.data.formats.dicom_slice import Slice, numbers, text, whole
from msa2net_lib.errors import InputError

_UNEVEN = 0.1
"""Allowed deviation from even spacing, in slice distances: headers round positions to 0.1 or 0.01 mm."""

_TOLERANCES = {"size": 0.0, "pixel spacing": 1e-3, "orientation": 1e-3}
"""Relative differences between the slices' headers that are rounding."""

_OF_A_SCAN = ("FrameOfReferenceUID", "SeriesNumber", "Modality")

_ADRIFT = 0.5
"""Allowed sideways shift between slices, in pixels."""


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
