"""Figures of measured effects: the same run with and without a change, seed by seed."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from msa2net_lib.evaluation.intervals import summarize
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
        Line2D([], [], marker="|", color=ORANGE, markersize=10, label="mean and 95 % interval of the mean"),
        Patch(color="0.92", label="standard deviation of the baseline over seeds"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=7.5, frameon=False)
    return stamp(figure, source)


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
