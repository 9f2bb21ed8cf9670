"""A virtual patient as a clinical scanner would store it: 512 x 512 fine pixels, as many slices as asked for.

Anatomy and contrast come from the source's coarse grid, so finer voxels show no finer anatomy; what is fine is
what a scan of this size costs to store, to load and to train on, and its noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.interpolate import BSpline

from msa2net_lib.data.volumes import Volume
from msa2net_lib.errors import InputError

FIELD_MM: tuple[float, float] = (512 * 0.59, 512 * 0.98)
"""Smallest and largest field of view: BTCV's 512 pixels of 0.59 to 0.98 mm."""

SLICE_MM: tuple[float, float] = (1.5, 5.0)
"""Slice spacing that is aimed at. BTCV's is 2.5 to 5 mm, but 195 such slices are more than the source's 33 cm."""

AIR_HU = -1024
"""What lies beyond the source's field of view."""

NOISE_MM = 0.5
"""Sigma of the Gaussian that correlates the noise within a slice: 1/e at 1 mm."""

OFF_CENTER_MM = 15.0
"""A patient lies at most this far off the middle of the field of view, sideways or up and down."""


@dataclass(frozen=True)
class ScanSize:
    """The grid of a scan: number of slices, and pixels along each side of a slice."""

    slices: int
    pixels: int = 512

    def __post_init__(self) -> None:
        if self.slices < 2 or self.pixels < 16:
            raise InputError(f"a scan of {self.slices} slices with {self.pixels} pixels a side: give at least 2 and 16")


def scan_recipe() -> dict[str, Any]:
    """Return what besides its size decides such a scan, for records."""
    constants = {"field_mm": FIELD_MM, "slice_mm": SLICE_MM, "noise_mm": NOISE_MM, "off_center_mm": OFF_CENTER_MM}
    return {"format": 1, **constants}


@dataclass(frozen=True, eq=False)
class ScanGrid:
    """Where a scan's voxels lie: along each axis their positions in source voxels, and their spacing in mm."""

    positions: tuple[NDArray, NDArray, NDArray]
    spacing: tuple[float, float, float]


def draw_grid(source: Volume, slices: tuple[int, int], size: ScanSize, rng: np.random.Generator) -> ScanGrid:
    """Draw a scan's range, field of view and table position, for a source whose ``slices`` [first, last) it must show.

    The range is any part of the source's that holds them and makes slices of ``SLICE_MM``, as far as it can; the field
    of view any of ``FIELD_MM`` that holds the source's.
    """
    slice_mm, *pixel_mm = source.spacing
    whole = (len(source.array) - 1) * slice_mm
    first, last = slices[0] * slice_mm, (slices[1] - 1) * slice_mm
    gaps = size.slices - 1
    shortest = max(last - first, min(whole, SLICE_MM[0] * gaps))
    length = rng.uniform(shortest, max(shortest, min(whole, SLICE_MM[1] * gaps)))
    earliest = max(0.0, last - length)
    start = rng.uniform(earliest, max(earliest, min(first, whole - length)))
    positions = [np.linspace(start, start + length, size.slices) / slice_mm]
    extent = [count * mm for count, mm in zip(source.array.shape[1:], pixel_mm, strict=True)]
    smallest = max(FIELD_MM[0], *extent)
    field = rng.uniform(smallest, max(smallest, FIELD_MM[1]))
    for count, mm, covered in zip(source.array.shape[1:], pixel_mm, extent, strict=True):
        shift = rng.uniform(-1.0, 1.0) * min(OFF_CENTER_MM, (field - covered) / 2)
        from_middle = (np.arange(size.pixels) - (size.pixels - 1) / 2) * (field / size.pixels)
        positions.append((count - 1) / 2 + (from_middle + shift) / mm)
    z, y, x = positions
    return ScanGrid((z, y, x), (length / gaps, field / size.pixels, field / size.pixels))


