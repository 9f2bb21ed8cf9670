"""A task small enough to train in seconds that needs a product: pass detail only where a coarse map says so.

It is made so that a gate solves it and a sum cannot. It shows what a gate is for, and nothing about organs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from jaxtyping import Float

CHANNELS, GRID, COARSE = 8, 24, 6
STEPS, BATCH, HIGHEST_RATE = 300, 8, 2e-2
HELD_OUT, HELD_OUT_SEED = 256, 2024
"""Samples to score on, the same for every gate and seed; no training run draws from this seed."""


def draw_samples(
    count: int, generator: torch.Generator
) -> tuple[Float[Tensor, "b 1 h w"], Float[Tensor, "b 1 h w"], Float[Tensor, "b 1 h w"]]:
    """Detail, coarse map and target: noise, smooth noise, the detail where the coarse map is positive."""
    detail = torch.randn(count, 1, GRID, GRID, generator=generator)
    small = torch.randn(count, 1, COARSE, COARSE, generator=generator)
    coarse = 2 * functional.interpolate(small, size=(GRID, GRID), mode="bilinear")
    return detail, coarse, detail * (coarse > 0)


class ToyNetwork(nn.Module):
    """One skip connection and nothing else: detail and coarse map to channels, the gate, ``g + y``, one number a cell.

    All of it but the gate is linear and looks at one cell, so that only the gate can multiply.
    """

    def __init__(self, gate: nn.Module):
        super().__init__()
        self.encode = nn.Conv2d(1, CHANNELS, 1)
        self.decode = nn.Conv2d(1, CHANNELS, 1)
        self.gate = gate
        self.head = nn.Conv2d(CHANNELS, 1, 1)

    def features(self, detail: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """X and G, (b, `CHANNELS`, h, w)."""
        return self.encode(detail), self.decode(coarse)

    def forward(self, detail: Float[Tensor, "b 1 h w"], coarse: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
        x, g = self.features(detail, coarse)
        return self.head(g + self.gate(x, g))


@dataclass(frozen=True, eq=False)
class Frame:
    """The first held-out sample after some steps: the share explained there, the output (h, w), the map (c, h, w)."""

    step: int
    explained: float
    output: Tensor
    attention: Tensor


@dataclass(frozen=True, eq=False)
class ToyRun:
    """A trained toy network. explained: share of the held-out target's variance, 1 is perfect, 0 as a constant."""

    network: ToyNetwork
    explained: float
    frames: list[Frame] = field(default_factory=list)


def train_toy(build: Callable[[int], nn.Module], seed: int = 0, steps: int = STEPS, watch: int | None = None) -> ToyRun:
    """Train the toy network with a gate, on the CPU, and score it on samples that it has not seen.

    build: channels -> gate, called with `CHANNELS` once the seed is set; ``gate(x, g) -> y``, (b, c, h, w) each. watch:
    keep a `Frame` every so many steps; the gate then needs ``attention(x, g)``. The caller's random state is kept.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ToyNetwork(build(CHANNELS))
        optimizer = torch.optim.Adam(network.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, HIGHEST_RATE, total_steps=steps)
        generator, frames = torch.Generator().manual_seed(seed), []
        for step in range(steps + 1):
            if watch and step % watch == 0:
                frames.append(_look(network, step))
            if step == steps:
                break
            detail, coarse, target = draw_samples(BATCH, generator)
            loss = functional.mse_loss(network.train()(detail, coarse), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return ToyRun(network.eval(), explained_variance(network), frames)


def held_out() -> tuple[Tensor, Tensor, Tensor]:
    """Detail, coarse map and target of the samples that score every gate, (`HELD_OUT`, 1, h, w)."""
    return draw_samples(HELD_OUT, torch.Generator().manual_seed(HELD_OUT_SEED))


@torch.inference_mode()
def explained_variance(network: nn.Module) -> float:
    """Share of the held-out target's variance that a network (detail, coarse) -> output explains."""
    detail, coarse, target = held_out()
    return 1 - float(functional.mse_loss(network.eval()(detail, coarse), target) / target.var())


@torch.inference_mode()
def _look(network: ToyNetwork, step: int) -> Frame:
    detail, coarse, _ = (samples[:1] for samples in held_out())
    gate: Any = network.eval().gate
    attention = gate.attention(*network.features(detail, coarse))
    return Frame(step, explained_variance(network), network(detail, coarse)[0, 0], attention[0].clone())
