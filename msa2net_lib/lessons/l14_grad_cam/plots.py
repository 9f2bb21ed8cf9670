"""Figures of heat maps: Figure B, one map for a chosen layer and region, and charts of the sanity checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray

from msa2net_lib.analysis.grad_cam import Evidence, disc, grad_cam, grad_cam_layers
from msa2net_lib.analysis.layers import LAST
from msa2net_lib.analysis.network_field import holding_radius
from msa2net_lib.analysis.saliency import edge_map, share_inside
from msa2net_lib.analysis.slice_study import Study, network_input
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l14_grad_cam.study import (
    EDGES,
    FLAT,
    LAYERS,
    PROBABILITY,
    OrganView,
    as_array,
    study_targets,
)
from msa2net_lib.viz.cursor import CURSOR
from msa2net_lib.viz.maps import DIVERGING, SEQUENTIAL, SHARES, Panel, draw_signs, show_map, show_study
from msa2net_lib.viz.plots import draw_outline, draw_outlines, figure_grid, organ_legend, show_slice, stamp

FAINTEST = -3.0
"""Fields are drawn on a logarithmic scale from a thousandth of their largest value."""
NO_HEAT = "no heat at all"
"""What stands on a map that is zero everywhere."""
_HALO = [patheffects.withStroke(linewidth=2.0, foreground="black")]
_BY_REGION = "in a disc around the pixel"


STYLES = (
    ("#000000", "-", "o"), ("#0072B2", "--", "s"), ("#D55E00", ":", "D"),
    ("#009E73", "-.", "^"), ("#CC79A7", (0, (6, 2)), "v"), ("#56B4E9", (0, (1, 1)), "X"),
)  # fmt: skip
"""Color, line and marker of each layer, in the order of `LAYERS`; lines and markers alone tell them apart."""
MEASURES = {"rank": "rank correlation, sign ignored", "ssim": "SSIM"}


def plot_figure_b(study: Study, views: Sequence[OrganView], layer: str = LAST) -> Figure:
    """Figure B, organs in rows: slice and true outline, prediction, Grad-CAM, the gate's own map, receptive field.

    Each map is on its own scale, from its smallest to its largest value. The share of the heat inside the organ stands
    on the map. The field is |gradient| of the logit at the cross with respect to the image, logarithmic, and the dashed
    circle holds half of it.
    """
    if not views:
        raise InputError("no organ to draw: choose a slice that has one")
    figure, axes = figure_grid(len(views), 5, width=1.75, height=1.62)
    titles = (
        "slice, true outline",
        "prediction",
        f"Grad-CAM,\n{layer}",
        "gate's own map,\nlevel 0 (mean)",
        "field of one logit",
    )
    for row, view in zip(axes, views, strict=True):
        number, names = study.organ_id(view.organ), study.class_names
        show_slice(row[0], study.image, np.where(view.truth, number, 0), class_names=names)
        show_slice(row[1], study.image, np.where(view.predicted, number, 0), class_names=names)
        _map(row[2], study, Panel(view.heat, ""), view.truth, _inside(view.heat, view.truth))
        _map(row[3], study, Panel(view.attention, "", SHARES), view.truth)
        _field(row[4], study, view.field, view.center, np.where(view.truth, number, 0))
        _name_row(row[0], view.organ)
        for ax, title in zip(row, titles, strict=True):
            ax.set_title(title if view is views[0] else "", fontsize=8)
    return stamp(figure, f"{study.name}: {study.source}")


def draw_heat(
    study: Study, layer: str, organ: str, region: str, row: int, column: int, evidence: Evidence = "positive"
) -> Figure:
    """One Grad-CAM for given values: the slice with the region asked about, the map as the layer made it, and laid out.

    region: "the organ itself", or "in a disc around the pixel" (row, column), radius a sixteenth of the slice. Errors:
    `InputError` for an organ that the slice lacks, a pixel outside of it, or an unknown layer.
    """
    height, width = study.image.shape
    if region == _BY_REGION:
        mask = disc(height, width, row, column, height / 16).numpy()
    else:
        mask = study_targets(study, [organ])[organ][1].astype(np.float32)
    pixels = network_input(study.network, study.image[None])
    heat = grad_cam(study.network, pixels, mask, study.organ_id(organ), layer, evidence)
    figure, axes = figure_grid(1, 3, width=2.9, height=2.7)
    whole, own, laid = axes[0]
    show_study(whole, study, f"{study.name}; asked about: {organ}")
    region_line = whole.contour(mask, levels=[0.5], colors=[CURSOR], linewidths=1.6, linestyles="dashed")
    region_line.set_path_effects([patheffects.withStroke(linewidth=3.0, foreground="white")])
    cmap = SEQUENTIAL if evidence == "positive" else DIVERGING
    maps = (
        (own, heat.own, f"{layer}, {heat.own.shape[-2]} x {heat.own.shape[-1]}"),
        (laid, heat.values, "on the slice"),
    )
    for ax, values, title in maps:
        drawn = show_map(ax, study, Panel(as_array(values[0]), title, cmap), outlines=ax is laid)
        bar = figure.colorbar(drawn, ax=ax, shrink=0.7, pad=0.02)
        bar.ax.tick_params(labelsize=6.5)
    wide = as_array(heat.values[0])
    if evidence == "both":  # dashed is against the class
        draw_signs(laid, wide)
    if not wide.any():
        _note(laid, NO_HEAT)
    organ_legend(figure, study.label, study.class_names)
    return stamp(figure, study.source)


REGIONS = ("the organ itself", _BY_REGION)
"""What `draw_heat` can be asked about."""


def plot_layers(study: Study, organs: Sequence[str], layers: Sequence[str] = LAYERS) -> Figure:
    """Grad-CAM of organs (rows) at layers (columns), each map on its layer's own grid, with the organ's outline."""
    targets = study_targets(study, organs)
    pixels = network_input(study.network, study.image[None])
    heat = grad_cam_layers(study.network, pixels, targets, {layer: layer for layer in layers})
    rows = {}
    for organ, (_, mask) in targets.items():
        rows[organ] = []
        for layer, one in heat[organ].items():
            title = f"{layer}\n{one.own.shape[-2]} x {one.own.shape[-1]}"
            rows[organ].append((Panel(as_array(one.own[0]), title), mask, _inside(as_array(one.values[0]), mask)))
    return _grid(study, rows, 1.6, f"{study.name}: {study.source}")


def plot_explained(study: Study, views: Sequence[OrganView]) -> Figure:
    """Grad-CAM of the last layer beside what needs no explanation: the organ's probability, the image's edges."""
    rows = {}
    for view in views:
        panels = (
            Panel(view.heat, "Grad-CAM, last layer"),
            Panel(view.probability, "probability", limits=(0.0, 1.0)),
            Panel(edge_map(study.image), "edges of the image"),
            Panel(view.attention, "gate's own map, level 0", SHARES),
        )
        rows[view.organ] = [(panel, view.truth, _inside(panel.values, view.truth)) for panel in panels]
    return _grid(study, rows, 1.85, f"{study.name}: {study.source}")


def plot_cascade(study: Study, organ: str, maps: Mapping[str, Mapping[str, NDArray]]) -> Figure:
    """An organ's maps as weights are drawn anew from the head downwards, `study.cascade_maps`: layers in rows."""
    _, mask = study_targets(study, [organ])[organ]
    rows = {
        layer: [(Panel(found[layer], step), mask, _inside(found[layer], mask)) for step, found in maps.items()]
        for layer in next(iter(maps.values()))
    }
    return _grid(study, rows, 1.72, f"{study.name}, {organ}: {study.source}")


