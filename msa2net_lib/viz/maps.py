"""Feature maps as figures: one number per pixel, stretched over the slice it came from, organs outlined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from einops import reduce
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from msa2net_lib.analysis.slice_study import Study
from msa2net_lib.errors import InputError
from msa2net_lib.viz.plots import draw_outlines, figure_grid, organ_legend, show_slice, stamp

SEQUENTIAL, DIVERGING, SHARES, BRIGHTNESS = "viridis", "RdBu_r", "cividis", "gray"
"""Color maps: sizes from zero up; values of both signs, white at zero; shares from 0 to 1; signed, dark to bright."""
WIDTH = 9.0
"""Inches: what the column of a page holds beside margins, 930 pixels."""


class Panel(NamedTuple):
    """One map of a figure: values (h, w), a title, and how to color them.

    limits: values at the ends of the color map; None for the map's own (symmetric about zero if diverging).
    """

    values: NDArray
    title: str
    cmap: str = SEQUENTIAL
    limits: tuple[float, float] | None = None


def channel_map(tensor: Tensor, channel: int | str = "rms") -> NDArray[np.float32]:
    """One number per pixel of features (1, c, h, w): a channel by its number, or "rms" or "mean" over channels.

    Raises: `InputError` for a channel that is not there.
    """
    features = tensor.detach().float().cpu()[0]
    if channel == "rms":
        return reduce(features.square(), "c h w -> h w", "mean").sqrt().numpy()
    if channel == "mean":
        return reduce(features, "c h w -> h w", "mean").numpy()
    if not isinstance(channel, int) or not 0 <= channel < len(features):
        raise InputError(f"channel={channel!r}: use 'rms', 'mean' or a number from 0 to {len(features) - 1}")
    return features[channel].numpy()


def show_study(ax: Axes, study: Study, title: str = "") -> Axes:
    """Draw a study's slice with the contours of its organs, under its name or another title."""
    return show_slice(ax, study.image, study.label, title=title or study.name, class_names=study.class_names)


def show_map(ax: Axes, study: Study, panel: Panel, outlines: bool = True) -> Any:
    """Draw a map over the whole slice, whatever its grid, with the organs' outlines; returns the image drawn."""
    values, (height, width) = np.asarray(panel.values), study.image.shape
    low, high = panel.limits or (float(values.min()), float(values.max()))
    if panel.limits is None and panel.cmap == DIVERGING:
        high = float(np.abs(values).max()) or 1.0
        low = -high
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    drawn = ax.imshow(values, cmap=panel.cmap, vmin=low, vmax=high, extent=extent, interpolation="nearest")
    if outlines:
        draw_outlines(ax, study.label, class_names=study.class_names)
    ax.set_title(panel.title, fontsize=9)
    ax.set_axis_off()
    return drawn


def color_bar(drawn: Any, ax: Any, **options: Any) -> Any:
    """A bar for a map drawn, beside one or more axes, with small numbers; options: as for ``Figure.colorbar``."""
    place = {} if "cax" in options else {"ax": ax, "pad": 0.02, "shrink": 0.75}
    bar = drawn.axes.figure.colorbar(drawn, **place | options)
    bar.ax.tick_params(labelsize=7)
    return bar


def sign(figure: Figure, study: Study, source: str = "") -> Figure:
    """Name the colors of the organs in the slice, and say what the data are: the study's source, or another."""
    organ_legend(figure, study.label, study.class_names)
    return stamp(figure, source or study.source)


def draw_signs(ax: Axes, values: NDArray) -> None:
    """Lines at half of the largest size of signed values (h, w), drawn on their own grid: solid plus, dashed minus.

    In gray the two ends of a diverging color map look alike. A side that does not reach the half has no line.
    """
    half = float(np.abs(values).max()) / 2
    for level, style in ((-half, "dashed"), (half, "solid")):
        if values.min() < level < values.max():
            ax.contour(values, levels=[level], colors=["black"], linewidths=0.9, linestyles=style)


def plot_maps(
    study: Study,
    panels: Sequence[Panel] | Mapping[str, Sequence[Panel | None]],
    columns: int = 4,
    image: bool = True,
) -> Figure:
    """Draw panels in rows, each with its own color bar; the slice itself stands first.

    panels: a sequence, broken into rows of ``columns``, or rows by name, each as long as it is. image: show the slice
    with its organs in front of the first row; a None among the panels puts it there instead.
    """
    rows = _rows(panels, columns, image)
    across = max(len(row) for row in rows.values())
    figure, axes = figure_grid(len(rows), across, width=min(2.25, WIDTH / across), height=min(2.3, 5.8 / len(rows)))
    for line, (name, row) in zip(axes, rows.items(), strict=True):
        for ax, panel in zip(line, row, strict=False):
            if panel is None:
                show_study(ax, study)
                continue
            color_bar(show_map(ax, study, panel), ax)
        for ax in line[len(row) :]:
            ax.set_axis_off()
        if name:
            line[0].text(
                -0.06, 0.5, name, transform=line[0].transAxes, rotation=90, va="center", ha="right", fontsize=9
            )
    return sign(figure, study)


def _rows(
    panels: Sequence[Panel] | Mapping[str, Sequence[Panel | None]], columns: int, image: bool
) -> dict[str, list[Panel | None]]:
    first: list[Panel | None] = [None] if image else []
    if isinstance(panels, Mapping):
        rows = {name: list(row) for name, row in panels.items()}
        start = next(iter(rows))
        return {name: (first + row if name == start else [*row]) for name, row in rows.items()}
    flat = [*first, *panels]
    return {" " * (i // columns): flat[i : i + columns] for i in range(0, len(flat), columns)}
