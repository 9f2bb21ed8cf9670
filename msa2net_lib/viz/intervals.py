"""Figures of measured effects: the same run with and without a change, seed by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from msa2net_lib.evaluation.intervals import excludes_zero, summarize
from msa2net_lib.viz.plots import figure_grid, stamp

BLUE, ORANGE = "#0072B2", "#D55E00"


def plot_effects(panels: Mapping[str, pd.DataFrame], baseline: str, source: str, column: str = "dsc") -> Figure:
    """Draw how far each variant is from the baseline, one panel per set of runs, each on its own scale.

    panels: title -> runs as `evaluation.experiments.compare` returns them. A dot is one seed: the variant's score
    minus the baseline's at that seed. The bar is their mean and its 95 % interval; the gray band is the standard
    deviation of the baseline's own scores over seeds. Raises: `InputError` if the baseline is missing.
    """
    figure, axes = figure_grid(1, len(panels), width=4.6, height=2.9)
    for ax, (title, runs) in zip(axes[0], panels.items(), strict=True):
        _draw_panel(ax, runs, baseline, column)
        ax.set_title(title, fontsize=8.5)
    handles = [
        Line2D([], [], marker="o", linestyle="none", color=BLUE, label="one seed"),
        Line2D([], [], marker="|", color=ORANGE, markersize=10, label="mean and its 95 % interval (paired t)"),
        Patch(color="0.92", label="standard deviation of the baseline over seeds"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=7.5, frameon=False)
    return stamp(figure, source)


def plot_intervals(tables: Mapping[str, pd.DataFrame], source: str, xlabel: str, share: bool = False) -> Figure:
    """Draw differences with their 95 % intervals: a panel per table, a line per row, hollow where the sign is unclear.

    tables: title -> columns difference, low, high, and perhaps ``dots`` (lists: each seed's or case's); all have the
    same rows, and a row without a difference is "not defined". share: one scale for all panels.
    """
    height = max(len(table) * (0.34 if "dots" in table else 0.19) for table in tables.values())
    figure, axes = figure_grid(1, len(tables), width=4.0 if len(tables) < 3 else 2.6, height=0.9 + height)
    for number, (ax, (title, table)) in enumerate(zip(axes[0], tables.items(), strict=True)):
        ax.axvline(0, color="0.5", linewidth=0.8)
        for y, (_, row) in enumerate(table.iterrows()):
            _draw_interval(ax, y, row)
        ax.set_yticks(range(len(table)), list(table.index) if number == 0 else [], fontsize=7.5)
        ax.set_ylim(len(table) - 0.4, -0.6)
        ax.tick_params(axis="x", labelsize=7)
        ax.set_title(title, fontsize=8.5)
        ax.set_xlabel(xlabel, fontsize=7.5)
        ax.grid(axis="both", color="0.94")
        ax.set_axisbelow(True)
    if share:
        share_limits(axes[0], "x")
    handles = [
        Line2D([], [], color="0.1", marker="o", markersize=5, label="95 % interval (Student's t) leaves out 0"),
        Line2D([], [], color="0.1", marker="o", markersize=5, markerfacecolor="white", label="it holds 0"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=7.5, frameon=False)
    return stamp(figure, source)


def share_limits(axes: Sequence[Axes], which: str = "y") -> None:
    """Give axes one range, "x" or "y", that holds all of theirs."""
    limits = [getattr(ax, f"get_{which}lim")() for ax in axes]
    for ax in axes:
        getattr(ax, f"set_{which}lim")(min(low for low, _ in limits), max(high for _, high in limits))


def _draw_interval(ax: Axes, y: int, row: pd.Series) -> None:
    if pd.isna(row.difference):
        ax.text(0, y, " not defined", fontsize=6, va="center", color="0.4")
        return
    sure = excludes_zero(row.low, row.high)
    color = BLUE if row.difference > 0 else ORANGE
    if "dots" in row:
        ax.plot(row.dots, [y + 0.22] * len(row.dots), "o", color=color, alpha=0.35, markersize=3.5)
    ax.plot([row.low, row.high], [y, y], color=color, linewidth=1.4 if sure else 0.8)
    ax.plot(row.difference, y, "o", color=color, markersize=4.5, markerfacecolor=color if sure else "white")


def _draw_panel(ax: Axes, runs: pd.DataFrame, baseline: str, column: str) -> None:
    summary = summarize(runs, baseline, column)
    spread = summary.sd[baseline]
    ax.axvspan(-spread, spread, color="0.92", zorder=0)
    ax.axvline(0, color="0.5", linewidth=0.8, zorder=1)
    scores = runs.pivot(index="seed", columns="variant", values=column)
    variants = [name for name in summary.index if name != baseline]
    for y, name in enumerate(variants):
        difference = scores[name] - scores[baseline]
        ax.plot(difference, [y] * len(difference), "o", color=BLUE, alpha=0.75, markersize=6, zorder=2)
        ax.errorbar(
            summary.difference[name], y + 0.22, xerr=summary.high[name] - summary.difference[name],
            fmt="|", color=ORANGE, markersize=10, capsize=3, zorder=3,
        )  # fmt: skip
    ax.set_yticks(range(len(variants)), variants, fontsize=8)
    ax.set_ylim(len(variants) - 0.4, -0.6)
    ax.tick_params(axis="x", labelsize=7.5)
    level = summary["mean"][baseline]
    ax.set_xlabel(f"mean {column.upper()} minus that of “{baseline}”\n(which is {level:.3f} on average)", fontsize=8)
    ax.grid(axis="x", color="0.93")
    ax.set_axisbelow(True)