def scan(
    source: Volume,
    weights: Mapping[int, NDArray],
    grid: ScanGrid,
    rng: np.random.Generator,
    noise_hu: tuple[float, float],
) -> tuple[Volume, Volume]:
    """Return a noisy scan of a patient on ``grid``: (int16 image in HU, uint8 labels).

    ``source`` (Z, Y, X) is the patient in HU without noise and ``weights`` has each structure's share of its
    voxels; ``noise_hu`` is the range of the noise's sigma. Both are joined by quadratic B-splines, which are
    positive: no value leaves the range of those around it, so nothing rings at air, and of the structures the one
    with the largest share wins.
    """
    along_z, *in_plane = (_spline(at, count) for at, count in zip(grid.positions, source.array.shape, strict=True))
    hu = np.full([len(at) for at in grid.positions], AIR_HU, dtype=np.int16)
    labels = np.zeros(hu.shape, dtype=np.uint8)
    covered = np.ix_(*(np.diff(matrix.indptr) > 0 for matrix in in_plane))
    sigma = rng.uniform(*noise_hu)
    for z in range(len(hu)):
        taps = slice(*along_z.indptr[z : z + 2])
        near, share = along_z.indices[taps], along_z.data[taps]
        noisy = _fine(source.array[near], share, in_plane) + sigma * _noise(hu.shape[1:], grid.spacing[1], rng)
        hu[z][covered] = np.clip(np.rint(noisy[covered]), AIR_HU, 3071)
        present = {number: weight[near] for number, weight in weights.items() if number and weight[near].any()}
        shares = {number: _fine(weight, share, in_plane) for number, weight in present.items()}
        labels[z] = _winners(shares, hu.shape[1:])
    place = grid.spacing, place_of(source, [at[0] for at in grid.positions]), source.direction
    return Volume(hu, *place), Volume(labels, *place)


def _spline(at: NDArray, count: int) -> sparse.csr_array:
    """Return the (positions, voxels) matrix of quadratic B-spline weights at ``at``, in voxels.

    The outermost voxels' values continue to their outer edges; beyond these a row is empty.
    """
    inside = np.flatnonzero((at >= -0.5) & (at <= count - 0.5))
    knots = np.arange(count + 5) - 2.5  # of splines centered on the voxels and on one more at either end
    design = sparse.coo_array(BSpline.design_matrix(at[inside], knots, 2))
    columns = np.clip(design.col - 1, 0, count - 1)
    matrix = sparse.coo_array((design.data.astype(np.float32), (inside[design.row], columns)), (len(at), count))
    return matrix.tocsr()


def _fine(slices: NDArray, share: NDArray, in_plane: Sequence[sparse.csr_array]) -> NDArray[np.float32]:
    """Return one fine slice: the ``share`` of each of a few source ``slices``, spread over the pixels."""
    rows, columns = in_plane
    return rows @ (columns @ np.tensordot(share, slices, axes=1).T).T


def _winners(weights: Mapping[int, NDArray], shape: Sequence[int]) -> NDArray[np.uint8]:
    """Return the structure with the largest share of each pixel; what no structure has is background's."""
    winner, largest = np.zeros(shape, np.uint8), np.ones(shape, np.float32)
    for weight in weights.values():
        largest -= weight
    for number, weight in weights.items():
        wins = weight > largest
        winner[wins] = number
        largest[wins] = weight[wins]
    return winner


def _noise(shape: Sequence[int], pixel_mm: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a slice of unit noise, correlated within about a millimeter as reconstruction leaves it."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), NOISE_MM / pixel_mm)
    return noise / noise.std()


def place_of(volume: Volume, voxel: Sequence[float]) -> tuple[float, float, float]:
    """Return where a voxel (z, y, x) of a volume lies, (x, y, z) in mm as ``Volume.origin``."""
    steps = np.multiply(voxel, volume.spacing)[::-1]
    x, y, z = np.asarray(volume.origin) + np.reshape(volume.direction, (3, 3)) @ steps
    return float(x), float(y), float(z)
