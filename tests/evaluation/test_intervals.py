"""Intervals against SciPy, arithmetic by hand and coverage by simulation; several seeds; missing scores."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.intervals import (
    bca_interval,
    detectable,
    each_of,
    excludes_zero,
    holm,
    mean_interval,
    mean_score,
    rank_interval,
    statistic_interval,
    t_interval,
)
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


@pytest.mark.parametrize(("cases", "confidence"), [(2, 0.95), (4, 0.9), (12, 0.95), (40, 0.5)])
def test_without_gaps_it_is_students_t_of_the_case_means(cases, confidence):
    table = np.random.default_rng(cases).uniform(0.3, 1, (cases, 3))
    expected = stats.ttest_1samp(table.mean(axis=1), 0).confidence_interval(confidence)
    assert evaluation(table).interval("strict", confidence=confidence) == pytest.approx(tuple(expected))
    assert t_interval(table.mean(axis=1), confidence) == pytest.approx(tuple(expected))


def test_gaps_are_left_out_one_case_at_a_time(gaps):
    """The jackknife by hand: pseudovalues and their t interval, which has the same width."""
    kept = gaps[~np.isnan(gaps).all(axis=1)]
    count, whole = len(kept), mean_score(kept)
    pseudo = [count * whole - (count - 1) * mean_score(np.delete(kept, index, axis=0)) for index in range(count)]
    low, high = evaluation(gaps).interval("strict")
    expected = stats.ttest_1samp(pseudo, 0).confidence_interval()
    assert high - low == pytest.approx(expected.high - expected.low)
    assert (low + high) / 2 == pytest.approx(whole)


def test_interval_of_one_organ_is_that_of_the_organ_alone(gaps):
    alone = evaluation(gaps[:, [2]]).interval("strict")
    assert evaluation(gaps).interval("strict", organ="organ2") == alone


@pytest.mark.parametrize(("seeds", "cases"), [(1, 3), (1, 4), (1, 12), (3, 4), (3, 12)])
def test_it_holds_the_truth_as_often_as_it_says(seeds, cases):
    """Of 600 tables 95 %, or more with seeds; the percentile bootstrap of 4 cases has 80 %."""
    rng, held = np.random.default_rng(seeds * cases), 0
    for _ in range(600):
        shifts = (seeds > 1) * rng.normal(0, 0.05, (seeds, 1, 1)) + rng.normal(0, 0.05, (1, cases, 1))
        low, high = mean_interval(0.7 + shifts + rng.normal(0, 0.03, (seeds, cases, 2)))
        held += low < 0.7 < high
    assert 0.923 <= held / 600 <= (0.977 if seeds == 1 else 1)


def test_pooled_scores_have_the_interval_of_the_ratio():
    """The jackknife of a ratio of sums against its linearization (the delta method)."""
    rng = np.random.default_rng(2)
    top, bottom = rng.uniform(5, 9, 60), rng.uniform(8, 12, 60)
    ratio = top.sum() / bottom.sum()
    low, high = statistic_interval(lambda kept: top[kept].sum() / bottom[kept].sum(), 60)
    expected = t_interval((top - ratio * bottom) / bottom.mean() + ratio)
    assert (low, high) == pytest.approx(expected, rel=1e-3)


def test_bca_is_scipys_and_detectable_is_detected_in_four_of_five():
    values = np.random.default_rng(0).exponential(size=15)
    found = stats.bootstrap((values,), np.mean, method="BCa", random_state=np.random.default_rng(1)).confidence_interval
    assert bca_interval(values) == pytest.approx(tuple(found), abs=0.05)
    assert bca_interval([0.5, 0.5]) == (0.5, 0.5)
    size = detectable(values) / values.std(ddof=1)
    drawn = np.random.default_rng(4).normal(size, 1, (4000, 15))
    assert (stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.02)
    assert all(math.isnan(value) for value in (*t_interval([1]), *bca_interval([1]), detectable([1])))


def test_intervals_that_hold_at_once_and_p_values_by_hand():
    assert each_of(20) == pytest.approx(0.9975)
    assert holm([0.01, np.nan, 0.04, 0.03]).tolist() == pytest.approx([0.03, np.nan, 0.06, 0.06], nan_ok=True)
    assert holm([0.6, 0.7]).tolist() == [1.0, 1.0]


@pytest.mark.parametrize(("count", "r"), [(9, 0.0), (9, 0.6), (26, -0.3)])
def test_rank_intervals_hold_the_truth(count, r):
    """Of 400 samples of a normal pair whose rank correlation is 6 / pi asin(r / 2), 95 % within 3.7 points."""
    rng, held, truth = np.random.default_rng(5), 0, 6 / np.pi * np.arcsin(r / 2)
    for _ in range(400):
        one = rng.normal(size=count)
        _, low, high = rank_interval(one, r * one + (1 - r * r) ** 0.5 * rng.normal(size=count))
        held += low < truth < high
    assert held / 400 == pytest.approx(0.95, abs=0.037)


@pytest.mark.parametrize(("one", "other"), [([1, 2, 3], [1, 2, 3]), ([1, 1, 1, 1], [1, 2, 3, 4])])
def test_three_pairs_or_a_constant_have_no_rank_interval(one, other):
    assert all(math.isnan(value) for value in rank_interval(one, other))


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
        "protocol", "organ", "score", "unit", "cases", "seeds", "mean", "sd", "low", "high", "method",
    ]  # fmt: skip
    assert len(table) == 3 * 5
    last = table[(table.organ == "mean") & (table.score == "dsc")].iloc[0]
    assert last["mean"] == pytest.approx(mean_score(gaps))
    assert (last.cases, last.seeds, last.unit) == (11, 1, "0 to 1")
    assert last.method == "Student's t over 11 cases"
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
    assert table.loc["mean", "method"] == "Student's t over 11 cases and 3 seeds"
    # With seeds drawn as well the interval is wider than any one seed's.
    widths = [np.ptp(run.interval("strict")) for run in runs.values()]
    assert table.loc["mean", "high"] - table.loc["mean", "low"] > max(widths)


def test_seeds_alone_make_the_width_of_their_t_where_cases_do_not_differ():
    runs = {seed: evaluation(np.full((4, 2), value)) for seed, value in enumerate((0.5, 0.6, 0.7))}
    row = summarize_seeds(runs, columns=("dsc",)).set_index("organ").loc["mean"]
    assert (row.low, row.high) == pytest.approx(t_interval([0.5, 0.6, 0.7]))


def test_seeds_that_cannot_be_pooled():
    with pytest.raises(InputError, match="none was given"):
        summarize_seeds({})
    with pytest.raises(InputError, match="seed 2: was scored on other cases or organs"):
        summarize_seeds({1: evaluation(np.full((3, 2), 0.5)), 2: evaluation(np.full((4, 2), 0.5))})


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.1, 0.3, True), (-0.3, -0.1, True), (-0.1, 0.3, False), (0.0, 0.3, False), (-0.3, 0.0, False),
     (math.nan, math.nan, False)],
)  # fmt: skip
def test_whether_an_interval_leaves_out_zero(low, high, expected):
    """Numbers, and columns of them."""
    assert bool(excludes_zero(low, high)) is expected
    assert excludes_zero(pd.Series([low, 0.5]), pd.Series([high, 0.6])).tolist() == [expected, True]
