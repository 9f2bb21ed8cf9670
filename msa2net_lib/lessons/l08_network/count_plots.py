"""Figures of what a network costs: parameters live and unused, and where the multiply-adds go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from msa2net_lib.errors import InputError
from msa2net_lib.viz.plots import figure_grid, stamp

LIVE, UNUSED, WORK = "#0072B2", "#D55E00", "#009E73"
COUNTED = "counted on the networks as built; no data"
_REST = ("linear", "norm", "expansion")


def rows_of(counts: pd.DataFrame) -> pd.DataFrame:
    """Sum parts (index as in `analysis.complexity.network_parts`) to the rows of the figures.

    The encoder's five parts stay as they are; a decoder level becomes its gate, its blocks and the rest; the head,
    873 parameters in `published`, is added to level 0's rest. A part that a network lacks leaves its row at zero.
    """
    rows = pd.Series([_row(str(part)) for part in counts.index], index=counts.index)
    return pd.DataFrame({column: [counts[column][rows == row].sum() for row in ROWS] for column in counts}, index=ROWS)


ROWS = (
    *("gray stem", "encoder stem"),
    *(f"encoder stage {i}" for i in range(1, 5)),
    *(f"level {i}: {kind}" for i in (3, 2, 1, 0) for kind in ("gate", "blocks", "rest")),
)


def _row(part: str) -> str:
    if part == "stem":
        return "encoder stem"
    if part == "head":
        return "level 0: rest"
    name, _, level = part.partition(" ")
    if name in (*_REST, "gate", "blocks"):
        return f"level {level}: {'rest' if name in _REST else name}"
    return part


def plot_used_and_unused(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """One panel per network: parameters by part in M, those a gradient reaches solid, those none reaches hatched.

    tables: name -> `analysis.complexity.used_and_unused` of it. Each panel has its own scale.
    Raises: `InputError` if there is no table.
    """
    if not tables:
        raise InputError("no network to draw: give at least one table of live and unused parameters")
    columns = min(2, len(tables))
    figure, axes = figure_grid(-(-len(tables) // columns), columns, width=5.0, height=3.5)
    for ax in axes.flat[len(tables) :]:
        ax.set_axis_off()
    for ax, (name, table) in zip(axes.flat, tables.items(), strict=False):
        rows = rows_of(table) / 1e6
        ax.barh(ROWS, rows.live, color=LIVE)
        hatched = {"color": "white", "edgecolor": UNUSED, "hatch": "//////"}
        ax.barh(ROWS, rows.unused, left=rows.live, linewidth=list((rows.unused > 0).astype(float)), **hatched)
        _label(ax, list(rows.live), list(rows.unused))
        unused = f"{rows.unused.sum():.2f} M of them unused" if rows.unused.any() else "none unused"
        ax.set_title(f"{name}: {(rows.live + rows.unused).sum():.2f} M parameters, {unused}", fontsize=9)
        _style(ax, "parameters (M)", labels=ax in axes[:, 0])
    handles = [
        Patch(color=LIVE, label="live: a gradient reaches it"),
        Patch(facecolor="white", edgecolor=UNUSED, hatch="//////", label="unused: none ever does"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return stamp(figure, COUNTED)


def plot_complexity(parameters: pd.DataFrame, products: pd.Series, name: str) -> Figure:
    """Parameters (M, live ones only) and multiply-adds (G) of one network, part by part, side by side.

    parameters: `analysis.complexity.used_and_unused`; products: `Work.products`. Both must list the same parts, or
    `InputError`.
    """
    if list(parameters.index) != list(products.index):
        raise InputError("parameters and products list different parts: count both on the same network")
    live, work = rows_of(parameters).live / 1e6, rows_of(products.to_frame("work")).work / 1e9
    figure, axes = figure_grid(1, 2, width=5.0, height=3.5)
    for ax, values, color, what, unit in (
        (axes[0, 0], live, LIVE, "live parameters", "M"),
        (axes[0, 1], work, WORK, "multiply-adds", "G"),
    ):
        ax.barh(ROWS, values, color=color)
        _label(ax, list(values), [0.0] * len(values))
        ax.set_title(f"{name}: {values.sum():.2f} {unit} {what}", fontsize=9)
        _style(ax, f"{what} ({unit})", labels=ax is axes[0, 0])
    return stamp(figure, COUNTED)


def _label(ax: Axes, solid: Sequence[float], hatched: Sequence[float]) -> None:
    """Write each row's numbers beside its bar, and "none" where there is no bar; leave room for the longest."""
    for y, (live, unused) in enumerate(zip(solid, hatched, strict=True)):
        words = " + ".join([_number(live)] * (live > 0) + [f"{_number(unused)} unused"] * (unused > 0))
        style = {"fontsize": 7.5, "va": "center", "color": "black" if words else "0.5"}
        ax.annotate(words or "none", (live + unused, y), (3, 0), textcoords="offset points", **style)
    ax.set_xlim(0, 1.18 * max(live + unused for live, unused in zip(solid, hatched, strict=True)))


def _number(value: float) -> str:
    return f"{value:.2f}" if value >= 0.005 else "< 0.01"


def _style(ax: Axes, xlabel: str, labels: bool) -> None:
    ax.invert_yaxis()
    ax.set_xlabel(xlabel, fontsize=8)
    ax.tick_params(labelsize=8, labelleft=labels)
    ax.margins(y=0.02)
    ax.grid(axis="x", color="0.9")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
