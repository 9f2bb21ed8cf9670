"""Figures of the boundary loss: alpha of drawn shapes, gradients beside Dice and cross-entropy, absent classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray
from scipy import ndimage

from msa2net_lib.analysis.slice_study import Study
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.data.resize import resize_label
from msa2net_lib.lessons.l09_boundary_loss.study import (
    COMPARED,
    SHAPES,
    alpha_of,
    boundary,
    corrupt,
    draw_shape,
    loss_and_gradient,
)
from msa2net_lib.losses import MAX_ALPHA
from msa2net_lib.viz.colors import class_color
from msa2net_lib.viz.maps import DIVERGING, show_study
from msa2net_lib.viz.plots import figure_grid, organ_legend, stamp

DRAWN = "shapes drawn for this page, not anatomy"
RADII = tuple(range(1, 31))
TARGET, PREDICTED = "#0072B2", "#D55E00"


def plot_boundary(study: Study, organ: str) -> Figure:
    """The slice with its organs, and one of them by the loss's reckoning: boundary pixels and inside."""
    mask = study.label == study.organ_id(organ)
    box, edge = _surroundings(mask, 4), boundary(mask)
    figure, ((left, right),) = figure_grid(1, 2, width=3.4, height=2.8)
    show_study(left, study, "the slice and its organs")
    _show_mask(right, mask[box], edge[box])
    right.set_title(f"{organ}: {edge.sum()} boundary of {mask.sum()} pixels, alpha {alpha_of(mask):.2f}", fontsize=9)
    organ_legend(figure, study.label, study.class_names)
    return stamp(figure, study.source)


@lru_cache(maxsize=64)
def _alpha_by_radius(shape: str, elongation: float) -> list[float]:
    return [alpha_of(draw_shape(shape, radius, elongation)) for radius in RADII]


def plot_alpha(shape: str, radius: float, elongation: float = 1.0) -> Figure:
    """A drawn shape with its boundary pixels, alpha against the radius of every shape, and the loss at this alpha."""
    # Fixed margins: the layout engine would take longer than all the drawing, and a widget waits for it.
    figure = Figure(figsize=(9.1, 3.0))
    drawn, curves, cost = figure.subplots(
        1, 3, gridspec_kw={"left": 0.01, "right": 0.99, "bottom": 0.17, "top": 0.86, "wspace": 0.3}
    )
    mask = draw_shape(shape, radius, elongation)
    edge, alpha = boundary(mask), alpha_of(mask)
    _show_mask(drawn, mask, edge)
    drawn.set_title(f"{edge.sum()} boundary of {mask.sum()} pixels: alpha {alpha:.2f}", fontsize=9)
    ends = {name: _alpha_by_radius(name, elongation)[-1] for name in SHAPES}
    heights = dict(zip(sorted(ends, key=lambda name: ends[name]), _spread(sorted(ends.values()), 0.13), strict=True))
    for name in SHAPES:
        color = PREDICTED if name == shape else "0.6"
        curves.plot(RADII, _alpha_by_radius(name, elongation), color=color, linewidth=1.8 if name == shape else 1.0)
        curves.text(RADII[-1] + 0.6, heights[name], name, fontsize=8, va="center", color=color)
    curves.plot([radius], [alpha], "o", color=PREDICTED)
    curves.set(xlabel="radius (pixels)", ylabel="alpha", ylim=(-1.08, 1.0), xlim=(0, 41))
    curves.set_title("alpha grows with size, to 0.8 at most", fontsize=9)
    _plot_cost(cost, {f"this shape: {alpha:.2f}": (alpha, PREDICTED)})
    return stamp(figure, DRAWN)


def _spread(heights: Sequence[float], gap: float) -> list[float]:
    """Ascending heights, pushed down where two would be closer than ``gap``."""
    placed: list[float] = []
    for height in reversed(heights):
        placed.insert(0, min(height, placed[0] - gap) if placed else height)
    return placed


def _show_mask(ax: Axes, mask: NDArray, edge: NDArray) -> None:
    ax.imshow(mask.astype(int) + edge, cmap=ListedColormap(["0.93", TARGET, PREDICTED]), vmin=0, vmax=2)
    for color, name in ((PREDICTED, "boundary"), (TARGET, "inside")):
        ax.plot([], [], "s", color=color, label=name)
    ax.legend(loc="lower right", fontsize=8, frameon=False)
    ax.set_xticks([])
    ax.set_yticks([])


def _plot_cost(ax: Axes, more: Mapping[str, tuple[float, str]]) -> None:
    """Loss of a prediction of the object's size against the share of it that overlaps, for fixed alphas and more."""
    share = np.linspace(0, 1, 201)
    fixed = {"alpha -1: Dice loss": (-1.0, "0.6"), "alpha 0: 1 - IoU": (0.0, "0.4"), "alpha 0.8": (MAX_ALPHA, "0.1")}
    for (name, (alpha, color)), dashes in zip((fixed | dict(more)).items(), (":", "-.", "--", "-"), strict=False):
        difference = 2 * (1 - share)
        ax.plot(share, difference / (difference + (1 - alpha) * share), dashes, color=color, label=name)
    ax.set(xlabel="share of the object that overlaps", ylabel="loss of this class")
    ax.set_title("a prediction of the object's size", fontsize=9)
    ax.legend(fontsize=7, frameon=False, loc="lower left")


