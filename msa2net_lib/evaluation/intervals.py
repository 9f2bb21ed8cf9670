"""How far a mean might have come out otherwise: the one place of every interval, with the name of its method.

Means have Student's t over what was drawn: cases, seeds, or both. Three to twelve cases, as this field has them, are
too few for the percentile bootstrap: at 4 it holds the truth in 80 % where it says 95 (``benchmarks/coverage.py``).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from msa2net_lib.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy.typing import ArrayLike, NDArray

RESAMPLES = 9999
SEED = 20240903  # any: the same table gets the same interval every time
_NO_SPREAD = 1e-12
WITHIN, BEYOND, NOT_KNOWN = "within noise", "beyond noise", "not known"


def excludes_zero(low: Any, high: Any) -> Any:
    """Whether an interval leaves out zero, for numbers or columns of them; one with nan, as of one seed, does not.

    Example:
        >>> excludes_zero(0.1, 0.3), excludes_zero(-0.1, 0.3), excludes_zero(-0.3, -0.1)
        (True, False, True)
    """
    return (low > 0) | (high < 0)


def t_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """Student's t interval, (low, high), of the mean of independent values, (n,); nan for fewer than 2.

    Example:
        >>> low, high = t_interval([0.1, 0.3, 0.2])
        >>> round(low, 3), round(high, 3)
        (-0.048, 0.448)
    """
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return math.nan, math.nan
    return _student(float(values.mean()), [(float(values.var(ddof=1)) / len(values), len(values) - 1)], confidence)


def bca_interval(values: ArrayLike, resamples: int = RESAMPLES) -> tuple[float, float]:
    """95 % bootstrap interval, (low, high), of the mean of values, (n,), bias-corrected and accelerated (Efron 1987).

    Seeded; nan for fewer than 2 values, the value itself where all are alike.
    """
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return math.nan, math.nan
    if np.ptp(values) < _NO_SPREAD:
        return float(values[0]), float(values[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # then the interval is nan, and shown so
        found = stats.bootstrap(
            (values,),
            np.mean,
            n_resamples=resamples,
            method="BCa",
            random_state=np.random.default_rng(SEED),  # pyright: ignore[reportCallIssue]  # rng from SciPy 1.15 on
        ).confidence_interval
    return float(found.low), float(found.high)


def detectable(values: ArrayLike) -> float:
    """Smallest mean that so many values with such a spread, (n,), show in four of five studies; nan for fewer than 2.

    What stands beside every "not to be told apart": a smaller difference would mostly have been missed.

    Example:
        >>> round(detectable([0.1, 0.3, 0.2]), 3)
        0.31
    """
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return math.nan
    return float(stats.t.ppf([0.975, 0.8], len(values) - 1).sum() * values.std(ddof=1) / len(values) ** 0.5)


def paired_interval(first: ArrayLike, second: ArrayLike) -> tuple[float, float, float]:
    """Mean difference of two variants' scores over the same seeds, (n,) each, and its 95 % interval by paired t.

    Returns (difference, low, high), first minus second; with one seed the interval is nan. Raises: `InputError` unless
    both have the same length, at least 1.
    """
    one, other = (np.asarray(scores, dtype=float) for scores in (first, second))
    if one.ndim != 1 or one.shape != other.shape or not len(one):
        raise InputError(f"scores of shapes {one.shape} and {other.shape}: give one score per seed for both")
    return float((one - other).mean()), *t_interval(one - other)


def each_of(count: int, confidence: float = 0.95) -> float:
    """Confidence that each of ``count`` intervals needs for all to hold at once with ``confidence`` (Bonferroni).

    Example:
        >>> each_of(5)
        0.99
    """
    return 1 - (1 - confidence) / max(count, 1)


def holm(p_values: Sequence[float] | NDArray) -> NDArray[np.float64]:
    """Correct p values for their number by Holm's step-down rule; nan stays nan and does not count.

    Example:
        >>> holm([0.01, 0.04, 0.03]).tolist()
        [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=float)
    there = np.flatnonzero(~np.isnan(p))
    order = there[np.argsort(p[there], kind="stable")]
    corrected = np.full(p.shape, math.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return corrected


def difference_row(differences: ArrayLike) -> dict[str, float]:
    """What is told of paired differences, one a seed, (n,): a row of a table for `corrected`.

    Returns ``seeds``, ``difference`` (their mean), ``difference_sd``, its own 95 % interval ``low`` to ``high`` and
    ``p`` (paired t), ``seeds_above`` 0, and ``detectable``; nan where one seed has none.
    """
    values = np.asarray(differences, dtype=float)
    low, high = t_interval(values)
    p = math.nan if len(values) < 2 else float(values.mean() == 0)  # of differences that do not vary
    if len(values) > 1 and np.ptp(values) > _NO_SPREAD:
        test: Any = stats.ttest_1samp(values, 0)
        p = float(test.pvalue)
    return {
        "seeds": len(values),
        "difference": float(values.mean()),
        "difference_sd": float(values.std(ddof=1)) if len(values) > 1 else math.nan,
        "low": low,
        "high": high,
        "seeds_above": int((values > 0).sum()),
        "p": p,
        "detectable": detectable(values),
    }


def corrected(*tables: pd.DataFrame) -> list[pd.DataFrame]:
    """Tables of `difference_row` as one family: ``holm``, p corrected for all their rows, and ``significance`` by it.

    Rows with the same numbers are one test, as two readings of a row that neither changes. ``significance`` is "beyond
    noise" where the corrected p is below 0.05, "within noise" where not, "not known" with one seed.

    Source: Holm 1979.
    """
    family: Any = pd.concat(tables, keys=range(len(tables)))
    tests = family.groupby(["difference", "low", "high"], dropna=False, sort=False).ngroup()
    first = ~tests.duplicated()
    by_test = dict(zip(tests[first], holm(family.p[first].to_numpy()), strict=True))
    family["holm"] = tests.map(by_test)
    told = np.where(family.holm < 0.05, BEYOND, WITHIN)
    family["significance"] = np.where(family.holm.isna(), NOT_KNOWN, told)
    return [family.loc[number].rename_axis(table.index.name) for number, table in enumerate(tables)]


def rank_interval(first: ArrayLike, second: ArrayLike, confidence: float = 0.95) -> tuple[float, float, float]:
    """Spearman's rank correlation of n independent pairs, (n,) each, and its interval: (r, low, high).

    Fisher's z with the variance of Bonett and Wright (2000), (1 + r^2 / 2) / (n - 3); nan below 4 pairs or where one
    side does not vary. Pairs that depend on each other, as the gates of one network do, have less to tell than that.

    Example:
        >>> r, low, high = rank_interval([1, 2, 3, 4, 5, 6, 7, 8, 9], [2, 1, 4, 3, 7, 5, 8, 6, 9])
        >>> round(r, 2), round(low, 2), round(high, 2)
        (0.88, 0.42, 0.98)
    """
    one, other = (np.asarray(values, dtype=float) for values in (first, second))
    if len(one) < 4 or not np.ptp(one) or not np.ptp(other):
        return math.nan, math.nan, math.nan
    r = float(stats.spearmanr(one, other)[0])  # pyright: ignore[reportArgumentType]
    if abs(r) > 1 - 1e-9:
        return r, r, r
    half = stats.norm.ppf((1 + confidence) / 2) * ((1 + r * r / 2) / (len(one) - 3)) ** 0.5
    return r, math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)


