"""Exercises of the lesson that compares skip gates."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn

from msa2net_lib.lessons.exercise import Check, random_pointwise, random_tensor
from msa2net_lib.nn.gates import AttentionGate


def _library_gate(x: Tensor, g: Tensor, theta_x: nn.Module, phi_g: nn.Module, psi: nn.Module) -> Tensor:
    gate = AttentionGate(x.shape[1])
    for name, layer in (("theta_x", theta_x), ("phi_g", phi_g), ("psi", psi)):
        gate.add_module(name, layer)
    return gate(x, g)


def _draw_gate(rng: np.random.Generator) -> tuple[Any, ...]:
    channels, inner, height = (int(size) for size in rng.integers(2, 6, size=3))
    shape = (int(rng.integers(2, 4)), channels, height, height + int(rng.integers(1, 4)))
    layers = (random_pointwise(rng, *sizes) for sizes in ((channels, inner), (channels, inner), (inner, 1)))
    return random_tensor(rng, *shape), random_tensor(rng, *shape), *layers


def _map(x: Tensor, g: Tensor, theta: nn.Module, phi: nn.Module, psi: nn.Module) -> Tensor:
    return psi((theta(x) + phi(g)).relu()).sigmoid()


def _over_positions(logits: Tensor) -> Tensor:
    return logits.flatten(2).softmax(dim=-1).reshape(logits.shape)


attention_gate = Check(
    "attention_gate",
    _library_gate,
    _draw_gate,
    {
        "the ReLU between the sum and psi is missing": lambda x, g, t, p, s: s(t(x) + p(g)).sigmoid() * x,
        "the sigmoid is missing: the map must lie between 0 and 1": lambda x, g, t, p, s: s((t(x) + p(g)).relu()) * x,
        "the map weighs g: it is the skip features x that pass the gate": lambda x, g, t, p, s: _map(x, g, t, p, s) * g,
        "softmax over the positions where a sigmoid belongs: pixels do not compete here": lambda x, g, t, p, s: (
            _over_positions(s((t(x) + p(g)).relu())) * x
        ),
        "that is the map alone: multiply x by it": lambda x, g, t, p, s: _map(x, g, t, p, s).expand_as(x),
        "theta_x(x) and phi_g(g) are multiplied: the gate is additive": lambda x, g, t, p, s: (
            s((t(x) * p(g)).relu()).sigmoid() * x
        ),
        "x and g are swapped before the sum: theta_x takes x, phi_g takes g": lambda x, g, t, p, s: (
            _map(g, x, t, p, s) * x
        ),
        "the ReLU comes before the sum: add first, then one ReLU": lambda x, g, t, p, s: (
            s(t(x).relu() + p(g).relu()).sigmoid() * x
        ),
        "g is left out of the map: add phi_g(g)": lambda x, g, t, p, s: s(t(x).relu()).sigmoid() * x,
        "the sigmoid comes after the product: the map is the sigmoid of psi alone": lambda x, g, t, p, s: (
            s((t(x) + p(g)).relu()) * x
        ).sigmoid(),
        "x is added once more: this gate has no residual": lambda x, g, t, p, s: _map(x, g, t, p, s) * x + x,
    },
)
