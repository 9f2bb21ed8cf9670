"""Figures of the paper audit: Table 2 against the arithmetic of pooled counts, and claims against tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from msa2net_lib.errors import InputError
from msa2net_lib.paper.claims import Claim
from msa2net_lib.paper.consistency import consistency_table, implied_specificity, pooled_accuracy, pooled_dsc
from msa2net_lib.paper.tables import OWN, table_2
from msa2net_lib.viz.plots import figure_grid, stamp

BLUE, ORANGE = "#0072B2", "#D55E00"
AUDIT_SOURCE = "published numbers of Table 2; no measurement"
CLAIMS_SOURCE = "the paper's statements against its own tables; no measurement"
_POINT: dict[str, Any] = {"linestyle": "none", "markeredgecolor": "white", "markersize": 8, "zorder": 4}
DISC: dict[str, Any] = _POINT | {"marker": "o", "color": BLUE}
CROSS: dict[str, Any] = _POINT | {"marker": "X", "color": ORANGE}
DIAMOND: dict[str, Any] = _POINT | {"marker": "D", "color": "black", "zorder": 6}
AT_THE_EDGE: dict[str, Any] = DIAMOND | {"markerfacecolor": "white", "markeredgecolor": "black"}
STAR: dict[str, Any] = _POINT | {"marker": "*", "color": ORANGE, "markeredgecolor": "black", "markersize": 15}
HOLLOW_STAR: dict[str, Any] = STAR | {"markerfacecolor": "none"}
LARGE_HOLLOW_STAR: dict[str, Any] = HOLLOW_STAR | {"markersize": 22}
TICK: dict[str, Any] = {"linestyle": "none", "marker": "|", "color": "black", "markeredgewidth": 1.8, "markersize": 14}
CURVE: dict[str, Any] = {"color": "0.45", "linewidth": 1.5, "zorder": 1}

_LABELS = {
    "U-Net": (-6, -2, "right"), "AttU-Net": (6, -6, "left"), "TransUNet": (6, 0, "left"), "FAT-Net": (-6, 0, "right"),
    "Swin-UNet": (-6, 2, "right"), "UCTransNet": (-6, 0, "right"), "DermoSegDiff": (7, -5, "left"),
    OWN: (0, 12, "center"),
}  # fmt: skip
"""Where a row's name stands beside its point in the DSC-ACC plane: points to the right and up, alignment."""


def plot_isic_audit(prevalence: float, se: float, sp: float) -> Figure:
    """Draw the ACC and DSC that a prevalence, SE and SP give, beside the rows of Table 2.

    Left: one bar from SE to SP for the choice and for each row. ACC is their weighted mean and must lie on it,
    at SP without lesion pixels, at SE with nothing else; a tick marks where DSC says it lies, and the two
    columns give the prevalence that ACC and DSC imply. Right: the same points as DSC and ACC, and the chosen
    SE and SP at every prevalence as a curve; a choice beyond that window waits at its edge. The hollow star
    is the paper's own row with SP replaced by the one that its DSC, SE and ACC imply.

    prevalence, se, sp: shares of one. Raises: InputError for a value outside 0..1. Source: Table 2.
    """
    dsc, acc = pooled_dsc(prevalence, se, sp), pooled_accuracy(prevalence, se, sp)
    printed = table_2()
    own = printed.loc[OWN]
    corrected = own.to_frame().T.assign(sp=implied_specificity(own.dsc, own.se, own.acc)[0])
    corrected.index = pd.Index([f"{OWN}, SP {_short(corrected.sp.iloc[0])}"])
    rows = consistency_table(pd.concat([printed.loc[[OWN]], corrected, printed.drop(index=OWN)]))

    figure, axes = figure_grid(1, 2, width=5.2, height=3.6)
    left, right = axes[0]
    left.set_title("pooled over pixels, ACC lies on the bar between SE and SP", fontsize=8, loc="left")
    _draw_bars(left, rows, _Choice(prevalence, se, sp, dsc, acc))
    choice = f"chosen: prevalence {_short(prevalence)}, SE {_short(se)}, SP {_short(sp)}"
    right.set_title(f"{choice}\ngives DSC {_short(dsc)}, ACC {_short(acc)}", fontsize=8, loc="left")
    _draw_plane(right, rows, _Choice(prevalence, se, sp, dsc, acc))
    figure.legend(handles=_legend(), loc="outside lower center", ncols=3, fontsize=7.5, frameon=False)
    return stamp(figure, AUDIT_SOURCE)


