"""The exercise of the ablation: an answer by another library passes, stubs do not, each mistake has its name."""

from __future__ import annotations

import numpy as np
from scipy import stats

from msa2net_lib.lessons.exercise import checks_of
from msa2net_lib.lessons.l12_ablation import checks
from msa2net_lib.lessons.l12_ablation.checks import paired_interval


def by_scipy(first, second):
    interval = stats.ttest_rel(first, second).confidence_interval(0.95)
    return np.mean(first) - np.mean(second), interval.low, interval.high


def test_an_independent_answer_passes():
    assert paired_interval.diagnosis(by_scipy) is None


def test_stubs_do_not():
    assert str(paired_interval.diagnosis(lambda first, second: (0.0, 0.0, 0.0))).startswith("not yet")
    assert str(paired_interval.diagnosis(lambda first, second: 0.0)).startswith("it returned 1 result(s), expected 3")


def test_each_mistake_is_told_from_every_other():
    assert checks_of(checks)["paired_interval"] is paired_interval
    assert len(paired_interval.mistakes) >= 4
    for message, mistake in paired_interval.mistakes.items():
        assert paired_interval.diagnosis(mistake) == message


def test_mistakes_as_a_reader_would_make_them():
    def by_welch(first, second):
        interval = stats.ttest_ind(first, second).confidence_interval(0.95)
        return np.mean(first) - np.mean(second), interval.low, interval.high

    def by_normal(first, second):
        d = first - second
        half = stats.norm.ppf(0.975) * d.std(ddof=1) / len(d) ** 0.5
        return d.mean(), d.mean() - half, d.mean() + half

    assert "not paired" in str(paired_interval.diagnosis(by_welch))
    assert "Student's t" in str(paired_interval.diagnosis(by_normal))
