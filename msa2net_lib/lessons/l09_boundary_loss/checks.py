"""Exercises of the lesson on the boundary loss: alpha of one object, the gradient, and the floor of batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from msa2net_lib.lessons.exercise import Check, random_tensor
from msa2net_lib.lessons.l09_boundary_loss.study import loss_floor
from msa2net_lib.losses import MAX_ALPHA, boundary_alpha

SQUARE = np.ones((3, 3), bool)


def _draw_mask(rng: np.random.Generator) -> tuple[Any, ...]:
    """An ellipse somewhere in the image, often cut off by its border, and a thin stroke; from tiny to bulky."""
    height, width = (int(pixels) for pixels in rng.integers([52, 41], [70, 60]))
    y, x = np.mgrid[:height, :width]
    radii = rng.choice([2.0, 5.0, 11.0, 26.0]) * rng.uniform(0.8, 1.2, size=2)
    center = rng.uniform(0.1, 0.9, size=2) * (height, width)
    mask = ((y - center[0]) / radii[0]) ** 2 + ((x - center[1]) / radii[1]) ** 2 <= 1
    mask[int(center[0]), : int(center[1])] = True
    return (mask,)


def _inner(mask: np.ndarray, **options: Any) -> np.ndarray:
    return ndimage.binary_erosion(mask, **options)


def _alpha(boundary: float, size: float) -> float:
    return min(2 * (1 - boundary / size) - 1, MAX_ALPHA)


def _share(mask: np.ndarray) -> float:
    return (mask & ~_inner(mask)).sum() / mask.sum()


alpha = Check(
    "alpha",
    lambda mask: boundary_alpha(torch.from_numpy(mask)[None, None].double())[0],
    _draw_mask,
    {
        "the neighborhood is a 3x3 square: take the cross, a pixel and its four neighbors": lambda mask: _alpha(
            (mask & ~_inner(mask, structure=SQUARE)).sum(), mask.sum()
        ),
        "the boundary is counted outside: those pixels are not object, count object pixels": lambda mask: _alpha(
            (ndimage.binary_dilation(mask) & ~mask).sum(), mask.sum()
        ),
        "beyond the image counts as object: an object pixel at the image's border is boundary": lambda mask: _alpha(
            (mask & ~_inner(mask, border_value=1)).sum(), mask.sum()
        ),
        "not truncated: alpha goes no higher than 0.8": lambda mask: 1 - 2 * _share(mask),
        "the stretch to -1 .. 1 is missing: that is 1 - boundary / size": lambda mask: min(1 - _share(mask), MAX_ALPHA),
        "the - 1 is missing: alpha starts at -1, where all pixels are boundary": lambda mask: min(
            2 * (1 - _share(mask)), MAX_ALPHA
        ),
        "the 1 - is missing: alpha is high for a bulky object, which has little boundary": lambda mask: min(
            2 * _share(mask) - 1, MAX_ALPHA
        ),
        "alpha may be negative: thin objects have more boundary than inside": lambda mask: max(
            _alpha((mask & ~_inner(mask)).sum(), mask.sum()), 0.0
        ),
        "divided by the pixels of the image: the size is the object's": lambda mask: _alpha(
            (mask & ~_inner(mask)).sum(), mask.size
        ),
        "divided by the inside: the size holds the boundary too": lambda mask: _alpha(
            (mask & ~_inner(mask)).sum(), _inner(mask).sum() or 1.0
        ),
    },
    rounds=8,
    tolerance=1e-4,  # the smoothing of 1e-5 in the library's ratio is no part of the exercise
)


def _draw_class(rng: np.random.Generator) -> tuple[Any, ...]:
    """Probabilities, a target of 0 and 1 that holds both, and an alpha between -0.9 and 0.8."""
    height, width = (int(pixels) for pixels in rng.integers(4, 9, size=2))
    target = torch.from_numpy((rng.random((height, width)) < 0.4).astype(float))
    target[0, :2] = torch.tensor([0.0, 1.0])
    return random_tensor(rng, height, width).sigmoid(), target, float(rng.uniform(-0.9, 0.8))


def _derivative(p: Tensor, t: Tensor, alpha: float) -> Tensor:
    """dL/dp by autograd."""
    p = p.detach().requires_grad_()
    top, low, _ = _terms(p, t, alpha)
    return torch.autograd.grad(top / low, p)[0]


def _terms(p: Tensor, t: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
    """Numerator and denominator of the loss, and the overlap."""
    whole, overlap = (p * p).sum() + (t * t).sum(), (p * t).sum()
    return whole - 2 * overlap, whole - (1 + alpha) * overlap, overlap


def _quotient(p: Tensor, t: Tensor, alpha: float, square: float = 2.0, own: float = 2.0, sign: float = -1.0) -> Tensor:
    """The quotient rule with something else in it."""
    top, low, _ = _terms(p, t, alpha)
    return ((own * p - 2 * t) * low + sign * top * (own * p - (1 + alpha) * t)) / low**square


gradient = Check(
    "gradient",
    _derivative,
    _draw_class,
    {
        "that is the derivative of the numerator alone: the denominator depends on p too": lambda p, t, a: (
            2 * (p - t) / _terms(p, t, a)[1]
        ),
        "numerator times the denominator's derivative is added: the quotient rule subtracts it": (
            lambda p, t, a: _quotient(p, t, a, sign=1.0)
        ),
        "divided by the denominator once: the quotient rule divides by its square": lambda p, t, a: _quotient(
            p, t, a, square=1.0
        ),
        "the derivative of p squared is 2 p": lambda p, t, a: _quotient(p, t, a, own=1.0),
        "the sign is wrong": lambda p, t, a: -_derivative(p, t, a),
        "alpha is left out: the denominator has (1 + alpha) times the overlap": lambda p, t, a: _derivative(p, t, 0.0),
        "1 - alpha where 1 + alpha belongs": lambda p, t, a: _derivative(p, t, -a),
        "that is the loss, one number: its derivative has one for every pixel": lambda p, t, a: (
            _terms(p, t, a)[0] / _terms(p, t, a)[1]
        ),
        "the square of the sum where the sum of squares belongs": lambda p, t, a: torch.autograd.functional.jacobian(
            lambda q: (
                (q.sum() ** 2 + t.sum() ** 2 - 2 * (q * t).sum())
                / (q.sum() ** 2 + t.sum() ** 2 - (1 + a) * (q * t).sum())
            ),
            p,
        ),
    },
)


def _draw_labels(rng: np.random.Generator) -> tuple[Any, ...]:
    """Slices that hold few of the classes each, always the background; two to four batches."""
    classes, size, batches = int(rng.integers(5, 10)), int(rng.integers(2, 5)), int(rng.integers(2, 5))
    labels = np.zeros((size * batches, 6, 7), np.int64)
    for one in labels:
        one[:, 1:4] = rng.choice(np.arange(1, classes), size=3)
    return labels, classes, size


def _batches(labels: NDArray, size: int) -> list[NDArray]:
    return [labels[start : start + size] for start in range(0, len(labels), size)]


floor = Check(
    "floor",
    lambda labels, classes, size: float(np.mean([loss_floor(batch, classes) for batch in _batches(labels, size)])),
    _draw_labels,
    {
        "each slice on its own: a batch holds what any of its slices holds": lambda labels, classes, size: np.mean(
            [loss_floor(one, classes) for one in labels]
        ),
        "the whole scan as one batch": lambda labels, classes, size: loss_floor(labels, classes),
        "that is the share of classes that are there: the floor is that of those absent": (
            lambda labels, classes, size: 1 - np.mean([loss_floor(batch, classes) for batch in _batches(labels, size)])
        ),
        "the background counts as a class": lambda labels, classes, size: np.mean(
            [1 - (len(np.unique(batch)) - 1) / (classes - 1) for batch in _batches(labels, size)]
        ),
        "that is a number of classes: a share of all": lambda labels, classes, size: np.mean(
            [classes - len(np.unique(batch)) for batch in _batches(labels, size)]
        ),
        "that is the first batch alone: the mean over all": lambda labels, classes, size: loss_floor(
            labels[:size], classes
        ),
        "the floors are summed: their mean": lambda labels, classes, size: sum(
            loss_floor(batch, classes) for batch in _batches(labels, size)
        ),
        "every size-th slice makes a batch: consecutive ones": lambda labels, classes, size: np.mean(
            [loss_floor(labels[start :: len(labels) // size], classes) for start in range(len(labels) // size)]
        ),
    },
)
