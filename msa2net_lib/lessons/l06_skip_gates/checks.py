"""Exercises of the lesson that compares skip gates."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor, nn

from msa2net_lib.lessons.exercise import Check, random_pointwise, random_tensor
from msa2net_lib.lessons.l06_skip_gates.study import agreement
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
        "softmax over the positions where a sigmoid belongs: cells do not compete here": lambda x, g, t, p, s: (
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


def _draw_batch(rng: np.random.Generator) -> tuple[Any, ...]:
    """Maps of a batch, and the patient of each image: neighbors are often of one patient, and two are never alone."""
    count = int(rng.integers(4, 8))
    patients = [int(patient) for patient in rng.integers(0, 3, size=count)]
    patients[:3] = 0, 0, 1
    return random_tensor(rng, count, 2, 3, 4), patients


def _taken(steps: Callable[[int, int], Iterable[int]], other: bool = True) -> Callable[[Tensor, list[int]], Tensor]:
    """For each image the map of the first of ``steps`` away whose patient is another, or else the same."""

    def taken(attention: Tensor, patients: list[int]) -> Tensor:
        count, order = len(patients), []
        for i, own in enumerate(patients):
            there = ((i + step) % count for step in steps(i, count))
            order.append(next(j for j in there if (patients[j] != own) == other))
        return attention[order]

    return taken


other_patient = Check(
    "other_patient",
    _taken(lambda i, count: range(1, count)),
    _draw_batch,
    {
        "the next image is often of the same patient: go on until the patient is another": lambda a, p: a.roll(-1, 0),
        "that is the image before, and often of the same patient": lambda a, p: a.roll(1, 0),
        "it looks backwards: take the next image of another patient, not the last before": _taken(
            lambda i, count: range(-1, -count, -1)
        ),
        "each gets the first of the batch that is another's: begin behind the image itself": _taken(
            lambda i, count: range(-i, count - i)
        ),
        "that is the map of an image of the same patient": _taken(lambda i, count: range(1, count + 1), other=False),
        "channels change places, not images: the batch is the first axis": lambda a, p: a.flip(1),
    },
)


def _draw_values(rng: np.random.Generator) -> tuple[Any, ...]:
    """Values rounded so that some are equal, higher inside the mask than outside or lower."""
    shape = tuple(int(side) for side in rng.integers(4, 9, size=2))
    mask = rng.random(shape) < rng.uniform(0.25, 0.75)
    mask.flat[:2] = True, False
    return np.round(rng.normal(size=shape) + rng.choice([-0.7, 0.7]) * mask, 1), mask


def _auroc(values: NDArray, mask: NDArray) -> float:
    return agreement(values, mask.astype(np.uint8))


def _pairs(values: NDArray, mask: NDArray) -> NDArray:
    return values[mask][:, None] - values[~mask][None]


auroc = Check(
    "auroc",
    _auroc,
    _draw_values,
    {
        "a tie counts nothing: it counts half": lambda v, m: (_pairs(v, m) > 0).mean(),
        "a tie counts as won: it counts half": lambda v, m: (_pairs(v, m) >= 0).mean(),
        "inside and outside are swapped": lambda v, m: _auroc(-v, m),
        "that is a count of pairs: divide by their number": lambda v, m: _auroc(v, m) * m.sum() * (~m).sum(),
        "that is the mean difference, not how often it is above zero": lambda v, m: _pairs(v, m).mean(),
        "divided by all pairs of cells: only pairs of one inside and one outside count": lambda v, m: (
            _auroc(v, m) * m.sum() * (~m).sum() / m.size**2
        ),
        "cells are compared with the mean outside, not with each cell": lambda v, m: (v[m] > v[~m].mean()).mean(),
        "that is the mean rank of the cells inside, as a share": lambda v, m: (
            rankdata(v).reshape(v.shape)[m].mean() / v.size
        ),
        "that is the share of cells on the right side of 0.5": lambda v, m: ((v > 0.5) == m).mean(),
    },
)
