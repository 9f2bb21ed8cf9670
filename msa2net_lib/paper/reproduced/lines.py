"""Lines of `side_by_side` as a page shows them, and read back from a file; loads nothing that computes."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pandas as pd

from msa2net_lib.paper.tables import OWN

COLUMNS = (
    "network", "published_dsc", "dsc", "dsc_sd", "seeds", "difference", "low", "high", "published_hd95", "hd95",
    "printed_m", "counted_m", "printed_g", "counted_g", "counts", "data", "note",
)  # fmt: skip
"""DSC in percent, HD95 in voxels, parameters in M, multiply-adds in G. difference: DSC minus MSA²Net's, in points."""
WORDS = ("network", "counts", "data", "note")
_NUMBERS = tuple(name for name in COLUMNS if name not in WORDS)


def read_lines(path: str | Path) -> pd.DataFrame:
    """Read what `side_by_side` gave back from its CSV file. Raises: `ValueError` or `KeyError` for another file."""
    table: Any = pd.read_csv(path, index_col="row", keep_default_na=False, na_values=dict.fromkeys(_NUMBERS, ""))
    return table[list(COLUMNS)].astype(dict.fromkeys(_NUMBERS, float))


def in_words(table: pd.DataFrame) -> pd.DataFrame:
    """The lines of `side_by_side` as text in eight columns, narrow enough for a page."""
    lines: Any = table.to_dict("index")
    with_hd95, with_counts = (bool(table[name].notna().any()) for name in ("published_hd95", "printed_m"))
    rows = {}
    for name, row in lines.items():
        measured = row["dsc"] == row["dsc"]
        spread = f" ± {row['dsc_sd']:.2f}" if row["dsc_sd"] == row["dsc_sd"] else ""
        seeds = f" ({row['seeds']:.0f} seed{'s' * (row['seeds'] > 1)})" if measured else ""
        shown = {
            "DSC published (%)": f"{row['published_dsc']:.2f}",
            "DSC reproduced (%)": f"{row['dsc']:.2f}{spread}{seeds}" if measured else "not measured",
            f"minus {OWN}, 95 % interval": _difference(row, str(name)),
        }
        if with_hd95:
            shown["HD95 published"] = f"{row['published_hd95']:.2f}"
            shown["HD95 reproduced (voxels)"] = f"{row['hd95']:.2f}" if row["hd95"] == row["hd95"] else "not measured"
        for what, key in (("parameters, {} (M)", "m"), ("multiply-adds, {} (G)", "g")):
            counted = f"{row[f'counted_{key}']:.2f}"
            both = f"{row[f'printed_{key}']:g} · {counted}"
            shown[what.format("printed · counted" if with_counts else "counted")] = both if with_counts else counted
        shown["data, or why not"] = "; ".join(filter(None, (row["data"], row["note"], row["counts"])))
        rows[name] = shown
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("row")


def _difference(row: dict[Any, Any], name: str) -> str:
    if row["difference"] == row["difference"]:
        return f"{row['difference']:+.2f}: {row['low']:+.2f} to {row['high']:+.2f}"
    return "–" if name == OWN else "not measured"


def said_of(lines: pd.DataFrame, width: int = 118) -> str:
    """The last column of `in_words` as wrapped text, rows of which the same is said together."""
    said: dict[str, list[str]] = {}
    for name, words in lines.iloc[:, -1].items():
        said.setdefault(str(words), []).append(str(name))
    paragraphs = (f"{', '.join(names)}: {words}" for words, names in said.items())
    return "\n".join(textwrap.fill(text, width, subsequent_indent="    ") for text in paragraphs)
