"""Exercises of lesson 04: two feature maps gate each other; how steep their product is; how much a change moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from msa2net_lib.analysis.interventions import relative_change as library_change
from msa2net_lib.lessons.exercise import Check, random_tensor
from msa2net_lib.nn.masag import CrossModulation

Three = tuple[Tensor, Tensor, Tensor]


def _draw(rng: np.random.Generator) -> tuple[Any, ...]:
    batch, channels, height = int(rng.integers(2, 4)), int(rng.integers(2, 6)), int(rng.integers(3, 8))
    shape = batch, channels, height, height + int(rng.integers(1, 4))
    return random_tensor(rng, *shape), random_tensor(rng, *shape)


def _answer(x: Tensor, g: Tensor) -> Three:
    """X'', G'' and U'; the last is the library's own, which keeps the other two to itself."""
    return x * g.sigmoid(), g * x.sigmoid(), CrossModulation()(x, g)


def _modulated(modulate: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Callable[[Tensor, Tensor], Three]:
    """A wrong pair X'', G'', and its product."""

    def wrong(x: Tensor, g: Tensor) -> Three:
        x_modulated, g_modulated = modulate(x, g)
        return x_modulated, g_modulated, x_modulated * g_modulated

    return wrong


cross_modulation = Check(
    "cross_modulation",
    _answer,
    _draw,
    {
        "each map is gated by its own sigmoid, not by the other's (U' is right all the same: look why)": _modulated(
            lambda x, g: (x * x.sigmoid(), g * g.sigmoid())
        ),
        "U' is a sum: multiply X'' and G''": lambda x, g: (
            x * g.sigmoid(),
            g * x.sigmoid(),
            x * g.sigmoid() + g * x.sigmoid(),
        ),
        "only X' is modulated: G'' is G' times sigmoid(X')": _modulated(lambda x, g: (x * g.sigmoid(), g)),
        "only G' is modulated: X'' is X' times sigmoid(G')": _modulated(lambda x, g: (x, g * x.sigmoid())),
        "tanh where the sigmoid belongs: a gate lies between 0 and 1": _modulated(
            lambda x, g: (x * g.tanh(), g * x.tanh())
        ),
        "softmax over channels where the sigmoid belongs: channels do not compete here": _modulated(
            lambda x, g: (x * g.softmax(dim=1), g * x.softmax(dim=1))
        ),
        "softmax over cells where the sigmoid belongs: cells do not compete here": _modulated(
            lambda x, g: (x * g.flatten(2).softmax(dim=2).view_as(g), g * x.flatten(2).softmax(dim=2).view_as(x))
        ),
        "the sigmoid is taken of the product: gate each map by the sigmoid of the other alone": _modulated(
            lambda x, g: (x * (x * g).sigmoid(), g * (x * g).sigmoid())
        ),
        "the other map itself is the gate: its sigmoid is missing": _modulated(lambda x, g: (x * g, g * x)),
        "a residual is added: X'' is the product alone, the residuals were in stage 2": _modulated(
            lambda x, g: (x * g.sigmoid() + x, g * x.sigmoid() + g)
        ),
        "X'' and G'' are swapped: X'' is made of X', weighed by G'": _modulated(
            lambda x, g: (g * x.sigmoid(), x * g.sigmoid())
        ),
        "one after the other: G'' takes the sigmoid of X', not of the new X''": _modulated(
            lambda x, g: (x * g.sigmoid(), g * (x * g.sigmoid()).sigmoid())
        ),
        "one after the other: X'' takes the sigmoid of G', not of the new G''": _modulated(
            lambda x, g: (x * (g * x.sigmoid()).sigmoid(), g * x.sigmoid())
        ),
        "the sigmoid comes after the product: first the gate, sigmoid of the other map, then the product": _modulated(
            lambda x, g: ((x * g).sigmoid(), (g * x).sigmoid())
        ),
        "U' multiplies X' and G', before they were modulated": lambda x, g: (x * g.sigmoid(), g * x.sigmoid(), x * g),
    },
)


def _by_autograd(x: Tensor, g: Tensor) -> Tensor:
    """The derivative of U' by G', number by number."""
    with torch.enable_grad():
        g = g.detach().requires_grad_()
        return torch.autograd.grad(CrossModulation()(x, g).sum(), g)[0]


def _silu_slope(a: Tensor) -> Tensor:
    return a.sigmoid() * (1 + a * (1 - a.sigmoid()))


slope = Check(
    "slope",
    _by_autograd,
    _draw,
    {
        "G' stands in s(G') twice, alone and in the sigmoid: the product rule gives two terms, the second is missing": (
            lambda x, g: x * x.sigmoid() * g.sigmoid()
        ),
        "G' stands in s(G') twice, alone and in the sigmoid: the product rule gives two terms, the first is missing": (
            lambda x, g: x * x.sigmoid() * g * g.sigmoid() * (1 - g.sigmoid())
        ),
        "the derivative of a sigmoid is sigmoid times (1 - sigmoid), not the sigmoid again": lambda x, g: (
            x * x.sigmoid() * (g.sigmoid() + g * g.sigmoid())
        ),
        "the second term is added, not subtracted": lambda x, g: (
            x * x.sigmoid() * g.sigmoid() * (1 - g * (1 - g.sigmoid()))
        ),
        "that is the derivative by X', not by G'": lambda x, g: g * g.sigmoid() * _silu_slope(x),
        "X' comes through its own sigmoid: the factor is s(X')": lambda x, g: x * _silu_slope(g),
        "both factors are derived: X' is held fixed": lambda x, g: _silu_slope(x) * _silu_slope(g),
        "the factor s(X') is missing": lambda x, g: _silu_slope(g),
        "that is U' itself, not its derivative": lambda x, g: CrossModulation()(x, g),
    },
)
change = Check(
    "change",
    library_change,
    lambda rng: (lambda before, after: (before, before + after))(*_draw(rng)),
    {
        "divided by the length of the map after the change: what was there before is the yardstick": lambda a, b: float(
            (b - a).norm() / b.norm()
        ),
        "that is the change of the length: the length of the change counts every cell that moved": lambda a, b: float(
            (b.norm() - a.norm()).abs() / a.norm()
        ),
        "the squares' root is missing, above and below": lambda a, b: float((b - a).square().sum() / a.square().sum()),
        "a mean of quotients, cell by cell: a value near zero decides it; divide once, at the end": lambda a, b: float(
            ((b - a) / a).abs().mean()
        ),
        "not divided by the length of what was there": lambda a, b: float((b - a).norm()),
        "absolute values where squares belong: a length is the root of the sum of squares": lambda a, b: float(
            (b - a).abs().sum() / a.abs().sum()
        ),
        "that is the sum of both lengths: subtract first": lambda a, b: float((b.norm() + a.norm()) / a.norm()),
    },
)
