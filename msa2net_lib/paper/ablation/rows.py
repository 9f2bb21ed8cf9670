"""The six rows of Table 3 by name: which parts are in. Loads no torch, so that plans of batch runs are made at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from msa2net_lib.errors import InputError
from msa2net_lib.paper.tables import table_3

PARTS = {"masag": "MASAG", "lka": "LKA", "dae_former": "DAE-Former"}
"""Table 3's columns and what they are called."""


@dataclass(frozen=True)
class AblationRow:
    """One row of Table 3: which parts are in."""

    masag: bool
    lka: bool
    dae_former: bool

    @property
    def name(self) -> str:
        """The parts that are in, "MASAG + LKA"."""
        return " + ".join(self._parts(PARTS.values()))

    @property
    def key(self) -> str:
        """The same for file names and command lines, "masag_lka"."""
        return "_".join(self._parts(("masag", "lka", "dae")))

    def _parts(self, names: Any) -> list[str]:
        return [name for name, there in zip(names, (self.masag, self.lka, self.dae_former), strict=True) if there]


ROWS: tuple[AblationRow, ...] = tuple(
    AblationRow(*(bool(there) for there in parts)) for parts in table_3()[list(PARTS)].to_numpy()
)
"""The six rows in the table's order."""
FULL = ROWS[-1].name
"""The whole network's row."""


def published_rows() -> pd.DataFrame:
    """Table 3 as printed, index row: masag, lka, dae_former, dsc (percent), hd95 (no unit is printed)."""
    return table_3().set_axis(pd.Index([row.name for row in ROWS], name="row"))


def find_row(name: str) -> AblationRow:
    """Look a row up by its name or key. Raises: `InputError` with the keys."""
    for row in ROWS:
        if name in (row.name, row.key):
            return row
    raise InputError(f"row {name!r} is not in Table 3: use one of {', '.join(row.key for row in ROWS)}")
