"""Size, shape and place of every label in a volume, measured slice by slice so that memory stays small."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_SMALL = 5
"""Cross-sections of fewer pixels have no shape worth measuring."""


@dataclass(frozen=True)
class OrganShape:
    """What was measured of one label in one volume, in voxels.

    voxels, slices: how many have it. first, last: the outermost slices that do. centroid: (z, y, x).
    elongation: long over short axis of the cross-sections (1 is round), the median over slices.
    cut: how many of the volume's two end slices it touches: there it may go on outside.
    """

    voxels: int
    slices: int
    first: int
    last: int
    centroid: tuple[float, float, float]
    elongation: float
    cut: int


@dataclass(frozen=True)
class CaseShapes:
    """All labels of one volume: number of slices, and label -> shape."""

    slices: int
    organs: dict[int, OrganShape]


class ShapeCounter:
    """Takes the slices of a volume one by one, in order, and sums up what the shapes are computed from."""

    def __init__(self) -> None:
        self._sums: list[NDArray[np.float64]] = []

    def add(self, label: NDArray[np.uint8]) -> None:
        """Take the next slice: label (H, W), uint8."""
        y, x = np.nonzero(label)
        found = label[y, x]
        y, x = y.astype(np.float64), x.astype(np.float64)
        weights = (np.ones_like(y), y, x, y * y, x * x, y * x)
        self._sums.append(np.array([np.bincount(found, weight, minlength=256) for weight in weights], dtype=np.float64))

    def shapes(self) -> CaseShapes:
        """Return the shapes of the labels of all slices taken."""
        slices = len(self._sums)
        sums = np.stack(self._sums) if slices else np.zeros((0, 6, 256))
        present = np.flatnonzero(sums[:, 0].any(axis=0)) if slices else []
        return CaseShapes(slices, {int(label): _shape(sums[:, :, label]) for label in present if label})


def measure(label: NDArray[np.uint8]) -> CaseShapes:
    """Measure all labels of a volume (Z, H, W)."""
    counter = ShapeCounter()
    for label_2d in label:
        counter.add(label_2d)
    return counter.shapes()


def _shape(sums: NDArray[np.float64]) -> OrganShape:
    """One label's shape from its sums (Z, 6): pixels, y, x, yy, xx, yx."""
    area = sums[:, 0]
    occupied = np.flatnonzero(area)
    first, last = int(occupied[0]), int(occupied[-1])
    voxels = area.sum()
    return OrganShape(
        voxels=int(voxels),
        slices=len(occupied),
        first=first,
        last=last,
        centroid=(
            float((area * np.arange(len(area))).sum() / voxels),
            float(sums[:, 1].sum() / voxels),
            float(sums[:, 2].sum() / voxels),
        ),
        elongation=_elongation(sums[occupied]),
        cut=int(first == 0) + int(last == len(area) - 1),
    )


def _elongation(sums: NDArray[np.float64]) -> float:
    """Median over slices of the ratio of the axes of the ellipse with the same second moments."""
    large = sums[sums[:, 0] >= min(_SMALL, sums[:, 0].max())]
    pixels, y, x, yy, xx, yx = large.T
    y, x = y / pixels, x / pixels
    # A pixel is a square, not a point: its own second moment is 1/12.
    variance_y, variance_x = yy / pixels - y * y + 1 / 12, xx / pixels - x * x + 1 / 12
    covariance = yx / pixels - y * x
    mean, half = (variance_y + variance_x) / 2, np.hypot((variance_y - variance_x) / 2, covariance)
    return float(np.median(np.sqrt((mean + half) / np.maximum(mean - half, 1e-9))))
