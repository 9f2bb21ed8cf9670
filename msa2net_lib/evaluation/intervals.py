"""How far a mean might have come out otherwise: bootstrap over cases and seeds, paired t over seeds."""

from __future__ import annotations

import math
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
_AT_ONCE = 500  # resamples in memory
WITHIN, BEYOND, NOT_KNOWN = "within noise", "beyond noise", "not known"


def excludes_zero(low: Any, high: Any) -> Any:
    """Whether an interval leaves out zero, for numbers or columns of them; one with nan, as of one seed, does not.

    Example:
        >>> excludes_zero(0.1, 0.3), excludes_zero(-0.1, 0.3), excludes_zero(-0.3, -0.1)
        (True, False, True)
    """
    return (low > 0) | (high < 0)


def against_noise(low: float, high: float) -> str:
    """Say what an interval of a difference tells: "beyond noise" if it leaves out zero, or "within noise".

    "not known" where there is no interval, as with one seed.
    """
    if math.isnan(low) or math.isnan(high):
        return NOT_KNOWN
    return BEYOND if excludes_zero(low, high) else WITHIN


def paired_interval(first: ArrayLike, second: ArrayLike) -> tuple[float, float, float]:
    """Mean difference of two variants' scores over the same seeds, (n,) each, and its 95 % interval by paired t.

    Returns (difference, low, high), first minus second; with one seed the interval is nan. Raises: `InputError` unless
    both have the same length, at least 1.
    """
    one, other = (np.asarray(scores, dtype=float) for scores in (first, second))
    if one.ndim != 1 or one.shape != other.shape or not len(one):
        raise InputError(f"scores of shapes {one.shape} and {other.shape}: give one score per seed for both")
    difference, count, half = one - other, len(one), math.nan
    if count > 1:
        half = difference.std(ddof=1) / count**0.5 * stats.t.ppf(0.975, count - 1)
    return float(difference.mean()), float(difference.mean() - half), float(difference.mean() + half)


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


def bootstrap_interval(
    table: Float[NDArray, "seeds cases organs"], confidence: float = 0.95, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Percentile interval, (low, high), of the mean over seeds of `mean_score`.

    Cases are drawn with replacement, each with all its organs and under all seeds; with several seeds these are
    drawn too, independently (`scipy.stats.bootstrap`, two samples, seeded). Cases without any score are left out. nan
    for fewer than 2 cases. With so few cases or seeds as this field has it is too narrow rather than too wide. Raises:
    `InputError` for a confidence that is not between 0 and 1.
    """
    table = table[:, ~np.isnan(table).all(axis=(0, 2))]
    seeds, cases, _ = table.shape

    def statistic(case: NDArray, seed: NDArray | None = None, axis: int = -1) -> NDArray:
        """Indices (..., cases) and (..., seeds) -> the mean of what they choose, (...)."""
        if seed is None:
            return mean_score(table[0][case])
        return _nan_mean(mean_score(table[seed[..., :, None], case[..., None, :]]), axis=-1)

    return bootstrap((cases, seeds) if seeds > 1 else (cases,), statistic, confidence, resamples)


def bootstrap(
    counts: Sequence[int], statistic: Callable[..., NDArray], confidence: float, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Percentile interval of a statistic of what is drawn, with replacement, from so many items of each kind.

    statistic: called with an array of indices, (resamples, count), for each kind, and ``axis=-1``; returns
    (resamples,). nan if the first kind has fewer than 2 items. Raises: `InputError` as `bootstrap_interval`.
    """
    if not 0 < confidence < 1:
        raise InputError(f"confidence={confidence}: give a number between 0 and 1, such as 0.95")
    if counts[0] < 2:
        return math.nan, math.nan
    result = stats.bootstrap(
        tuple(np.arange(count) for count in counts),
        statistic,
        n_resamples=resamples,
        batch=_AT_ONCE,
        vectorized=True,
        confidence_level=confidence,
        method="percentile",
        random_state=np.random.default_rng(SEED),  # pyright: ignore[reportCallIssue]  # rng from SciPy 1.15 on; takes both
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def _nan_mean(values: NDArray, axis: int) -> NDArray:
    """Mean of the numbers along an axis, nan where there is none (`numpy.nanmean` warns there)."""
    there = ~np.isnan(values)
    count = there.sum(axis=axis)
    total = np.where(there, values, 0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
