"""Exercises of the lesson on training."""

from __future__ import annotations

from typing import Any

import numpy as np

from msa2net_lib.lessons.exercise import Check


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
