"""Figures of spatial selection: where the weights are high, and by what each input is multiplied."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from msa2net_lib.analysis.slice_study import Study
from msa2net_lib.viz.colors import class_color
from msa2net_lib.viz.cursor import cell_at, cursor_axes, frame_cells, mark_cursor
from msa2net_lib.viz.maps import DIVERGING, SHARES, Panel, channel_map, color_bar, show_map, show_study, sign
from msa2net_lib.viz.plots import figure_grid, stamp

BINS = np.linspace(0, 1, 11)


def weight_panels(study: Study) -> list[Panel]:
    """Seven panels for `plot_maps` with four columns: the weight of X per level, their sum, the weight of G."""
    rows = {
        name: [
            Panel(channel_map(weight(study.traces[level]), 0), f"weight of {name}, level {level}", SHARES, (0, 1))
            for level in study.levels
        ]
        for name, weight in (("X", lambda trace: trace.weight_x), ("G", lambda trace: trace.weight_g))
    }
    finest = study.traces[study.levels[0]]
    both = channel_map(finest.weight_x + finest.weight_g, 0)
    return [*rows["X"], Panel(both, f"both added, level {study.levels[0]}", SHARES, (0, 2)), *rows["G"]]


def selected_panels(study: Study, level: int) -> list[Panel]:
    """Seven panels for `plot_maps` with four columns: X, its factor, X'; the weights' difference; G, its factor, G'."""
    trace = study.traces[level]
    rows = []
    for name, before, weight, after in (
        ("X", trace.x, trace.weight_x, trace.x_selected),
        ("G", trace.g, trace.weight_g, trace.g_selected),
    ):
        sizes = channel_map(before), channel_map(after)
        limits = (0.0, float(max(size.max() for size in sizes)))
        rows.append(
            [
                Panel(sizes[0], f"{name} (size)", limits=limits),
                Panel(1 + channel_map(weight, 0), f"what {name} is multiplied by", SHARES, (1, 2)),
                Panel(sizes[1], f"{name}' (size)", limits=limits),
            ]
        )
    difference = channel_map(trace.weight_x - trace.weight_g, 0)
    return [*rows[0], Panel(difference, "weight of X minus weight of G", DIVERGING, (-1, 1)), *rows[1]]


def plot_weight_histograms(values: pd.DataFrame, source: str) -> Figure:
    """How the weight of X is distributed, tissue by tissue and level by level, from `selection_values`.

    A row is a histogram with ten bins, darker for more of the tissue's cells; its mean is a diamond.
    """
    levels = sorted(values.level.unique())
    figure, axes = figure_grid(1, len(levels), width=3.0, height=2.9)
    tissues = [name for name in values.tissue.cat.categories if (values.tissue == name).any()]
    tissue_names = list(values.tissue.cat.categories)
    colors = {
        name: class_color(number, tissue_names[1:]) if number else "white" for number, name in enumerate(tissue_names)
    }
    drawn = None
    for ax, level in zip(axes[0], levels, strict=True):
        here = values[values.level == level]
        groups = [here.weight_x[here.tissue == tissue].to_numpy() for tissue in tissues]
        counts = np.array([np.histogram(group, BINS)[0] / max(1, len(group)) for group in groups])
        drawn = ax.imshow(counts, cmap="Grays", vmin=0, vmax=1, extent=(0, 1, len(tissues) - 0.5, -0.5), aspect="auto")
        for row, (tissue, group) in enumerate(zip(tissues, groups, strict=True)):
            if len(group):
                ax.plot(group.mean(), row, "D", color=colors[tissue], markeredgecolor="black", markersize=6)
        names = [f"{tissue} ({len(group)})" for tissue, group in zip(tissues, groups, strict=True)]
        ax.set_yticks(range(len(tissues)), names, fontsize=7)
        ax.set_title(f"level {level} (cells)", fontsize=9)
        ax.set_xlabel("weight of X", fontsize=8)
        ax.tick_params(axis="x", labelsize=7)
    if drawn is not None:
        color_bar(drawn, axes[0, -1]).set_label("share of the tissue's cells; diamond: mean", fontsize=7)
    return stamp(figure, source)


def plot_weight_cursor(study: Study, level: int, row: int, column: int) -> Figure:
    """A cursor on the slice and on the map of weights; the two weights there, and what lies there.

    row, column: a pixel of the slice. The organ is the label's at the cell's place.
    """
    grid, trace = study.grid(level), study.traces[level]
    cell, tissues = cell_at(study, grid, row, column), ("background", *study.class_names)
    figure, (left, middle, right) = cursor_axes()
    show_study(left, study, f"{study.name}, level {level}")
    weight = channel_map(trace.weight_x, 0)
    drawn = show_map(middle, study, Panel(weight, "weight of X", SHARES, (0, 1)), outlines=False)
    color_bar(drawn, middle, cax=middle.inset_axes((1.03, 0.1, 0.05, 0.8)))
    for ax in (left, middle):
        frame_cells(ax, study, grid, cell)
        mark_cursor(ax, row, column)
    shares = np.array([weight[cell], channel_map(trace.weight_g, 0)[cell]])
    bars = right.bar(["encoder X", "decoder G"], shares, color=["#0072B2", "#D55E00"], width=0.6)
    right.bar_label(bars, [f"{share:.3f}\ntimes {1 + share:.3f}" for share in shares], fontsize=8, padding=2)
    right.set_ylim(0, 1.25)
    right.set_yticks([0, 0.5, 1])
    right.set_ylabel("weight", fontsize=8, labelpad=1)
    right.tick_params(labelsize=8)
    right.set_box_aspect(1)
    right.set_title(f"cell ({cell[0]}, {cell[1]}): {tissues[study.label_at(level)[cell]]}", fontsize=9)
    return sign(figure, study)
