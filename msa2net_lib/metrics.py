"""Dice and 95 % Hausdorff distance of masks and label volumes, and the pixel scores of skin lesions.

Dice and HD95 come from medpy, on the smallest box that holds both objects: outside of it lies no voxel
that could change either number, and ``benchmarks/hd95_bounding_box.py`` measures how many times faster it
is (about 70 on a 512 x 512 x 120 case). Arrays may be NumPy arrays or tensors on any device.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from medpy.metric import binary
from scipy import ndimage

from msa2net_lib.errors import InputError
from msa2net_lib.masks import (
    as_array,
    check_shapes,
    checked_labels,
    checked_num_classes,
    checked_spacing,
    mask_pair,
)

Box = tuple[slice, ...]
PROTOCOLS = ("paper", "strict")
AVERAGES = ("pooled", "per_image")


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
    pred_box, target_box = _object_box(first), _object_box(second)
    if pred_box is None or target_box is None:
        return float(pred_box is None and target_box is None)
    box = _common_box(pred_box, target_box, first.shape)
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

    Source: ``medpy.metric.binary.hd95``, which the released code scores with (without spacing).
    """
    first, second = mask_pair(pred, target)
    steps = checked_spacing(spacing, first.ndim)
    pred_box, target_box = _object_box(first), _object_box(second)
    if pred_box is None or target_box is None:
        return math.nan
    box = _common_box(pred_box, target_box, first.shape)
    return float(binary.hd95(first[box], second[box], voxelspacing=steps))


def score_volume(
    pred: Any,
    target: Any,
    num_classes: int,
    protocol: str = "paper",
    spacing: Sequence[float] | None = None,
) -> np.ndarray:
    """Score a predicted label volume against the true one, class by class.

    =================  =======================  ==================================================
    in the volume      ``"paper"``              ``"strict"``
    =================  =======================  ==================================================
    both have it       Dice, HD95 in voxels     Dice, HD95 in mm
    prediction only    (1, 0)                   (0, diagonal of the volume in mm)
    target only        (0, 0)                   (0, diagonal of the volume in mm)
    neither            (0, 0)                   (nan, nan): leave it out of the mean
    =================  =======================  ==================================================

    "paper" repeats the released code's answers, odd as they are, so that published tables can be
    reproduced; it does not use ``spacing``, because the released code passes none. "strict" charges a
    missed or invented organ the largest distance the volume can hold, the diagonal of its outer box in mm.

    Args:
        pred, target: integer (or boolean) labels 0..K-1 of one shape, (Z, Y, X) or (Y, X).
        num_classes: K, background included, at least 2.
        protocol: "paper" or "strict".
        spacing: the size of a voxel along each axis, (z, y, x), in mm; "strict" needs it.

    Returns:
        (K-1, 2), float64: row c-1 is class c; the columns are Dice and HD95.

    Raises:
        InputError: unknown protocol, unequal shapes, labels that are no integers or outside 0..K-1,
            ``spacing`` missing for "strict" or without one positive number per axis.

    Source: the released code's test script ("paper"); this project ("strict").
    """
    if protocol not in PROTOCOLS:
        raise InputError(f"protocol: unknown {protocol!r}; choose one of {', '.join(PROTOCOLS)}")
    num_classes = checked_num_classes(num_classes)
    first = checked_labels(pred, num_classes, "pred")
    second = checked_labels(target, num_classes, "target")
    check_shapes(first, second)
    steps = checked_spacing(spacing, first.ndim)
    if protocol == "paper":
        steps, pred_only, target_only, neither = None, (1.0, 0.0), (0.0, 0.0), (0.0, 0.0)
    elif steps is None:
        raise InputError("spacing: protocol 'strict' measures in mm; give the voxel size along each axis in mm")
    else:
        diagonal = math.hypot(*np.multiply(first.shape, steps))
        pred_only, target_only, neither = (0.0, diagonal), (0.0, diagonal), (math.nan, math.nan)

    scores = np.empty((num_classes - 1, 2))
    # One pass over each volume finds the boxes of all classes; after that only boxes are touched.
    boxes = zip(_label_boxes(first, num_classes), _label_boxes(second, num_classes), strict=True)
    for label, (pred_box, target_box) in enumerate(boxes, start=1):
        if pred_box is not None and target_box is not None:
            box = _common_box(pred_box, target_box, first.shape)
            pair = first[box] == label, second[box] == label
            scores[label - 1] = binary.dc(*pair), binary.hd95(*pair, voxelspacing=steps)
        elif pred_box is not None:
            scores[label - 1] = pred_only
        else:
            scores[label - 1] = neither if target_box is None else target_only
    return scores


