"""The paper's Figures 2 and 3 as grids: rows are slices or pictures, columns the ground truth and each network.

The captions name no cases and no rule by which they were chosen. Here the rule is in the function's name and on the
figure, and it looks at the reference labels (`slices_through`) or at the whole range of scores (`spread_of`).
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import ndimage

from msa2net_lib.data.datasets import Case
from msa2net_lib.data.images.dataset import Picture
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.errors import InputError
from msa2net_lib.metrics import dice
from msa2net_lib.viz.plots import busiest_slices, figure_grid, organ_legend, show_slice, stamp

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHORT = {
    "aorta": "Aor", "gallbladder": "Gal", "left kidney": "LKid", "right kidney": "RKid",
    "liver": "Liv", "pancreas": "Pan", "spleen": "Spl", "stomach": "Sto",
}  # fmt: skip
"""Organs as Table 1 abbreviates them: written on the ground truth, so that the figure reads in gray too."""
TRUTH, PREDICTED = "#2CA02C", "#1F4FD8"
"""Figure 3's colors, as its caption says: the true boundary green, the predicted one blue."""
GROUND_TRUTH = "ground truth"
_HALO = [patheffects.withStroke(linewidth=2.0, foreground="black")]
_MARGIN = 4  # pixels of air around the body


@dataclass(frozen=True, eq=False)
class SliceRow:
    """A row of Figure 2: one axial slice, its label and what each network made of it, all (y, x).

    spacing: (y, x) in mm, or None.
    """

    title: str
    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    predictions: Mapping[str, NDArray[np.uint8]]
    spacing: tuple[float, float] | None = None


def slices_through(cases: Sequence[Case], predictions: Mapping[str, Mapping[str, NDArray]]) -> list[SliceRow]:
    """One slice of each case: of the first its lowest rich one, of the last its highest, so that all organs get a row.

    "Rich" is the number of organs in the reference label, `plots.busiest_slices`. predictions: network -> case name ->
    label map (z, y, x). Raises: `InputError` if a network has none of a case.
    """
    rows = []
    for index, case in enumerate(cases):
        for name, maps in predictions.items():
            if case.name not in maps:
                raise InputError(f"{name}: has no prediction of {case.name}; evaluate it with keep_predictions=True")
        found = busiest_slices(case.label, len(cases)) or [len(case.label) // 2]
        z = found[min(index, len(found) - 1)]
        body = _around_body(case.image[z])
        maps = {name: maps[case.name][z][body] for name, maps in predictions.items()}
        spacing = None if case.spacing is None else (case.spacing[1], case.spacing[2])
        rows.append(SliceRow(f"{case.name}\nslice {z}", case.image[z][body], case.label[z][body], maps, spacing))
    return rows


def plot_figure_2(rows: Sequence[SliceRow], source: str) -> Figure:
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
            show_slice(ax, row.image, label, spacing=row.spacing, title=title)
            if name == GROUND_TRUTH:
                _name_organs(ax, label)
            else:
                _note(ax, f"DSC in slice {slice_dsc(label, row.label):.2f}")
        _name_row(panels[0], row.title)
    organ_legend(figure, np.concatenate([label.ravel() for row in rows for label in (row.label, *_maps(row))]))
    return stamp(figure, source)


def slice_dsc(predicted: NDArray, label: NDArray) -> float:
    """Mean Dice over the organs that a slice's label has; nan where it has none."""
    organs = [index for index in np.unique(label) if index]
    return float(np.mean([dice(predicted == index, label == index) for index in organs])) if organs else float("nan")


@dataclass(frozen=True, eq=False)
class ImageRow:
    """A row of Figure 3: a picture with its mask and the masks that networks predict, all of one size."""

    title: str
    picture: Picture
    predictions: Mapping[str, NDArray[np.uint8]]


def spread_of(by_image: pd.DataFrame, count: int) -> dict[str, str]:
    """Choose pictures from the worst to the best DSC at even steps of rank: id -> "DSC 0.57, worst".

    by_image: `ImageEvaluation.by_image`. Fewer pictures than ``count`` are all chosen.
    """
    ranked = by_image.sort_values("dsc", kind="stable")["dsc"]
    places = np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int)
    words = {0: ", worst", len(ranked) - 1: ", best"}
    return {str(ranked.index[place]): f"DSC {ranked.iloc[place]:.2f}{words.get(int(place), '')}" for place in places}


def plot_figure_3(rows: Sequence[ImageRow], source: str) -> Figure:
    """Pictures, and on each network's copy the true boundary (green, solid) and its own (blue, dashed).

    source: what the pictures are, written on the figure. Raises: `InputError` without rows.
    """
    if not rows:
        raise InputError("no picture to draw: give at least one")
    names = list(rows[0].predictions)
    figure, axes = figure_grid(len(rows), 2 + len(names), width=1.9, height=1.75)
    for row, panels in zip(rows, axes, strict=True):
        columns = {"picture": None, GROUND_TRUTH: None, **row.predictions}
        for ax, (name, mask) in zip(panels, columns.items(), strict=True):
            ax.imshow(row.picture.image, interpolation="nearest")
            if name != "picture":
                _outline(ax, row.picture.mask, TRUTH, "solid")
            if mask is not None:
                _outline(ax, mask, PREDICTED, "dashed")
                _note(ax, f"DSC {dice(mask, row.picture.mask):.2f}")
            ax.set_title(textwrap.fill(name, 22) if row is rows[0] else "", fontsize=9)
            ax.set_axis_off()
        _name_row(panels[0], row.title)
    handles = [
        Line2D([], [], color=TRUTH, label="ground truth"),
        Line2D([], [], color=PREDICTED, linestyle="dashed", label="predicted"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8)
    return stamp(figure, source)


def _maps(row: SliceRow) -> list[NDArray[np.uint8]]:
    return list(row.predictions.values())


def _around_body(image: NDArray) -> tuple[slice, slice]:
    """The box of what is brighter than a twentieth of the window, with some air; all of an empty image."""
    box = ndimage.find_objects((image > 0.05).astype(np.uint8))
    if not box:
        return slice(None), slice(None)
    first, second = (
        slice(max(0, side.start - _MARGIN), min(length, side.stop + _MARGIN))
        for side, length in zip(box[0], image.shape, strict=True)
    )
    return first, second


def _name_organs(ax: Axes, label: NDArray) -> None:
    """Write each organ's short name in the middle of its largest part."""
    for index, organ in enumerate(ORGANS, start=1):
        parts, count = cast("tuple[NDArray, int]", ndimage.label(label == index))
        if not count:
            continue
        largest = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
        # The innermost pixel lies within the organ even if that is bent around another.
        depth = cast("NDArray", ndimage.distance_transform_edt(np.pad(largest, 1)))
        y, x = np.unravel_index(depth.argmax(), depth.shape)
        style = {"fontsize": 6, "color": "white", "ha": "center", "va": "center", "path_effects": _HALO}
        ax.text(float(x) - 1, float(y) - 1, SHORT[organ], **style)


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
