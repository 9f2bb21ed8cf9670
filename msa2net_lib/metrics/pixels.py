"""Dice, sensitivity, specificity and accuracy of binary masks over a set of images."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from msa2net_lib.errors import InputError
from msa2net_lib.metrics.masks import as_array, mask_pair

AVERAGES = ("pooled", "per_image")


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
        preds: masks, a list or an array with the images along its first axis; images may differ in size, (H, W) or
            (1, H, W). Values as for :func:`dice`.
        targets: as many masks, of the same shapes.
        average: "pooled" or "per_image".
        threshold: if given, ``preds`` are probabilities or logits, and a pixel is lesion above it.

    Returns:
        ``{"dsc", "se", "sp", "acc"}``, each from 0 to 1.

    Raises:
        InputError: unknown average, no image, numbers of images or shapes that differ, an image with
            fewer than two dimensions or no pixel, floats other than 0 and 1 where a mask is expected, values that are
            not finite.

    Example:
        >>> from msa2net_lib import pixel_scores
        >>> scores = pixel_scores([[[0.9, 0.6], [0.2, 0.1]]], [[[1, 0], [0, 0]]], threshold=0.5)
        >>> {name: round(float(score), 2) for name, score in scores.items()}
        {'dsc': 0.67, 'se': 1.0, 'sp': 0.67, 'acc': 0.75}

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
    counts = [pixel_counts(pred, target, threshold) for pred, target in pairs]
    return scores_of_counts(np.array(counts), average)


def pixel_counts(pred: Any, target: Any, threshold: float | None = None) -> tuple[int, int, int, int]:
    """Return one image's pixel counts: true and false positives, false and true negatives; as `pixel_scores`."""
    scores = as_array(pred)
    if threshold is not None and not (math.isfinite(threshold) and np.isfinite(scores).all()):
        raise InputError(f"preds: values that are not finite, or threshold={threshold}; nothing says which are lesion")
    first, second = mask_pair(scores if threshold is None else scores > threshold, target)
    if first.ndim < 2 or first.size == 0:
        raise InputError(f"preds: an image of shape {first.shape}; put images of (H, W) pixels in a list")
    both, positive, lesion = (int(np.count_nonzero(mask)) for mask in (first & second, first, second))
    return both, positive - both, lesion - both, first.size - positive - lesion + both


def scores_of_counts(counts: np.ndarray, average: str = "pooled") -> dict[str, float]:
    """Return what `pixel_scores` returns, from the counts of its images, (images, 4) as `pixel_counts` orders them."""
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
