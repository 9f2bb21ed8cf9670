"""Exercises of the lesson on training."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from msa2net_lib.lessons.exercise import Check, random_tensor


def _draw_steps(rng: np.random.Generator) -> tuple[Any, ...]:
    steps = int(rng.integers(50, 500))
    return int(rng.integers(1, steps)), steps, float(rng.uniform(0.001, 0.1))


def poly_learning_rate(step: int, steps: int, base: float) -> float:
    """Learning rate of the polynomial schedule with power 0.9 (released code)."""
    return base * (1 - step / steps) ** 0.9


poly = Check(
    "poly",
    poly_learning_rate,
    _draw_steps,
    {
        "the power 0.9 is missing: that is linear decay": lambda step, steps, base: base * (1 - step / steps),
        "it rises from zero: use the share of steps that is left": lambda step, steps, base: (
            base * (step / steps) ** 0.9
        ),
        "the base rate is missing": lambda step, steps, base: (1 - step / steps) ** 0.9,
        "the power applies to the share done, not to the share left": lambda step, steps, base: (
            base * (1 - (step / steps) ** 0.9)
        ),
    },
)


Step = Callable[[nn.Module, Tensor, Tensor, float], Any]


def training_step(network: nn.Module, image: Tensor, target: Tensor, rate: float) -> float:
    """One step of gradient descent by hand: the cross-entropy before it; the network's parameters are changed."""
    loss = F.cross_entropy(network(image), target)
    network.zero_grad()
    loss.backward()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter -= rate * parameter.grad
    return float(loss.detach())


def _two_steps(step: Step) -> Callable[..., tuple[Tensor, Tensor]]:
    """Losses of two steps on a copy of the network, and all its parameters afterwards in one row."""

    def run(network: nn.Module, image: Tensor, target: Tensor, rate: float) -> tuple[Tensor, Tensor]:
        network = copy.deepcopy(network)
        losses = [step(network, image, target, rate) for _ in range(2)]
        if any(loss is None for loss in losses):
            raise TypeError("return the loss as well")
        return (
            torch.stack([torch.as_tensor(loss).detach().double() for loss in losses]),
            nn.utils.parameters_to_vector(network.parameters()).detach(),
        )

    return run


def _draw_step(rng: np.random.Generator) -> tuple[Any, ...]:
    channels, classes, side = (int(n) for n in rng.integers([1, 2, 4], [3, 5, 7]))
    torch.manual_seed(int(rng.integers(1 << 30)))
    network = nn.Sequential(nn.Conv2d(channels, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, classes, 1)).double()
    target = torch.from_numpy(rng.integers(0, classes, (2, side, side + 1)))
    return network, random_tensor(rng, 2, channels, side, side + 1), target, float(rng.uniform(0.05, 0.5))


def _other(
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    sign: float = 1.0,
    zero: bool = True,
    rated: bool = True,
    after: bool = False,
    chosen: Callable[[Tensor], bool] = lambda parameter: True,
) -> Step:
    """A step with something else in it."""

    def step(network: nn.Module, image: Tensor, target: Tensor, rate: float) -> Tensor:
        before = loss(network(image), target)
        if zero:
            network.zero_grad()
        before.backward()
        with torch.no_grad():
            for parameter in network.parameters():
                if chosen(parameter) and parameter.grad is not None:
                    parameter -= sign * (rate if rated else 1.0) * parameter.grad
        return loss(network(image), target) if after else before

    return step


training = Check(
    "training_step",
    training_step,
    _draw_step,
    {
        "not yet: it returns 0 and changes no parameter": lambda network, image, target, rate: 0.0,
        "gradients add up from step to step: set them to zero before `backward`": _other(zero=False),
        "the sign is wrong, it climbs: subtract the gradient": _other(sign=-1.0),
        "the learning rate is missing: subtract rate times the gradient": _other(rated=False),
        "the loss is summed over pixels: `cross_entropy` takes the mean": _other(
            lambda logits, target: F.cross_entropy(logits, target, reduction="sum")
        ),
        "the loss is taken after the step: return the one that `backward` started from": _other(after=True),
        "only weights are changed: biases are parameters too": _other(chosen=lambda parameter: parameter.ndim > 1),
        "no parameter was changed: subtract rate times its gradient from each, in place": _other(
            chosen=lambda parameter: False
        ),
    },
    use=_two_steps,
)


def _draw_sgd(rng: np.random.Generator) -> tuple[Any, ...]:
    shape = tuple(int(n) for n in rng.integers(2, 6, size=2))
    numbers = (random_tensor(rng, *shape) for _ in range(3))
    return *numbers, float(rng.uniform(0.01, 0.5)), float(rng.uniform(0.3, 0.95)), float(rng.uniform(0.05, 0.4))


def _sgd(
    parameter: Tensor, velocity: Tensor, gradient: Tensor, rate: float, momentum: float, decay: float
) -> tuple[Tensor, Tensor]:
    """One step of `torch.optim.SGD` that finds a velocity from steps before."""
    moved = nn.Parameter(parameter.clone())
    optimizer = torch.optim.SGD([moved], lr=rate, momentum=momentum, weight_decay=decay)
    optimizer.state[moved]["momentum_buffer"] = velocity.clone()
    moved.grad = gradient.clone()
    optimizer.step()
    return moved.detach(), optimizer.state[moved]["momentum_buffer"]


def _moved(p: Tensor, v: Tensor, rate: float) -> tuple[Tensor, Tensor]:
    return p - rate * v, v


sgd = Check(
    "sgd",
    _sgd,
    _draw_sgd,
    {
        "the weight decay is missing": lambda p, v, g, r, m, d: _moved(p, m * v + g, r),
        "the momentum is missing: that is a plain step": lambda p, v, g, r, m, d: _moved(p, g + d * p, r),
        "the sign is wrong: the parameter moves against the velocity": lambda p, v, g, r, m, d: _moved(
            p, m * v + g + d * p, -r
        ),
        "the gradient is weighed by 1 - momentum: that is a running mean, here it is a running sum": (
            lambda p, v, g, r, m, d: _moved(p, m * v + (1 - m) * (g + d * p), r)
        ),
        "the learning rate is in the velocity: it enters last": lambda p, v, g, r, m, d: (
            p - (m * v + r * (g + d * p)),
            m * v + r * (g + d * p),
        ),
        "the learning rate is missing": lambda p, v, g, r, m, d: _moved(p, m * v + g + d * p, 1.0),
        "the weight decay is applied to the parameter alone, past the velocity: add it to the gradient": (
            lambda p, v, g, r, m, d: (p - r * (m * v + g) - r * d * p, m * v + g)
        ),
        "the parameter moves by the velocity of the step before: update the velocity first": (
            lambda p, v, g, r, m, d: (p - r * v, m * v + g + d * p)
        ),
        "the weight decay's sign is wrong: it pulls the parameter to zero": lambda p, v, g, r, m, d: _moved(
            p, m * v + g - d * p, r
        ),
        "that is Nesterov's step: the plain one moves by the velocity": lambda p, v, g, r, m, d: (
            p - r * (g + d * p + m * (m * v + g + d * p)),
            m * v + g + d * p,
        ),
        "velocity and parameter are returned in another order": lambda p, v, g, r, m, d: _moved(
            p, m * v + g + d * p, r
        )[::-1],
    },
)
