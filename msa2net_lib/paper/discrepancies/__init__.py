"""The ledger: every difference between the paper, the released code and expectation, each with live evidence."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from msa2net_lib.errors import InputError
from msa2net_lib.paper.discrepancies import data, modules, network, scoring, training
from msa2net_lib.paper.discrepancies.entry import COMMIT, NOT_MEASURED, REPOSITORY, Entry, Evidence

__all__ = ["COMMIT", "DISCREPANCIES", "NOT_MEASURED", "REPOSITORY", "Entry", "Evidence", "discrepancy_table", "entry"]

DISCREPANCIES: tuple[Entry, ...] = (
    *network.ENTRIES,
    *modules.ENTRIES,
    *training.ENTRIES,
    *data.ENTRIES,
    *scoring.ENTRIES,
)


def entry(key: str) -> Entry:
    """Look an entry up. Raises: `InputError` for an unknown key."""
    for one in DISCREPANCIES:
        if one.key == key:
            return one
    raise InputError(f"ledger entry {key!r} is unknown: there are {', '.join(one.key for one in DISCREPANCIES)}")


def discrepancy_table(effects: pd.DataFrame | None = None, entries: Sequence[Entry] = DISCREPANCIES) -> pd.DataFrame:
    """The ledger without its evidence: one row per entry, index key.

    effects: measured effects by variant, as `evaluation.intervals.summarize` returns them; the entries that
    a training run can measure then show theirs.
    """
    rows = {
        one.key: {
            "part": one.part,
            "difference": one.title,
            "the paper": f"{one.paper} ({one.place})" if one.place else one.paper,
            "the code": f"{one.code} ({one.file})" if one.file else one.code,
            "switch": one.switch,
            "effect on the score": effect_of(one, effects),
            "for a builder": one.advice,
        }
        for one in entries
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("key")


def effect_of(one: Entry, effects: pd.DataFrame | None) -> str:
    """Measured effect of an entry in words: difference of the mean DSC and its standard deviation over seeds."""
    if not one.variant or effects is None or one.variant not in effects.index:
        return one.effect
    row = effects.loc[one.variant]
    interval = f"95 % interval {row.low:+.3f} to {row.high:+.3f}, {row.seeds:.0f} seeds"
    return f"{row.difference:+.4f} DSC ({interval}), small virtual run"