def plot_fields(fields: Mapping[str, NDArray], center: tuple[int, int], study: Study) -> Figure:
    """Effective receptive fields (h, w) by name around one pixel, logarithmic, with circles of half and 95 %."""
    figure, axes = figure_grid(1, len(fields), width=3.1, height=2.9)
    drawn = None
    for ax, (title, field) in zip(axes[0], fields.items(), strict=True):
        drawn = _field(ax, study, field, center, None, shares=(0.5, 0.95))
        ax.set_title(title, fontsize=9)
    if drawn is not None:
        bar = figure.colorbar(drawn, ax=axes[0, -1], shrink=0.7, pad=0.02, ticks=[-3, -2, -1, 0], extend="min")
        bar.ax.set_yticklabels(["1/1000", "1/100", "1/10", "largest"], fontsize=7)
    return stamp(figure, study.source)


def plot_shown(maps: Mapping[str, Mapping[str, Mapping[str, list]]], study: Study) -> Figure:
    """A measurement's maps of one slice: variants in rows, layers and organs in columns.

    maps: variant -> layer -> organ -> rows of whole numbers, as `shuffled_study.shown_maps` makes them. study: the
    same slice, for its outlines.
    """
    rows = {}
    for variant, layers in maps.items():
        rows[variant] = []
        for layer, organs in layers.items():
            for organ, stored in organs.items():
                values = np.asarray(stored, dtype=float)
                mask, note = study.label == study.organ_id(organ), "" if values.any() else NO_HEAT
                rows[variant].append((Panel(values, f"{organ}\n{layer}"), mask, note))
    return _grid(study, rows, 1.6, f"{study.name}: {study.source}")


