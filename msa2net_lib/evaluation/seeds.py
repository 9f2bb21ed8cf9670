"""One network trained with several seeds: means, their spread over seeds, and intervals, as one tidy table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.bootstrap import bootstrap_interval, mean_score
from msa2net_lib.evaluation.table import Evaluation

MEAN = "mean"
"""Stands in the column ``organ`` for the mean over organs."""
SUMMARIZED = ("dsc", "hd95_voxels", "hd95_mm")
SUMMARY_COLUMNS = ("protocol", "organ", "score", "unit", "cases", "seeds", "mean", "sd", "low", "high")
_UNITS = {"dsc": "0 to 1", "hd95_voxels": "voxels", "hd95_mm": "mm", "hd95": "the protocol's own"}
_RESAMPLES = 2000  # for every row; `Evaluation.interval` takes more


def summarize_seeds(
    evaluations: Mapping[int, Evaluation],
    *,
    protocols: Sequence[str] | None = None,
    columns: Sequence[str] = SUMMARIZED,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Summarize evaluations of one network trained with several seeds (seed -> `Evaluation`) on the same cases.

    Returns one row per protocol, score and organ, the mean over organs last (`MEAN`): ``cases`` that have a score,
    ``seeds``, ``mean`` over seeds of what `Evaluation.mean` reports, ``sd`` of those over seeds (n - 1; nan for one
    seed), and the bootstrap interval ``low`` to ``high``, over cases and, where there are several, over seeds
    (`bootstrap_interval`). Scores that were not measured have no row. Raises: `InputError` without evaluations, or if
    their cases, organs or protocols differ.
    """
    if not evaluations:
        raise InputError("evaluations: none was given; give at least one seed's")
    first = next(iter(evaluations.values()))
    chosen = list(dict.fromkeys(first.scores["protocol"])) if protocols is None else protocols
    rows = []
    for protocol in chosen:
        for column in columns:
            tables = _same_tables(evaluations, protocol, column)
            if tables is None:
                continue
            stack = np.stack([table.to_numpy(float) for table in tables])
            organs = list(tables[0].columns)
            parts = {organ: stack[:, :, [index]] for index, organ in enumerate(organs)} | {MEAN: stack}
            for organ, part in parts.items():
                rows.append((protocol, organ, column, _UNITS[column], *_summary(part, confidence)))
    return pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS))


def _same_tables(evaluations: Mapping[int, Evaluation], protocol: str, column: str) -> list[pd.DataFrame] | None:
    """Return the table (cases, organs) of every seed, None if nothing in them was measured."""
    if any(column not in evaluation.scores for evaluation in evaluations.values()):
        return None
    tables = [evaluation.case_table(protocol, column) for evaluation in evaluations.values()]  # type: ignore[arg-type]
    for seed, table in zip(evaluations, tables, strict=True):
        if not (table.index.equals(tables[0].index) and table.columns.equals(tables[0].columns)):
            raise InputError(f"seed {seed}: was scored on other cases or organs than the first; evaluate on the same")
    return None if all(table.isna().all(axis=None) for table in tables) else tables


def _summary(table: np.ndarray, confidence: float) -> tuple[int, int, float, float, float, float]:
    """Cases, seeds, mean, sd, low, high of (seeds, cases, organs)."""
    cases = int((~np.isnan(table)).any(axis=(0, 2)).sum())
    scores = mean_score(table)
    there = scores[~np.isnan(scores)]
    mean = float(there.mean()) if there.size else math.nan
    spread = float(there.std(ddof=1)) if there.size > 1 else math.nan
    return cases, len(table), mean, spread, *bootstrap_interval(table, confidence, _RESAMPLES)