class _Choice(NamedTuple):
    prevalence: float
    se: float
    sp: float
    dsc: float
    acc: float


def _draw_bars(ax: Axes, rows: pd.DataFrame, choice: _Choice) -> None:
    """One row per method: the bar from SE to SP, the tick from DSC, the printed ACC, both prevalences."""
    ax.plot([choice.se, choice.sp], [0, 0], color="0.45", linewidth=5, solid_capstyle="butt", zorder=1)
    ax.plot(choice.acc, 0, **DIAMOND)
    for value, other, score in ((choice.se, choice.sp, " SE "), (choice.sp, choice.se, " SP ")):
        ax.text(value, 0, score, fontsize=7.5, va="center", ha="right" if value < other else "left")
    ax.text(1.03, 0, _short(choice.prevalence), transform=ax.get_yaxis_transform(), fontsize=7.5, va="center")
    for y, (name, row) in enumerate(rows.iterrows(), start=1):
        ax.plot([row.se, row.sp], [y, y], color="0.8", linewidth=5, solid_capstyle="butt", zorder=1)
        ax.plot(row.acc_from_dsc, y, **TICK)
        ax.plot(row.acc, y, **_marker(str(name), bool(row.closes)))
        for x, value in ((1.03, row.prevalence_from_acc), (1.17, row.prevalence_from_dsc)):
            ax.text(x, y, _short(value), transform=ax.get_yaxis_transform(), fontsize=7.5, va="center",
                    weight="normal" if row.closes else "bold")  # fmt: skip
    for x, score in ((1.03, "ACC"), (1.17, "DSC")):
        ax.text(x, -0.75, score, transform=ax.get_yaxis_transform(), fontsize=7.5, va="center", color="0.35")
    ax.text(1.03, -1.35, "prevalence from", transform=ax.get_yaxis_transform(), fontsize=7.5, va="center", color="0.35")
    ax.set_yticks(range(len(rows) + 1), ["chosen", *map(str, rows.index)])
    ax.margins(x=0.08)
    ax.set(ylim=(len(rows) + 0.6, -0.6), xlabel="ACC, on the bar from SE to SP")
    _style(ax)
    for label in ax.get_yticklabels()[:2]:
        label.set_fontweight("bold")


def _draw_plane(ax: Axes, rows: pd.DataFrame, choice: _Choice) -> None:
    """DSC and ACC of the rows and of the choice, and the curve that the chosen SE and SP trace."""
    for name, row in rows.iterrows():
        if name not in _LABELS:  # The corrected row has the same DSC and ACC: a larger outline around it.
            ax.plot(row.dsc, row.acc, **LARGE_HOLLOW_STAR)
            continue
        ax.plot(row.dsc, row.acc, **_marker(str(name), bool(row.closes)))
        right, up, side = _LABELS[str(name)]
        ax.annotate(
            str(name), (row.dsc, row.acc), (right, up), textcoords="offset points", ha=side, color="0.15", zorder=4,
            fontsize=8 if name == OWN else 7.5, weight="bold" if name == OWN else "normal",
        )  # fmt: skip
    xlim, ylim = _padded(rows.dsc), _padded(rows.acc)
    x, y = np.clip(choice.dsc, *xlim), np.clip(choice.acc, *ylim)
    inside = (x, y) == (choice.dsc, choice.acc)
    ax.plot(x, y, clip_on=False, **(DIAMOND if inside else AT_THE_EDGE))
    everywhere = np.linspace(0, 1, 401)
    curve = pooled_dsc(everywhere, choice.se, choice.sp), pooled_accuracy(everywhere, choice.se, choice.sp)
    ax.plot(*curve, **CURVE)
    ax.set(xlim=xlim, ylim=ylim, xlabel="DSC", ylabel="ACC")
    _style(ax)


