"""Distances between the surfaces of two objects, as medpy defines them, several times as fast.

medpy transforms the whole box into distances, once for each direction and voxel size. Here each surface voxel looks
for the nearest one of the other surface in a k-d tree, and the surfaces serve every unit. Distances are
computed from voxel indices as medpy's are: in voxels they are the same numbers, in mm the same to the last digit or so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

PERCENTILE = 95


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
    steps = np.ones(first.shape[1]) if spacing is None else np.asarray(spacing, dtype=float)
    there = _nearest_distances(first, second, steps, workers)
    back = _nearest_distances(second, first, steps, workers)
    return float(np.percentile(np.concatenate([there, back]), PERCENTILE))


def _nearest_distances(points: np.ndarray, others: np.ndarray, steps: np.ndarray, workers: int) -> np.ndarray:
    # Voxels lie on a grid: cutting space in halves there is quicker, and finds the same, than balancing the tree.
    tree = KDTree(others * steps, balanced_tree=False, compact_nodes=False)
    _, nearest = tree.query(points * steps, workers=workers)
    # Rounded once, as differences of indices are whole; differences of mm would be rounded before.
    offsets = (points - others[nearest]) * steps
    return np.sqrt(np.sum(offsets**2, axis=1))
