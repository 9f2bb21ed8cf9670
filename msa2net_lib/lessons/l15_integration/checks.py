"""The exercise of the lesson that takes the gate to other networks: g of other channels and size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from msa2net_lib.lessons.exercise import Check, random_pointwise, random_tensor
from msa2net_lib.nn.adapters import GatedSkip

Gate = Callable[[Tensor, Tensor], Tensor]


def _library_skip(x: Tensor, g: Tensor, to_channels: nn.Module, gate: Gate) -> Tensor:
    skip = GatedSkip(x.shape[1], g.shape[1], _AsModule(gate))
    skip.to_channels.mix = to_channels
    return skip(x, g)


class _AsModule(nn.Module):
    def __init__(self, gate: Gate):
        super().__init__()
        self.gate = gate

    def forward(self, x: Tensor, g: Tensor) -> Tensor:
        return self.gate(x, g)


def _soft_gate(x: Tensor, g: Tensor) -> Tensor:
    """A gate that needs no weights: x where both agree; it takes neither other channels nor another grid."""
    if x.shape != g.shape:
        raise ValueError(f"the gate got x of shape {tuple(x.shape)} and g of shape {tuple(g.shape)}")
    return x * (x * g).sigmoid()


def _draw(rng: np.random.Generator) -> tuple[Any, ...]:
    channels = int(rng.integers(2, 5))
    gating_channels, height = channels + int(rng.integers(1, 4)), int(rng.integers(2, 5))
    width = height + int(rng.integers(1, 4))
    size = (2 * height + int(rng.integers(0, 2)), 2 * width + int(rng.integers(0, 2)))
    batch = int(rng.integers(2, 4))
    x, g = random_tensor(rng, batch, channels, *size), random_tensor(rng, batch, gating_channels, height, width)
    return x, g, random_pointwise(rng, gating_channels, channels), _soft_gate


def _resampled(features: Tensor, like: Tensor, mode: str = "bilinear", align_corners: bool | None = False) -> Tensor:
    align = None if mode == "nearest" else align_corners
    return functional.interpolate(features, size=like.shape[-2:], mode=mode, align_corners=align)


def _padded(features: Tensor, like: Tensor) -> Tensor:
    height, width = (b - a for a, b in zip(features.shape[-2:], like.shape[-2:], strict=True))
    return functional.pad(features, (0, width, 0, height))


gated_skip = Check(
    "gated_skip",
    _library_skip,
    _draw,
    {
        "nearest neighbors where bilinear belongs: g steps from block to block": lambda x, g, mix, gate: gate(
            x, _resampled(mix(g), x, "nearest")
        ),
        "align_corners=True: edges of the grids must fall together, not the centers of their corner pixels": (
            lambda x, g, mix, gate: gate(x, _resampled(mix(g), x, align_corners=True))
        ),
        "bicubic where bilinear belongs": lambda x, g, mix, gate: gate(x, _resampled(mix(g), x, "bicubic")),
        "x was resampled to g's grid and the result back: that blurs the skip; bring g to x": (
            lambda x, g, mix, gate: _resampled(gate(_resampled(x, g), mix(g)), x)
        ),
        "g was padded with zeros: resample it, so that it covers the same area": lambda x, g, mix, gate: gate(
            x, _padded(mix(g), x)
        ),
        "the first channels of g were cut out: mix all of them with to_channels": lambda x, g, mix, gate: gate(
            x, _resampled(g[:, : x.shape[1]], x)
        ),
        "the bias of to_channels is missing: call the layer": lambda x, g, mix, gate: gate(
            x, _resampled(functional.conv2d(g, mix.weight), x)
        ),
        "x and g are swapped: the gate weighs its first argument, which is x": lambda x, g, mix, gate: gate(
            _resampled(mix(g), x), x
        ),
        "the gate is missing: that is g on the grid of x": lambda x, g, mix, gate: _resampled(mix(g), x),
        "x came back as it was: g has no say": lambda x, g, mix, gate: x,
        "x passes the gate twice over: return the gate's result, without adding x": lambda x, g, mix, gate: (
            gate(x, _resampled(mix(g), x)) + x
        ),
    },
)
