"""The paper's Figures 2 and 3 as grids, and what a closer look at the scores shows."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import cast

import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from scipy import ndimage

from msa2net_lib.data.datasets import Case
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l11_evaluation.closer_look import Calibration
from msa2net_lib.lessons.l11_evaluation.study import Row
from msa2net_lib.viz.plots import figure_grid, organ_legend, show_slice, stamp

SHORT = {
    "aorta": "Aor", "gallbladder": "Gal", "left kidney": "LKid", "right kidney": "RKid",
    "liver": "Liv", "pancreas": "Pan", "spleen": "Spl", "stomach": "Sto",
}  # fmt: skip
"""Organs as Table 1 abbreviates them: written on the ground truth, so that the figure reads in gray too."""
TRUTH, PREDICTED = "#2CA02C", "#1F4FD8"
"""Figure 3's colors, as its caption says: the true boundary green, the predicted one blue."""
GROUND_TRUTH = "ground truth"
_HALO = [patheffects.withStroke(linewidth=2.0, foreground="black")]


def plot_figure_2(rows: Sequence[Row], source: str, class_names: Sequence[str] = ORGANS) -> Figure:
    """Ground truth and predictions, slice by slice: organs in color, their names in the ground truth, R and L.

    Each prediction says its DSC in the slice, the mean over the organs that the slice has. source: what the data are,
    written on the figure. Raises: `InputError` without rows.
    """
    if not rows:
        raise InputError("no slice to draw: give at least one case")
    names = list(rows[0].predictions)
    width = max(2.7, 7.2 / (1 + len(names)))  # as wide as its legend at least
    figure, axes = figure_grid(len(rows), 1 + len(names), width=width, height=0.8 * width)
    for row, panels in zip(rows, axes, strict=True):
        labels = {GROUND_TRUTH: row.label, **row.predictions}
        for ax, (name, label) in zip(panels, labels.items(), strict=True):
            title = textwrap.fill(name, int(11 * width)) if row is rows[0] else ""
            show_slice(ax, row.image, label, spacing=row.spacing, title=title, class_names=class_names)
            if name == GROUND_TRUTH:
                _name_organs(ax, label, class_names)
            else:
                _note(ax, f"DSC in slice {row.dsc(name):.2f}")
        _name_row(panels[0], row.title)
    shown = [label.ravel() for row in rows for label in (row.label, *row.predictions.values())]
    organ_legend(figure, np.concatenate(shown), class_names)
    return stamp(figure, source)


