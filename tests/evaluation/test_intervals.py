"""Bootstrap intervals against resampling by hand, arithmetic and coverage; several seeds; missing scores."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import pytest

from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.intervals import bootstrap_interval, mean_score
from msa2net_lib.evaluation.table import Evaluation, summarize_seeds


def evaluation(dsc, hd95=None, protocol="strict"):
    """An `Evaluation` of a table (cases, organs)."""
    dsc = np.asarray(dsc, float)
    hd95 = 10 * (1 - dsc) if hd95 is None else hd95
    rows = [
        (protocol, f"case{c}", f"organ{o}", True, dsc[c, o], hd95[c, o], hd95[c, o], 2 * hd95[c, o])
        for c in range(dsc.shape[0])
        for o in range(dsc.shape[1])
    ]
    columns = ["protocol", "case", "organ", "in_label", "dsc", "hd95", "hd95_voxels", "hd95_mm"]
    return Evaluation(pd.DataFrame(rows, columns=columns), {})


@pytest.fixture
def gaps():
    """Twelve cases, four organs, some scores missing, one case without any."""
    rng = np.random.default_rng(5)
    table = rng.uniform(0.3, 1, (12, 4))
    table[rng.random(table.shape) < 0.2] = np.nan
    table[3] = np.nan
    return table


def test_the_statistic_is_the_mean_that_is_reported(gaps):
    result = evaluation(gaps)
    assert mean_score(gaps) == pytest.approx(result.mean("strict")[0])
    low, high = result.interval("strict")
    assert low < result.mean("strict")[0] < high
    low, high = result.interval("strict", "hd95")
    assert low < result.mean("strict")[1] < high
    assert result.interval("strict", "hd95_mm") == pytest.approx((2 * low, 2 * high))


def test_interval_is_that_of_resampling_by_hand(gaps):
    """Other random numbers, the same percentiles."""
    rng = np.random.default_rng(1)
    kept = gaps[~np.isnan(gaps).all(axis=1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of organs that no drawn case has
        drawn = [kept[rng.integers(0, len(kept), len(kept))] for _ in range(6000)]
        means = [np.nanmean(np.nanmean(table, axis=0)) for table in drawn]
    expected = np.percentile(means, [5, 95])
    assert evaluation(gaps).interval("strict", confidence=0.9) == pytest.approx(expected, abs=0.006)


def test_interval_of_one_organ_is_that_of_the_organ_alone(gaps):
    alone = evaluation(gaps[:, [2]]).interval("strict")
    assert evaluation(gaps).interval("strict", organ="organ2") == alone


def test_it_covers_the_truth_about_as_often_as_it_says():
    """Of 40 samples of 30 cases nearly all 95 % intervals hold the mean they were drawn around, and not all 50 %."""
    rng = np.random.default_rng(0)
    tables = rng.normal(0.7, 0.1, (40, 30, 3))
    covered = {
        confidence: sum(
            low < 0.7 < high
            for low, high in (bootstrap_interval(table[None], confidence, resamples=500) for table in tables)
        )
        for confidence in (0.95, 0.5)
    }
    assert 34 <= covered[0.95] <= 40
    assert 12 <= covered[0.5] <= 28


def test_the_same_table_gets_the_same_interval(gaps):
    assert evaluation(gaps).interval("strict") == evaluation(gaps).interval("strict")


def test_what_does_not_vary_has_no_width():
    assert evaluation(np.full((5, 3), 0.8)).interval("strict") == pytest.approx((0.8, 0.8))


@pytest.mark.parametrize("table", [np.full((1, 3), 0.8), np.array([[0.8, 0.7], [np.nan, np.nan]])])
def test_fewer_than_two_cases_have_no_interval(table):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(math.isnan(bound) for bound in evaluation(table).interval("strict"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"protocol": "paper"}, "protocol='paper' was not scored (but strict)"),
        ({"column": "dice"}, "column='dice' was not scored: choose one of dsc, hd95"),
        ({"organ": "heart"}, "organ='heart' was not scored: choose one of organ0"),
        ({"confidence": 95}, "confidence=95: give a number between 0 and 1"),
    ],
)
def test_what_is_refused(options, words):
    with pytest.raises(InputError) as caught:
        evaluation(np.full((3, 2), 0.5)).interval(**{"protocol": "strict"} | options)
    assert words in str(caught.value)


def test_summary_of_one_network(gaps):
    table = evaluation(gaps).summary(confidence=0.9)
    assert list(table.columns) == [
        "protocol", "organ", "score", "unit", "cases", "seeds", "mean", "sd", "low", "high",
    ]  # fmt: skip
    assert len(table) == 3 * 5
    last = table[(table.organ == "mean") & (table.score == "dsc")].iloc[0]
    assert last["mean"] == pytest.approx(mean_score(gaps))
    assert (last.cases, last.seeds, last.unit) == (11, 1, "0 to 1")
    assert table.sd.isna().all()
    organ = table[(table.organ == "organ1") & (table.score == "hd95_mm")].iloc[0]
    assert organ.cases == np.count_nonzero(~np.isnan(gaps[:, 1]))
    assert organ["mean"] == pytest.approx(np.nanmean(20 * (1 - gaps[:, 1])))
    assert ((table.low <= table["mean"]) & (table["mean"] <= table.high)).all()


def test_several_seeds(gaps):
    shifts = {3: 0.0, 11: 0.02, 40: -0.05}
    runs = {seed: evaluation(gaps + shift) for seed, shift in shifts.items()}
    table = summarize_seeds(runs, columns=("dsc",)).set_index("organ")
    assert table.loc["mean", "seeds"] == 3
    assert table.loc["mean", "mean"] == pytest.approx(mean_score(gaps) - 0.01)
    assert table.loc["mean", "sd"] == pytest.approx(np.std([0, 0.02, -0.05], ddof=1))
    # With seeds drawn as well the interval is wider than any one seed's.
    widths = [np.ptp(run.interval("strict")) for run in runs.values()]
    assert table.loc["mean", "high"] - table.loc["mean", "low"] > max(widths)


def test_seeds_alone_make_a_width_where_cases_do_not():
    runs = {seed: evaluation(np.full((4, 2), value)) for seed, value in enumerate((0.5, 0.6, 0.7))}
    row = summarize_seeds(runs, columns=("dsc",)).set_index("organ").loc["mean"]
    # Of three seeds drawn three times 1 in 27 is all lowest, more than 2.5 %.
    assert (row.low, row.high) == pytest.approx((0.5, 0.7))


def test_seeds_that_cannot_be_pooled():
    with pytest.raises(InputError, match="none was given"):
        summarize_seeds({})
    with pytest.raises(InputError, match="seed 2: was scored on other cases or organs"):
        summarize_seeds({1: evaluation(np.full((3, 2), 0.5)), 2: evaluation(np.full((4, 2), 0.5))})
