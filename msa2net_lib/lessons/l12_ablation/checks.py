"""Exercises of the lesson on the ablation."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from msa2net_lib.evaluation.intervals import paired_interval as _library_interval
from msa2net_lib.lessons.exercise import Check

Interval = tuple[float, float, float]


def _draw_scores(rng: np.random.Generator) -> tuple[Any, ...]:
    """Scores of two variants over 3 to 8 seeds, which share most of their scatter."""
    count = int(rng.integers(3, 9))
    shared = rng.normal(0.7, 0.03, count)
    return shared + rng.normal(0.01, 0.008, count), shared


def _around(middle: float, half: float) -> Interval:
    return float(middle), float(middle - half), float(middle + half)


def _by(error: float, difference: Any, quantile: float) -> Interval:
    return _around(np.mean(difference), error * quantile)


def _standard_error(values: Any, ddof: int = 1) -> float:
    return float(np.std(values, ddof=ddof) / np.sqrt(len(values)))


def _student(freedom: int, share: float = 0.975) -> float:
    return float(stats.t.ppf(share, freedom))


def _unpaired(one: Any, other: Any) -> Interval:
    error = np.hypot(_standard_error(one), _standard_error(other))
    return _by(float(error), one - other, _student(2 * len(one) - 2))


def _single_run(one: Any, other: Any) -> Interval:
    return _by(float(np.std(one - other, ddof=1)), one - other, _student(len(one) - 1))


paired_interval = Check(
    "paired_interval",
    _library_interval,
    _draw_scores,
    {
        "the runs are not paired: take the difference seed by seed first, then its spread": _unpaired,
        "the sign is turned round: first minus second": lambda one, other: _library_interval(other, one),
        "divide the standard deviation by the root of the number of seeds: the interval is of the mean": _single_run,
        "that is the normal distribution's 1.96: with few seeds it takes Student's t": lambda a, b: _by(
            _standard_error(a - b), a - b, 1.959963984540054
        ),
        "the standard deviation divides by n: of a sample it divides by n - 1 (ddof=1)": lambda a, b: _by(
            _standard_error(a - b, ddof=0), a - b, _student(len(a) - 1)
        ),
        "that interval leaves out 5 % on each side: for 95 % take the 0.975 quantile": lambda a, b: _by(
            _standard_error(a - b), a - b, _student(len(a) - 1, 0.95)
        ),
        "degrees of freedom are the number of seeds minus one": lambda a, b: _by(
            _standard_error(a - b), a - b, _student(len(a))
        ),
    },
    tolerance=1e-7,
)
