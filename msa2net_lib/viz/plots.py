"""Figures of the workbook: one palette, radiological orientation, data named on the figure itself.

Volumes are LPS arrays (z, y, x), so an axial slice drawn with its rows downwards shows the patient's right
on the viewer's left, as radiologists read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from msa2net_lib.data.catalog import DATASETS, dataset_entry
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.errors import InputError
from msa2net_lib.viz.colors import class_color

if TYPE_CHECKING:
    import pandas as pd

    from msa2net_lib.data.datasets import Case


class _Sources(dict[str, str]):
    """The catalog's lines, and those of data of your own by their folder."""

    def __missing__(self, name: str) -> str:
        return dataset_entry(name).source


SOURCES = _Sources({name: entry.source for name, entry in DATASETS.items()})
"""What to write on a figure, by data set name."""
VIRTUAL, REAL = SOURCES["virtual"], SOURCES["patient2"]
FILL = 0.25


def show_slice(
    ax: Axes,
    image: NDArray,
    label: NDArray | None = None,
    *,
    spacing: Sequence[float] | None = None,
    title: str = "",
    limits: tuple[float, float] | None = (0.0, 1.0),
    sides: bool = True,
    class_names: Sequence[str] = ORGANS,
) -> Axes:
    """Draw an axial slice (y, x) in gray with the contours of its classes (label (y, x)) and R and L marked.

    image: or (y, x, 3) uint8, in color.
    spacing: (..., y, x) in mm, for the true aspect. limits: gray values of black and white, None for the
    image's own. sides: mark the patient's right and left; leave off where the image is not anatomy.
    """
    aspect = 1.0 if spacing is None else spacing[-2] / spacing[-1]
    low, high = limits if limits is not None else (float(image.min()), float(image.max()))
    ax.imshow(image, cmap="gray", vmin=low, vmax=high, aspect=aspect, interpolation="nearest")
    if label is not None:
        _draw_organs(ax, label, aspect, class_names)
    if sides:
        for x, letter in ((0.03, "R"), (0.97, "L")):
            text = ax.text(x, 0.5, letter, transform=ax.transAxes, color="white", ha="center", va="center", fontsize=9)
            text.set_path_effects(halo("white", 0.5))
    ax.set_title(title, fontsize=9)
    ax.set_axis_off()
    ax.set(xticks=[], yticks=[])  # a title asks where they are, even where they are not seen
    return ax


def draw_outlines(ax: Axes, label: NDArray, linewidth: float = 1.5, class_names: Sequence[str] = ORGANS) -> None:
    """Outline the classes of a label (y, x) in their colors on what is drawn already, with `halo`."""
    for number in _classes(label):
        draw_outline(ax, label == number, class_color(number, class_names), linewidth)


def draw_outline(ax: Axes, mask: NDArray, color: str, linewidth: float = 1.5) -> None:
    """Outline one region (y, x) on what is drawn already, with `halo`."""
    line = ax.contour(mask, levels=[0.5], colors=[color], linewidths=linewidth)
    line.set_path_effects(halo(color, linewidth))


def halo(color: str, linewidth: float) -> list[patheffects.AbstractPathEffect]:
    """A dark edge for a bright line, a bright one for a dark: without color a bare line may not be seen at all."""
    luminance = float(np.dot(to_rgb(color), (0.299, 0.587, 0.114)))
    edge = "black" if luminance > 0.5 else "white"
    return [patheffects.withStroke(linewidth=linewidth + 1.6, foreground=edge)]


def _draw_organs(ax: Axes, label: NDArray, aspect: float, class_names: Sequence[str]) -> None:
    fill = np.zeros((*label.shape, 4))
    for number in _classes(label):
        fill[label == number] = (*to_rgb(class_color(number, class_names)), FILL)
    draw_outlines(ax, label, class_names=class_names)
    ax.imshow(fill, aspect=aspect, interpolation="nearest")


def _classes(label: NDArray) -> list[int]:
    return [int(number) for number in np.unique(label) if number]


