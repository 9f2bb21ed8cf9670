"""Dice and 95 % Hausdorff distance of two masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from medpy.metric import binary

from msa2net_lib.metrics.boxes import common_box, object_box
from msa2net_lib.metrics.masks import checked_spacing, mask_pair
from msa2net_lib.metrics.surfaces import hausdorff_95, surface_voxels


def dice(pred: Any, target: Any) -> float:
    """Return the Dice score of two binary masks, 2 |P and T| / (|P| + |T|), from 0 to 1.

    Two empty masks agree: 1.0, whatever the NumPy version (medpy alone gives nan from NumPy 2.3 on).

    Args:
        pred, target: masks of one shape, any number of dimensions: booleans, integers (non-zero is
            object) or floats that are all 0 or 1.

    Raises:
        InputError: the shapes differ, or floats are neither 0 nor 1.

    Source: ``medpy.metric.binary.dc``, which the released code scores with.
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
        pred, target: masks of one shape, as for :func:`dice`.
        spacing: the size of a voxel along each axis in mm; without it the distance is in voxels.

    Raises:
        InputError: the shapes differ, floats are neither 0 nor 1, or ``spacing`` has not one positive
            number per axis.

    Source: ``medpy.metric.binary.hd95``, which the released code scores with (without spacing); equal to it.
    """
    first, second = mask_pair(pred, target)
    steps = checked_spacing(spacing, first.ndim)
    pred_box, target_box = object_box(first), object_box(second)
    if pred_box is None or target_box is None:
        return math.nan
    box = common_box(pred_box, target_box, first.shape)
    return hausdorff_95(surface_voxels(first[box]), surface_voxels(second[box]), steps)
