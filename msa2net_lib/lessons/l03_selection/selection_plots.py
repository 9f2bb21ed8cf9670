"""Pictures and numbers of spatial selection: where the weights are high, and what a slice becomes without them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from einops import reduce
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_gradient_magnitude

from msa2net_lib.analysis.interventions import predict, shuffle_pixels, slice_dice, with_tensors
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l02_fusion.fusion_plots import CURSOR, cell_at, fixed_row, frame_cells
from msa2net_lib.lessons.slice_study import Study
from msa2net_lib.nn.masag import MASAG
from msa2net_lib.viz.maps import DIVERGING, SHARES, Panel, channel_map, show_map
from msa2net_lib.viz.plots import ORGAN_COLORS, figure_grid, organ_legend, show_slice, stamp

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

TISSUES = ("background", *ORGANS)
"""Names by label number."""
WEIGHT_CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "as trained": lambda weight: weight,
    "one half everywhere": lambda weight: torch.full_like(weight, 0.5),
    "shuffled over pixels": shuffle_pixels,
    "swapped": lambda weight: 1 - weight,
    "all for X": torch.ones_like,
    "all for G": torch.zeros_like,
}
"""What may stand in place of the weight of X (b, 1, h, w); the weight of G is what is left to one."""
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


def edge_map(study: Study, level: int) -> NDArray[np.float32]:
    """How steep the slice is, on a level's grid (h, w): gradient at the scale of a pixel, mean over a cell."""
    rows, columns = study.label_at(level).shape
    steep = gaussian_gradient_magnitude(study.image, sigma=1.0)
    return reduce(steep, "(h i) (w j) -> h w", "mean", h=rows, w=columns).astype(np.float32)


def selection_values(studies: Sequence[Study]) -> pd.DataFrame:
    """One row per cell of every level of every study: study, level, tissue, weight_x and edge (see `edge_map`).

    A cell belongs to the tissue at its place in `Study.label_at`. Raises: `InputError` without a study.
    """
    if not studies:
        raise InputError("studies is empty: give at least one")
    tables = []
    for study in studies:
        for level in study.levels:
            columns = {
                "study": study.name,
                "level": level,
                "tissue": np.array(TISSUES)[study.label_at(level).ravel()],
                "weight_x": channel_map(study.traces[level].weight_x, 0).ravel(),
                "edge": edge_map(study, level).ravel(),
            }
            tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def mean_weights(values: pd.DataFrame) -> pd.DataFrame:
    """Mean weight of X and number of cells, tissue by level; from `selection_values`; nan where there is no cell."""
    grouped = values.groupby(["tissue", "level"]).weight_x.agg(["mean", "size"])
    table = grouped.unstack("level").swaplevel(axis=1)
    levels = sorted(values.level.unique())
    ordered = [(level, name) for level in levels for name in ("mean", "size")]
    return table.reindex(index=[tissue for tissue in TISSUES if tissue in table.index], columns=ordered)


def edge_correlation(studies: Sequence[Study], level: int) -> tuple[float, float]:
    """Correlation over cells of the weight of X with edges: those of its own slice, and of the next study's slice."""
    weights = [channel_map(study.traces[level].weight_x, 0).ravel() for study in studies]
    edges = [edge_map(study, level).ravel() for study in studies]
    flat = np.concatenate(weights)
    own, other = (np.corrcoef(flat, np.concatenate(e))[0, 1] for e in (edges, edges[1:] + edges[:1]))
    return float(own), float(other)


def predict_with_weights(study: Study, change: str | Callable[[Tensor], Tensor]) -> NDArray[np.uint8]:
    """Label (h, w) that the network gives the slice if the weight of X is changed in every gate.

    change: one of `WEIGHT_CHANGES` or (b, 1, h, w) -> (b, 1, h, w); the weight of G becomes one minus the new weight.
    Nothing is trained again. Raises: `InputError` for a name that is not known.
    """
    if isinstance(change, str):
        if change not in WEIGHT_CHANGES:
            raise InputError(f"change={change!r} is unknown: use one of {', '.join(WEIGHT_CHANGES)}")
        change = WEIGHT_CHANGES[change]
    made = change

    def weight_x(gate: MASAG, tensors: Any) -> Tensor:
        return made(gate.selection.weights(tensors.u)[:, :1])

    rules = {"weight_x": weight_x, "weight_g": lambda gate, tensors: 1 - tensors.weight_x}
    return predict(study, {level: with_tensors(study.gate(level), rules) for level in study.levels})


