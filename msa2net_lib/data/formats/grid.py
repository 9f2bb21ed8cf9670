"""What a file stores of a volume: its voxels as they lie in it, and where they lie in the patient."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import ArrayLike, NDArray

from msa2net_lib.data.formats.stream import voxel_bytes
from msa2net_lib.errors import InputError

_SHEAR = 1e-3
"""Cosine between two axes that is rounding."""

_EDGE_MM = (1e-3, 100.0)
"""Voxel edges beyond these are no scan's."""
_USUAL_EDGE_MM = (0.1, 20.0)
_FEW_VOXELS, _SMALL_MM = 64, 40.0
"""An axis of as many voxels that is no longer than this is part of no body, but may be of a mouse."""

_LPS = {"L": (0, False), "R": (0, True), "P": (1, False), "A": (1, True), "S": (2, False), "I": (2, True)}
"""Where an axis of a file runs -> the axis of LPS, and whether backwards."""


class Stored(NamedTuple):
    """A volume as its file has it: ``array`` slowest axis first, so (z, y, x) of the file's own axes.

    ``affine`` (3, 4) takes an index (x, y, z) to LPS mm. ``is_flat``: the file has two dimensions, z is made up.
    ``is_segmentation``: Slicer's, which may be cropped to its segments. ``notes``: what was assumed or left out.
    """

    array: NDArray
    affine: NDArray[np.float64]
    is_flat: bool = False
    is_segmentation: bool = False
    notes: tuple[str, ...] = ()


class Grid(NamedTuple):
    """What a header says of the voxels: ``size`` along the file's axes, x first, stored ``dtype``, ``affine``."""

    size: tuple[int, ...]
    dtype: np.dtype
    affine: NDArray[np.float64]

    def read(self, path: Path, pieces: Iterator[bytes], header_path: Path) -> NDArray:
        """Return the voxels (z, y, x) in the machine's byte order; ``pieces`` must be just as many bytes."""
        count = int(np.prod(self.size, dtype=object))
        raw = voxel_bytes(path, pieces, header_path, count * self.dtype.itemsize)
        return np.frombuffer(raw, self.dtype).reshape(self.size[::-1]).astype(self.dtype.newbyteorder("="), copy=False)


def check_3d(path: Path, size: tuple[int, ...]) -> None:
    """Raise InputError unless an image of this size is a volume."""
    if len(size) != 3:
        raise InputError(f"{path}: is {len(size)}-D ({_shown(size)}); save it as one 3-D volume")


def make_grid(path: Path, size: tuple[int, ...], dtype: np.dtype, affine: ArrayLike) -> Grid:
    """Return the grid of a volume; InputError if it is none."""
    matrix = np.asarray(affine, np.float64)
    spacing = np.linalg.norm(matrix[:, :3], axis=0)
    if min(size) < 1 or not np.isfinite(matrix).all() or not (np.isfinite(spacing) & (spacing > 0)).all():
        raise InputError(f"{path}: its header describes no grid of voxels (size {_shown(size)}); export it again")
    direction = matrix[:, :3] / spacing
    if not np.allclose(direction.T @ direction, np.eye(3), atol=_SHEAR):
        raise InputError(f"{path}: its header describes sheared axes, which are not read; resample it to a plain grid")
    return Grid(size, dtype, matrix)


def voxel_size_notes(path: Path, stored: Stored) -> list[str]:
    """Tell of voxels that are implausibly small or large; InputError where no scanner makes such."""
    edges = np.linalg.norm(stored.affine[:, :3], axis=0)
    shown = " x ".join(f"{edge:.3g}" for edge in edges)
    if edges.min() < _EDGE_MM[0] or edges.max() > _EDGE_MM[1]:
        raise InputError(f"{path}: its voxels are {shown} mm, as no scanner makes them; set the voxel size in mm")
    size = np.array(stored.array.shape[::-1])
    is_small = ((size >= _FEW_VOXELS) & (size * edges < _SMALL_MM)).any()
    if is_small or edges.min() < _USUAL_EDGE_MM[0] or edges.max() > _USUAL_EDGE_MM[1]:
        other = "smaller" if is_small or edges.min() < _USUAL_EDGE_MM[0] else "larger"
        return [
            f"its voxels are {shown} mm, {other} than in scans of patients; if these are not mm, set the voxel size"
        ]
    return []


def axes_of(affine: NDArray[np.float64]) -> str:
    """Return where the axes x, y and z of an image run, as "RAS" for right, front and head; oblique ones nearly so."""
    direction = affine[:, :3] / np.linalg.norm(affine[:, :3], axis=0)
    return sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(direction.ravel().tolist())


def to_lps(array: NDArray, affine: NDArray[np.float64], axes: str) -> tuple[NDArray, NDArray[np.float64]]:
    """Turn an array (z, y, x) along ``axes`` and its affine to LPS; nothing is resampled."""
    order = [[_LPS[letter][0] for letter in axes].index(axis) for axis in range(3)]  # LPS axis -> file axis
    return _turn(array, affine, order, [_LPS[axes[axis]][1] for axis in order])


def from_lps(array: NDArray, affine: NDArray[np.float64], axes: str) -> tuple[NDArray, NDArray[np.float64]]:
    """Turn an array (z, y, x) in LPS and its affine to ``axes``, which undoes `to_lps`."""
    return _turn(array, affine, [_LPS[letter][0] for letter in axes], [_LPS[letter][1] for letter in axes])


def displacement(first: NDArray, second: NDArray, size: tuple[int, ...]) -> float:
    """Return how far two affines (3, 4) put a corner of the volume apart, in edges of the smallest voxel."""
    corners = np.array([*product(*((0, n - 1) for n in size))])
    with np.errstate(all="ignore"):  # of a damaged header: the result is then nan or inf
        moved = corners @ (first - second)[:, :3].T + (first - second)[:, 3]
        return float(np.abs(moved).max() / np.linalg.norm(first[:, :3], axis=0).min())


@contextmanager
def quiet_itk() -> Iterator[None]:
    """Keep ITK's C++ warnings off stderr; what matters in them is checked and raised by the formats."""
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def _turn(array: NDArray, affine: NDArray, order: list[int], backwards: list[bool]) -> tuple[NDArray, NDArray]:
    """Take the axes (x, y, z) in this order, some of them from their end."""
    turned = array.transpose([2 - axis for axis in order][::-1])
    turned = np.ascontiguousarray(np.flip(turned, tuple(2 - axis for axis in range(3) if backwards[axis])))
    steps = affine[:, order]
    last = np.array(turned.shape[::-1]) - 1
    origin = affine[:, 3] + steps @ np.where(backwards, last, 0)
    return turned, np.column_stack([steps * np.where(backwards, -1, 1), origin])


def _shown(size: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in size)
