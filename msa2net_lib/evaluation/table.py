"""The scores of a set of cases as a table, and what is read off it: means, intervals, and those of several seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.intervals import mean_interval, mean_score, method_of

Protocol = Literal["paper", "strict"]
HD95_UNIT = {"paper": "voxels", "strict": "mm"}
"""What a protocol's own HD95 (column ``hd95``) is measured in."""
SCORES = ("dsc", "hd95", "hd95_voxels", "hd95_mm")
COLUMNS = ("protocol", "case", "organ", "in_label", "in_prediction", *SCORES)
_RULES = {
    "paper": ("predicted only: DSC 1, HD95 0", "in the label only: DSC 0, HD95 0", "in neither: DSC 0, HD95 0"),
    "strict": (
        "predicted only: DSC 0, HD95 the diagonal",
        "in the label only: DSC 0, HD95 the diagonal",
        "in neither: left out",
    ),
}
"""What a protocol counts for an organ that is missing on one side or on both (`metrics.score_volume`)."""
MEAN = "mean"
"""Stands in the column ``organ`` for the mean over organs."""
FOUND = {f"hd95_{unit}_found": f"hd95_{unit}" for unit in ("voxels", "mm")}
"""HD95 over the organs that are in the label and were found, by the column that has it over all."""
MISSED = "missed"
"""Is 1 where an organ of the label was not found, 0 where it was, and nan where the label has none."""
SUMMARIZED = ("dsc", "hd95_voxels", "hd95_voxels_found", "hd95_mm", "hd95_mm_found", MISSED)
SUMMARY_COLUMNS = ("protocol", "organ", "score", "unit", "cases", "seeds", "mean", "sd", "low", "high", "method")
_UNITS = {"dsc": "0 to 1", "hd95_voxels": "voxels", "hd95_mm": "mm", "hd95": "the protocol's own"}
_UNITS |= {"hd95_voxels_found": "voxels", "hd95_mm_found": "mm", MISSED: "share of organs"}