def plot_figure_3(rows: Sequence[Row], source: str) -> Figure:
    """Images, and on each network's copy the true boundary (green, solid) and its own (blue, dashed).

    source: what the images are, written on the figure. Raises: `InputError` without rows.
    """
    if not rows:
        raise InputError("no image to draw: give at least one")
    names = list(rows[0].predictions)
    figure, axes = figure_grid(len(rows), 2 + len(names), width=1.9, height=1.75)
    for row, panels in zip(rows, axes, strict=True):
        columns = {"image": None, GROUND_TRUTH: None, **row.predictions}
        for ax, (name, mask) in zip(panels, columns.items(), strict=True):
            ax.imshow(row.image, interpolation="nearest")
            if name != "image":
                _outline(ax, row.label, TRUTH, "solid")
            if mask is not None:
                _outline(ax, mask, PREDICTED, "dashed")
                _note(ax, f"DSC {row.dsc(name):.2f}")
            ax.set_title(textwrap.fill(name, 22) if row is rows[0] else "", fontsize=9)
            ax.set_axis_off()
        _name_row(panels[0], row.title)
    handles = [
        Line2D([], [], color=TRUTH, label="ground truth"),
        Line2D([], [], color=PREDICTED, linestyle="dashed", label="predicted"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8)
    return stamp(figure, source)


def _name_organs(ax: Axes, label: NDArray, class_names: Sequence[str]) -> None:
    """Write each organ's short name in the middle of its largest part."""
    for index, organ in enumerate(class_names, start=1):
        parts, count = cast("tuple[NDArray, int]", ndimage.label(label == index))
        if not count:
            continue
        largest = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
        # The innermost pixel lies within the organ even if that is bent around another.
        depth = cast("NDArray", ndimage.distance_transform_edt(np.pad(largest, 1)))
        y, x = np.unravel_index(depth.argmax(), depth.shape)
        style = {"fontsize": 6, "color": "white", "ha": "center", "va": "center", "path_effects": _HALO}
        ax.text(float(x) - 1, float(y) - 1, SHORT.get(organ, organ[:4]), **style)


def _outline(ax: Axes, mask: NDArray, color: str, style: str) -> None:
    """Outline a mask, with a white halo that keeps the line apart from skin and lesion of any tone."""
    if not mask.any() or mask.all():
        return
    drawn = ax.contour(mask, levels=[0.5], colors=[color], linewidths=1.4, linestyles=[style])
    drawn.set_path_effects([patheffects.withStroke(linewidth=2.6, foreground="white", alpha=0.7)])


def _note(ax: Axes, text: str) -> None:
    style = {"fontsize": 6.5, "color": "white", "ha": "left", "va": "bottom", "path_effects": _HALO}
    ax.text(0.02, 0.02, text, transform=ax.transAxes, **style)


def _name_row(ax: Axes, text: str) -> None:
    ax.text(-0.04, 0.5, text, transform=ax.transAxes, fontsize=7, ha="right", va="center")


def plot_surface_distances(
    case: Case, predicted: NDArray, distances: NDArray, z: int, source: str, limit: float = 10.0
) -> Figure:
    """A slice with its reference, the prediction, and each predicted surface pixel colored by its distance.

    distances: `closer_look.surface_distances`, in mm where the case has a spacing; z: the slice. What is farther than
    ``limit`` has the last color.
    """
    figure, axes = figure_grid(1, 3, width=3.0, height=2.9)
    spacing = None if case.spacing is None else (case.spacing[1], case.spacing[2])
    named = {"spacing": spacing, "class_names": case.class_names}
    labels = {"reference": case.label[z], "prediction": predicted[z]}
    for ax, (title, label) in zip(axes[0], labels.items(), strict=False):
        show_slice(ax, case.image[z], label, title=title, **named)
    ax = axes[0, 2]
    show_slice(ax, case.image[z], None, title="distance of its surface", **named)
    drawn = ax.imshow(
        np.ma.masked_invalid(np.minimum(distances[z], limit)), cmap="plasma", vmin=0, vmax=limit,
        interpolation="nearest", aspect=ax.get_aspect(), zorder=5,
    )  # fmt: skip
    unit = "voxels" if spacing is None else "mm"
    figure.colorbar(drawn, ax=ax, fraction=0.046, extend="max").set_label(f"{unit} to the true surface", fontsize=7.5)
    organ_legend(figure, np.stack(list(labels.values())), case.class_names)
    return stamp(figure, source)


def plot_confusion(table: pd.DataFrame, source: str) -> Figure:
    """Where each true class's voxels went, in percent of the row; the diagonal is what was found."""
    figure, axes = figure_grid(1, 1, width=6.2, height=4.2)
    ax, shares = axes[0, 0], 100 * table.to_numpy()
    ax.imshow(np.nan_to_num(shares), cmap="Blues", vmin=0, vmax=100)
    for (y, x), share in np.ndenumerate(shares):
        if share >= 0.05:
            color = "white" if share > 60 else "black"
            ax.text(
                x, y, f"{share:.1f}" if share < 99.95 else "100", ha="center", va="center", fontsize=6.5, color=color
            )
    ax.set_xticks(range(len(table)), list(table.columns), rotation=40, ha="right", fontsize=7.5)
    ax.set_yticks(range(len(table)), list(table.index), fontsize=7.5)
    ax.set_xlabel("predicted", fontsize=8)
    ax.set_ylabel("true: percent of its voxels", fontsize=8)
    return stamp(figure, source)


def plot_calibration(found: Calibration, source: str) -> Figure:
    """Accuracy against confidence, and how many pixels are so sure; on the diagonal a network knows what it knows."""
    figure, axes = figure_grid(1, 2, width=3.4, height=2.8)
    reliability, counts = axes[0]
    reliability.plot([0, 1], [0, 1], ":", color="0.5", label="as sure as right")
    reliability.plot(found.bins.confidence, found.bins.accuracy, "o-", color="black", label="measured")
    reliability.set_ylabel("accuracy", fontsize=8)
    reliability.set_title(f"expected calibration error {found.error:.3f}", fontsize=8.5)
    reliability.legend(fontsize=7.5)
    counts.bar(found.bins.confidence, found.bins.pixels, width=0.07, color="0.7", edgecolor="0.3")
    counts.set_yscale("log")
    counts.set_ylabel("pixels", fontsize=8)
    for ax in axes[0]:
        ax.set_xlim(0, 1.02)
        ax.set_xlabel("confidence", fontsize=8)
        ax.tick_params(labelsize=7.5)
    return stamp(figure, source)
