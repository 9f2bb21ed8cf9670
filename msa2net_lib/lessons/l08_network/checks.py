"""Exercises of the lesson on the network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from msa2net_lib.lessons.exercise import Check


def _draw_convolution(rng: np.random.Generator) -> tuple[Any, ...]:
    groups, narrow, wide, kernel = (int(rng.choice(values)) for values in ([2, 4, 8], [3, 5, 6], [2, 7, 9], [3, 5, 7]))
    height, width = (int(pixels) for pixels in rng.integers(8, 40, size=2))
    return groups * narrow, groups * wide, kernel, groups, height, width


def count_convolution(
    channels_in: int, channels_out: int, kernel: int, groups: int, height: int, width: int
) -> tuple[int, int]:
    """Parameters, with bias, and multiply-adds of a k x k convolution to a map of height x width, as torch counts."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        convolution = torch.nn.Conv2d(channels_in, channels_out, kernel, padding="same", groups=groups)
        convolution(torch.empty(1, channels_in, height, width))
    return sum(parameter.numel() for parameter in convolution.parameters()), counter.get_total_flops() // 2


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
