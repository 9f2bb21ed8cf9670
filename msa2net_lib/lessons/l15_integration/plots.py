"""Figures of gates in third-party networks, seed by seed, and of the gate's map on a block of a scan."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l15_integration.study import OWN, WITHOUT, GateBlock, effects, slice_influence
from msa2net_lib.nn.masag import MASAG
from msa2net_lib.viz.intervals import plot_intervals
from msa2net_lib.viz.plots import figure_grid, stamp

COMPARISONS = (("masag", WITHOUT), ("constant", WITHOUT), ("masag", "constant"), ("masag", OWN))
"""What is drawn: the gate, the control, what the map adds to it, and MASAG beside a network's own gate."""


def plot_gate_effects(runs: pd.DataFrame, source: str, title: str) -> Figure:
    """Draw differences of DSC in points, a panel per comparison and a line per network; light dots are seeds.

    runs: as `study.compare_third_party` returns them. Raises: `InputError` if there is nothing to compare.
    """
    table, networks, panels = effects(runs), list(runs.network.unique()), {}
    for variant, against in COMPARISONS:
        rows = table[(table.variant == variant) & (table.against == against)] if len(table) else table
        if len(rows):
            panels[f"{variant} minus\n{against}"] = rows.set_index("network").reindex(networks)
    if not panels:
        raise InputError(f"no run {WITHOUT!r} beside another: there is nothing to compare with")
    return plot_intervals(panels, f"{title}; light dots: one seed\n{source}", "difference of DSC, points", share=True)


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
    figure, axes = figure_grid(1, 5, width=1.86, height=2.1)
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
    in_3d = slice_influence(volume_gate, block, len(block.slices) // 2)
    for found, style, color, label in (
        (block.influence_in_2d, "s--", "0.55", "2-D"),
        (in_3d, "o-", "black", "3-D"),
    ):
        influence = found.loc[-5:5]
        ax.plot(influence.index, influence, style, color=color, label=label, markersize=4)
    ax.set_yscale("symlog", linthresh=1e-2)
    ax.set_title("influence of x on the map", fontsize=8)
    ax.set_xlabel("slices away", fontsize=8)
    ax.tick_params(labelsize=7)
    ax.legend(fontsize=7, frameon=False)
