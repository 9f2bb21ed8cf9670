"""Measures of spatial selection: weights by organ, and a gate with other weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from einops import reduce
from numpy.typing import NDArray
from scipy.ndimage import gaussian_gradient_magnitude
from torch import Tensor

from msa2net_lib.analysis.interventions import Run, shuffle_pixels, with_tensors
from msa2net_lib.analysis.slice_study import Study
from msa2net_lib.errors import InputError
from msa2net_lib.nn.masag import MASAG
from msa2net_lib.viz.maps import channel_map

WEIGHT_CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "as trained": lambda weight: weight,
    "one half everywhere": lambda weight: torch.full_like(weight, 0.5),
    "shuffled over cells": shuffle_pixels,
    "swapped": lambda weight: 1 - weight,
    "all for X": torch.ones_like,
    "all for G": torch.zeros_like,
}
"""What may stand in place of the weight of X (b, 1, h, w); the weight of G is what is left to one."""


def edge_map(study: Study, level: int) -> NDArray[np.float32]:
    """How steep the slice is, on a level's grid (h, w): gradient at the scale of a pixel, mean over a cell."""
    rows, columns = study.grid(level)
    steep = gaussian_gradient_magnitude(study.image, sigma=1.0)
    return reduce(steep, "(h i) (w j) -> h w", "mean", h=rows, w=columns).astype(np.float32)


def selection_values(studies: Sequence[Study]) -> pd.DataFrame:
    """One row per cell of every level of every study: study, level, tissue, weight_x and edge (see `edge_map`).

    A cell belongs to the tissue at its place in `Study.label_at`; tissues are a categorical, background first. Errors:
    `InputError` without a study.
    """
    if not studies:
        raise InputError("studies is empty: give at least one")
    tissues, tables = ("background", *studies[0].class_names), []
    for study in studies:
        for level in study.levels:
            columns = {
                "study": study.name,
                "level": level,
                "tissue": pd.Categorical.from_codes(study.label_at(level).ravel(), tissues),
                "weight_x": channel_map(study.traces[level].weight_x, 0).ravel(),
                "edge": edge_map(study, level).ravel(),
            }
            tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def mean_weights(values: pd.DataFrame) -> pd.DataFrame:
    """Mean weight of X and number of cells, tissue by level; from `selection_values`; nan where there is no cell."""
    grouped = values.groupby(["tissue", "level"], observed=True).weight_x.agg(["mean", "size"])
    return grouped.unstack("level").swaplevel(axis=1).sort_index(axis=1)


def edge_correlation(studies: Sequence[Study], level: int) -> tuple[float, float]:
    """Correlation over cells of the weight of X with edges: those of its own slice, and of the next study's slice."""
    weights = [channel_map(study.traces[level].weight_x, 0).ravel() for study in studies]
    edges = [edge_map(study, level).ravel() for study in studies]
    flat = np.concatenate(weights)
    own, other = (np.corrcoef(flat, np.concatenate(e))[0, 1] for e in (edges, edges[1:] + edges[:1]))
    return float(own), float(other)


def with_weights(gate: MASAG, change: str | Callable[[Tensor], Tensor]) -> Run:
    """The gate with another weight of X; the weight of G becomes one minus it.

    change: one of `WEIGHT_CHANGES` or (b, 1, h, w) -> (b, 1, h, w). Raises: `InputError` for a name that is not known.
    """
    if isinstance(change, str):
        if change not in WEIGHT_CHANGES:
            raise InputError(f"change={change!r} is unknown: use one of {', '.join(WEIGHT_CHANGES)}")
        change = WEIGHT_CHANGES[change]
    made = change

    def weight_x(gate: MASAG, tensors: Any) -> Tensor:
        return made(gate.selection.weights(tensors.u)[:, :1])

    return with_tensors(gate, {"weight_x": weight_x, "weight_g": lambda gate, tensors: 1 - tensors.weight_x})
