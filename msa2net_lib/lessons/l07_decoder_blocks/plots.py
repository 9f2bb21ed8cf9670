"""Figures of the decoder's blocks: what they see, what they weigh, and what their attention costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from msa2net_lib.analysis.receptive_field import (
    LARGE_KERNEL_ATTENTION,
    effective_receptive_field,
    footprint_paths,
    place_footprint,
)
from msa2net_lib.analysis.slice_study import Study
from msa2net_lib.lessons.l07_decoder_blocks.study import (
    DualTrace,
    LKATrace,
    attention_row,
    busiest_channel,
    implied_attention,
    mean_row,
)
from msa2net_lib.viz.cursor import CURSOR, cell_at, frame_cells, mark_cursor
from msa2net_lib.viz.gate_diagram import colored
from msa2net_lib.viz.maps import DIVERGING, SEQUENTIAL, Panel, channel_map, color_bar, plot_maps, show_map, sign
from msa2net_lib.viz.plots import figure_grid, show_slice, stamp

COUNTED = "counted on the layers, no image and no weights"


def plot_footprints(chains: Mapping[str, Sequence[tuple[int, int]]]) -> Figure:
    """How many paths lead from each input cell to the middle one, for chains of (kernel, dilation) by name."""
    figure, axes = figure_grid(1, len(chains), width=2.6, height=2.5)
    side = max(len(footprint_paths(layers)) for layers in chains.values()) + 2
    for ax, (name, layers) in zip(axes[0], chains.items(), strict=True):
        paths = footprint_paths(layers)
        centered = place_footprint(paths, (side // 2, side // 2), (side, side)).astype(float)
        centered[centered == 0] = np.nan
        drawn = ax.imshow(centered, cmap=SEQUENTIAL, vmin=0)
        ax.plot(side // 2, side // 2, "+", color=CURSOR, markersize=7)
        color_bar(drawn, ax)
        ax.set_title(f"{name}\n{len(paths)} x {len(paths)}, {np.count_nonzero(paths)} cells seen", fontsize=9)
        ax.set(xticks=[], yticks=[])
        ax.set_facecolor("0.93")
    axes[0, -1].figure.axes[-1].set_ylabel("paths", fontsize=8)
    return stamp(figure, COUNTED)


def plot_large_kernel(study: Study, trace: LKATrace, level: int, channel: int | None = None) -> Figure:
    """One channel of large-kernel attention, step by step: x, after 5x5, after 7x7, the map, x times the map."""
    channel = busiest_channel(trace) if channel is None else channel
    steps = {"x": trace.x, "after 5x5": trace.local, "after 7x7, dilation 3": trace.wide}
    steps |= {"map, after 1x1": trace.attention, "x times the map": trace.product}
    panels = [Panel(channel_map(tensor, channel), name, DIVERGING) for name, tensor in steps.items()]
    figure = plot_maps(study, panels, columns=3)
    figure.axes[0].set_title(f"{study.name}; level {level}, channel {channel}", fontsize=9)
    return figure


def plot_pixel(study: Study, traces: Mapping[int, LKATrace | DualTrace], level: int, row: int, column: int) -> Figure:
    """What one cell of a level's traced block looks at: footprint and effective receptive field, or attention row.

    row, column: the cursor, in pixels of the image; the level's cell that holds it is taken.
    """
    trace = traces[level]
    grid = trace.grid if isinstance(trace, DualTrace) else (trace.x.shape[-2], trace.x.shape[-1])
    pixel = cell_at(study, grid, row, column)
    # Fixed margins: the layout engine would take longer than all the drawing, and a widget waits for it.
    figure = Figure(figsize=(8.8, 3.2))
    axes = figure.subplots(1, 3, gridspec_kw={"left": 0.01, "right": 0.96, "bottom": 0.13, "top": 0.81, "wspace": 0.12})
    axes[0].imshow(colored(study.image, study.label, study.class_names))
    axes[0].set_title(f"level {level}, grid of {grid[0]} x {grid[1]}", fontsize=9)
    axes[0].set_axis_off()
    mark_cursor(axes[0], row, column)
    for ax, panel in zip(axes[1:], _looks_at(trace, grid, pixel), strict=True):
        drawn = show_map(ax, study, panel, outlines=False)
        low, high = drawn.get_clim()
        ticks = [low, (low + high) / 2, high]  # each tick costs some milliseconds
        color_bar(drawn, ax, ticks=ticks, format="%.2g")
    for ax in axes:
        frame_cells(ax, study, grid, pixel)
    return sign(figure, study)


def _looks_at(trace: LKATrace | DualTrace, grid: tuple[int, int], pixel: tuple[int, int]) -> tuple[Panel, Panel]:
    if isinstance(trace, DualTrace):
        weights, mean = attention_row(trace, pixel), mean_row(trace)
        highest = float(implied_attention(trace.queries, trace.keys).max()) * weights.size  # one scale for all cells
        return (
            Panel(weights * weights.size, "its attention\n(1: what all would get if equal)", limits=(0, highest)),
            Panel((weights - mean) * weights.size, "difference from the mean\nof all cells' attention", DIVERGING),
        )
    paths = place_footprint(footprint_paths(LARGE_KERNEL_ATTENTION), pixel, grid)
    field = effective_receptive_field(trace.block, trace.block_input, pixel)
    share = np.log10(np.maximum(field / field.max(), 1e-4))
    return (
        Panel(paths, f"paths of the attention,\n{np.count_nonzero(paths)} of {paths.size} cells seen"),
        Panel(share, "gradient through the block,\nlog10, strongest is 0", "magma", (-4, 0)),
    )


def plot_cost(tables: Mapping[str, pd.DataFrame], at: Mapping[str, int]) -> Figure:
    """Multiply-adds of both attentions against positions, one panel by name; ``at``: a grid to mark in each."""
    figure, axes = figure_grid(1, len(tables), width=4.0, height=2.8)
    for ax, (name, table) in zip(axes[0], tables.items(), strict=True):
        for column, dashes, color in (("standard", "--", "#D55E00"), ("efficient", "-", "#0072B2")):
            ax.loglog(table.index, table[column], dashes, color=color, label=f"{column} attention")
        ax.axvline(at[name], color="0.4", linewidth=0.9, linestyle=":")
        ax.text(at[name], table.to_numpy().max(), f" n = {at[name]}", fontsize=8, color="0.3", va="top")
        ax.set_title(name, fontsize=9)
        ax.set(xlabel="positions n", ylabel="multiply-adds")
        ax.tick_params(labelsize=8)
        ax.legend(fontsize=8, frameon=False, loc="lower right")
    return stamp(figure, "products only, counted by torch on shapes without numbers")


def plot_channel_attention(study: Study, trace: DualTrace) -> Figure:
    """The map (c/heads, c/heads) of each head between its channels, on one color scale from zero."""
    maps = trace.channel_attention[0].cpu().numpy()
    columns = (len(maps) + 1) // 2
    figure, axes = figure_grid(2, columns, width=1.75, height=1.8)
    for head, ax in enumerate(axes.ravel()):
        if head >= len(maps):
            ax.set_axis_off()
            continue
        drawn = ax.imshow(maps[head], cmap=SEQUENTIAL, vmin=0, vmax=maps.max())
        ax.set_title(f"head {head} (t = {trace.temperature[head]:.2f})", fontsize=8)
        ax.set(xticks=[], yticks=[])
    for ax in axes[:, 0]:
        ax.set_ylabel("query channel", fontsize=8)
    for ax in axes[-1]:
        ax.set_xlabel("key channel", fontsize=8)
    bar = color_bar(drawn, axes)
    bar.set_label(f"weight; {1 / maps.shape[-1]:.3f} if all were equal", fontsize=8)
    return stamp(figure, f"{study.name}; {study.source}")


def plot_reach(study: Study, found: Mapping[str, NDArray[np.bool_]], cell: tuple[int, int]) -> Figure:
    """Which cells one cell hears from, over the slice. found: title -> (h, w) on the map's grid; cell: of it."""
    figure, axes = figure_grid(1, len(found), width=2.9, height=2.9)
    height, width = study.image.shape
    for ax, (title, cells) in zip(axes[0], found.items(), strict=True):
        show_slice(ax, study.image, title=f"{title}: {cells.sum()} of {cells.size} cells")
        shade = np.zeros((*cells.shape, 4))
        shade[cells] = (*to_rgb(CURSOR), 0.55)
        ax.imshow(shade, extent=(-0.5, width - 0.5, height - 0.5, -0.5), interpolation="nearest")
        down, across = height / cells.shape[0], width / cells.shape[1]
        corner = (cell[1] * across - 0.5, cell[0] * down - 0.5)
        ax.add_patch(Rectangle(corner, across, down, fill=False, edgecolor="white", linewidth=1.6))
    return stamp(figure, study.source)
