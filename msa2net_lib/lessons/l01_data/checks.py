"""Exercises of the lesson on data."""

from __future__ import annotations

from typing import Any

import numpy as np

from msa2net_lib.data.volumes import window as library_window
from msa2net_lib.lessons.exercise import Check


def _draw_hu(rng: np.random.Generator) -> tuple[Any, ...]:
    """Hounsfield units that lie on both sides of the window, inside it, or beyond one end only."""
    return (rng.uniform(*rng.choice([(-1000, 1500), (-90, 240), (20, 900), (-900, 60)]), size=(6, 7)),)


window = Check(
    "window",
    lambda hu: library_window(hu),
    _draw_hu,
    {
        "values outside [-125, 275] HU are not clipped": lambda hu: (hu + 125) / 400,
        "divided by 275, the upper end, where the width of the window (400) belongs": lambda hu: (
            (np.clip(hu, -125, 275) + 125) / 275
        ),
        "the lower end (-125) is not subtracted before dividing": lambda hu: np.clip(hu, -125, 275) / 400,
        "the sign of the shift is wrong: subtract the lower end, which is negative": lambda hu: (
            (np.clip(hu, -125, 275) - 125) / 400
        ),
        "scaled by the array's own smallest and largest value: the window is the same for all slices": lambda hu: (
            (hu - hu.min()) / np.ptp(hu)
        ),
        "clipped only, not scaled to [0, 1]": lambda hu: np.clip(hu, -125, 275),
    },
    rounds=12,
)