def plot_claims(claims: Sequence[Claim]) -> Figure:
    """Draw printed against recomputed, one row per claim with a printed number.

    The axis counts in what rounding of the printed digits explains: inside the band (-1 to 1) a claim holds,
    a disc; outside it does not, a cross. Beyond the band the axis is logarithmic. Both numbers stand at the
    right. Raises: InputError without a claim that has a printed number. Source: the claims.
    """
    numeric: list[Any] = [claim for claim in claims if claim.printed is not None and claim.recomputed is not None]
    if not numeric:
        raise InputError("claims: none has a printed number; pass claims() or some of its numeric claims")
    figure, axes = figure_grid(1, 1, width=8.6, height=0.26 * len(numeric) + 1.0)
    ax = axes[0, 0]
    ax.axvspan(-1, 1, color="0.9", zorder=0)
    ax.axvline(0, color="0.6", linewidth=0.8, zorder=1)
    distances = [(claim.recomputed - claim.printed) / claim.rounding for claim in numeric]
    for y, (claim, x) in enumerate(zip(numeric, distances, strict=True)):
        style = DISC if claim.holds else CROSS
        ax.plot([0, x], [y, y], color=style["color"], linewidth=1.2, zorder=2)
        ax.plot(x, y, **style)
        ax.text(1.02, y, f"{claim.printed:g} → {round(claim.recomputed, 3):g} {claim.unit}", fontsize=7.5, va="center",
                transform=ax.get_yaxis_transform(), weight="normal" if claim.holds else "bold")  # fmt: skip
    ax.text(1.02, -0.9, "printed → recomputed", transform=ax.get_yaxis_transform(), fontsize=7.5, color="0.35")
    ax.set_yticks(range(len(numeric)), [f"{claim.says} ({claim.place})" for claim in numeric])
    ax.set_ylim(len(numeric) - 0.4, -0.6)
    ax.set_xscale("symlog", linthresh=1)
    ax.set_xlim(3 * min(-3.0, *distances), 3 * max(3.0, *distances))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_xlabel("recomputed minus printed, in multiples of what rounding explains (band: holds)")
    _style(ax)
    handles = [Line2D([], [], label="holds", **DISC), Line2D([], [], label="does not hold", **CROSS)]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=7.5, frameon=False)
    return stamp(figure, CLAIMS_SOURCE)


def _marker(name: str, closes: bool) -> dict[str, Any]:
    """How a row of Table 2 is drawn: stars for the paper's own, disc or cross for the others."""
    if name.startswith(OWN):
        return HOLLOW_STAR if closes else STAR
    return DISC if closes else CROSS


def _short(value: float) -> str:
    return ("−" if value < 0 else "") + f"{abs(value):.4f}".removeprefix("0")


def _padded(values: pd.Series, share: float = 0.25) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return low - share * (high - low), high + share * (high - low)


def _style(ax: Axes) -> None:
    ax.tick_params(labelsize=7.5)
    ax.xaxis.label.set_fontsize(8)
    ax.yaxis.label.set_fontsize(8)
    ax.grid(color="0.92", linewidth=0.6)
    ax.set_axisbelow(True)


def _legend() -> list[Line2D]:
    named = {
        "printed ACC, row closes": DISC,
        "printed ACC, row does not close": CROSS,
        "ACC that DSC, SE and SP imply": TICK,
        f"{OWN} as printed, does not close": STAR,
        f"{OWN} with the SP its DSC, SE, ACC imply": HOLLOW_STAR | {"markersize": 12},
        "chosen": DIAMOND,
        "chosen, beyond the right panel's edge": AT_THE_EDGE,
        "chosen SE and SP, any prevalence": CURVE,
    }
    return [Line2D([], [], label=label, **style) for label, style in named.items()]
