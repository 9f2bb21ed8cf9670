"""On the page: a discrepancy as a card, and sliders over the audit of Table 2."""

from __future__ import annotations

from html import escape
from typing import Any

import pandas as pd
from IPython.display import HTML

from msa2net_lib.lessons.l16_paper_audit.plots import plot_isic_audit
from msa2net_lib.paper.consistency import implied_specificity
from msa2net_lib.paper.discrepancies import (
    ABOUT,
    COMMIT,
    DISCREPANCIES,
    IMPORTANCE,
    REPOSITORY,
    Discrepancy,
    effect_of,
)
from msa2net_lib.paper.discrepancies.evidence import Evidence
from msa2net_lib.paper.tables import OWN, table_2
from msa2net_lib.utils.system_info import lacking
from msa2net_lib.viz.explorer import explorer, not_shown


def card(one: Discrepancy, evidence: Evidence, effects: pd.DataFrame | None = None, *, folded: bool = False) -> HTML:
    """Draw a discrepancy with the evidence that was just found: a heading, six lines and the table behind it.

    effects: measured effects by variant, see `discrepancy_table`. folded: only the heading and what was found, until
    the reader opens it. Source lines name the file, in `REPOSITORY` at `COMMIT`.
    """
    lines = {
        "the paper": one.paper_and_place,
        "the code": one.code_and_file or "not a matter of code",
        f"shown just now ({one.kind})": evidence.says if evidence.differs else f"NO DIFFERENCE SEEN: {evidence.says}",
        "variant": one.variant,
        "effect on the score": effect_of(one, effects),
        "for a builder": one.advice,
    }
    rows = "".join(
        f"<tr><td style='text-align:left; white-space:nowrap'><b>{escape(name)}</b></td>"
        f"<td style='text-align:left'>{escape(text)}</td></tr>"
        for name, text in lines.items()
    )
    table = evidence.table.to_html(float_format=_short, border=0, na_rep="")
    kind = f"{ABOUT[one.about]}, {IMPORTANCE[one.importance]}"
    if folded:
        found = lines[f"shown just now ({one.kind})"]
        head = f"<b>{escape(one.title)}</b> <small>({escape(kind)})</small>: {escape(found)}"
        return HTML(f"<details><summary>{head}</summary><table>{rows}</table>{table}</details>")
    return HTML(f"<h4>{escape(one.title)}</h4><p><small>{escape(kind)}</small></p><table>{rows}</table>{table}")


def overview() -> HTML:
    """All discrepancies on one table: a column for each class, a row for each importance, titles in their cells."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(words)}</th>"
        + "".join(f"<td style='text-align:left; vertical-align:top'>{_titles(about, grade)}</td>" for about in ABOUT)
        + "</tr>"
        for grade, words in IMPORTANCE.items()
    )
    heads = "".join(f"<th style='text-align:left'>{escape(words)}</th>" for words in ABOUT.values())
    return HTML(f"<table><tr><th></th>{heads}</tr>{rows}</table>")


def _titles(about: str, importance: int) -> str:
    ones = [escape(one.title) for one in DISCREPANCIES if (one.about, one.importance) == (about, importance)]
    return "<br>".join(f"{number}. {title}" for number, title in enumerate(ones, start=1))


def source_line() -> str:
    """Where the code's file names of all cards are to be looked up."""
    return f"code: {REPOSITORY}, commit {COMMIT}"


def isic_audit_widget() -> Any:
    """Three sliders over `plot_isic_audit`, starting at the paper's own row; returns an ipywidgets box.

    The start prevalence is the one that the row's DSC, SE and ACC imply.
    """
    if lacks := lacking("ipywidgets"):
        return not_shown(lacks)
    import ipywidgets

    own = table_2().loc[OWN]
    _, prevalence = implied_specificity(own.dsc, own.se, own.acc)
    start = {"prevalence": (prevalence, 0.01, 0.99), "se": (own.se, 0.5, 1.0), "sp": (own.sp, 0.5, 1.0)}
    sliders = {
        name: ipywidgets.FloatSlider(
            round(value, 4), min=low, max=high, step=0.0001, description=name.upper() if name in own else name,
            readout_format=".4f",
        )
        for name, (value, low, high) in start.items()
    }  # fmt: skip
    return explorer(lambda **values: plot_isic_audit(**values), **sliders)


def _short(value: float) -> str:
    return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.0f}"
