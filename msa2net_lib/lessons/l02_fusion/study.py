"""Measures of multi-scale fusion: what one cell tells, effective receptive fields, how far each branch spreads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from msa2net_lib.analysis.interventions import Run
from msa2net_lib.analysis.receptive_field import LOCAL_CONTEXT, effective_receptive_field, footprint_paths
from msa2net_lib.analysis.slice_study import Study
from msa2net_lib.data.resize import normalize, resize_label
from msa2net_lib.lessons.cohort import Cohort
from msa2net_lib.metrics import dice
from msa2net_lib.nn.masag import MASAGTrace


def local_field(study: Study, level: int, cell: tuple[int, int]) -> NDArray[np.float32]:
    """Effective receptive field (h, w) of the local branch at a cell, on the features X of this slice.

    Only what lies within the footprint is computed; no gradient reaches further (the tests hold it to that).
    """
    x, radius = study.traces[level].x, len(footprint_paths(LOCAL_CONTEXT)) // 2
    window = tuple(slice(max(0, at - radius), at + radius + 1) for at in cell)
    inside = (cell[0] - window[0].start, cell[1] - window[1].start)
    field = np.zeros(x.shape[-2:], np.float32)
    field[window] = effective_receptive_field(
        study.gate(level).fusion.local_context, x[..., window[0], window[1]], inside
    )
    return field


def encoder_field(study: Study, level: int, cell: tuple[int, int]) -> NDArray[np.float32]:
    """Effective receptive field on the slice itself (h, w), of the encoder's features X at a cell of a level."""
    pixels = torch.from_numpy(normalize(study.image))[None, None]
    pixels = pixels.to(next(study.network.parameters()).device)
    return effective_receptive_field(lambda image: study.network.encoder(image)[level], pixels, cell)


PROBED = ("X", "G", "Y")
"""What a probe reads: the skip, the decoder's features, and what the gate makes of both."""
THINNED, PENALTY, ROUNDS = 5, 1e-5, 60
"""Of the probe: one background cell in so many is trained on; the squared weights cost so much; L-BFGS steps."""
SCORES = ("Dice", "recall")


def cohort_features(cohort: Cohort) -> dict[int, dict[str, Tensor]]:
    """Level -> X, G and Y, (n, c, h, w) each, of all slices of a cohort, as its network computes them."""
    found: dict[int, dict[str, list[Tensor]]] = {level: {name: [] for name in PROBED} for level in cohort.levels}

    def watched(level: int) -> Run:
        def run(x: Tensor, g: Tensor) -> MASAGTrace:
            trace = cohort.gate(level).trace(x, g)
            for name, tensor in zip(PROBED, (x, g, trace.output), strict=True):
                found[level][name].append(tensor)
            return trace

        return run

    cohort.predict({level: watched(level) for level in cohort.levels})
    return {level: {name: torch.cat(parts) for name, parts in maps.items()} for level, maps in found.items()}


def linear_probe(features: Tensor, labels: NDArray[np.uint8], cases: Sequence[str]) -> pd.DataFrame:
    """How much of the anatomy a linear rule reads off one cell: one row for each case, left out of its training.

    features: (n, c, h, w). labels: (n, h, w) on the same grid, 0 is background. cases: of each slice. The rule is
    multinomial logistic regression on the cell's channels, standardized, every class weighing alike. Columns are
    `SCORES`, means over the organs that the left-out case has: Dice, and the share of an organ's cells that is found.
    """
    cells = rearrange(features.float().cpu(), "n c h w -> n (h w) c")
    targets, of, rows = torch.from_numpy(labels).long().flatten(1), np.array(cases), {}
    for case in dict.fromkeys(cases):
        held = torch.from_numpy(of == case)
        train, wanted = cells[~held].flatten(0, 1), targets[~held].flatten()
        kept = (wanted > 0) | (torch.arange(len(wanted)) % THINNED == 0)
        center, spread = train[kept].mean(dim=0), train[kept].std(dim=0) + 1e-6
        rule = _fit((train[kept] - center) / spread, wanted[kept], int(targets.max()) + 1)
        with torch.inference_mode():
            found = rule((cells[held].flatten(0, 1) - center) / spread).argmax(dim=1).numpy()
        truth = targets[held].flatten().numpy()
        organs = [organ for organ in np.unique(truth) if organ]
        rows[case] = {
            "Dice": np.mean([dice(found == organ, truth == organ) for organ in organs]),
            "recall": np.mean([(found[truth == organ] == organ).mean() for organ in organs]),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("case")


def _fit(cells: Tensor, targets: Tensor, classes: int) -> nn.Linear:
    """Logistic regression by L-BFGS from zero weights, so that nothing is random; every class weighs alike."""
    rule = nn.Linear(cells.shape[1], classes)
    nn.init.zeros_(rule.weight)
    nn.init.zeros_(rule.bias)
    optimizer = torch.optim.LBFGS(rule.parameters(), max_iter=ROUNDS, line_search_fn="strong_wolfe")
    weights = 1 / torch.bincount(targets, minlength=classes).clamp(min=1)

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = functional.cross_entropy(rule(cells), targets, weights) + PENALTY * rule.weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return rule


def probe_table(cohort: Cohort) -> pd.DataFrame:
    """The probe at every level on every one of `PROBED`: index (level, features, case), columns `SCORES`."""
    tables = {}
    for level, maps in cohort_features(cohort).items():
        height, width = maps["X"].shape[-2:]
        labels = np.stack([resize_label(label, (height, width)) for label in cohort.labels])
        for name, features in maps.items():
            tables[level, name] = linear_probe(features, labels, cohort.cases)
    return pd.concat(tables, names=["level", "features"])
