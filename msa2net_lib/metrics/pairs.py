"""Dice and 95 % Hausdorff distance of two masks.

medpy transforms the whole box into distances, once for each direction and voxel size. Here each surface voxel looks
for the nearest one of the other surface in a k-d tree, several times as fast, and the surfaces serve every unit.
Distances are computed from voxel indices as medpy's are: in voxels they are the same numbers, in mm the same to the
last digit or so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from medpy.metric import binary
from scipy import ndimage
from scipy.spatial import KDTree

from msa2net_lib.metrics.masks import checked_spacing, common_box, mask_pair, object_box

PERCENTILE = 95


def dice(pred: Any, target: Any) -> float:
    """Return the Dice score of two binary masks, 2 |P and T| / (|P| + |T|).

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
    return float(binary.dc(first[box], second[box]))


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
    cross = ndimage.generate_binary_structure(mask.ndim, 1)
    return np.argwhere(mask ^ ndimage.binary_erosion(mask, cross))


def hausdorff_95(
    first: np.ndarray, second: np.ndarray, spacing: Sequence[float] | None = None, workers: int = 1
) -> float:
    """Return the 95th percentile of two surfaces' mutual distances, pooled both ways.

    first, second: indices of surface voxels, (n, axes), at least one each. spacing: mm along each axis; without it
    distances are in voxels. workers: threads that search.
    """
    return float(np.percentile(np.concatenate(directed_distances(first, second, spacing, workers)), PERCENTILE))


def directed_distances(
    first: np.ndarray, second: np.ndarray, spacing: Sequence[float] | None = None, workers: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance of each voxel of one surface to the other, there and back; arguments as `hausdorff_95`."""
    steps = np.ones(first.shape[1]) if spacing is None else np.asarray(spacing, dtype=float)
    there = _nearest_distances(first, second, steps, workers)
    return there, _nearest_distances(second, first, steps, workers)


def _nearest_distances(points: np.ndarray, others: np.ndarray, steps: np.ndarray, workers: int) -> np.ndarray:
    # Voxels lie on a grid: cutting space in halves there is quicker, and finds the same, than balancing the tree.
    tree = KDTree(others * steps, balanced_tree=False, compact_nodes=False)
    _, nearest = tree.query(points * steps, workers=workers)
    # Rounded once, as differences of indices are whole; differences of mm would be rounded before.
    offsets = (points - others[nearest]) * steps
    return np.sqrt(np.sum(offsets**2, axis=1))
