"""Exercises of the lesson on data."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from msa2net_lib.data.labels import BTCV_IDS, SCHEMES, scheme_ids
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


def _draw_runs(rng: np.random.Generator) -> tuple[Any, ...]:
    """A volume (z, y, x), and the side of the body that each axis runs to."""
    runs = "".join(rng.choice(list(pair)) for pair in ("SI", "PA", "LR"))
    return rng.standard_normal(tuple(int(n) for n in rng.integers(3, 7, 3))), runs


def _turned(array: NDArray, runs: str) -> NDArray:
    return np.flip(array, tuple(i for i in range(3) if runs[i] != "SPL"[i]))


orient = Check(
    "orient",
    _turned,
    _draw_runs,
    {
        "the axes that were right are turned, and the others left": lambda array, runs: np.flip(
            array, tuple(i for i in range(3) if runs[i] == "SPL"[i])
        ),
        "all axes are turned, whatever they run to": lambda array, runs: np.flip(array),
        "rows and columns only: slices may run to I, too": lambda array, runs: _turned(array, "S" + runs[1:]),
        "the letters are read as x, y, z: they stand in the order of the axes": lambda array, runs: np.flip(
            array, tuple(2 - i for i in range(3) if runs[i] != "SPL"[i])
        ),
        "one turn for any number of wrong axes: each has its own": lambda array, runs: (
            array if runs == "SPL" else np.flip(array, next(i for i in range(3) if runs[i] != "SPL"[i]))
        ),
    },
    rounds=12,
)


def _draw_labels(rng: np.random.Generator) -> tuple[Any, ...]:
    """A raw label map, and what eight of the thirteen ids become."""
    raw = rng.permutation(np.r_[np.arange(14), rng.integers(0, 14, 46)]).reshape(3, 4, 5)
    return raw, {BTCV_IDS[organ]: number for organ, number in scheme_ids(str(rng.choice(list(SCHEMES)))).items()}


def _renumbered(label: NDArray, ids: dict[int, int]) -> NDArray:
    new = np.zeros_like(label)
    for old, number in ids.items():
        new[label == old] = number
    return new


def _in_place(label: NDArray, ids: dict[int, int]) -> NDArray:
    for old, number in ids.items():
        label[label == old] = number
    return np.where(np.isin(label, list(ids.values())), label, 0)


relabel = Check(
    "relabel",
    _renumbered,
    _draw_labels,
    {
        "one after the other in the same array: an organ that was just renumbered is renumbered again": (
            lambda label, ids: _in_place(label.copy(), ids)
        ),
        "the table is read backwards: it leads from the raw id to the new one": lambda label, ids: _renumbered(
            label, {new: old for old, new in ids.items()}
        ),
        "structures that are not in the table keep their raw ids: they become background, 0": lambda label, ids: (
            np.where(np.isin(label, list(ids)), _renumbered(label, ids), label)
        ),
        "numbered in the order of the raw ids: the table says otherwise": lambda label, ids: _renumbered(
            label, {old: place for place, old in enumerate(sorted(ids), start=1)}
        ),
        "the other structures are removed, but nothing is renumbered": lambda label, ids: np.where(
            np.isin(label, list(ids)), label, 0
        ),
    },
)
