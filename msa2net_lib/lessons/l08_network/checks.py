"""Exercises of the lesson on the network: what a convolution and attention cost, and which parameters run."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from msa2net_lib.lessons.exercise import Check, random_tensor


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
    cache(count_convolution),  # hundreds of guesses ask for the same counts
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


class Branches(nn.Module):
    """Layers in a row of which some are passed by, and one whose result is multiplied by zero."""

    def __init__(self, channels: int, layers: int, skipped: set[int], silent: int):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv2d(channels, channels, 1 + 2 * (i % 2), padding="same") for i in range(layers)
        )
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.skipped, self.silent = skipped, silent

    def forward(self, image: Tensor) -> Tensor:
        for index, layer in enumerate(self.layers):
            if index == self.silent:
                image = image + 0 * layer(image)
            elif index not in self.skipped:
                image = layer(image)
        return image


def _draw_network(rng: np.random.Generator) -> tuple[Any, ...]:
    channels, layers = (int(n) for n in rng.integers([2, 4], [4, 7]))
    skipped = {int(i) for i in rng.choice(layers - 1, size=2, replace=False)}
    network = Branches(channels, layers, skipped, layers - 1).double()
    return network, random_tensor(rng, 2, channels, 4, 5)


def _after_backward(network: nn.Module, image: Tensor) -> list[nn.Parameter]:
    network(image).sum().backward()
    return [*network.parameters()]


unused_parameters = Check(
    "unused_parameters",
    lambda network, image: sum(p.numel() for p in _after_backward(network, image) if p.grad is None),
    _draw_network,
    {
        "those are tensors: count their numbers": lambda network, image: sum(
            p.grad is None for p in _after_backward(network, image)
        ),
        "those are the live ones": lambda network, image: sum(
            p.numel() for p in _after_backward(network, image) if p.grad is not None
        ),
        "those are all parameters: only after `backward` do some have a gradient": lambda network, image: sum(
            p.numel() for p in network.parameters()
        ),
        "a gradient of zeros is counted as well: a path leads there": lambda network, image: sum(
            p.numel() for p in _after_backward(network, image) if p.grad is None or not p.grad.any()
        ),
        "only gradients of zeros are counted: where no path leads, the gradient is None": lambda network, image: sum(
            p.numel() for p in _after_backward(network, image) if p.grad is not None and not p.grad.any()
        ),
        "weights only: biases and scales are parameters too": lambda network, image: sum(
            p.numel() for p in _after_backward(network, image) if p.grad is None and p.ndim == 4
        ),
    },
)


def _draw_attention(rng: np.random.Generator) -> tuple[Any, ...]:
    group, groups, channels = (int(rng.choice(values)) for values in ([4, 9, 16], [2, 5, 6], [3, 10, 24]))
    return group * groups, group, channels


def count_grouped_attention(cells: int, group: int, channels: int) -> tuple[int, int]:
    """Parameters, and multiply-adds as torch counts them, of attention with one head among groups of cells."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        maps = [nn.Linear(channels, channels) for _ in range(4)]
        tokens = torch.empty(cells // group, group, channels)
        queries, keys, values = (one(tokens) for one in maps[:3])
        maps[3]((queries @ keys.mT).softmax(-1) @ values)
    return sum(p.numel() for one in maps for p in one.parameters()), counter.get_total_flops() // 2


attention_count = Check(
    "attention_count",
    count_grouped_attention,
    _draw_attention,
    {
        "the linear maps are forgotten among the multiply-adds": lambda n, w, c: (4 * (c * c + c), 2 * n * w * c),
        "the products of queries, keys and values are forgotten": lambda n, w, c: (4 * (c * c + c), 4 * n * c * c),
        "every cell meets every cell: only those of its group": lambda n, w, c: (
            4 * (c * c + c),
            4 * n * c * c + 2 * n * n * c,
        ),
        "one product is missing: queries meet keys, and weights meet values": lambda n, w, c: (
            4 * (c * c + c),
            4 * n * c * c + n * w * c,
        ),
        "the output's linear map is missing: there are four": lambda n, w, c: (
            3 * (c * c + c),
            3 * n * c * c + 2 * n * w * c,
        ),
        "the biases are forgotten among the parameters": lambda n, w, c: (4 * c * c, 4 * n * c * c + 2 * n * w * c),
        "those are operations: a multiplication and its addition are one multiply-add": lambda n, w, c: (
            4 * (c * c + c),
            2 * (4 * n * c * c + 2 * n * w * c),
        ),
        "the linear maps are counted once a group: every cell goes through them": lambda n, w, c: (
            4 * (c * c + c),
            4 * n // w * c * c + 2 * n * w * c,
        ),
        "biases do no multiply-adds": lambda n, w, c: (4 * (c * c + c), 4 * n * (c * c + c) + 2 * n * w * c),
    },
)
