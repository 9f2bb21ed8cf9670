"""Exercises of the lessons on data, training, scores and counting."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from msa2net_lib.data.volumes import window as library_window
from msa2net_lib.metrics import dice as library_dice
from msa2net_lib.paper.consistency import pooled_accuracy
from msa2net_lib.workbook.checks.check import Check


def _draw_hu(rng: np.random.Generator) -> tuple[Any, ...]:
    return (rng.uniform(-1000, 1500, size=(6, 7)),)


def _draw_masks(rng: np.random.Generator) -> tuple[Any, ...]:
    return rng.random((9, 8)) < 0.4, rng.random((9, 8)) < 0.6


def _draw_steps(rng: np.random.Generator) -> tuple[Any, ...]:
    steps = int(rng.integers(50, 500))
    return int(rng.integers(1, steps)), steps, float(rng.uniform(0.001, 0.1))


def _draw_convolution(rng: np.random.Generator) -> tuple[Any, ...]:
    groups, narrow, wide, kernel = (int(rng.choice(values)) for values in ([2, 4, 8], [3, 5, 6], [2, 7, 9], [3, 5, 7]))
    height, width = (int(pixels) for pixels in rng.integers(8, 40, size=2))
    return groups * narrow, groups * wide, kernel, groups, height, width


def _draw_shares(rng: np.random.Generator) -> tuple[Any, ...]:
    return tuple(float(share) for share in rng.uniform([0.05, 0.5, 0.6], [0.4, 1.0, 1.0]))


def _iou(pred: np.ndarray, target: np.ndarray) -> float:
    return (pred & target).sum() / (pred | target).sum()


def poly_learning_rate(step: int, steps: int, base: float) -> float:
    """Learning rate of the polynomial schedule with power 0.9 (released code)."""
    return base * (1 - step / steps) ** 0.9


def count_convolution(
    channels_in: int, channels_out: int, kernel: int, groups: int, height: int, width: int
) -> tuple[int, int]:
    """Parameters, with bias, and multiply-adds of a k x k convolution to a map of height x width, as torch counts."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        convolution = torch.nn.Conv2d(channels_in, channels_out, kernel, padding="same", groups=groups)
        convolution(torch.empty(1, channels_in, height, width))
    return sum(parameter.numel() for parameter in convolution.parameters()), counter.get_total_flops() // 2


window = Check(
    "window",
    lambda hu: library_window(hu),
    _draw_hu,
    {
        "values outside [-125, 275] HU are not clipped": lambda hu: (hu + 125) / 400,
        "divided by 275, the upper end, where the width of the window (400) belongs": lambda hu: (
            (np.clip(hu, -125, 275) + 125) / 275
        ),
        "the lower end (-125) is not subtracted before dividing": lambda hu: np.clip(hu, -125, 275) / 400,
        "the sign of the shift is wrong: subtract the lower end, which is negative": lambda hu: (
            (np.clip(hu, -125, 275) - 125) / 400
        ),
        "clipped only, not scaled to [0, 1]": lambda hu: np.clip(hu, -125, 275),
    },
)
dice = Check(
    "dice",
    library_dice,
    _draw_masks,
    {
        "that is intersection over union (Jaccard), not Dice": _iou,
        "the factor 2 is missing": lambda p, t: (p & t).sum() / (p.sum() + t.sum()),
        "that is precision: the denominator holds the prediction only": lambda p, t: (p & t).sum() / p.sum(),
        "that is sensitivity: the denominator holds the target only": lambda p, t: (p & t).sum() / t.sum(),
        "that is accuracy: it also rewards agreement on the background": lambda p, t: (p == t).mean(),
    },
)
poly = Check(
    "poly",
    poly_learning_rate,
    _draw_steps,
    {
        "the power 0.9 is missing: that is linear decay": lambda step, steps, base: base * (1 - step / steps),
        "it rises from zero: use the share of steps that is left": lambda step, steps, base: (
            base * (step / steps) ** 0.9
        ),
        "the base rate is missing": lambda step, steps, base: (1 - step / steps) ** 0.9,
        "the power applies to the share done, not to the share left": lambda step, steps, base: (
            base * (1 - (step / steps) ** 0.9)
        ),
    },
)
convolution = Check(
    "convolution",
    count_convolution,
    _draw_convolution,
    {
        "the groups are forgotten: an output channel sees the inputs of its own group only": lambda i, o, k, g, h, w: (
            o * i * k * k + o,
            o * i * k * k * h * w,
        ),
        "the bias is forgotten among the parameters": lambda i, o, k, g, h, w: (
            o * i // g * k * k,
            o * i // g * k * k * h * w,
        ),
        "the kernel is a square: k times k weights, not k": lambda i, o, k, g, h, w: (
            o * i // g * k + o,
            o * i // g * k * h * w,
        ),
        "the pixels are forgotten: every weight is used once per output pixel": lambda i, o, k, g, h, w: (
            o * i // g * k * k + o,
            o * i // g * k * k,
        ),
        "the pixels went into the parameters: all pixels share the same weights": lambda i, o, k, g, h, w: (
            (o * i // g * k * k + o) * h * w,
            o * i // g * k * k * h * w,
        ),
        "those are operations: a multiplication and its addition are one multiply-add": lambda i, o, k, g, h, w: (
            o * i // g * k * k + o,
            2 * o * i // g * k * k * h * w,
        ),
        "divided by the groups twice": lambda i, o, k, g, h, w: (
            o * i // g**2 * k * k + o,
            o * i // g**2 * k * k * h * w,
        ),
    },
)
accuracy = Check(
    "accuracy",
    pooled_accuracy,
    _draw_shares,
    {
        "the prevalence is ignored: that is the plain mean (balanced accuracy)": lambda p, se, sp: (se + sp) / 2,
        "the weights are swapped: sensitivity speaks of the lesion pixels, a share p of all": lambda p, se, sp: (
            (1 - p) * se + p * sp
        ),
        "the true negatives are missing": lambda p, se, sp: p * se,
        "the true positives are missing": lambda p, se, sp: (1 - p) * sp,
        "both scores are weighted by p: the background is the other share, 1 - p": lambda p, se, sp: p * (se + sp),
        "that is the product of both, not their weighted mean": lambda p, se, sp: se * sp,
    },
)
