"""Arithmetic on the published tables: slips of the keyboard would break it."""

from __future__ import annotations

import pytest

from msa2net_lib.data.labels import ORGANS
from msa2net_lib.paper.tables import TABLE_1_ORGANS, table_1, table_2, table_3, table_a


def test_table_1_columns_are_the_eight_organs():
    assert sorted(TABLE_1_ORGANS) == sorted(ORGANS)
    assert tuple(table_1().columns[2:10]) == TABLE_1_ORGANS


PRINTED_OTHERWISE = {"HiFormer-B": -0.06, "DAE-Former": 0.0125}
"""Rows whose printed mean is further from the mean of their organs than rounding explains."""


@pytest.mark.parametrize("method", list(table_1().index))
def test_table_1_mean_dsc_is_the_mean_of_its_organs(method):
    """Rounding to two decimals moves the difference by 0.01 at most; two printed rows are further off."""
    row = table_1().loc[method]
    difference = row[list(TABLE_1_ORGANS)].mean() - row["dsc"]
    if method in PRINTED_OTHERWISE:
        assert difference == pytest.approx(PRINTED_OTHERWISE[method], abs=1e-6)
    else:
        assert abs(difference) <= 0.01


def test_mean_of_the_papers_own_row():
    assert table_1().loc["MSA²Net", list(TABLE_1_ORGANS)].mean() == pytest.approx(84.746, abs=5e-4)


@pytest.mark.parametrize(
    ("other", "column", "margin"),
    [("HiFormer-B", "dsc", 4.36), ("HiFormer-B", "hd95", -1.41), ("2D D-LKA Net", "dsc", 0.48),
     ("2D D-LKA Net", "pancreas", 1.59), ("DAE-Former", "dsc", 2.12)],
)  # fmt: skip
def test_margins_that_follow_from_table_1(other, column, margin):
    table = table_1()
    assert table.loc["MSA²Net", column] - table.loc[other, column] == pytest.approx(margin, abs=1e-6)


def test_margin_that_follows_from_table_2():
    table = table_2()
    others = table.drop(index="MSA²Net").dsc.max()
    assert table.loc["MSA²Net", "dsc"] - others == pytest.approx(0.0124, abs=1e-6)


def test_table_3_ends_where_table_1_does():
    last = table_3().iloc[-1]
    assert (last.dsc, last.hd95) == (table_1().loc["MSA²Net", "dsc"], table_1().loc["MSA²Net", "hd95"])


def test_table_a_adds_up():
    table = table_a()
    assert table.drop(index=("Total", "")).sum() == pytest.approx(table["Total", ""], abs=1e-6)