def organ_legend(figure: Figure, label: NDArray | None = None, class_names: Sequence[str] = ORGANS) -> None:
    """Name the classes' colors below the figure: those in ``label``, or all."""
    present = range(1, len(class_names) + 1) if label is None else _classes(label)
    handles = [Patch(color=class_color(number, class_names), label=class_names[number - 1]) for number in present]
    if handles:
        figure.legend(handles=handles, loc="outside lower center", ncols=min(8, len(handles)), fontsize=8)


def stamp(figure: Figure, text: str) -> Figure:
    """Write on the figure what its data are, so that it stays true when it travels alone."""
    figure.suptitle(text, fontsize=7, color="0.35", x=0.99, ha="right")
    return figure


PAGE = 9.15, 6.25
"""Inches of the largest figure: at 100 pixels an inch and with its margin it fits a column of 930 and a view of 640."""


def figure_grid(rows: int, columns: int, width: float = 2.6, height: float = 2.4) -> tuple[Figure, NDArray]:
    """A grid of axes, always 2-D, with room for a legend, that fits the page; closed for pyplot: it shows only once."""
    import matplotlib.pyplot as plt

    size = min(width * columns, PAGE[0]), min(height * rows + 0.3, PAGE[1])
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    plt.close(figure)
    return figure, axes


def plot_comparison(
    image: NDArray,
    label: NDArray,
    predictions: Mapping[str, NDArray],
    slices: Sequence[int],
    spacing: Sequence[float] | None,
    source: str,
    class_names: Sequence[str] = ORGANS,
) -> Figure:
    """Slices side by side: reference label in the first row, each prediction below it.

    image, label and predictions: (z, y, x); slices: z indices. source: `VIRTUAL`, `REAL` or another line.
    """
    rows = {"reference label": label, **predictions}
    figure, axes = figure_grid(len(rows), len(slices), width=2.25)
    for row, (name, labels) in enumerate(rows.items()):
        for column, z in enumerate(slices):
            title = f"slice {z}: {name}" if row == 0 or column == 0 else f"slice {z}"
            show_slice(axes[row, column], image[z], labels[z], spacing=spacing, title=title, class_names=class_names)
    organ_legend(figure, np.concatenate([labels[list(slices)] for labels in rows.values()]), class_names)
    return stamp(figure, source)


def plot_histograms(panels: Mapping[str, NDArray], xlabel: Mapping[str, str]) -> Figure:
    """One histogram per panel, share of pixels on a logarithmic axis."""
    figure, axes = figure_grid(1, len(panels), width=2.9, height=2.0)
    for ax, (name, values) in zip(axes[0], panels.items(), strict=True):
        flat = np.asarray(values, dtype=np.float32).ravel()
        ax.hist(flat, bins=80, weights=np.full(flat.size, 1 / flat.size), color="#0072B2")
        ax.set_yscale("log")
        ax.set_title(name, fontsize=9)
        ax.set_xlabel(xlabel[name], fontsize=8)
        ax.tick_params(labelsize=7)
    axes[0, 0].set_ylabel("share of pixels", fontsize=8)
    return figure


def plot_history(history: Sequence[Mapping[str, float]]) -> Figure:
    """Loss (with its running mean over ten entries), learning rate and, if it was measured, validation DSC, by step."""
    import pandas as pd

    table = pd.DataFrame(list(history))
    scored = "validation_dsc" in table
    figure, axes = figure_grid(1, 2 + scored, width=4.2, height=2.3)
    left, right, *others = axes[0]
    left.plot(table.step, table.loss, color="0.75", linewidth=1, label="batch")
    left.plot(table.step, table.loss.rolling(10, min_periods=1).mean(), color="#D55E00", label="mean of 10")
    left.set(xlabel="step", ylabel="loss")
    left.legend(fontsize=7, frameon=False)
    right.plot(table.step, table.learning_rate, color="#0072B2")
    right.set(xlabel="step", ylabel="learning rate")
    for ax in others:
        measured = table.dropna(subset="validation_dsc")
        ax.plot(measured.step, measured.validation_dsc, "o-", color="#009E73", markersize=3)
        ax.set(xlabel="step", ylabel="DSC used to select")
    return figure


