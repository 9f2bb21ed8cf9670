"""An entry of the ledger as a card on the page: what each side says, what was found just now, what to do."""

from __future__ import annotations

from html import escape

import pandas as pd
from IPython.display import HTML

from msa2net_lib.paper.discrepancies import COMMIT, REPOSITORY, Entry, Evidence, effect_of


def card(one: Entry, evidence: Evidence, effects: pd.DataFrame | None = None) -> HTML:
    """Draw an entry with the evidence that was just found: a heading, six lines and the table behind it.

    effects: measured effects by variant, see `discrepancy_table`. Source lines name the file; the repository and
    commit are the ledger's.
    """
    code = f"{one.code} ({one.file})" if one.file else one.code or "not a matter of code"
    lines = {
        "the paper": f"{one.paper} ({one.place})" if one.place else one.paper,
        "the code": code,
        f"shown just now ({one.kind})": evidence.says if evidence.differs else f"NO DIFFERENCE SEEN: {evidence.says}",
        "switch": one.switch,
        "effect on the score": effect_of(one, effects),
        "for a builder": one.advice,
    }
    rows = "".join(
        f"<tr><td style='text-align:left; white-space:nowrap'><b>{escape(name)}</b></td>"
        f"<td style='text-align:left'>{escape(text)}</td></tr>"
        for name, text in lines.items()
    )
    table = evidence.table.to_html(float_format=_short, border=0, na_rep="")
    return HTML(f"<h4>{escape(one.title)}</h4><table>{rows}</table>{table}")


def source_line() -> str:
    """Where the code's file names of all cards are to be looked up."""
    return f"code: {REPOSITORY}, commit {COMMIT}"


def _short(value: float) -> str:
    return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.0f}"
