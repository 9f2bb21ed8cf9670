"""Figures of the ablation: published and measured differences side by side, and how quiet training would have to be."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from msa2net_lib.paper.ablation.comparison import Contrasts, differences, largest_spread, published_differences
from msa2net_lib.viz.plots import figure_grid, stamp

UNITS = {"dsc": "percentage points of DSC", "hd95": "voxels of HD95"}
_SHADE = {"within noise": "white", "beyond noise": "black", "not known": "0.7"}


def plot_ablation(
    panels: Mapping[str, pd.DataFrame | str],
    contrasts: Contrasts,
    source: str,
    column: str = "dsc",
    what: str = "row minus whole network",
) -> Figure:
    """Draw published differences and, one panel per measurement, those measured with their 95 % intervals.

    panels: title -> runs as `evaluation.experiments.compare` returns them, or the reason why there are none. Each
    panel has its own scale, and the published differences again as diamonds. A square is the mean over seeds: black if
    it is beyond noise after Holm's correction, white if not, gray with one seed; a small dot is one seed. Shapes and
    shades alone tell everything apart. what: the differences in words, for the axes. Raises: `InputError` if runs lack
    a row.
    """
    figure, axes = figure_grid(1, 1 + len(panels), width=3.5, height=0.36 * len(contrasts) + 1.0)
    printed = _printed(contrasts, column)
    first, *others = axes[0]
    _draw_published(first, printed, size=7)
    first.set_title("published, Synapse\n(no spread is given)", fontsize=8.5)
    for ax, (title, runs) in zip(others, panels.items(), strict=True):
        ax.set_title(title, fontsize=8.5)
        if isinstance(runs, str):
            ax.text(0.5, 0.5, f"not measured:\n{runs}", ha="center", va="center", fontsize=8, transform=ax.transAxes)
        else:
            _draw_published(ax, printed, size=4)
            _draw_measured(ax, runs, contrasts, column)
    for ax in axes[0]:
        if not ax.lines:
            ax.tick_params(axis="x", labelbottom=False)
        _tidy(ax, f"{what},\n{UNITS[column]}")
        ax.set_yticks(range(len(contrasts)), list(contrasts) if ax is first else [""] * len(contrasts), fontsize=8)
        ax.set_ylim(len(contrasts) - 0.4, -0.6)
    figure.legend(handles=_legend(), loc="outside lower center", ncols=4, fontsize=7.5, frameon=False)
    return stamp(figure, source)


def _printed(contrasts: Contrasts, column: str) -> pd.Series:
    return pd.Series(published_differences(contrasts)[column])


def _draw_published(ax: Axes, printed: pd.Series, size: float) -> None:
    ax.plot(printed, range(len(printed)), "D", color="white", markeredgecolor="0.35", markersize=size, zorder=3)


def _draw_measured(ax: Axes, runs: pd.DataFrame, contrasts: Contrasts, column: str) -> None:
    table = differences(runs, contrasts, column)
    scores = runs.pivot(index="seed", columns="variant", values=column) * (100 if column == "dsc" else 1)
    for y, (name, (one, other)) in enumerate(contrasts.items()):
        row = table.loc[name]
        ax.plot(scores[one] - scores[other], [y + 0.26] * len(scores), ".", color="0.55", markersize=4, zorder=2)
        ax.errorbar(
            row.difference, y, xerr=None if row.significance == "not known" else row.high - row.difference, fmt="s",
            color="black", markerfacecolor=_SHADE[row.significance], markersize=6, capsize=3, linewidth=1.2, zorder=4,
        )  # fmt: skip


def _tidy(ax: Axes, label: str) -> None:
    ax.axvline(0, color="0.5", linewidth=0.8, zorder=1)
    ax.set_xlabel(label, fontsize=8)
    ax.tick_params(axis="x", labelsize=7.5)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.grid(axis="x", color="0.93")
    ax.set_axisbelow(True)


def _legend() -> list[Line2D]:
    def marker(shape: str, face: str, label: str, size: float = 6, edge: str = "black") -> Line2D:
        style = {"markerfacecolor": face, "markeredgecolor": edge, "markersize": size}
        return Line2D([], [], marker=shape, linestyle="none", label=label, **style)

    return [
        marker("D", "white", "published", edge="0.35"),
        marker("s", "white", "measured, its 95 % interval (paired t): within noise"),
        marker("s", "black", "beyond noise (Holm over the panel)"),
        marker(".", "0.55", "one seed", edge="0.55"),
    ]


def plot_allowed_spread(contrasts: Contrasts, spreads: Mapping[str, float], source: str, column: str = "dsc") -> Figure:
    """Draw for each published difference the spread over seeds beyond which two single runs do not show it.

    spreads: name -> standard deviation over seeds that was measured elsewhere, in the column's unit, drawn as lines;
    nan is not known and gets none. The bars rest on the printed table alone, see
    `msa2net_lib.paper.ablation.comparison.largest_spread`.
    """
    figure, axes = figure_grid(1, 1, width=7.2, height=0.3 * len(contrasts) + 1.0)
    ax = axes[0, 0]
    printed = _printed(contrasts, column)
    allowed = printed.map(largest_spread)
    ax.barh(range(len(allowed)), allowed, height=0.55, color="0.8", edgecolor="0.4")
    for y, (value, limit) in enumerate(zip(printed, allowed, strict=True)):
        ax.text(limit, y, f"  {value:+.2f}", va="center", fontsize=7.5)
    known = {name: spread for name, spread in spreads.items() if math.isfinite(spread)}
    for (name, spread), style in zip(known.items(), ("-", "--", ":"), strict=False):
        ax.axvline(spread, color="black", linestyle=style, linewidth=1.3, label=f"{name}: {spread:.2f}")
    if known:
        figure.legend(loc="outside lower center", ncols=len(known), fontsize=7.5, frameon=False)
    ax.set_yticks(range(len(contrasts)), list(contrasts), fontsize=8)
    ax.set_ylim(len(contrasts) - 0.4, -0.6)
    _tidy(ax, f"largest standard deviation over seeds that lets one run of each show it,\n{UNITS[column]}")
    return stamp(figure, source)
