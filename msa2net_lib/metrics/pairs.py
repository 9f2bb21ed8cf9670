"""Dice and 95 % Hausdorff distance of two masks.

medpy transforms the whole box into distances, once for each direction and voxel size. Here each surface voxel looks
for the other surface among its neighbors, the nearest first, and only what is farther away, where it can decide the
percentile, in a k-d tree; the surfaces serve every unit. Distances are computed from voxel indices as medpy's are: in
voxels they are the same numbers, in mm the same to the last digit or so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from msa2net_lib.metrics.masks import checked_spacing, common_box, mask_pair, object_box

PERCENTILE = 95
_REACH = 4
"""Neighbors are no farther than so many sides of a cube with a voxel's volume, and than twice so many least sides."""
_FEW = 16
"""Where so many nearest neighbors have found the other surface for less than half of the voxels, no more are tried."""
_BLOCK = 5
"""Sides of a block of voxels that are judged together, in least sides of a voxel."""


def dice(pred: Any, target: Any) -> float:
    """Return the Dice score of two binary masks, `2 |P and T| / (|P| + |T|)`.

    Two empty masks agree: 1.0, whatever the NumPy version (medpy alone gives nan from NumPy 2.3 on).

    Args:
        pred: mask of any number of dimensions: booleans, integers (non-zero is object) or floats that are all 0 or 1.
        target: mask of the same shape.

    Returns:
        From 0 to 1.

    Raises:
        InputError: the shapes differ, or floats are neither 0 nor 1.

    Example:
        >>> from msa2net_lib import dice
        >>> dice([1, 1, 0, 0], [1, 0, 0, 0]) == 2 / 3
        True

    Source: ``medpy.metric.binary.dc``, which the reference implementation scores with.
    """
    first, second = mask_pair(pred, target)
    pred_box, target_box = object_box(first), object_box(second)
    if pred_box is None or target_box is None:
        return float(pred_box is None and target_box is None)
    box = common_box(pred_box, target_box, first.shape)
    return overlap(first[box], second[box])


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Return the Dice score of two boolean masks of one shape, not both empty, by the same counts as medpy's ``dc``."""
    return float(2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second)))


def hd95(pred: Any, target: Any, spacing: Sequence[float] | None = None) -> float:
    """Return the 95th percentile of the two masks' mutual surface distances, pooled both ways.

    If either mask is empty, or both, there is no surface to measure from: nan (medpy raises).

    Args:
        pred: mask, as for :func:`dice`.
        target: mask of the same shape.
        spacing: the size of a voxel along each axis in mm.

    Returns:
        In mm, without ``spacing`` in voxels.

    Raises:
        InputError: the shapes differ, floats are neither 0 nor 1, or ``spacing`` has not one positive
            number per axis.

    Example:
        >>> from msa2net_lib import hd95
        >>> hd95([[1, 0, 0, 0]], [[0, 0, 0, 1]], spacing=(1.0, 0.5))
        1.5

    Source: ``medpy.metric.binary.hd95``, which the reference implementation scores with (without spacing); equal to
    it.
    """
    first, second = mask_pair(pred, target)
    steps = checked_spacing(spacing, first.ndim)
    pred_box, target_box = object_box(first), object_box(second)
    if pred_box is None or target_box is None:
        return math.nan
    box = common_box(pred_box, target_box, first.shape)
    return hausdorff_95(surface_voxels(first[box]), surface_voxels(second[box]), steps)


def surface_voxels(mask: np.ndarray) -> np.ndarray:
    """Return the indices (n, axes) of an object's voxels that have a face in the background.

    What lies beyond the array counts as background. Source: ``medpy.metric.binary`` with its connectivity of 1.
    """
    padded, inside = np.pad(mask, 1), mask.copy()
    middle = (slice(1, -1),) * mask.ndim
    for axis in range(mask.ndim):
        for beside in (slice(-2), slice(2, None)):
            inside &= padded[(*middle[:axis], beside, *middle[axis + 1 :])]
    return np.stack(np.unravel_index(np.flatnonzero(mask ^ inside), mask.shape), axis=1)


def hausdorff_95(
    first: np.ndarray, second: np.ndarray, spacing: Sequence[float] | None = None, workers: int = 1
) -> float:
    """Return the 95th percentile of two surfaces' mutual distances, pooled both ways.

    first, second: indices of surface voxels, (n, axes), at least one each. spacing: mm along each axis; without it
    distances are in voxels. workers: threads that search.
    """
    pooled = np.concatenate(_neighbor_distances(first, second, _steps(first, spacing)))
    # Between the distances of these two ranks lies the percentile; whatever is nearer or farther does not move it.
    rank = PERCENTILE / 100 * (len(pooled) - 1)
    ranks = [math.floor(rank), min(math.floor(rank) + 1, len(pooled) - 1)]
    if np.count_nonzero(pooled < np.inf) <= ranks[1]:
        pooled = _distances_at(ranks, pooled, first, second, _steps(first, spacing), workers)
    return float(np.percentile(pooled, PERCENTILE))