def summarize(runs: pd.DataFrame, baseline: str, column: str = "dsc") -> pd.DataFrame:
    """Mean and spread of a score over seeds, and the difference from a baseline taken seed by seed.

    runs: as `evaluation.experiments.compare` returns them. Returns one row per variant, in the order of the runs:
    seeds, mean, standard deviation (n - 1), difference (mean over seeds), its standard deviation, the 95 % interval of
    the mean difference from ``low`` to ``high`` (`paired_interval`), and in how many seeds it is above 0. With one seed
    spreads are nan. Raises: `InputError` if the baseline is not among the variants.
    """
    order = list(dict.fromkeys(runs.variant))
    if baseline not in order:
        raise InputError(f"baseline={baseline!r} is not among the variants: {', '.join(order)}")
    scores = runs.pivot(index="seed", columns="variant", values=column)[order]
    differences = scores.sub(scores[baseline], axis=0)
    rows = {}
    for name in order:
        paired = scores[pd.notna(differences[name])]
        difference, low, high = paired_interval(paired[name], paired[baseline])
        rows[name] = {
            "seeds": len(paired),
            "mean": scores[name].mean(),
            "sd": scores[name].std(ddof=1),
            "difference": difference,
            "difference_sd": differences[name].std(ddof=1),
            "low": low,
            "high": high,
            "seeds_above": int(np.count_nonzero(differences[name] > 0)),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("variant")


def mean_score(table: Float[NDArray, "*lead cases organs"]) -> Float[NDArray, "*lead"]:
    """Mean over the cases that have a score for an organ, then over organs (reference order); nan if none has."""
    return _nan_mean(_nan_mean(table, axis=-2), axis=-1)


def mean_interval(table: Float[NDArray, "seeds cases organs"], confidence: float = 0.95) -> tuple[float, float]:
    """Student's t interval, (low, high), of the mean over seeds of `mean_score`; `method_of` names it.

    Cases are what was drawn, each with all its organs and under all seeds; with several seeds these are drawn as well,
    and the two variances add up (degrees of freedom by Satterthwaite). Cases without any score are left out. nan for
    fewer than 2 cases. An interval may reach beyond what a score can be, as with few cases it must. Raises:
    `InputError` for a confidence that is not between 0 and 1.

    Source: Student 1908; Satterthwaite 1946; Tukey 1958 (the jackknife, where cases lack organs).
    """
    table = table[:, ~np.isnan(table).all(axis=(0, 2))]
    seeds, cases, _ = table.shape
    if cases < 2:
        _check_confidence(confidence)
        return math.nan, math.nan
    drawn = [jackknife(lambda kept: float(mean_score(table[:, kept]).mean()), cases)]
    if seeds > 1:
        drawn.append(jackknife(lambda kept: float(mean_score(table[kept]).mean()), seeds))
    return _student(float(mean_score(table).mean()), drawn, confidence)


def method_of(seeds: int, cases: int, unit: str = "cases") -> str:
    """Name the method of `mean_interval` beside what it was taken over.

    Example:
        >>> method_of(1, 12), method_of(3, 12)
        ("Student's t over 12 cases", "Student's t over 12 cases and 3 seeds")
    """
    return f"Student's t over {cases} {unit}" + (f" and {seeds} seeds" if seeds > 1 else "")


def statistic_interval(
    statistic: Callable[[NDArray[np.int_]], float], count: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Student's t interval, (low, high), of any smooth statistic of ``count`` cases, by the jackknife.

    statistic: takes the indices of the cases to keep. Of a mean it is `t_interval`. nan for fewer than 2 cases. Raises:
    `InputError` for a confidence that is not between 0 and 1.
    """
    _check_confidence(confidence)
    if count < 2:
        return math.nan, math.nan
    return _student(statistic(np.arange(count)), [jackknife(statistic, count)], confidence)


def jackknife(statistic: Callable[[NDArray[np.int_]], float], count: int) -> tuple[float, int]:
    """Variance of a statistic of ``count`` cases by leaving out each in turn, and its degrees of freedom."""
    every = np.arange(count)
    left = np.array([statistic(np.delete(every, index)) for index in every])
    left = left[~np.isnan(left)]
    return float((count - 1) / count * ((left - left.mean()) ** 2).sum()) if left.size else math.nan, count - 1


def _student(middle: float, drawn: Sequence[tuple[float, int]], confidence: float) -> tuple[float, float]:
    """Interval around an estimate from variances and their degrees of freedom, added up."""
    _check_confidence(confidence)
    total = sum(variance for variance, _ in drawn)
    if total < _NO_SPREAD**2:
        return middle, middle
    degrees = total**2 / sum(variance**2 / free for variance, free in drawn)
    half = float(stats.t.ppf((1 + confidence) / 2, degrees)) * total**0.5
    return middle - half, middle + half


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise InputError(f"confidence={confidence}: give a number between 0 and 1, such as 0.95")


def _nan_mean(values: NDArray, axis: int) -> NDArray:
    """Mean of the numbers along an axis, nan where there is none (`numpy.nanmean` warns there)."""
    there = ~np.isnan(values)
    count = there.sum(axis=axis)
    total = np.where(there, values, 0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
