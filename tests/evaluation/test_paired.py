"""Paired comparisons against SciPy and values worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.intervals import detectable, holm
from msa2net_lib.evaluation.paired import compare_cases, read_scores

ORGANS = ["liver", "spleen"]


def scores(seed: int, cases: int = 12, shift: float = 0.0) -> pd.DataFrame:
    """Scores near .8 with a spread of .05 that two systems share, and of .02 that is their own."""
    names = [f"case{number:02d}" for number in range(cases)]
    shared = np.random.default_rng(7).normal(0.8, 0.05, (cases, 2))
    return pd.DataFrame(shared + np.random.default_rng(seed).normal(shift, 0.02, (cases, 2)), names, ORGANS)


def test_differences_intervals_and_tests_are_scipys():
    first, second = scores(1), scores(2, shift=0.02)
    table = compare_cases({"A": first, "B": second}).set_index("organ")
    assert list(table.index) == ["mean", *ORGANS]
    for organ, one, other in [("mean", first.mean(axis=1), second.mean(axis=1))] + [
        (organ, first[organ], second[organ]) for organ in ORGANS
    ]:
        row, test = table.loc[organ], stats.ttest_rel(other, one)
        interval = test.confidence_interval(0.95)
        assert (row.low, row.high) == pytest.approx((interval.low, interval.high))
        assert row.difference == pytest.approx((other - one).mean())
        assert row.p == pytest.approx(stats.wilcoxon(other, one, method="exact").pvalue)
        assert row.detectable == pytest.approx(detectable(row.dots))
        assert row.low - 0.01 < row.boot_low < row.difference < row.boot_high < row.high + 0.01
    assert table.holm.tolist() == pytest.approx(holm(table.p).tolist())


@pytest.mark.parametrize(("cases", "least"), [(12, 0.000488), (4, 0.125), (3, 0.25)])
def test_the_smallest_p_that_so_many_cases_can_reach(cases, least):
    first = scores(1, cases)
    row = compare_cases({"A": first, "B": first + np.linspace(0.1, 0.2, cases)[:, None]}).iloc[0]
    assert (row.p, row.least_p) == pytest.approx((least, least), abs=1e-6)


def test_missing_scores_and_equal_systems():
    first, second = scores(1), scores(1)
    second.loc["case03", "liver"] = np.nan
    table = compare_cases({"A": first, "B": second}).set_index("organ")
    assert table.cases.tolist() == [12, 11, 12]
    assert table.loc["spleen", ["difference", "low", "high", "p"]].tolist() == [0.0, 0.0, 0.0, 1.0]
    one = compare_cases({"A": first[:1], "B": scores(2)[:1]})
    assert one.low.isna().all()
    assert one.holm.isna().all()


def test_other_cases_are_refused_or_left_out():
    with pytest.raises(InputError, match=r"B: lacks case case03, unlike A"):
        compare_cases({"A": scores(1), "B": scores(2).drop("case03")})
    with pytest.raises(InputError, match=r"B: has organ aorta, unlike A"):
        compare_cases({"A": scores(1), "B": scores(2).assign(aorta=1.0)})
    assert compare_cases({"A": scores(1), "B": scores(2).drop("case03")}, common=True).cases.max() == 11
    with pytest.raises(InputError, match="have no case and organ in common"):
        compare_cases({"A": scores(1), "B": scores(2).rename(index=str.upper)}, common=True)
    with pytest.raises(InputError, match="1 system given"):
        compare_cases({"A": scores(1)})


def as_file(table: pd.DataFrame, path, **columns):
    long = table.rename_axis("case").reset_index().melt("case", var_name="organ", value_name="dsc")
    long.assign(**columns).to_csv(path, index=False)
    return path


def test_seeds_are_averaged_and_protocols_chosen(tmp_path):
    parts = [
        pd.read_csv(as_file(scores(seed), tmp_path / "one.csv", selection=f"last step, seed {seed}", protocol=protocol))
        for seed in (1, 2)
        for protocol in ("paper", "strict")
    ]
    pd.concat(parts).to_csv(tmp_path / "both.csv", index=False)
    found = read_scores(tmp_path / "both.csv")
    pd.testing.assert_frame_equal(found, (scores(1) + scores(2)) / 2, check_names=False)
    with pytest.raises(InputError, match="holds no selection 'best'"):
        read_scores(tmp_path / "both.csv", selection="best")


def test_images_are_compared_like_one_organ(tmp_path):
    pd.DataFrame({"image": ["001", "002"], "dsc": [0.5, 0.75], "se": [1.0, 0.5]}).to_csv(
        tmp_path / "i.csv", index=False
    )
    assert read_scores(tmp_path / "i.csv", "se")["lesion"].to_dict() == {"001": 1.0, "002": 0.5}


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({}, {"column": "jaccard"}, "has no score 'jaccard'"),
        ({"selection": "last step"}, {"selection": "best"}, "holds no selection 'best'"),
        ({"protocol": "paper"}, {"protocol": "strict"}, "holds no protocol 'strict'"),
        ({}, {"protocol": "strict"}, "says no protocol"),
        ({}, {"selection": "last step"}, "holds one selection only"),
    ],
)
def test_wrong_choices_get_one_line(tmp_path, columns, options, message):
    with pytest.raises(InputError, match=message) as caught:
        read_scores(as_file(scores(1), tmp_path / "a.csv", **columns), **options)
    assert "\n" not in str(caught.value)


def test_files_that_are_none_get_one_line(tmp_path):
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(InputError, match=r"empty\.csv: cannot be read as CSV"):
        read_scores(tmp_path / "empty.csv")
    with pytest.raises(InputError, match=r"none\.csv: cannot be read as CSV"):
        read_scores(tmp_path / "none.csv")
    twice = pd.concat([pd.read_csv(as_file(scores(1), tmp_path / "a.csv"))] * 2)
    twice.to_csv(tmp_path / "twice.csv", index=False)
    with pytest.raises(InputError, match="has liver of case case00 twice"):
        read_scores(tmp_path / "twice.csv")


@pytest.mark.parametrize("column", ["case", "organ", "protocol", "in_label"])
def test_a_column_that_is_no_score_is_refused(tmp_path, refused, column):
    path = as_file(scores(1), tmp_path / "a.csv", protocol="paper", in_label=True)
    refused(f"has no score {column!r}", read_scores, path, column)


@pytest.mark.parametrize("cell", ["not measured", "0,85", "inf", "-inf", "1e999", "0.8 %"])
def test_a_score_that_is_no_finite_number_is_refused(tmp_path, refused, cell):
    path = as_file(scores(1), tmp_path / "a.csv")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], f'case11,spleen,"{cell}"']))
    refused([path, "column dsc", "no finite number"], read_scores, path)
    path.write_text("\n".join([*lines[:-1], "case11,spleen,"]))
    assert read_scores(path).isna().sum().sum() == 1


@pytest.mark.parametrize("name", ["case", "organ", "protocol", "selection"])
def test_a_row_without_a_name_is_refused(tmp_path, refused, name):
    table = pd.read_csv(as_file(scores(1), tmp_path / "a.csv", protocol="paper", selection="last step"))
    table.loc[3, name] = None
    table.to_csv(tmp_path / "a.csv", index=False)
    refused(f"has a row without {name}", read_scores, tmp_path / "a.csv")


def test_organs_that_are_numbers_are_names(tmp_path):
    named = scores(1).set_axis(["1", "02"], axis=1)
    assert list(read_scores(as_file(named, tmp_path / "a.csv")).columns) == ["1", "02"]
