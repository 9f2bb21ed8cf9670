"""How often do the intervals that the workbook prints hold the truth, where 95 % is written?

Draws samples whose truth is known, as many cases and seeds as the lessons have, from three kinds of scores: normal
ones, DSC (near 1, with a tail of failures) and HD95 (a long tail upward). The percentile bootstrap stands beside as a
control: it was printed here once. Draws nothing from data and trains nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measure import parser_of, write_record
from numpy.typing import NDArray
from scipy import stats

from msa2net_lib.evaluation.intervals import (
    bca_interval,
    each_of,
    mean_interval,
    rank_interval,
    statistic_interval,
    t_interval,
)

RESULT = Path(__file__).resolve().parent / "results" / "coverage.json"
SCORES: dict[str, tuple[float, Callable[[np.random.Generator, Any], NDArray]]] = {
    "normal": (0.0, lambda rng, shape: rng.normal(0, 1, shape)),
    "DSC-like": (0.8, lambda rng, shape: rng.beta(8, 2, shape)),
    "HD95-like": (float(np.exp(0.5)), lambda rng, shape: rng.lognormal(0, 1, shape)),
}
"""Kind of scores -> its true mean, and how to draw it."""
CASES = (3, 4, 8, 12, 20, 50)
Interval = tuple[float, float]


def main() -> int:
    """Simulate, print and write; return the exit status."""
    parser = parser_of(__doc__, RESULT)
    parser.add_argument("--samples", type=int, default=2000, help="samples of each row")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    rows = [
        {"interval": name, "scores": scores, "over": over, "held": round(held(draw, truth, arguments.samples), 3)}
        for name, scores, over, truth, draw in designs(rng)
    ]
    for row in rows:
        print("{interval:<44} {scores:<10} {over:<22} {held:.3f}".format(**row))
    write_record(
        arguments.output,
        "How often do the intervals that the workbook prints hold the truth, where 95 % is written?",
        {"samples": arguments.samples, "rows": rows},
    )
    return 0


def held(draw: Callable[[], Any], truth: float, samples: int) -> float:
    """Share of samples whose interval holds the truth; ``draw`` may say so itself."""
    found = (draw() for _ in range(samples))
    return sum(one if isinstance(one, bool) else one[0] <= truth <= one[1] for one in found) / samples


def designs(rng: np.random.Generator):
    """Every interval that is printed, with what it is taken over: name, scores, over, truth, a drawer."""
    for scores, (truth, make) in SCORES.items():
        for count in CASES:
            drawers: dict[str, Callable[[NDArray], Interval]] = {"Student's t": t_interval}
            if count in (4, 12, 50):
                drawers |= {"bootstrap, BCa (compare, beside t)": bca, "bootstrap, percentile (control)": percentile}
            for name, interval in drawers.items():
                yield name, scores, f"{count} cases", truth, lambda i=interval, m=make, n=count: i(m(rng, n))
    for count in (2, 3, 5):
        yield (
            "Student's t of paired differences",
            "normal",
            f"{count} seeds",
            0.0,
            lambda n=count: t_interval(rng.normal(0, 1, n)),
        )
    for seeds, cases in ((2, 4), (3, 4), (3, 12), (5, 12)):
        for ratio in (0.2, 1.0):
            yield (
                f"Student's t over cases and seeds, sd ratio {ratio}", "normal", f"{cases} cases, {seeds} seeds", 0.0,
                lambda s=seeds, c=cases, r=ratio: crossed(rng, s, c, r),
            )  # fmt: skip
    for images in (12, 20, 100, 520):
        yield (
            "Student's t of the pooled DSC (jackknife)",
            "areas",
            f"{images} images",
            POOLED,
            lambda n=images: pooled(rng, n),
        )
    for count, r in ((9, 0.0), (9, 0.6), (26, 0.0)):
        truth = float(6 / np.pi * np.arcsin(r / 2))
        yield f"rank correlation {truth:.2f}", "normal", f"{count} pairs", truth, lambda n=count, r=r: ranks(rng, n, r)
    for count, seeds in ((7, 3), (26, 3), (12, 12)):
        what = "all at once, Bonferroni"
        yield what, "normal", f"{count} of {seeds} each", 0.0, lambda k=count, n=seeds: all_hold(rng, k, n)


def bca(values: NDArray) -> Interval:
    return bca_interval(values, resamples=999)


def percentile(values: NDArray) -> Interval:
    drawn = values[np.random.default_rng(1).integers(0, len(values), (999, len(values)))].mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def crossed(rng: np.random.Generator, seeds: int, cases: int, ratio: float) -> Interval:
    """Scores of cases under seeds: sd 1 over cases, ``ratio`` over seeds and in what is left."""
    table = rng.normal(0, 1, (1, cases, 1)) + rng.normal(0, ratio, (seeds, 1, 1))
    return mean_interval(table + rng.normal(0, ratio, (seeds, cases, 1)))


def areas(rng: np.random.Generator, images: int) -> NDArray:
    """Pixels of lesions and of what was found of them, (images, 3): true positives, false ones, missed ones."""
    area = rng.lognormal(8, 1, images)
    found = rng.beta(8, 2, images)
    return np.stack([area * found, area * rng.beta(1, 8, images), area * (1 - found)], axis=1)


POOLED = 2 * 0.8 / (2 * 0.8 + 1 / 9 + 0.2)
"""The pooled DSC of `areas`: shares do not depend on the area."""


def pooled(rng: np.random.Generator, images: int) -> Interval:
    counts = areas(rng, images)

    def dsc(kept: NDArray) -> float:
        right, wrong, missed = counts[kept].sum(axis=0)
        return float(2 * right / (2 * right + wrong + missed))

    return statistic_interval(dsc, images)


def ranks(rng: np.random.Generator, count: int, r: float) -> Interval:
    one = rng.normal(size=count)
    _, low, high = rank_interval(one, r * one + (1 - r * r) ** 0.5 * rng.normal(size=count))
    return low, high


def all_hold(rng: np.random.Generator, count: int, seeds: int) -> bool:
    """Whether all of ``count`` intervals of independent differences hold 0."""
    values = rng.normal(0, 1, (count, seeds))
    half = stats.t.ppf((1 + each_of(count)) / 2, seeds - 1) * values.std(axis=1, ddof=1) / seeds**0.5
    return bool((abs(values.mean(axis=1)) <= half).all())


if __name__ == "__main__":
    sys.exit(main())