def plot_randomization(tables: dict[str, pd.DataFrame], source: str) -> Figure:
    """Similarity to the trained network's map against the part drawn anew, a line per layer; one row per table.

    tables: title -> `study.randomization_table`. Points are means over organs and seeds, bars reach from the
    lowest to the highest seed.
    """
    figure, axes = figure_grid(len(tables), 2, width=4.6, height=2.9)
    for row, (title, table) in zip(axes, tables.items(), strict=True):
        for ax, (column, name) in zip(row, MEASURES.items(), strict=True):
            _lines(ax, table, column)
            ax.set_title(f"{title}: {name}", fontsize=8.5)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=7.5, frameon=False)
    return stamp(figure, source)


def _lines(ax: Axes, table: pd.DataFrame, column: str) -> None:
    parts = list(dict.fromkeys(table.part))
    layers = list(dict.fromkeys(table.layer))
    for index, layer in enumerate(layers):
        color, line, marker = STYLES[_order(layer, index)]
        groups: Any = table[table.layer == layer].groupby(["part", "seed"], sort=False)[column]
        by_seed = groups.mean().unstack().loc[parts]
        x = [position + 0.06 * (index - len(layers) / 2) for position in range(len(parts))]
        mean, low, high = by_seed.mean(axis=1), by_seed.min(axis=1), by_seed.max(axis=1)
        ax.errorbar(
            x, mean, yerr=[mean - low, high - mean], color=color, linestyle=line, marker=marker, markersize=4,
            linewidth=1.2, elinewidth=0.8, label=layer,
        )  # fmt: skip
    ax.set_xticks(range(len(parts)), parts, rotation=55, ha="right", fontsize=7)
    ax.set_ylim(-0.1, 1.05)
    ax.axhline(0, color="0.7", linewidth=0.8)
    ax.tick_params(axis="y", labelsize=7.5)
    ax.grid(axis="y", color="0.93")
    ax.set_axisbelow(True)


def plot_localization(summary: pd.DataFrame, source: str) -> Figure:
    """Share of the heat inside the organ and pointing game, a bar per map; baselines hatched and named as such."""
    figure, axes = figure_grid(1, 2, width=4.3, height=3.0)
    names = list(summary.index)
    titles = {"inside": "share of the heat inside the organ", "pointing": "largest value inside the organ"}
    for ax, (column, title) in zip(axes[0], titles.items(), strict=True):
        for y, name in enumerate(names):
            baseline = name in (PROBABILITY, EDGES, FLAT)
            style: dict[str, Any] = {"color": "0.85", "hatch": "////"} if baseline else {"color": "#0072B2"}
            ax.barh(y, summary[column][name], edgecolor="0.3", linewidth=0.6, **style)
            ax.text(summary[column][name] + 0.015, y, f"{summary[column][name]:.2f}", va="center", fontsize=7)
        ax.set_yticks(range(len(names)), names if column == "inside" else [], fontsize=7.5)
        ax.invert_yaxis()
        ax.set_xlim(0, 1.13)
        ax.set_title(title, fontsize=9)
        ax.tick_params(axis="x", labelsize=7.5)
    return stamp(figure, source)


