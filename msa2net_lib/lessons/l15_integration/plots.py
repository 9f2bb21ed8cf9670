"""Figures of gates in third-party networks, seed by seed, and of the gate's map on a block of a scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l15_integration.study import OWN, WITHOUT, GateBlock, effects, slice_influence
from msa2net_lib.nn.gates import inflated
from msa2net_lib.nn.masag import MASAG
from msa2net_lib.viz.plots import figure_grid, stamp

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STYLES = {"masag": ("o", "#0072B2"), "constant": ("s", "#E69F00"), OWN: ("^", "#000000")}
_TITLES = {"masag": "MASAG", "constant": "constant map (control)", OWN: "the network's own gate"}


def plot_effects_of_gates(runs: pd.DataFrame, source: str, title: str) -> Figure:
    """Draw differences of DSC in points: gates minus no gate on the left, MASAG minus the control on the right.

    runs: as `study.compare_third_party` returns them. A light mark is one seed, the bar the mean
    and its 95 % interval. Raises: `InputError` without runs without gate.
    """
    if WITHOUT not in set(runs.variant):
        raise InputError(f"no run {WITHOUT!r}: there is nothing to compare with")
    networks, table = list(runs.network.unique()), effects(runs)
    figure, axes = figure_grid(1, 2, width=4.7, height=0.75 * len(networks) + 1.0)
    left, right = axes[0]
    variants = [name for name in _STYLES if name in set(runs.variant)]
    _draw(left, runs, table, networks, [(variant, WITHOUT) for variant in variants])
    _draw(right, runs, table, networks, [("masag", "constant")])
    left.set_title("the gate: minus the network without gate", fontsize=9)
    right.set_title("its map: MASAG minus the constant map", fontsize=9)
    for ax in (left, right):
        ax.set_xlabel("difference of DSC, points", fontsize=8)
    left.set_yticks(range(len(networks)), networks, fontsize=8)
    right.set_yticks(range(len(networks)), [""] * len(networks))
    handles = [
        Line2D([], [], marker=_STYLES[name][0], color=_STYLES[name][1], label=_TITLES[name]) for name in variants
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, frameon=False)
    return stamp(figure, f"{title}; light marks: one seed, bar: mean and 95 % interval\n{source}")


def draw_gate_block(block: GateBlock, volume_gate: MASAG, source: str) -> Figure:
    """A coronal section: the scan, the map slice by slice, the map in 3-D, their difference; and who has a say.

    Maps are means over channels. The last panel is `slice_influence` at the middle of the block for both. Sections are
    stretched along the patient, for a block is thin.
    """
    row = block.x.shape[-2] // 2
    flat, deep = (
        attention.mean(dim=1)[0, :, row].numpy() for attention in (block.slice_by_slice(), block.in_3d(volume_gate))
    )
    change = deep - flat
    low, high, most = min(flat.min(), deep.min()), max(flat.max(), deep.max()), max(float(np.abs(change).max()), 1e-6)
    scan = block.image[:, round(row * block.image.shape[-2] / block.x.shape[-2])]
    figure, axes = figure_grid(1, 5, width=2.5, height=2.1)
    sections = (
        ("the scan", scan, 0.0, 1.0),
        ("map, 2-D slice by slice", flat, low, high),
        ("map, 3-D", deep, low, high),
        ("3-D minus 2-D", change, -most, most),
    )
    for ax, (title, values, black, white) in zip(axes[0, :4], sections, strict=True):
        drawn = _section(ax, block, values, title, black, white)
        figure.colorbar(drawn, ax=ax, orientation="horizontal", shrink=0.8).ax.tick_params(labelsize=6)
    axes[0, 0].set_ylabel("slice", fontsize=8)
    _draw_influence(axes[0, 4], block, volume_gate)
    return stamp(figure, f"{block.name}, coronal section, stretched; depth set by hand, not trained\n{source}")


def _draw(
    ax: Axes, runs: pd.DataFrame, table: pd.DataFrame, networks: Sequence[str], pairs: Sequence[tuple[str, str]]
) -> None:
    ax.axvline(0, color="0.4", linewidth=0.9)
    for y, network in enumerate(networks):
        scores = 100 * runs[runs.network == network].pivot(index="seed", columns="variant", values="dsc")
        for place, (variant, against) in enumerate(pairs):
            if variant not in scores or against not in scores:
                continue
            marker, color = _STYLES[variant]
            height = y + 0.26 * (place - (len(pairs) - 1) / 2)
            seeds = scores[variant] - scores[against]
            ax.plot(seeds, [height] * len(seeds), marker, color=color, alpha=0.35, markersize=5)
            row = table[(table.network == network) & (table.variant == variant) & (table.against == against)].iloc[0]
            if row.seeds > 1:
                ax.errorbar(
                    row.difference, height, xerr=row.high - row.difference,
                    fmt=marker, color=color, markeredgecolor="black", markersize=6, capsize=3, linewidth=1.6,
                )  # fmt: skip
    ax.set_ylim(len(networks) - 0.45, -0.55)
    for y in range(1, len(networks)):
        ax.axhline(y - 0.5, color="0.85", linewidth=0.8)
    ax.grid(axis="x", color="0.93")
    ax.set_axisbelow(True)
    ax.tick_params(axis="x", labelsize=7.5)


def _section(ax: Axes, block: GateBlock, values: NDArray, title: str, black: float, white: float) -> AxesImage:
    extent = (0.0, 1.0, block.slices[0] - 0.5, block.slices[-1] + 0.5)
    drawn = ax.imshow(
        values, "gray", aspect="auto", interpolation="nearest", vmin=black, vmax=white, origin="lower", extent=extent
    )
    for x, letter in ((0.04, "R"), (0.96, "L")):
        box = {"facecolor": "black", "edgecolor": "none", "pad": 1}
        ax.text(x, 0.5, letter, transform=ax.transAxes, color="white", ha="center", va="center", fontsize=8, bbox=box)
    ax.set_title(title, fontsize=8)
    ax.set_xticks([])
    ax.tick_params(labelsize=7)
    return drawn


def _draw_influence(ax: Axes, block: GateBlock, volume_gate: MASAG) -> None:
    middle = len(block.slices) // 2
    for gate, style, color, label in (
        (inflated(block.gate), "s--", "0.55", "2-D"),
        (volume_gate, "o-", "black", "3-D"),
    ):
        influence = slice_influence(gate, block, middle).loc[-5:5]
        ax.plot(influence.index, influence, style, color=color, label=label, markersize=4)
    ax.set_yscale("symlog", linthresh=1e-2)
    ax.set_title("influence of x on the map", fontsize=8)
    ax.set_xlabel("slices away", fontsize=8)
    ax.tick_params(labelsize=7)
    ax.legend(fontsize=7, frameon=False)