def pixel_scores(
    preds: Iterable[Any], targets: Iterable[Any], average: str = "pooled", threshold: float | None = None
) -> dict[str, float]:
    """Return Dice, sensitivity, specificity and accuracy of binary masks over a set of images.

    "pooled" counts pixels over all images, so that large lesions weigh more, and obeys
    ``acc = p se + (1 - p) sp`` with p the share of lesion pixels; "per_image" scores each image and
    takes the mean. An empty denominator: Dice of two empty masks is 1.0, as in :func:`dice`;
    sensitivity without a lesion pixel and specificity without a background pixel are nan, and such
    images are left out of that score's mean (nan if none remains).

    Args:
        preds, targets: as many masks each, a list or an array with the images along its first axis;
            images may differ in size, (H, W) or (1, H, W). Values as for :func:`dice`.
        average: "pooled" or "per_image".
        threshold: if given, ``preds`` are probabilities or logits, and a pixel is lesion above it.

    Returns:
        ``{"dsc", "se", "sp", "acc"}``, each from 0 to 1.

    Raises:
        InputError: unknown average, no image, numbers of images or shapes that differ, an image with
            fewer than two dimensions or no pixel, floats other than 0 and 1 where a mask is expected.

    Source: the ISIC 2018 evaluations of BCDU-Net and DermoSegDiff, which pool ("pooled").
    """
    if average not in AVERAGES:
        raise InputError(f"average: unknown {average!r}; choose one of {', '.join(AVERAGES)}")
    pred_list, target_list = list(preds), list(targets)
    if not pred_list or len(pred_list) != len(target_list):
        raise InputError(
            f"preds: {len(pred_list)} images against {len(target_list)} in targets; give as many of both, at least one"
        )
    pairs = zip(pred_list, target_list, strict=True)
    counts = np.array([_confusion(pred, target, threshold) for pred, target in pairs])
    if average == "pooled":
        counts = counts.sum(axis=0, keepdims=True)
    tp, fp, fn, tn = counts.T
    return {
        "dsc": _mean_ratio(2 * tp, 2 * tp + fp + fn, empty=1.0),
        "se": _mean_ratio(tp, tp + fn),
        "sp": _mean_ratio(tn, tn + fp),
        "acc": _mean_ratio(tp + tn, tp + fp + fn + tn),
    }


def _mean_ratio(part: np.ndarray, whole: np.ndarray, empty: float = math.nan) -> float:
    """Return the mean of part / whole, with ``empty`` where whole is 0; nan entries do not count."""
    ratios = np.where(whole > 0, part / np.maximum(whole, 1), empty)
    defined = ratios[~np.isnan(ratios)]
    return float(defined.mean()) if defined.size else math.nan


def _confusion(pred: Any, target: Any, threshold: float | None) -> tuple[int, int, int, int]:
    """Return one image's pixel counts: true and false positives, false and true negatives."""
    scores = as_array(pred)
    first, second = mask_pair(scores if threshold is None else scores > threshold, target)
    if first.ndim < 2 or first.size == 0:
        raise InputError(f"preds: an image of shape {first.shape}; put images of (H, W) pixels in a list")
    both, positive, lesion = (int(np.count_nonzero(mask)) for mask in (first & second, first, second))
    return both, positive - both, lesion - both, first.size - positive - lesion + both


def _label_boxes(labels: np.ndarray, num_classes: int) -> list[Box | None]:
    """Return the bounding box of each class 1..K-1, None where it is absent."""
    return ndimage.find_objects(labels, max_label=num_classes - 1)


def _object_box(mask: np.ndarray) -> Box | None:
    """Return the bounding box of a boolean mask, None if it is empty."""
    return ndimage.find_objects(mask.view(np.uint8), max_label=1)[0] if mask.size else None


def _common_box(first: Box, second: Box, shape: tuple[int, ...]) -> Box:
    """Return the box around two boxes with one voxel of margin, cut at the array's border.

    The margin keeps the background next to a surface in view, so that erosion finds the same surface
    whatever it assumes beyond the array; at the border itself box and array end at the same place.
    """
    return tuple(
        slice(max(min(a.start, b.start) - 1, 0), min(max(a.stop, b.stop) + 1, size))
        for a, b, size in zip(first, second, shape, strict=True)
    )
