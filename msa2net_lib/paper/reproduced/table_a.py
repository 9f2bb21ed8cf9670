"""Table A with the reproduced counts below it: exact, on the networks as built, with what of them never runs."""

from __future__ import annotations

from functools import cache
from typing import Any

import pandas as pd

from msa2net_lib.analysis.complexity import build_empty, used_and_unused
from msa2net_lib.config import NetworkConfig
from msa2net_lib.paper.comparability import judge_count
from msa2net_lib.paper.reproduced.rows import COMPARABILITY, MEASURED, PUBLISHED, as_table
from msa2net_lib.paper.tables import table_a_rows

TABLE_A_COLUMNS = ("parameters_m", "unused_m", *COMPARABILITY)
OTHER_FORMS = ("tiny", "paper", "released")
"""Presets that Table A is not about; `published` is the network it counts."""
_PLACES = {
    "Encoder: MaxViT-B": "maxvit_rmlp_small_rw_224, with its last norm, without its head",
    "Skip Connection: MASAG": "four gates where three are described; the fourth never runs",
    "Decoder: LKA": "levels 0 and 1 without their gates, and the head",
    "Decoder: DAE-Former": "levels 2 and 3 without their gates; of level 3 only the expansion runs",
    "Total": "all of it, with the encoder's unused 1 -> 3 convolution and its norm",
}
"""Rows of Table A as "structure: module", and what is counted for them."""


@cache
def count_parts(preset: str) -> pd.DataFrame:
    """Parameters in M by row of Table A: ``parameters_m``, and of those ``unused_m`` without any gradient."""
    counts = used_and_unused(build_empty(NetworkConfig.from_preset(preset)))
    rows = [_row_of(str(part)) for part in counts.index]
    grouped: Any = counts.groupby(rows).sum()
    grouped.loc["Total"] = counts.sum()
    millions = grouped.reindex(_PLACES).fillna(0) / 1e6
    return pd.DataFrame({"parameters_m": millions.live + millions.unused, "unused_m": millions.unused})


def reproduced_table_a() -> pd.DataFrame:
    """Table A and below it what is counted, on the network it is about last; index ``row``, `TABLE_A_COLUMNS`."""
    printed = table_a_rows().parameters_m.to_dict()
    rows: list[dict[str, Any]] = [
        {"row": name, "parameters_m": m, "origin": PUBLISHED, "data": "none: counted"} for name, m in printed.items()
    ]
    rows += [_other_form(preset) for preset in OTHER_FORMS]
    for name, count in count_parts("published").to_dict("index").items():
        compared = judge_count(count["parameters_m"], printed[str(name)])
        rows.append(_counted(f"published, {name}", count, compared.phrase, _PLACES[str(name)]))
    return as_table(rows, TABLE_A_COLUMNS)


def _other_form(preset: str) -> dict[str, Any]:
    parts = count_parts(preset).to_dict("index")
    shares = ", ".join(f"{str(name).split(': ')[-1]} {part['parameters_m']:.2f}" for name, part in parts.items())
    note = f"{shares} M; the names are Table A's, whatever blocks stand there"
    return _counted(f"{preset}, Total", parts["Total"], "not comparable: another form of the network", note)


def _counted(row: str, count: dict[Any, float], comparability: str, note: str) -> dict[str, Any]:
    numbers: dict[str, Any] = {str(name): round(float(m), 6) for name, m in count.items()}
    said = {"origin": MEASURED, "data": "none: counted", "comparability": comparability, "note": note}
    return {"row": f"reproduced: {row}", **numbers, **said}


def _row_of(part: str) -> str:
    """Row of Table A for a part as `analysis.complexity.network_parts` names it."""
    kind, _, level = part.rpartition(" ")
    if part == "gray stem":
        return "beside"  # counted in the total only
    if part == "head":
        return "Decoder: LKA"
    if part == "stem" or kind.startswith("encoder"):
        return "Encoder: MaxViT-B"
    if kind == "gate":
        return "Skip Connection: MASAG"
    return "Decoder: LKA" if level in "01" else "Decoder: DAE-Former"
