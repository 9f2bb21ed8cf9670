"""Photographs with their masks, and what they are written on the figure."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from msa2net_lib.data.images.dataset import LesionImage
from msa2net_lib.viz.plots import SOURCES, figure_grid, stamp

SYNTHETIC = SOURCES["skin"]
LESION = "#56B4E9"


def show_image(ax: Axes, image: NDArray, mask: NDArray | None = None, title: str = "", color: str = LESION) -> Axes:
    """Draw an image (H, W, 3), uint8 or in [0, 1], with the outline of its lesion mask (H, W)."""
    ax.imshow(image, interpolation="nearest")
    if mask is not None and mask.any() and not mask.all():
        ax.contour(mask, levels=[0.5], colors=[color], linewidths=1.2)
    ax.set_title(title, fontsize=8)
    ax.set_axis_off()
    return ax


def plot_images(images: Sequence[LesionImage], source: str, columns: int = 5) -> Figure:
    """A sheet of images with their lesions outlined; source: `SYNTHETIC`, or what else they are."""
    rows = -(-len(images) // columns)
    figure, axes = figure_grid(rows, columns, width=1.8, height=1.85)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, lesion in zip(axes.flat, images, strict=False):
        show_image(ax, lesion.image, lesion.mask, lesion.id)
    return stamp(figure, source)
