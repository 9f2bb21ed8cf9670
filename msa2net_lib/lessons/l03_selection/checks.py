"""Exercises of the lesson on spatial selection."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn

from msa2net_lib.lessons.exercise import Check, random_tensor
from msa2net_lib.nn.masag import SpatialSelection

Pair = tuple[Tensor, Tensor]


def _draw_inputs(rng: np.random.Generator) -> tuple[Any, ...]:
    samples, channels, height = (int(rng.integers(low, low + 4)) for low in (2, 3, 4))
    width = height + int(rng.integers(1, 4))
    features = (random_tensor(rng, samples, channels, height, width) for _ in range(2))
    return random_tensor(rng, samples, 2, height, width), *features


def _draw_logits(rng: np.random.Generator) -> tuple[Any, ...]:
    return (_draw_inputs(rng)[0],)


def _selection() -> SpatialSelection:
    """The library's stage without its projection: it takes the two-channel map as it is."""
    stage = SpatialSelection(2)
    stage.project = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
    return stage


def select(logits: Tensor, x: Tensor, g: Tensor) -> Pair:
    """X' and G' from the projected map (b, 2, h, w) and both features (b, c, h, w), by the library's own class."""
    return _selection()(logits, x, g)


def _weigh(weights: Tensor, x: Tensor, g: Tensor) -> Pair:
    weight_x, weight_g = weights.chunk(2, dim=1)
    return weight_x * x + x, weight_g * g + g


def _over_pixels(logits: Tensor) -> Tensor:
    flat = rearrange(logits, "b k h w -> b k (h w)").softmax(dim=-1)
    return rearrange(flat, "b k (h w) -> b k h w", h=logits.shape[-2])


def _without_residual(logits: Tensor, x: Tensor, g: Tensor) -> Pair:
    weight_x, weight_g = logits.softmax(dim=1).chunk(2, dim=1)
    return weight_x * x, weight_g * g


def _crossed(logits: Tensor, x: Tensor, g: Tensor) -> Pair:
    weight_x, weight_g = logits.softmax(dim=1).chunk(2, dim=1)
    return weight_x * x + g, weight_g * g + x


def _same_weight(logits: Tensor, x: Tensor, g: Tensor) -> Pair:
    weight_x = logits.softmax(dim=1)[:, :1]
    return weight_x * x + x, weight_x * g + g


selection = Check(
    "selection",
    select,
    _draw_inputs,
    {
        "softmax over the wrong axis: all cells compete; the two inputs should (dim=1)": lambda s, x, g: _weigh(
            _over_pixels(s), x, g
        ),
        "softmax over the batch: samples must not know of each other (dim=1)": lambda s, x, g: _weigh(
            s.softmax(dim=0), x, g
        ),
        "softmax over rows: the two inputs should compete (dim=1)": lambda s, x, g: _weigh(s.softmax(dim=2), x, g),
        "softmax over columns: the two inputs should compete (dim=1)": lambda s, x, g: _weigh(s.softmax(dim=3), x, g),
        "sigmoid for softmax: the two weights no longer sum to one": lambda s, x, g: _weigh(s.sigmoid(), x, g),
        "no softmax: the projected map itself is no pair of weights": _weigh,
        "the residual is missing: add X to its product, and G to its own": _without_residual,
        "the residuals are crossed: X' ends in + X, G' in + G": _crossed,
        "the weights are swapped: channel 0 is for X, channel 1 for G": lambda s, x, g: _weigh(
            s.softmax(dim=1).flip(1), x, g
        ),
        "one weight for both: G has the second channel": _same_weight,
        "the weights sum to two: softmax already gives shares of one": lambda s, x, g: _weigh(
            2 * s.softmax(dim=1), x, g
        ),
    },
)
share = Check(
    "share",
    lambda logits: _selection().weights(logits)[:, :1],
    _draw_logits,
    {
        "the difference has the wrong sign: that is the weight of G": lambda s: (s[:, 1:] - s[:, :1]).sigmoid(),
        "the second logit is left out: only the difference of both counts": lambda s: s[:, :1].sigmoid(),
        "that is a ratio of logits, which may be negative: take the sigmoid of their difference": lambda s: (
            s[:, :1] / s.sum(dim=1, keepdim=True)
        ),
        "that is tanh, from -1 to 1: a share lies between 0 and 1": lambda s: (s[:, :1] - s[:, 1:]).tanh(),
        "too steep by a factor of two: (1 + tanh(d)) / 2 is the sigmoid of 2 d": lambda s: (
            2 * (s[:, :1] - s[:, 1:])
        ).sigmoid(),
        "the logits are added: what counts is by how much one exceeds the other": lambda s: s.sum(
            dim=1, keepdim=True
        ).sigmoid(),
        "the larger one takes all: the weights are soft": lambda s: (s[:, :1] > s[:, 1:]).to(s.dtype),
    },
)


def _draw_order(rng: np.random.Generator) -> tuple[Any, ...]:
    """Weights (b, 1, h, w) and an order of the h x w cells."""
    weights = _draw_logits(rng)[0][:, :1].sigmoid()
    return weights, torch.from_numpy(rng.permutation(weights[0, 0].numel()))


def _moved(weights: Tensor, order: Tensor) -> Tensor:
    return rearrange(weights, "b k h w -> b k (h w)")[..., order].view_as(weights)


shuffled = Check(
    "shuffled",
    _moved,
    _draw_order,
    {
        "the order is applied backwards: cell i takes the weight of cell order[i]": lambda w, order: _moved(
            w, order.argsort()
        ),
        "whole rows are moved: every cell has a place of its own in the order": lambda w, order: w[
            :, :, order[order < w.shape[2]]
        ],
        "whole columns are moved: every cell has a place of its own in the order": lambda w, order: w[
            ..., order[order < w.shape[3]]
        ],
        "cells are counted down the columns: count along the rows, as view and flatten do": lambda w, order: (
            _moved(w.mT.contiguous(), order).mT
        ),
        "sorted, not shuffled": lambda w, order: w.flatten(2).sort(dim=2)[0].view_as(w),
        "those are the weights of G: one minus the weight of X": lambda w, order: 1 - _moved(w, order),
        "the mean everywhere: a shuffle keeps every single value": lambda w, order: w.mean(
            dim=(2, 3), keepdim=True
        ).expand_as(w),
    },
)