def change_weights(studies: Sequence[Study], changes: Mapping[str, str | Callable[[Tensor], Tensor]]) -> pd.DataFrame:
    """What other weights in all gates do to the labels of several slices; changes as for `predict_with_weights`.

    Columns: "mean Dice", mean over slices of the mean over organs (`slice_dice`), and "changed organ pixels", the share
    of pixels with another label than with trained weights, among those that are organ with either.
    """
    trained = [predict_with_weights(study, "as trained") for study in studies]
    rows = {}
    for name, change in changes.items():
        labels = [predict_with_weights(study, change) for study in studies]
        pairs = list(zip(trained, labels, strict=True))
        organ = sum(int(((a > 0) | (b > 0)).sum()) for a, b in pairs)
        scores = [slice_dice(study, label)["mean"] for study, label in zip(studies, labels, strict=True)]
        rows[name] = {
            "mean Dice": float(np.mean(scores)),
            "changed organ pixels": sum(int((a != b).sum()) for a, b in pairs) / max(1, organ),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def plot_weight_histograms(values: pd.DataFrame, source: str) -> Figure:
    """How the weight of X is distributed, tissue by tissue and level by level, from `selection_values`.

    A row is a histogram with ten bins, darker for more of the tissue's cells; its mean is a diamond.
    """
    levels = sorted(values.level.unique())
    figure, axes = figure_grid(1, len(levels), width=3.3, height=2.9)
    tissues = [tissue for tissue in TISSUES if (values.tissue == tissue).any()]
    drawn = None
    for ax, level in zip(axes[0], levels, strict=True):
        here = values[values.level == level]
        groups = [here.weight_x[here.tissue == tissue].to_numpy() for tissue in tissues]
        counts = np.array([np.histogram(group, BINS)[0] / max(1, len(group)) for group in groups])
        drawn = ax.imshow(counts, cmap="Grays", vmin=0, vmax=1, extent=(0, 1, len(tissues) - 0.5, -0.5), aspect="auto")
        for row, (tissue, group) in enumerate(zip(tissues, groups, strict=True)):
            if len(group):
                color = ORGAN_COLORS.get(tissue, "white")
                ax.plot(group.mean(), row, "D", color=color, markeredgecolor="black", markersize=6)
        names = [f"{tissue} ({len(group)})" for tissue, group in zip(tissues, groups, strict=True)]
        ax.set_yticks(range(len(tissues)), names, fontsize=7)
        ax.set_title(f"level {level} (cells)", fontsize=9)
        ax.set_xlabel("weight of X", fontsize=8)
        ax.tick_params(axis="x", labelsize=7)
    if drawn is not None:
        bar = figure.colorbar(drawn, ax=axes[0, -1], shrink=0.8)
        bar.set_label("share of the tissue's cells; diamond: mean", fontsize=7)
        bar.ax.tick_params(labelsize=7)
    return stamp(figure, source)


def plot_weight_cursor(study: Study, level: int, row: int, column: int) -> Figure:
    """A cursor on the slice and on the map of weights; the two weights there, and what lies there.

    row, column: a pixel of the slice. The organ is the label's at the cell's place.
    """
    cell, trace = cell_at(study, level, row, column), study.traces[level]
    figure, (left, middle, right) = fixed_row()
    show_slice(left, study.image, study.label, title=f"{study.name}, level {level}")
    weight = channel_map(trace.weight_x, 0)
    drawn = show_map(middle, study, Panel(weight, "weight of X", SHARES, (0, 1)), outlines=False)
    bar = figure.colorbar(drawn, cax=middle.inset_axes((1.03, 0.1, 0.05, 0.8)))
    bar.ax.tick_params(labelsize=7)
    for ax in (left, middle):
        frame_cells(ax, study, level, cell, 1)
        ax.axhline(row, color=CURSOR, linewidth=0.5)
        ax.axvline(column, color=CURSOR, linewidth=0.5)
    shares = np.array([weight[cell], channel_map(trace.weight_g, 0)[cell]])
    bars = right.bar(["encoder X", "decoder G"], shares, color=["#0072B2", "#D55E00"], width=0.6)
    right.bar_label(bars, [f"{share:.3f}\ntimes {1 + share:.3f}" for share in shares], fontsize=8, padding=2)
    right.set_ylim(0, 1.25)
    right.set_yticks([0, 0.5, 1])
    right.set_ylabel("weight", fontsize=8, labelpad=1)
    right.tick_params(labelsize=8)
    right.set_box_aspect(1)
    right.set_title(f"cell ({cell[0]}, {cell[1]}): {TISSUES[study.label_at(level)[cell]]}", fontsize=9)
    organ_legend(figure, study.label)
    return stamp(figure, study.source)
