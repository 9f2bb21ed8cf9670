"""Figures of the frequency lesson: curves by layer, both measures over layers, one band put back into the image.

Lines differ in style and marker, not in color alone, so that all can be read in gray.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from msa2net_lib.analysis.slice_study import Study
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l13_frequency.study import (
    BAND_EDGES,
    BANDS,
    MEASURES,
    Curve,
    band_shares,
    layer_values,
    run_curve,
    show_bands,
)
from msa2net_lib.viz.intervals import share_limits
from msa2net_lib.viz.maps import BRIGHTNESS, Panel, channel_map, show_map, show_study
from msa2net_lib.viz.plots import figure_grid, organ_legend, stamp

STYLES: tuple[tuple[str, Any, str], ...] = (
    ("#0072B2", "-", "o"), ("#D55E00", "--", "s"), ("#009E73", ":", "^"), ("#000000", "-.", "D"), ("#CC79A7", "-", "x"),
)  # fmt: skip
"""Color, line style and marker of the first, second ... curve."""
NYQUIST = 0.5 * 2**0.5
FIGURE_A = (
    ("encoder stage 1", "encoder stage 2", "encoder stage 3", "encoder stage 4"),
    ("level 3 block 2", "level 2 block 2", "level 1 block 2", "level 0 block 2"),
)
"""Layers of the reproduced Figure A: encoder stages, and decoder levels after their blocks, rows as data flow."""


def plot_spectra(panels: Sequence[Mapping[str, Mapping[str, Curve]]], source: str, note: str = "") -> Figure:
    """Rows of panels, each with curves by name over the frequency in cycles per pixel of that layer.

    panels: row -> title -> name -> curve; a name has one style throughout. A curve's spread over seeds is a filled
    band, that over slices two thin dotted lines. note: goes below, what these are.
    """
    across = max(len(row) for row in panels)
    figure, axes = figure_grid(len(panels), across, width=2.75 if across > 2 else 4.4, height=2.35)
    names = list(dict.fromkeys(name for row in panels for curves in row.values() for name in curves))
    style = {name: STYLES[number % len(STYLES)] for number, name in enumerate(names)}
    for line, row in zip(axes, panels, strict=True):
        for ax, (title, curves) in zip(line, row.items(), strict=False):
            for name, curve in curves.items():
                _draw_curve(ax, curve, style[name])
            ax.set_title(title, fontsize=8.5)
            _frequency_axis(ax)
        for ax in line[len(row) :]:
            ax.set_axis_off()
        line[0].set_ylabel("relative log amplitude\n(natural log)", fontsize=8)
        share_limits(line[: len(row)])
    handles: list[Any] = [
        Line2D([], [], color=style[name][0], linestyle=style[name][1], marker=style[name][2], markersize=4, label=name)
        for name in names
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=min(5, 2 * across), fontsize=8, frameon=False,
        title=note or None, title_fontsize=7,
    )  # fmt: skip
    for ax in axes[-1, : len(panels[-1])]:
        ax.set_xlabel("|f|, cycles per cell of the layer", fontsize=7.5)
    return stamp(figure, source)


def plot_figure_a(
    runs: pd.DataFrame, variants: Mapping[str, str], source: str, layers: Sequence[Sequence[str]] = FIGURE_A
) -> Figure:
    """The supplement's Figure A as reproduced: encoder above, decoder below, a line per variant.

    variants: what to call each in the legend -> its name in ``runs``.
    """
    grids = runs[runs.variant == next(iter(variants.values()))].layers.iloc[0]
    rows = [
        {
            "{}\n{} x {} cells".format(layer, *grids[layer]["grid"]): {
                label: run_curve(runs, name, layer) for label, name in variants.items()
            }
            for layer in line
        }
        for line in layers
    ]
    drawn = [curve for row in rows for curves in row.values() for curve in curves.values()]
    seeds = runs[runs.variant.isin(list(variants.values()))].seed.nunique()
    told = [f"filled: standard deviation over {seeds} seeds"] if seeds > 1 else []
    if any(curve.slices is not None and np.isfinite(curve.slices).any() for curve in drawn):
        told.append("dotted: standard deviation over slices" + (", mean over seeds" if seeds > 1 else ""))
    note = "; ".join(told) or "one seed, one slice"
    return plot_spectra(rows, source, note)


def plot_measure(runs: pd.DataFrame, variants: Mapping[str, str], layers: Sequence[str], source: str) -> Figure:
    """Both measures of every layer for several variants: a panel per measure, layers along, mean and sd over seeds."""
    figure, axes = figure_grid(len(MEASURES), 1, width=9.5, height=2.4)
    for ax, (measure, title) in zip(axes[:, 0], MEASURES.items(), strict=True):
        for number, (label, name) in enumerate(variants.items()):
            color, line, marker = STYLES[number % len(STYLES)]
            values = [layer_values(runs, name, layer, measure) for layer in layers]
            mean, spread = np.array([v.mean() for v in values]), [v.std(ddof=1) for v in values]
            x = np.arange(len(layers)) + 0.08 * (number - len(variants) / 2)
            ax.errorbar(
                x, mean, yerr=np.nan_to_num(spread), color=color, linestyle=line, marker=marker, markersize=3.5,
                linewidth=1, capsize=2, label=label,
            )  # fmt: skip
        ax.set_ylabel("upper half of the band\n(natural log)", fontsize=7.5)
        ax.set_title(title, fontsize=8.5)
        ax.tick_params(axis="y", labelsize=7)
        ax.grid(color="0.93")
        ax.set_xticks(
            range(len(layers)), list(layers) if ax is axes[-1, 0] else [], rotation=60, ha="right", fontsize=7
        )
    axes[0, 0].legend(fontsize=7.5, frameon=False, ncols=min(5, len(variants)))
    return stamp(figure, source)


def draw_band(study: Study, maps: Mapping[str, Tensor], layer: str, band: str) -> Figure:
    """What one band of frequencies holds of the slice and of a layer's features, beside the whole of both.

    maps: layer -> (1, c, h, w) of this slice. band: one of `BANDS`, in cycles per image, so that the slice and every
    layer are cut at the same place. The slice's part has both signs, mid-gray is zero; features are shown as the root
    mean square over channels; the titles give `band_shares`. Raises: `InputError` for a name that is not there.
    """
    if layer not in maps:
        raise InputError(f"layer={layer!r} is unknown: use one of {', '.join(maps)}")
    if band not in BANDS:
        raise InputError(f"band={band!r} is unknown: use one of {', '.join(BANDS)}")
    features, image = maps[layer].cpu(), torch.from_numpy(study.image)[None, None]
    of_slice, of_layer = (show_bands(values)[BANDS.index(band)] for values in (image, features))
    side = max(features.shape[-2:])
    figure, axes = figure_grid(1, 4, width=2.5, height=2.4)
    show_study(axes[0, 0], study)
    most = float(of_slice.abs().max()) or 1.0
    panels = (
        Panel(of_slice[0, 0].numpy(), f"slice, {band}\n{_told(image, band)}", BRIGHTNESS, (-most, most)),
        Panel(channel_map(features), f"{layer}, {side} cells wide\nall bands"),
        Panel(channel_map(of_layer), f"{layer}, {band}\n{_told(features, band)}"),
    )
    for ax, panel in zip(axes[0, 1:], panels, strict=True):
        bar = figure.colorbar(show_map(ax, study, panel), ax=ax, shrink=0.7, pad=0.02)
        bar.ax.tick_params(labelsize=6.5)
    organ_legend(figure, study.label, study.class_names)
    return stamp(figure, f"{study.source}\nbands in cycles per image; shares of the energy that is not the mean's")


def _told(maps: Tensor, band: str) -> str:
    number, side = BANDS.index(band), max(maps.shape[-2:])
    if number == 0:
        return "no detail at all"
    # The highest frequency of a square grid, in its corner.
    if BAND_EDGES[number - 1] > side * 0.5**0.5:
        return "beyond this grid"
    return f"{100 * band_shares(maps)[band]:.1f} % of its energy"


def _draw_curve(ax: Axes, curve: Curve, style: tuple[str, Any, str]) -> None:
    color, line, marker = style
    every = max(1, len(curve.mean) // 8)
    ax.plot(
        curve.frequency, curve.mean, color=color, linestyle=line, marker=marker, markevery=every, markersize=3.5,
        linewidth=1.3,
    )  # fmt: skip
    if curve.seeds is not None:
        ax.fill_between(
            curve.frequency, curve.mean - curve.seeds, curve.mean + curve.seeds, color=color, alpha=0.22, linewidth=0
        )
    if curve.slices is not None:
        for sign in (-1, 1):
            ax.plot(
                curve.frequency, curve.mean + sign * curve.slices, color=color, linestyle=(0, (1, 3)), linewidth=0.7
            )


def _frequency_axis(ax: Axes) -> None:
    ax.axvline(NYQUIST / 2, color="0.8", linewidth=0.8)
    ax.set_xlim(-0.01, NYQUIST + 0.01)
    ax.set_xticks([0, NYQUIST / 2, NYQUIST], ["0", "0.354", "0.707"])
    ax.tick_params(labelsize=7)
    ax.grid(axis="y", color="0.93")
