"""Tables on the page: digits as printed, intervals in one cell, and nothing missing without a word."""

from __future__ import annotations

import math

import pandas as pd

from msa2net_lib.lessons.l11_evaluation.table_views import numbers_as_text, said_of_reproduced
from msa2net_lib.paper.reproduced.table_1 import reproduced_table_1


def table():
    rows = {
        "theirs": (8.045, 80.0, math.nan, math.nan, "published", "their data", "not said", "", "as printed"),
        "reproduced": (
            0.28,
            87.1,
            85.0,
            89.0,
            "measured",
            "our data",
            "last step",
            "not comparable: x",
            "1 seed",
        ),
        "missing": (math.nan, math.nan, math.nan, math.nan, "not measured", "", "", "not measured", "why " * 60),
    }
    columns = ["flops_g", "dsc", "dsc_low", "dsc_high", "origin", "data", "selection", "comparability", "note"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def test_cells_are_as_printed_or_say_that_they_are_missing():
    shown = numbers_as_text(table(), 2, {"dsc": "DSC"})
    assert list(shown.columns) == ["flops_g", "DSC", "dsc, 95 % interval"]
    assert list(shown.loc["theirs"]) == ["8.045", "80.00", "–"]
    assert list(shown.loc["reproduced"]) == ["0.28", "87.10", "85.00 to 89.00"]
    assert set(shown.loc["missing"]) == {"not measured"}


def test_every_reproduced_row_is_explained_in_short_lines():
    lines = said_of_reproduced(table()).splitlines()
    assert lines[:2] == ["reproduced: not comparable: x", "    our data; last step; 1 seed"]
    assert lines[2] == "missing: not measured"
    assert max(map(len, lines)) <= 118
    assert "theirs" not in "\n".join(lines)


def test_the_real_table_shows_hiformer_s_three_digits():
    assert numbers_as_text(reproduced_table_1(), 2).loc["HiFormer-B", "flops_g"] == "8.045"