@dataclass(frozen=True)
class Evaluation:
    """Scores and predictions of one network on one set of cases.

    scores: one row per protocol, case and organ with ``dsc`` (0 to 1), ``hd95`` (`HD95_UNIT`), the same in either unit
    (``hd95_voxels``, ``hd95_mm``, nan without spacing) and whether the organ is in the reference label and in the
    prediction. predictions: case -> label map (z, y, x), as far as they were kept; prediction_files: case -> file, as
    far as they were written.
    """

    scores: pd.DataFrame
    predictions: dict[str, NDArray[np.uint8]]
    prediction_files: dict[str, Path] = field(default_factory=dict)

    def by_organ(self, protocol: Protocol = "paper") -> pd.DataFrame:
        """Mean over cases: one row per organ, columns dsc and hd95. Missing values are left out."""
        return self._mean_by("organ", protocol)

    def by_case(self, protocol: Protocol = "paper") -> pd.DataFrame:
        """Mean over organs: one row per case, columns dsc and hd95. Missing values are left out."""
        return self._mean_by("case", protocol)

    def mean(self, protocol: Protocol = "paper") -> tuple[float, float]:
        """Mean DSC and HD95: over cases for each organ, then over organs (as the reference implementation)."""
        organs = self.by_organ(protocol)
        return float(np.nanmean(organs["dsc"])), float(np.nanmean(organs["hd95"]))

    def interval(
        self, protocol: Protocol = "paper", column: str = "dsc", confidence: float = 0.95, organ: str | None = None
    ) -> tuple[float, float]:
        """Student's t interval over cases, (low, high), of the mean that `mean` reports, or of one organ's mean.

        column: one of `SCORES`. It says what other cases of the same kind might have given, not what another training
        run would; with fewer than 2 cases it is nan. See `intervals.mean_interval`. Raises:
        `InputError` for an unknown protocol, column or organ, and a confidence outside of 0 to 1.
        """
        table = self.case_table(protocol, column)
        if organ is not None and organ not in table.columns:
            raise InputError(f"organ={organ!r} was not scored: choose one of {', '.join(table.columns)}")
        chosen = table if organ is None else table[[organ]]
        return mean_interval(chosen.to_numpy(float)[None], confidence)

    def summary(self, confidence: float = 0.95) -> pd.DataFrame:
        """Means with their intervals, tidy, as `summarize_seeds` gives them for one network: ``sd`` is nan."""
        return summarize_seeds({0: self}, confidence=confidence)

    def case_table(self, protocol: Protocol = "paper", column: str = "dsc") -> pd.DataFrame:
        """One column of the scores as a table, (cases, organs), in the order in which they were scored.

        column: of `SCORES`, a key of `FOUND`, or `MISSED`.
        """
        if not self.has(column):
            raise InputError(f"column={column!r} was not scored: choose one of {', '.join(SCORES)}")
        rows: Any = self.scores[self.scores["protocol"] == protocol]
        if rows.empty:
            scored = ", ".join(dict.fromkeys(self.scores["protocol"])) or "none"
            raise InputError(f"protocol={protocol!r} was not scored (but {scored}): evaluate under it")
        cases, organs = (list(dict.fromkeys(rows[name])) for name in ("case", "organ"))
        if column not in SCORES:
            there, found = (rows[name].to_numpy(bool) for name in ("in_label", "in_prediction"))
            shown = np.where(there, ~found, np.nan) if column == MISSED else rows[FOUND[column]].where(there & found)
            rows = rows.assign(**{column: np.asarray(shown, float)})
        return rows.pivot(index="case", columns="organ", values=column).loc[cases, organs]

    def has(self, column: str) -> bool:
        """Whether a column of scores was measured; what rests on organs found needs ``in_prediction``."""
        if column == MISSED or column in FOUND:
            return "in_prediction" in self.scores and (column == MISSED or FOUND[column] in self.scores)
        return column in SCORES and column in self.scores

    def missed(self, protocol: Protocol = "paper") -> tuple[int, int]:
        """How many organs of the labels were not found at all, and of how many. Raises as `case_table`."""
        table = self.case_table(protocol, MISSED).to_numpy()
        return int(np.nansum(table)), int(np.count_nonzero(~np.isnan(table)))

    def missed_warning(self, protocol: Protocol = "paper") -> str:
        """Say what missed organs do to the mean HD95, and what it is over the others; "" where none was missed."""
        if not self.has(MISSED) or not (counts := self.missed(protocol))[0]:
            return ""
        unit = HD95_UNIT[protocol]
        counted = "0, the best value there is" if protocol == "paper" else "the volume's diagonal"
        found = self.case_table(protocol, f"hd95_{unit}_found").mean().mean()
        over = f"over the organs found it is {found:.4g} {unit}" if found == found else "no organ was found"
        return f"warning: {counts[0]} of {counts[1]} organs were missed, and HD95 counts each as {counted}; {over}"

    def csv_table(self) -> pd.DataFrame:
        """The scores as they are written to a file: with the unit of ``hd95`` beside them."""
        return self.scores.assign(hd95_unit=[HD95_UNIT[name] for name in self.scores["protocol"]])

    def set_by_rule(self, protocol: Protocol = "paper") -> str:
        """Say how many scores were not measured but set by the protocol, as an organ is missing; "" for none."""
        rows = self.scores[self.scores["protocol"] == protocol]
        if "in_prediction" not in rows:
            return ""
        label, found = (np.array(rows[name], bool) for name in ("in_label", "in_prediction"))
        counts = [int(which.sum()) for which in (found & ~label, label & ~found, ~label & ~found)]
        shown = "; ".join(f"{count} {words}" for count, words in zip(counts, _RULES[protocol], strict=True) if count)
        return f"{sum(counts)} of {len(rows)} scores were set by the protocol's rule: {shown}" if shown else ""

    def _mean_by(self, column: str, protocol: Protocol) -> pd.DataFrame:
        rows = self.scores.loc[self.scores["protocol"] == protocol, [column, "dsc", "hd95"]]
        return rows.groupby(column, sort=False).mean()


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
    seed), and the interval ``low`` to ``high`` by Student's t over cases and, where there are several, over seeds
    (`intervals.mean_interval`), which ``method`` names. Scores that were not measured have no row. Raises: `InputError`
    without evaluations, or if their cases, organs or protocols differ.
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
    if not all(evaluation.has(column) for evaluation in evaluations.values()):
        return None
    tables = [evaluation.case_table(protocol, column) for evaluation in evaluations.values()]  # type: ignore[arg-type]
    for seed, table in zip(evaluations, tables, strict=True):
        if not (table.index.equals(tables[0].index) and table.columns.equals(tables[0].columns)):
            raise InputError(f"seed {seed}: was scored on other cases or organs than the first; evaluate on the same")
    return None if all(table.isna().all(axis=None) for table in tables) else tables


def _summary(table: np.ndarray, confidence: float) -> tuple[int, int, float, float, float, float, str]:
    """Cases, seeds, mean, sd, low, high, method of (seeds, cases, organs)."""
    cases = int((~np.isnan(table)).any(axis=(0, 2)).sum())
    scores = mean_score(table)
    there = scores[~np.isnan(scores)]
    mean = float(there.mean()) if there.size else math.nan
    spread = float(there.std(ddof=1)) if there.size > 1 else math.nan
    interval = mean_interval(table, confidence)
    return cases, len(table), mean, spread, *interval, method_of(len(table), cases)
