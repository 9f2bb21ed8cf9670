"""Exercise of the lesson on Grad-CAM."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from msa2net_lib.analysis.grad_cam import combine
from msa2net_lib.lessons.exercise import Check, random_tensor


def _draw(rng: np.random.Generator) -> tuple[Any, ...]:
    samples, channels, height = (int(rng.integers(low, low + 4)) for low in (2, 3, 4))
    shape = (samples, channels, height, height + int(rng.integers(1, 4)))
    return random_tensor(rng, *shape), random_tensor(rng, *shape)


def _weighted(activations: Tensor, weights: Tensor) -> Tensor:
    """Channels summed with weights (b, c, 1, 1), before the ReLU."""
    return (weights * activations).sum(dim=1)


def _mean(gradients: Tensor) -> Tensor:
    return gradients.mean(dim=(2, 3), keepdim=True)


grad_cam = Check(
    "grad_cam",
    combine,
    _draw,
    {
        "the ReLU at the end is missing: what speaks against the class stays in": lambda a, g: _weighted(a, _mean(g)),
        "the ReLU comes too early: sum the channels first, for they may cancel": lambda a, g: (
            (_mean(g) * a).relu().sum(dim=1)
        ),
        "the ReLU is on the weights: a channel may count against the class, only the sum is cut": lambda a, g: (
            _weighted(a, _mean(g).relu())
        ),
        "the weights are maxima over the pixels: take the mean": lambda a, g: _weighted(
            a, g.amax(dim=(2, 3), keepdim=True)
        ).relu(),
        "the weights are sums over the pixels: take the mean, or the map grows with its grid": lambda a, g: _weighted(
            a, g.sum(dim=(2, 3), keepdim=True)
        ).relu(),
        "the gradient is not pooled: that is gradient times activation, pixel by pixel": lambda a, g: _weighted(
            a, g
        ).relu(),
        "pooled over channels: the weight belongs to a channel, so take the mean over its pixels": lambda a, g: (
            _weighted(a, g.mean(dim=1, keepdim=True)).relu()
        ),
        "the mean runs over the samples too: each image has weights of its own": lambda a, g: _weighted(
            a, g.mean(dim=(0, 2, 3), keepdim=True)
        ).relu(),
        "activations and gradients are swapped: gradients give the weights, activations the map": lambda a, g: (
            _weighted(g, _mean(a)).relu()
        ),
        "the absolute value of the gradient is pooled: its sign counts": lambda a, g: _weighted(
            a, _mean(g.abs())
        ).relu(),
        "the mean over channels where the sum belongs": lambda a, g: (_mean(g) * a).mean(dim=1).relu(),
    },
)
