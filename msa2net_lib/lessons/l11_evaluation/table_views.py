"""The paper's tables with the reproduced rows, as a page shows them: rounded text, and what is said of each."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import pandas as pd

from msa2net_lib.paper.reproduced.rows import COMPARABILITY

WIDTH = 118


def numbers_as_text(table: pd.DataFrame, digits: int, names: Mapping[str, str] | None = None) -> pd.DataFrame:
    """The numbers of a table as text of so many digits, or more where printed; what a row lacks is "not measured".

    table: as `paper.reproduced` builds them; an interval's two columns become one. names: other headings for columns.
    """
    shown = pd.DataFrame(index=table.index)
    for column in (name for name in table.columns if name not in COMPARABILITY):
        if column.endswith("_high"):
            continue
        if column.endswith("_low"):
            name = column.removesuffix("_low")
            values = [
                f"{low:.{digits}f} to {high:.{digits}f}" if low == low else ""
                for low, high in zip(table[column], table[f"{name}_high"], strict=True)
            ]
            column = f"{name}, 95 % interval"
        else:
            values = ["" if value != value else _digits(value, digits) for value in table[column]]
        shown[(names or {}).get(column, column)] = [
            value or ("–" if origin == "published" else "not measured")
            for value, origin in zip(values, table["origin"], strict=True)
        ]
    return shown


def _digits(value: float, digits: int) -> str:
    """At least so many digits, and more where a published number has more."""
    text = f"{value:.{digits}f}"
    return text if float(text) == value else str(value)


def said_of_reproduced(table: pd.DataFrame) -> str:
    """For each reproduced row: its comparability, data, selection and note, as wrapped lines."""
    lines = []
    for name, row in table.query("origin != 'published'").to_dict("index").items():
        lines += textwrap.wrap(f"{name}: {row['comparability']}", WIDTH)
        words = "; ".join(str(row[key]) for key in ("data", "selection", "note") if row[key])
        lines += textwrap.wrap(words, WIDTH, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)
