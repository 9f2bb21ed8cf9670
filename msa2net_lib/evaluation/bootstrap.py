"""How far a mean over cases and organs might have come out elsewhere: bootstrap over cases, and over seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from msa2net_lib.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy.typing import NDArray

RESAMPLES = 9999
SEED = 20240903  # any: the same table gets the same interval every time
_AT_ONCE = 500  # resamples in memory


def mean_score(table: Float[NDArray, "*lead cases organs"]) -> Float[NDArray, "*lead"]:
    """Mean over the cases that have a score for an organ, then over organs (released code's order); nan if none has."""
    return _nan_mean(_nan_mean(table, axis=-2), axis=-1)


def bootstrap_interval(
    table: Float[NDArray, "seeds cases organs"], confidence: float = 0.95, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Percentile interval, (low, high), of the mean over seeds of `mean_score`.

    Cases are drawn with replacement, each with all its organs and under all seeds; with several seeds these are
    drawn too, independently (`scipy.stats.bootstrap`, two samples, seeded). Cases without any score are left out. nan
    for fewer than 2 cases. With so few cases or seeds as this field has it is too narrow rather than too wide. Errors:
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
