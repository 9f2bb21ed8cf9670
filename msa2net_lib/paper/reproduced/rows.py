"""What the tables with reproduced rows share: where a row is from, and how rows are put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from msa2net_lib.data.catalog import DATASETS
from msa2net_lib.paper.tables import OWN

PUBLISHED, MEASURED, NOT_MEASURED = "published", "measured", "not measured"
COMPARABILITY = ("origin", "data", "selection", "comparability", "note")
"""Last columns of every table: published, measured or not measured; on which data; chosen how; comparable or not."""


def published_rows(table: pd.DataFrame, others: dict[str, str], own: dict[str, str]) -> list[dict[str, Any]]:
    """The rows of a table of the paper; others, own: what is said of the competitors' rows and of the paper's own."""
    return [
        {"row": name, **values, "origin": PUBLISHED, **(own if name == OWN else others)}
        for name, values in table.to_dict("index").items()
    ]


def missing_row(name: str, data: str, note: str, **numbers: float) -> dict[str, Any]:
    """A row that would be comparable and was not measured, with what is known of it all the same."""
    said = {"data": data_in_words(data), "comparability": NOT_MEASURED, "note": note}
    return {"row": f"reproduced: {name}", **numbers, "origin": NOT_MEASURED, **said}


def data_in_words(name: str) -> str:
    """A data set as the catalog calls it in short; one that it does not know as it is named."""
    return DATASETS[name].short if name in DATASETS else name


def as_table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """Put rows together; those of one name get a number. Missing numbers are nan, missing words empty."""
    table = pd.DataFrame(rows).reindex(columns=["row", *columns])
    again = table.groupby("row").cumcount()
    table["row"] = [name if not n else f"{name} ({n + 1})" for name, n in zip(table["row"], again, strict=True)]
    words = list(COMPARABILITY)
    table[words] = table[words].astype(object).fillna("")
    return table.set_index("row")