def _distances_at(
    ranks: Sequence[int],
    pooled: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    steps: np.ndarray,
    workers: int,
) -> np.ndarray:
    """Pooled distances of which those at two ranks are right, and those at others on the right side of them.

    pooled: as known so far, infinite where not. A block of voxels is no nearer and no farther than its middle, give or
    take its own size: so only those blocks are searched voxel by voxel in which the ranks may lie.
    """
    far = [np.flatnonzero(one == np.inf) for one in np.split(pooled, [len(first)])]
    lower, upper, sides = pooled.copy(), pooled.copy(), []
    for offset, indices, points, others in zip((0, len(first)), far, (first, second), (second, first), strict=True):
        tree = _tree(others, steps)
        sides.append((tree, points, others, offset))
        if not indices.size:
            continue
        side = np.maximum(1, np.rint(_BLOCK * min(steps) / steps)).astype(int)
        corners = points[indices] // side
        low = corners.min(axis=0)
        shape = corners.max(axis=0) - low + 1
        blocks, member = np.unique(np.ravel_multi_index((corners - low).T, shape), return_inverse=True)
        middles = (np.stack(np.unravel_index(blocks, shape), axis=1) + low) * side + (side - 1) / 2
        away, _ = tree.query(middles * steps, workers=workers)
        reach = np.linalg.norm((side - 1) / 2 * steps) * (1 + 1e-9)
        lower[offset + indices], upper[offset + indices] = away[member] - reach, away[member] + reach
    least, most = np.partition(lower, ranks[0])[ranks[0]], np.partition(upper, ranks[1])[ranks[1]]
    found = np.where(upper < least, upper, lower)
    for tree, points, others, offset in sides:
        own = slice(offset, offset + len(points))
        open_ones = np.flatnonzero((pooled[own] == np.inf) & (upper[own] >= least) & (lower[own] <= most))
        if open_ones.size:
            _, nearest = tree.query(points[open_ones] * steps, workers=workers)
            found[offset + open_ones] = _lengths(points[open_ones] - others[nearest], steps)
    return found


def directed_distances(
    first: np.ndarray, second: np.ndarray, spacing: Sequence[float] | None = None, workers: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance of each voxel of one surface to the other, there and back; arguments as `hausdorff_95`."""
    steps = _steps(first, spacing)
    found = _neighbor_distances(first, second, steps)
    for distances, points, others in zip(found, (first, second), (second, first), strict=True):
        far = np.flatnonzero(distances == np.inf)
        if not far.size:
            continue
        _, nearest = _tree(others, steps).query(points[far] * steps, workers=workers)
        distances[far] = _lengths(points[far] - others[nearest], steps)
    return found


def _tree(points: np.ndarray, steps: np.ndarray) -> Any:
    from scipy.spatial import KDTree

    # Voxels lie on a grid: cutting space in halves there is quicker, and finds the same, than balancing the tree.
    return KDTree(points * steps, balanced_tree=False, compact_nodes=False)


def _steps(points: np.ndarray, spacing: Sequence[float] | None) -> np.ndarray:
    return np.ones(points.shape[1]) if spacing is None else np.asarray(spacing, dtype=float)


def _lengths(offsets: np.ndarray, steps: np.ndarray) -> np.ndarray:
    # Rounded once, as differences of indices are whole; differences of mm would be rounded before.
    return np.sqrt(np.sum((offsets * steps) ** 2, axis=1))


def _neighbor_distances(first: np.ndarray, second: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances of each voxel of one surface to the other, there and back; infinite for what is no neighbor."""
    offsets, lengths = _neighbors(tuple(steps.tolist()))
    margin = offsets.max(axis=0)
    low = np.minimum(first.min(axis=0), second.min(axis=0)) - margin
    shape = np.maximum(first.max(axis=0), second.max(axis=0)) - low + margin + 1
    strides = np.append(np.cumprod(shape[:0:-1])[::-1], 1)
    places = [(points - low) @ strides for points in (first, second)]
    found = []
    for here, there in (places, places[::-1]):
        occupied = np.zeros(np.prod(shape), bool)
        occupied[there] = True
        distances, left = np.full(len(here), np.inf), np.arange(len(here))
        for number, (jump, length) in enumerate(zip(offsets @ strides, lengths, strict=True)):
            if number == _FEW and len(left) > len(distances) / 2:  # most of it is farther away
                break
            hit = occupied[here + jump]
            distances[left[hit]] = length
            left, here = left[~hit], here[~hit]
        found.append(distances)
    return found[0], found[1]


@lru_cache
def _neighbors(steps: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (n, axes) to all voxels within reach, and their lengths, nearest first."""
    reach = _REACH * min(math.prod(steps) ** (1 / len(steps)), 2 * min(steps))
    sides = [int(reach / step) for step in steps]
    offsets = np.indices([2 * side + 1 for side in sides]).reshape(len(steps), -1).T - sides
    lengths = _lengths(offsets, np.array(steps))
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] <= reach]
    return offsets[order], lengths[order]