def plot_scores(scores: pd.DataFrame, column: str, xlabel: str, source: str) -> Figure:
    """One row per organ, one dot per case, a bar at the mean; missing values leave no dot.

    scores: columns case, organ (in the order of the classes) and ``column``.
    """
    figure, axes = figure_grid(1, 1, width=6.4, height=2.9)
    ax = axes[0, 0]
    organs = list(dict.fromkeys(scores.organ))
    for row, organ in enumerate(organs):
        values = scores.loc[scores.organ == organ, column].dropna()
        ax.plot(values, [row] * len(values), "o", color=class_color(row + 1, organs), markeredgecolor="0.3", alpha=0.9)
        if len(values):
            ax.plot([values.mean()] * 2, [row - 0.3, row + 0.3], color="0.2", linewidth=1.5)
    ax.set_yticks(range(len(organs)), organs, fontsize=8)
    ax.invert_yaxis()
    ax.set_xlabel(xlabel, fontsize=9)
    ax.grid(axis="x", color="0.9")
    return stamp(figure, source)


def plot_round_trip(table: pd.DataFrame, source: str) -> Figure:
    """DSC of each organ's label after resizing it there and back; one marker per network size.

    table: index organ, one column per size in pixels, values DSC.
    """
    figure, axes = figure_grid(1, 1, width=6.4, height=2.9)
    ax = axes[0, 0]
    for size, marker in zip(table.columns, "osD^v", strict=False):
        ax.plot(table[size], range(len(table)), marker, label=f"{size} x {size} pixels", alpha=0.85)
    ax.set_yticks(range(len(table)), list(table.index), fontsize=8)
    ax.invert_yaxis()
    ax.set_xlabel("DSC of the label itself, resized there and back", fontsize=9)
    ax.grid(axis="x", color="0.9")
    ax.legend(fontsize=7, frameon=False)
    return stamp(figure, source)


def busiest_slices(label: NDArray, count: int) -> list[int]:
    """``count`` slices (z indices, ascending), spread over the volume, each rich in organs; [] if none has any."""
    organs = np.array([np.count_nonzero(np.bincount(z.ravel())[1:]) for z in label], dtype=float)
    occupied = np.flatnonzero(organs)
    if not len(occupied):
        return []
    parts: list[Any] = np.array_split(occupied, min(count, len(occupied)))
    # The middle half of each part, so that neighboring parts do not give neighboring slices.
    middles = [part[len(part) // 4 : len(part) - len(part) // 4] for part in parts]
    return [int(middle[np.argmax(organs[middle])]) for middle in middles]


def choose_slice(case: Case, chosen: int | str, organ: str | None = None) -> int:
    """Return the slice ``chosen``, or for "auto" one rich in organs, where it holds an organ (or this ``organ``).

    Raises: `InputError` for a slice that is not there or holds none, with those that do.
    """
    if organ is not None and organ not in case.class_names:
        raise InputError(f"ORGAN={organ!r}: is unknown; choose one of {', '.join(case.class_names)}")
    wanted = case.label > 0 if organ is None else case.label == case.class_names.index(organ) + 1
    holding = np.flatnonzero(wanted.any(axis=(1, 2)))
    what = organ or "organ"
    if not len(holding):
        raise InputError(f"{case.name} holds no {what}; choose another case with CASE")
    if chosen == "auto":
        best = busiest_slices(case.label, 1)[0]
        return best if best in holding else int(holding[busiest_slices(case.label[holding], 1)[0]])
    if chosen not in holding:
        among = (
            f"slices {holding[0]} to {holding[-1]} of {case.name} do"
            if len(holding) > 1
            else f"slice {holding[0]} does"
        )
        raise InputError(f"SLICE={chosen}: holds no {what}; {among}, or give auto")
    return int(chosen)
