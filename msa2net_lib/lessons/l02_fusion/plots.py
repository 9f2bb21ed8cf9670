"""Figures of multi-scale fusion: the probe, the toy task, what the local branch sees, what the branches add up to."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from msa2net_lib.analysis.receptive_field import LOCAL_CONTEXT, footprint_paths, place_footprint
from msa2net_lib.analysis.slice_study import Study
from msa2net_lib.analysis.toy_task import Frame
from msa2net_lib.lessons.l02_fusion.study import encoder_field, local_field
from msa2net_lib.viz.cursor import CURSOR, cell_at, cell_size, cursor_axes, frame_cells, mark_cursor
from msa2net_lib.viz.maps import DIVERGING, SEQUENTIAL, SHARES, Panel, channel_map, color_bar, show_study, sign
from msa2net_lib.viz.plots import figure_grid, show_slice, stamp

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import HTML
    from numpy.typing import NDArray
    from torch import Tensor

LOCAL_COLOR, GLOBAL_COLOR, FUSED_COLOR = "#0072B2", "#D55E00", "0.25"
PROBE_COLORS = {"X": LOCAL_COLOR, "G": GLOBAL_COLOR, "Y": "#009E73"}
PROBE_WORDS = {
    "Dice": "mean Dice over organs, each cell alone",
    "recall": "share of an organ's cells found, mean over organs",
}
TOY_COLOR, TOY_LIMIT = "#0072B2", 2.5
TOY_SOURCE = "made-up data: noise; built to need a product"


def fusion_panels(study: Study, level: int) -> list[Panel]:
    """Every tensor of the stage as panels for `plot_maps`: X, its local context, G pooled, global context, U."""
    trace = study.traces[level]
    return [
        Panel(channel_map(trace.x), "skip features X (size)"),
        Panel(channel_map(trace.local_context), "local context of X (size)"),
        Panel(channel_map(trace.g), "gating features G (size)"),
        Panel(channel_map(trace.channel_mean, 0), "mean of G over channels", DIVERGING),
        Panel(channel_map(trace.channel_max, 0), "maximum of G over channels"),
        Panel(channel_map(trace.global_context, 0), "global context, one channel", DIVERGING),
        Panel(channel_map(trace.u), "fused U (size)"),
    ]


def plot_footprints(study: Study, row: int, column: int, layers: tuple[tuple[int, int], ...] = LOCAL_CONTEXT) -> Figure:
    """The footprint of one pixel on the slice, at every level, colored by the number of paths; names its size.

    row, column: a pixel of the slice. layers: (kernel, dilation) of each convolution.
    """
    paths = footprint_paths(layers)
    figure, axes = figure_grid(1, len(study.levels), width=3.1, height=2.9)
    most, drawn = int(paths.max()), None
    for ax, level in zip(axes[0], study.levels, strict=True):
        cell = cell_at(study, study.grid(level), row, column)
        counts = place_footprint(paths, cell, study.grid(level))
        step = study.image.shape[0] // len(counts)
        side = len(paths) * step
        show_study(ax, study, f"level {level}: a cell is {step}, the footprint {side} pixels")
        drawn = _lay_over(ax, study, counts.astype(float), "plasma", (0.5, most + 0.5))
        frame_cells(ax, study, study.grid(level), cell, len(paths))
        ax.title.set_fontsize(8)
    if drawn is not None:
        bar = color_bar(drawn, axes[0, -1], ticks=np.unique(paths[paths > 0]))
        bar.set_label("paths from a cell to the cursor's", fontsize=8)
    return sign(figure, study, f"{study.name}: {study.source}")


def plot_cursor(study: Study, level: int, row: int, column: int) -> Figure:
    """Footprint, effective receptive field and the values of both branches at one pixel of the slice.

    row, column: a pixel of the slice; the cell of the level's grid in which it lies is looked at.
    """
    cell, trace = cell_at(study, study.grid(level), row, column), study.traces[level]
    side = len(footprint_paths(LOCAL_CONTEXT))
    figure, (left, middle, right) = cursor_axes()
    show_study(left, study, f"{study.name}, level {level}")
    frame_cells(left, study, study.grid(level), cell, side)
    mark_cursor(left, row, column)
    down, across = _edges(study, level, cell, side)
    left.vlines(across, down[0], down[-1], colors=CURSOR, linewidth=0.4, alpha=0.8)
    left.hlines(down, across[0], across[-1], colors=CURSOR, linewidth=0.4, alpha=0.8)
    field = local_field(study, level, cell)
    show_slice(middle, study.image, title="reaction of the local branch to X", sides=False)
    drawn = _lay_over(middle, study, field, "magma", (0.0, float(field.max()) or 1.0), alpha=0.8)
    frame_cells(middle, study, study.grid(level), cell, side)
    down, across = _edges(study, level, cell, side + 2)  # beyond the slice's border if need be
    middle.set(xlim=across[[0, -1]], ylim=down[[-1, 0]])
    color_bar(drawn, middle, cax=middle.inset_axes((1.03, 0.1, 0.05, 0.8)))
    here = (0, slice(None), *cell)
    _channels(right, *(tensor[here].cpu().numpy() for tensor in (trace.local_context, trace.global_context, trace.u)))
    right.set_box_aspect(1)
    right.set_title(f"cell ({cell[0]}, {cell[1]}), channel by channel", fontsize=9)
    return sign(figure, study)


def plot_reach(study: Study, level: int, row: int, column: int) -> Figure:
    """The footprint on the features against what the features themselves have seen of the slice (logarithmic)."""
    cell = cell_at(study, study.grid(level), row, column)
    field = encoder_field(study, level, cell)
    figure, axes = figure_grid(1, 2, width=3.4, height=2.9)
    left, right = axes[0]
    show_study(left, study, "one cell of X, and the footprint around it")
    relative = np.log10(np.maximum(field / field.max(), 1e-6))
    drawn = right.imshow(relative, cmap="magma", vmin=-4, vmax=0)
    right.set_title("what this one cell of X has seen of the slice", fontsize=9)
    right.set_axis_off()
    for ax in (left, right):
        frame_cells(ax, study, study.grid(level), cell)
        frame_cells(ax, study, study.grid(level), cell, len(footprint_paths(LOCAL_CONTEXT)))
    bar = color_bar(drawn, right, extend="min", ticks=[-4, -3, -2, -1, 0])
    bar.ax.set_yticklabels(["1/10000", "1/1000", "1/100", "1/10", "largest"], fontsize=7)
    return sign(figure, study, f"{study.name}: {study.source}")


def _lay_over(ax: Axes, study: Study, values: NDArray, cmap: str = SEQUENTIAL, limits=(0.0, 1.0), alpha: float = 0.6):
    """Draw values (h, w) of a grid over the slice, transparent where they are zero."""
    seen = np.ma.masked_equal(values, 0)
    low, high = limits
    height, width = study.image.shape
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    return ax.imshow(seen, cmap=cmap, vmin=low, vmax=high, extent=extent, alpha=alpha, interpolation="nearest")


def _edges(study: Study, level: int, cell: tuple[int, int], side: int) -> tuple[NDArray, NDArray]:
    """Where ``side`` x ``side`` cells around a cell begin and end: (down, across), in pixels of the slice."""
    (height, width), (row, column), steps = cell_size(study, study.grid(level)), cell, np.arange(side + 1) - side // 2
    return (row + steps) * height - 0.5, (column + steps) * width - 0.5


def _channels(ax: Axes, local: NDArray, shared: NDArray, fused: NDArray) -> None:
    channels = np.arange(len(local))
    ax.axhline(0, color="0.8", linewidth=0.8)
    ax.axhline(shared[0], color=GLOBAL_COLOR, linewidth=1.5, label=f"global context, {shared[0]:.2f} for all")
    ax.plot(channels, local, "o", color=LOCAL_COLOR, markersize=3.5, label="local context")
    ax.plot(channels, fused, "x", color=FUSED_COLOR, markersize=4.5, label="U, the norm of the sum")
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.45 * (high - low))
    ax.legend(fontsize=7, loc="upper center", frameon=False)
    ax.set_xlabel("channel", fontsize=8, labelpad=1)
    ax.tick_params(labelsize=7)


def plot_probe(table: pd.DataFrame, source: str) -> Figure:
    """What a linear rule reads off one cell of X, G and Y: a panel per score, a dot per left-out case, bars at means.

    table: as `study.probe_table` returns it.
    """
    scores, levels, table = list(table.columns), list(table.index.unique("level")), table.sort_index()
    figure, axes = figure_grid(1, len(scores), width=4.4, height=2.7)
    for ax, score in zip(axes[0], scores, strict=True):
        for place, (name, color) in enumerate(PROBE_COLORS.items()):
            for row, level in enumerate(levels):
                values, y = table.loc[level, name][score], row + (place - 1) * 0.24
                ax.barh(y, values.mean(), height=0.22, color=color, alpha=0.55, label=name if row == 0 else None)
                ax.plot(values, [y] * len(values), ".", color="0.15", markersize=4)
        ax.set_yticks(range(len(levels)), [f"level {level}" for level in levels], fontsize=8)
        ax.invert_yaxis()
        ax.set_xlim(0, 1)
        ax.set_xlabel(PROBE_WORDS[score], fontsize=8)
        ax.tick_params(axis="x", labelsize=7.5)
    axes[0, 0].legend(fontsize=8, frameon=False, loc="lower right")
    return stamp(figure, source)


def plot_toy_task(detail: Tensor, coarse: Tensor, target: Tensor) -> Figure:
    """One sample of the toy task: detail, coarse map, and the target, each (h, w)."""
    figure, axes = figure_grid(1, 3, width=2.5, height=2.2)
    titles = ("detail (becomes X)", "coarse map (becomes G)", "target: detail where coarse > 0")
    for ax, values, title in zip(axes[0], (detail, coarse, target), titles, strict=True):
        color_bar(_show_cells(ax, values, DIVERGING, (-TOY_LIMIT, TOY_LIMIT), title), ax)
    return stamp(figure, TOY_SOURCE)


def plot_toy_scores(scores: pd.DataFrame, no_product: float) -> Figure:
    """Explained variance by gate, a dot per seed. scores: columns gate, seed, explained. no_product: a line there."""
    figure, axes = figure_grid(1, 1, width=7.0, height=2.7)
    ax, gates = axes[0, 0], list(dict.fromkeys(scores.gate))
    ax.axvline(no_product, color="0.6", linewidth=0.9)
    ax.text(no_product, -0.95, " best without a product", fontsize=7.5, color="0.35", va="top")
    for row, gate in enumerate(gates):
        values = scores.explained[scores.gate == gate]
        ax.plot(values, [row] * len(values), "o", color=TOY_COLOR, alpha=0.6, markersize=6)
    ax.set_yticks(range(len(gates)), gates, fontsize=8)
    ax.set_ylim(len(gates) - 0.4, -1.0)
    ax.set_xlim(0, 1.02)
    ax.set_xlabel("share of the held-out variance explained, a dot per seed", fontsize=8)
    ax.grid(axis="x", color="0.93")
    return stamp(figure, TOY_SOURCE)


def plot_forming(frames: Sequence[Frame], coarse: Tensor, channel: int) -> Figure:
    """The output above and a channel of the map below at some steps of a training, with the coarse map's edge."""
    figure, axes = figure_grid(2, len(frames), width=1.5, height=1.6)
    for column, frame in enumerate(frames):
        _draw_frame(axes[:, column], frame, coarse, channel)
    return stamp(figure, TOY_SOURCE)


