"""Systems compared case by case: paired differences with their intervals, tests, and a correction for how many."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.intervals import bca_interval, detectable, holm, t_interval
from msa2net_lib.evaluation.table import MEAN

LEAST_CASES = 2
_SCORES = ("dsc", "se", "sp", "acc", "hd95", "hd95_voxels", "hd95_mm")
_WORDS = ("case", "organ", "protocol", "selection")


def read_scores(
    path: str | Path, column: str = "dsc", protocol: str | None = None, selection: str | None = None
) -> pd.DataFrame:
    """Read one score of every case from a file that `msa2net evaluate` or `score` wrote: (cases, organs).

    Args:
        path: the CSV file.
        column: "dsc", "hd95", "hd95_voxels" or "hd95_mm" of scans, "dsc", "se", "sp" or "acc" of images.
        protocol: "paper" or "strict", where the file holds both.
        selection: which weights, such as "last step", where the file holds several; of several seeds the mean by case.

    Returns:
        One row per case, sorted, one column per organ ("lesion" of images); nan where an organ has no score.

    Raises:
        InputError: a file that is none of these or lacks the score, a choice that is missing or unknown, a case twice,
            a row without a name, and what is no number.
    """
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(("image", *_WORDS), str))
    except (OSError, ValueError) as error:
        detail = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{path}: cannot be read as CSV ({detail}); give what --output of evaluate wrote") from error
    if "image" in table and "case" not in table:
        table = table.rename(columns={"image": "case"}).assign(organ="lesion")
    known = [name for name in _SCORES if name in table]
    if not {"case", "organ"} <= set(table.columns) or column not in known:
        there = f"(but {', '.join(known) or 'none'})"
        raise InputError(f"{path}: has no score {column!r} by case {there}; give what --output of evaluate wrote")
    for name in _WORDS:
        if name in table and bool(table[name].isna().to_numpy().any()):
            raise InputError(f"{path}: has a row without {name}; give what --output of evaluate wrote")
    if "protocol" in table:
        table = _chosen(table, "protocol", protocol, path)
    elif protocol is not None:
        raise InputError(f"{path}: says no protocol, as of images; leave protocol={protocol!r} out")
    if "selection" in table:
        parts = [re.split(r", seed (?=\d+$)", str(text)) for text in table["selection"]]
        table = table.assign(selection=[part[0] for part in parts], seed=[part[-1] for part in parts])
        table = _chosen(table, "selection", selection, path)
    elif selection is not None:
        raise InputError(f"{path}: holds one selection only; leave selection={selection!r} out")
    keys = [key for key in ("seed", "case", "organ") if key in table]
    twice = table.loc[table.duplicated(keys), keys].to_dict("records")
    if twice:
        raise InputError(
            f"{path}: has {twice[0]['organ']} of case {twice[0]['case']} twice; give one evaluation a file"
        )
    table = table.assign(**{column: _numbers(table[column], path)})
    means = table.pivot_table(index="case", columns="organ", values=column, aggfunc="mean", dropna=False)
    return means.reindex(columns=list(dict.fromkeys(table["organ"])))


def _numbers(scores: Any, path: str | Path) -> Any:
    """Return scores as floats, nan for empty cells. Raises: `InputError` for any other text, and infinite ones."""
    found: Any = pd.to_numeric(scores, errors="coerce")
    numbers: Any = found.astype(float)
    wrong = (numbers.isna() & scores.notna()) | np.isinf(numbers)
    if wrong.any():
        where, stray = f"{path}: column {scores.name}", str(scores[wrong].iloc[0])
        raise InputError(f"{where} holds {stray[:40]!r}, no finite number; correct it, or leave the cell empty")
    return numbers


def compare_cases(tables: Mapping[str, pd.DataFrame], *, common: bool = False) -> pd.DataFrame:
    """Compare systems with the first, by organ and in the mean over organs: the unit is the case.

    Args:
        tables: name -> scores (cases, organs) as `read_scores` gives them, at least two, on the same cases and organs.
        common: compare only the cases and organs that all have, where they differ.

    Returns:
        One row per system but the first and organ, the mean over organs (`MEAN`) first: ``system``, ``organ``,
        ``cases`` that both have a score for, ``first`` and ``second`` (means), ``difference`` (second minus first),
        its 95 % interval by Student's t (``low``, ``high``) and by bootstrap over cases, bias-corrected and accelerated
        (``boot_low``, ``boot_high``), ``p`` of Wilcoxon's signed-rank test, ``least_p``, the smallest that so many
        cases can reach, ``holm``, ``p`` corrected for all rows of the table (Holm), ``detectable``, the difference
        that so many cases with such a spread show in four of five studies, and ``dots``, the
        differences by case. nan where there are fewer than 2 cases.

    Raises:
        InputError: fewer than two systems, or other cases or organs.

    Example:
        >>> import pandas as pd
        >>> first = pd.DataFrame({"liver": [0.90, 0.85, 0.91, 0.88]}, index=list("abcd"))
        >>> second = first.assign(liver=[0.91, 0.88, 0.93, 0.90])
        >>> compare_cases({"A": first, "B": second}).loc[0, ["difference", "p"]].astype(float).round(3).tolist()
        [0.02, 0.125]

    Source: Wilcoxon 1945; Holm 1979; Efron 1987 (the interval).
    """
    if len(tables) < 2:
        raise InputError(f"{len(tables)} system given: give at least two to compare")
    tables = _on_same_cases(tables, common)
    (_, first), *others = tables.items()
    rows = []
    for name, second in others:
        pairs = {organ: (first[organ].to_numpy(float), second[organ].to_numpy(float)) for organ in first.columns}
        if len(pairs) > 1:
            pairs = {MEAN: (first.mean(axis=1).to_numpy(), second.mean(axis=1).to_numpy())} | pairs
        for organ, (one, other) in pairs.items():
            there = ~(np.isnan(one) | np.isnan(other))
            rows.append({"system": name, "organ": organ} | _paired(one[there], other[there]))
    result = pd.DataFrame(rows)
    return result.assign(holm=holm(result["p"].to_numpy())).reindex(columns=list(_COLUMNS))


_COLUMNS = (
    "system", "organ", "cases", "first", "second", "difference", "low", "high", "boot_low", "boot_high",
    "p", "least_p", "holm", "detectable", "dots",
)  # fmt: skip


def _paired(one: NDArray, other: NDArray) -> dict[str, object]:
    """One row of `compare_cases`."""
    difference, count = other - one, len(one)
    row: dict[str, object] = {"cases": count, "dots": difference.tolist()}
    row |= {"first": _mean(one), "second": _mean(other), "difference": _mean(difference)}
    names = ("low", "high", "boot_low", "boot_high", "p", "least_p", "detectable")
    if count < LEAST_CASES:
        return row | dict.fromkeys(names, math.nan)
    nonzero = int(np.count_nonzero(difference))
    test: Any = stats.wilcoxon(difference) if nonzero else None
    p = 1.0 if test is None else float(test.pvalue)
    intervals = (*t_interval(difference), *bca_interval(difference))
    values = (*intervals, p, min(1.0, 2.0 ** (1 - nonzero)), detectable(difference))
    return row | dict(zip(names, values, strict=True))


def _mean(values: NDArray) -> float:
    return float(values.mean()) if len(values) else math.nan


def _on_same_cases(tables: Mapping[str, pd.DataFrame], common: bool) -> dict[str, pd.DataFrame]:
    """Return the tables with the cases and organs of the first; those that all have where ``common``."""
    (first_name, first), *others = tables.items()
    cases, organs = first.index, first.columns
    for name, table in others:
        for axis, (mine, its) in {"case": (cases, table.index), "organ": (organs, table.columns)}.items():
            lacking = [*mine.difference(its)], [*its.difference(mine)]
            if any(lacking) and not common:
                missing, extra = lacking
                which = f"lacks {axis} {missing[0]}" if missing else f"has {axis} {extra[0]}"
                raise InputError(
                    f"{name}: {which}, unlike {first_name}; score the same cases and organs, or give --common to "
                    "compare those that all have"
                )
        cases = cases[cases.isin(table.index)]
        organs = organs[organs.isin(table.columns)]
    if not (len(cases) and len(organs)):
        raise InputError(f"{', '.join(tables)}: have no case and organ in common; score the same cases")
    return {name: table.loc[cases, organs] for name, table in tables.items()}


def _chosen(table: pd.DataFrame, what: str, wanted: str | None, path: str | Path) -> pd.DataFrame:
    """Return the rows of the protocol or selection that is wanted; of two protocols "paper" where none is."""
    known = list(dict.fromkeys(table[what]))
    if wanted is None and what == "protocol" and "paper" in known:
        wanted = "paper"
    if wanted is None and len(known) > 1:
        raise InputError(f"{path}: holds {len(known)} {what}s ({', '.join(known)}); choose one with --{what}")
    if wanted is not None and wanted not in known:
        raise InputError(f"{path}: holds no {what} {wanted!r} (but {', '.join(known)}); choose one of them")
    return table.loc[table[what] == (known[0] if wanted is None else wanted)]