def plot_gradients(
    image: NDArray, mask: NDArray[np.bool_], predictions: Mapping[str, NDArray[np.bool_]], source: str
) -> Figure:
    """Predictions of one object in rows; beside each the gradient of every loss by the object's logits.

    Each column has a color scale of its own: it compares predictions, not losses. Only the object's surroundings
    are shown. image: (h, w) in [0, 1]; masks: (h, w).
    """
    box = _surroundings(mask, 8)
    figure, axes = figure_grid(len(predictions), 1 + len(COMPARED), width=2.2, height=1.9)
    for ax, (title, predicted) in zip(axes[:, 0], predictions.items(), strict=True):
        ax.imshow(image[box], cmap="gray", vmin=0, vmax=1)
        ax.set_title(title, fontsize=9)
        _outline(ax, mask[box], predicted[box], 1.3)
    for line, name in zip(axes.T[1:], COMPARED, strict=True):
        results = [loss_and_gradient(name, mask, predicted) for predicted in predictions.values()]
        high = 1e4 * max(float(np.abs(gradient).max()) for _, gradient in results) or 1.0
        for ax, (loss, gradient), predicted in zip(line, results, predictions.values(), strict=True):
            drawn = ax.imshow(1e4 * gradient[box], cmap=DIVERGING, vmin=-high, vmax=high)
            _outline(ax, mask[box], predicted[box], 0.5)
            ax.set_title(f"{name} {loss:.3f}", fontsize=9)
        bar = figure.colorbar(drawn, ax=list(line), pad=0.02, aspect=20, location="bottom")
        bar.set_label("gradient x 10 000", fontsize=8)
        bar.ax.tick_params(labelsize=7)
    for ax in axes.ravel():
        ax.set_xticks([])
        ax.set_yticks([])
    handles = [
        Line2D([], [], color=TARGET, label="reference"),
        Line2D([], [], color=PREDICTED, label="drawn prediction"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8)
    return stamp(figure, source)


def _surroundings(mask: NDArray, margin: int) -> tuple[slice, ...]:
    (box,) = ndimage.find_objects(mask.astype(int))
    return tuple(slice(max(0, side.start - margin), side.stop + margin) for side in box)


def _outline(ax: Axes, mask: NDArray, predicted: NDArray, linewidth: float) -> None:
    for values, color in ((mask, TARGET), (predicted, PREDICTED)):
        if values.any() and not values.all():
            ax.contour(values, levels=[0.5], colors=[color], linewidths=linewidth)


def plot_shifts(masks: Mapping[str, NDArray[np.bool_]], shifts: Sequence[int], source: str) -> Figure:
    """Each loss against how far a drawn prediction is moved to the right, one panel per object by name."""
    figure, axes = figure_grid(1, len(masks), width=3.6, height=2.6)
    for ax, (name, mask) in zip(axes[0], masks.items(), strict=True):
        for loss, style in zip(COMPARED, ("-", "--", ":"), strict=True):
            values = [loss_and_gradient(loss, mask, corrupt(mask, "shifted", shift))[0] for shift in shifts]
            ax.plot(shifts, values, style, color="0.15", label=loss, linewidth=1.6)
        ax.set_title(f"{name}, {mask.sum()} pixels, alpha {alpha_of(mask):.2f}", fontsize=9)
        ax.set(xlabel="shift (pixels)", ylabel="loss", ylim=(0, None))
        ax.legend(fontsize=7, frameon=False)
    return stamp(figure, source)


def plot_organ_alphas(label: NDArray, sizes: Sequence[int], source: str, class_names: Sequence[str] = ORGANS) -> Figure:
    """Alpha of every organ of a label (h, w) against the image size to which it is resized."""
    figure, axes = figure_grid(1, 1, width=5.6, height=2.8)
    ax = axes[0, 0]
    resized = [resize_label(label, (size, size)) for size in sizes]
    for index, organ in enumerate(class_names, start=1):
        if (label == index).any():
            values = [alpha_of(one == index) if (one == index).any() else np.nan for one in resized]
            ax.plot(
                sizes,
                values,
                "o-",
                color=class_color(index, class_names),
                markeredgecolor="0.4",
                markersize=5,
                label=organ,
            )
    ax.axhline(MAX_ALPHA, color="0.4", linewidth=0.8, linestyle=":")
    ax.set(xlabel="image size (pixels a side)", ylabel="alpha", ylim=(-1.08, 0.95), xticks=list(sizes))
    ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8, frameon=False)
    return stamp(figure, source)


def plot_floor(losses: Sequence[float], floors: Sequence[float], source: str) -> Figure:
    """BDoU of each slice of a scan, taken alone, over the part of it that no prediction could avoid."""
    figure, axes = figure_grid(1, 1, width=6.6, height=2.6)
    ax, slices = axes[0, 0], np.arange(len(losses))
    ax.bar(slices, floors, 1.0, color="0.75", label="floor: classes that the slice does not hold")
    ax.bar(slices, np.subtract(losses, floors), 1.0, bottom=floors, color=TARGET, label="above the floor: the network")
    ax.set(xlabel="slice", ylabel="BDoU, batch of one slice", xlim=(-0.5, len(losses) - 0.5), ylim=(0, 1.25))
    ax.legend(fontsize=8, frameon=False, loc="upper right", ncols=2)
    return stamp(figure, source)
