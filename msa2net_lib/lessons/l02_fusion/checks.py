"""Exercises of the lesson on multi-scale fusion."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from msa2net_lib.analysis.receptive_field import receptive_field_size
from msa2net_lib.analysis.receptive_field import same_padding as library_padding
from msa2net_lib.lessons.exercise import Check, random_tensor
from msa2net_lib.nn.masag import GlobalContext


def _draw_features(rng: np.random.Generator) -> tuple[Any, ...]:
    samples, channels, height = (int(rng.integers(low, low + 4)) for low in (2, 3, 4))
    return (random_tensor(rng, samples, channels, height, height + int(rng.integers(1, 4))),)


def _draw_chain(rng: np.random.Generator) -> tuple[Any, ...]:
    layers = int(rng.integers(3, 5))
    return [int(k) for k in rng.choice([3, 5, 7], layers)], [int(d) for d in rng.choice([1, 2, 3, 4], layers)]


def pool_channels(g: Tensor) -> Tensor:
    """What the library's global context mixes: mean and maximum of G over channels, (b, c, h, w) -> (b, 2, h, w)."""
    context = GlobalContext()
    context.mix, context.norm = nn.Identity(), nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
    return context(g)


def _pair(first: Tensor, second: Tensor) -> Tensor:
    return torch.cat([first, second], dim=1)


def _mean(g: Tensor) -> Tensor:
    return g.mean(dim=1, keepdim=True)


def _maximum(g: Tensor) -> Tensor:
    return g.amax(dim=1, keepdim=True)


def _per_map(g: Tensor) -> Tensor:
    """Mean and maximum over everything but the sample, spread over the map."""
    pooled = _pair(g.mean(dim=(1, 2, 3), keepdim=True), g.amax(dim=(1, 2, 3), keepdim=True))
    return pooled.expand(-1, -1, *g.shape[-2:])


global_pooling = Check(
    "global_pooling",
    pool_channels,
    _draw_features,
    {
        "pooled over cells too: one number per map has lost where things are; pool over dim=1 only": _per_map,
        "the order is swapped: the mean comes first, then the maximum": lambda g: _pair(_maximum(g), _mean(g)),
        "the maximum is missing: the mean is there twice": lambda g: _pair(_mean(g), _mean(g)),
        "the mean is missing: the maximum is there twice": lambda g: _pair(_maximum(g), _maximum(g)),
        "that is a sum, not a mean: it grows with the number of channels": lambda g: _pair(
            g.sum(dim=1, keepdim=True), _maximum(g)
        ),
        "that is the minimum, not the maximum": lambda g: _pair(_mean(g), g.amin(dim=1, keepdim=True)),
        "the maximum is of absolute values: the sign of G counts": lambda g: _pair(_mean(g), _maximum(g.abs())),
        "the median stands where the mean belongs": lambda g: _pair(g.median(dim=1, keepdim=True)[0], _maximum(g)),
        "the channel axis is lost before both are joined: keepdim=True, then cat along dim=1": lambda g: torch.cat(
            [g.mean(dim=1), g.amax(dim=1)], dim=1
        ),
        "the first two channels of G, nothing pooled": lambda g: g[:, :2],
    },
)


def _layers(count: Callable[[list[tuple[int, int]]], int]) -> Callable[[list[int], list[int]], int]:
    """A wrong side of the footprint from the (kernel, dilation) of each layer."""
    return lambda kernels, dilations: count(list(zip(kernels, dilations, strict=True)))


receptive_field = Check(
    "receptive_field",
    receptive_field_size,
    _draw_chain,
    {
        "the dilation is forgotten": _layers(lambda layers: 1 + sum(k - 1 for k, _ in layers)),
        "kernels added whole: a layer adds k - 1 steps, not k": _layers(
            lambda layers: 1 + sum(d * k for k, d in layers)
        ),
        "the sides of the footprints are summed: neighboring layers share a cell, each adds its side minus 1": _layers(
            lambda layers: sum(d * (k - 1) + 1 for k, d in layers)
        ),
        "the kernels are summed: in a chain each layer adds dilation times (kernel - 1)": _layers(
            lambda layers: sum(k for k, _ in layers)
        ),
        "off by one: start from 1, a cell sees itself": _layers(lambda layers: sum(d * (k - 1) for k, d in layers)),
        "multiplied: footprints of layers in a row add up": _layers(
            lambda layers: math.prod(d * (k - 1) + 1 for k, d in layers)
        ),
        "that is the radius: both sides count": _layers(lambda layers: sum(d * (k - 1) // 2 for k, d in layers)),
        "only the widest layer counted: each one adds to what was seen before": _layers(
            lambda layers: max(d * (k - 1) + 1 for k, d in layers)
        ),
        "the dilation is added, where it multiplies the steps": _layers(
            lambda layers: 1 + sum(k - 1 + d for k, d in layers)
        ),
    },
)
same_padding = Check(
    "same_padding",
    library_padding,
    lambda rng: (int(rng.choice([3, 5, 7, 9])), int(rng.integers(2, 6))),
    {
        "off by the dilation: that keeps the size only for a dilation of 1": lambda kernel, dilation: kernel // 2,
        "the kernel is forgotten: that is right for a 3 x 3 only": lambda kernel, dilation: dilation,
        "that is for both sides together: padding is given per side": lambda kernel, dilation: dilation * (kernel - 1),
        "added, where the dilation multiplies the steps": lambda kernel, dilation: kernel // 2 + dilation - 1,
        "that is the side of the footprint, not its radius": lambda kernel, dilation: dilation * (kernel - 1) + 1,
    },
)