def toy_animation(frames: Sequence[Frame], coarse: Tensor, channel: int) -> HTML:
    """The same as a moving picture, GIF, to show on a page."""
    figure, axes = figure_grid(1, 2, width=2.6, height=2.4)

    def draw(frame: Frame) -> list[Any]:
        for ax in axes[0]:
            ax.clear()
        _draw_frame(axes[0], frame, coarse, channel)
        return []

    from IPython.display import HTML  # comes with a kernel; the library runs without

    movie = FuncAnimation(figure, draw, frames=list(frames), init_func=list)  # pyright: ignore[reportArgumentType]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "forming.gif"
        movie.save(path, writer=PillowWriter(fps=5), dpi=80)
        data = b64encode(path.read_bytes()).decode()
    return HTML(f'<img alt="output and map of a gate during training" src="data:image/gif;base64,{data}">')


def _draw_frame(axes: Any, frame: Frame, coarse: Tensor, channel: int) -> None:
    title = f"step {frame.step}: {frame.explained:.0%}"
    _show_cells(axes[0], frame.output, DIVERGING, (-TOY_LIMIT, TOY_LIMIT), title)
    _show_cells(axes[1], frame.attention[channel], SHARES, (0, 1), f"A, channel {channel}")
    axes[1].contour(coarse.numpy(), levels=[0], colors=["white"], linewidths=1.2)


def _show_cells(ax: Axes, values: Tensor, cmap: str, limits: tuple[float, float], title: str) -> Any:
    drawn = ax.imshow(values.numpy(), cmap=cmap, vmin=limits[0], vmax=limits[1], interpolation="nearest")
    ax.set_title(title, fontsize=8.5)
    ax.set_axis_off()
    return drawn