def plot_pairs(pairs: pd.DataFrame, source: str, chances: Mapping[str, float] | None = None) -> Figure:
    """Similarity of the maps of two networks by layer: true labels with two seeds beside true and permuted labels.

    pairs: `shuffled_study.pair_table`. A marker is one pair, a bar the mean of its kind. chances: the rank correlation
    of unrelated maps by layer, drawn as a dotted line.
    """
    figure, axes = figure_grid(1, 2, width=4.3, height=3.0)
    layers = list(dict.fromkeys(pairs.layer))
    kinds = list(dict.fromkeys(pairs.pair))
    for ax, (column, name) in zip(axes[0], MEASURES.items(), strict=True):
        for offset, (kind, (color, _, marker)) in enumerate(zip(kinds, (STYLES[1], STYLES[2]), strict=False)):
            for y, layer in enumerate(layers):
                values = pairs[(pairs.pair == kind) & (pairs.layer == layer)][column]
                at, label = y + 0.3 * offset - 0.15, kind if y == 0 else None
                ax.plot(values, [at] * len(values), marker, color=color, alpha=0.7, markersize=5, label=label)
                ax.plot([values.mean()] * 2, [at - 0.13, at + 0.13], color=color, linewidth=2)
        for y, layer in enumerate(layers if column == "rank" and chances else ()):
            label = "unrelated maps of the grid" if y == 0 else None
            ax.plot([(chances or {})[layer]] * 2, [y - 0.4, y + 0.4], ":", color="0.3", label=label)
        ax.set_yticks(range(len(layers)), layers if column == "rank" else [], fontsize=7.5)
        ax.invert_yaxis()
        ax.set_xlim(-0.05, 1.05)
        ax.set_title(name, fontsize=9)
        ax.tick_params(axis="x", labelsize=7.5)
        ax.grid(axis="x", color="0.93")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return stamp(figure, source)


def _grid(study: Study, rows: Mapping[str, Sequence[tuple[Panel, NDArray, str]]], side: float, source: str) -> Figure:
    """Rows of maps by name, each with a mask to outline and a note; titles stand above the first row."""
    first = next(iter(rows))
    figure, axes = figure_grid(len(rows), len(rows[first]), width=side, height=side)
    for line, (name, cells) in zip(axes, rows.items(), strict=True):
        for ax, (panel, mask, note) in zip(line, cells, strict=True):
            _map(ax, study, panel if name == first else panel._replace(title=""), mask, note)
            ax.title.set_fontsize(8)
        _name_row(line[0], name)
    return stamp(figure, source)


def _map(ax: Axes, study: Study, panel: Panel, mask: NDArray, note: str = "") -> None:
    """A map with the outline of one organ, in white because the organ is named beside it."""
    show_map(ax, study, panel, outlines=False)
    if mask.any():
        draw_outline(ax, mask, "white", 1.0)
    _note(ax, note)


def _name_row(ax: Axes, name: str) -> None:
    ax.text(-0.06, 0.5, name, transform=ax.transAxes, rotation=90, va="center", ha="right", fontsize=8.5)


def _inside(values: NDArray, mask: NDArray) -> str:
    return f"{share_inside(values, mask):.0%} inside" if values.any() else NO_HEAT


def _field(
    ax: Axes,
    study: Study,
    field: NDArray,
    center: tuple[int, int],
    label: NDArray | None,
    shares: Sequence[float] = (0.5,),
):
    relative = np.log10(np.maximum(field / field.max(), 10.0**FAINTEST))
    drawn = show_map(ax, study, Panel(relative, "", "magma", (FAINTEST, 0.0)), outlines=False)
    if label is not None:
        draw_outlines(ax, label, 0.8, study.class_names)
    row, column = center
    ax.plot(column, row, "+", color="white", markersize=6, path_effects=_HALO)
    for share, style in zip(shares, ("--", ":"), strict=False):
        radius = holding_radius(field, center, share)
        ax.add_patch(Circle((column, row), radius, fill=False, color="white", linewidth=1.0, linestyle=style))
    height, width = study.image.shape
    ax.set_xlim(-0.5, width - 0.5)
    ax.set_ylim(height - 0.5, -0.5)
    return drawn


def _note(ax: Axes, text: str) -> None:
    style = {"fontsize": 6.5, "color": "white", "ha": "left", "va": "bottom", "path_effects": _HALO}
    ax.text(0.02, 0.02, text, transform=ax.transAxes, **style)


def _order(layer: str, index: int) -> int:
    return LAYERS.index(layer) if layer in LAYERS else index % len(STYLES)
