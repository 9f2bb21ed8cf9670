"""The figure of gates in other networks: what each adds to its host, seed by seed, and what the map adds to that."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l15_integration.study import OWN, WITHOUT
from msa2net_lib.lessons.l15_integration.tables import effects
from msa2net_lib.viz.plots import figure_grid, stamp

_STYLES = {"masag": ("o", "#0072B2"), "constant": ("s", "#E69F00"), OWN: ("^", "#000000")}
_TITLES = {"masag": "MASAG", "constant": "constant map (control)", OWN: "the host's own gate"}


def plot_host_effects(runs: pd.DataFrame, source: str, title: str) -> Figure:
    """Draw differences of DSC in points: gates minus no gate on the left, MASAG minus the control on the right.

    runs: as `lessons.l15_integration.study.compare_hosts` returns them. A light mark is one seed, the bar the mean
    and its 95 % interval. Raises: `InputError` without runs of the host without gate.
    """
    if WITHOUT not in set(runs.variant):
        raise InputError(f"no run {WITHOUT!r}: there is nothing to compare with")
    hosts, table = list(runs.host.unique()), effects(runs)
    figure, axes = figure_grid(1, 2, width=4.7, height=0.75 * len(hosts) + 1.0)
    left, right = axes[0]
    variants = [name for name in _STYLES if name in set(runs.variant)]
    _draw(left, runs, table, hosts, [(variant, WITHOUT) for variant in variants])
    _draw(right, runs, table, hosts, [("masag", "constant")])
    left.set_title("the gate: minus the host without gate", fontsize=9)
    right.set_title("its map: MASAG minus the constant map", fontsize=9)
    for ax in (left, right):
        ax.set_xlabel("difference of DSC, points", fontsize=8)
    left.set_yticks(range(len(hosts)), hosts, fontsize=8)
    right.set_yticks(range(len(hosts)), [""] * len(hosts))
    handles = [
        Line2D([], [], marker=_STYLES[name][0], color=_STYLES[name][1], label=_TITLES[name]) for name in variants
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, frameon=False)
    return stamp(figure, f"{title}; light marks: one seed, bar: mean and 95 % interval\n{source}")


def _draw(
    ax: Axes, runs: pd.DataFrame, table: pd.DataFrame, hosts: Sequence[str], pairs: Sequence[tuple[str, str]]
) -> None:
    ax.axvline(0, color="0.4", linewidth=0.9)
    for y, host in enumerate(hosts):
        scores = 100 * runs[runs.host == host].pivot(index="seed", columns="variant", values="dsc")
        for place, (variant, against) in enumerate(pairs):
            if variant not in scores or against not in scores:
                continue
            marker, color = _STYLES[variant]
            height = y + 0.26 * (place - (len(pairs) - 1) / 2)
            seeds = scores[variant] - scores[against]
            ax.plot(seeds, [height] * len(seeds), marker, color=color, alpha=0.35, markersize=5)
            row = table[(table.host == host) & (table.variant == variant) & (table.against == against)].iloc[0]
            if row.seeds > 1:
                ax.errorbar(
                    row.difference, height, xerr=row.high - row.difference,
                    fmt=marker, color=color, markeredgecolor="black", markersize=6, capsize=3, linewidth=1.6,
                )  # fmt: skip
    ax.set_ylim(len(hosts) - 0.45, -0.55)
    for y in range(1, len(hosts)):
        ax.axhline(y - 0.5, color="0.85", linewidth=0.8)
    ax.grid(axis="x", color="0.93")
    ax.set_axisbelow(True)
    ax.tick_params(axis="x", labelsize=7.5)
