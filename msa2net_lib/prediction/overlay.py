"""The figure of a prediction: its richest slices with the classes outlined, named, and what they were made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from einops import reduce
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from msa2net_lib.inference import NOT_CLINICAL
from msa2net_lib.metrics.masks import label_boxes
from msa2net_lib.prediction.field_of_view import BODY
from msa2net_lib.prediction.result import Prediction
from msa2net_lib.viz import plots
from msa2net_lib.viz.colors import class_color, class_colors

SLICES = 6
_COLUMNS = 3


def draw_overlay(prediction: Prediction) -> Figure:
    """Draw up to `SLICES` slices of a volume, spread over it and rich in classes; a single one, or an image, twice.

    Twice: plain and outlined. On it stand the image's and the checkpoint's name, the classes found, and that it is no
    clinical result. R and L are the patient's; an image does not say where they are.
    """
    slices: list[int | None] = [None] if prediction.spacing is None else [*_slices(prediction.label)]
    panels = [(z, True) for z in slices] if len(slices) > 1 else [(slices[0], False), (slices[0], True)]
    columns = min(_COLUMNS, len(panels))
    rows, width = -(-len(panels) // columns), 3.0 if columns == _COLUMNS else 3.6
    top, bottom, left, right = _shown_box(prediction, slices)
    _, y, x = prediction.spacing or (1.0, 1.0, 1.0)
    height = width * (bottom - top) * y / ((right - left) * x)
    size = (width * columns, min(6.0, height + 0.3) * rows + 0.3)
    figure = Figure(size, layout="constrained")  # not by pyplot, which takes longer to load than this to draw
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    for ax, (z, outlines) in zip(axes.flat, panels, strict=False):
        draw_slice(ax, prediction, z, outlines=outlines).set(xlim=(left, right), ylim=(bottom, top))
    _legend(figure, prediction, columns + 1)
    plots.stamp(figure, f"{prediction.name}\npredicted by {prediction.checkpoint}\n{NOT_CLINICAL}")
    engine: Any = figure.get_layout_engine()
    engine.execute(figure)  # once: left to itself, saving draws all of it twice
    figure.set_layout_engine("none")
    return figure


def draw_slice(ax: Axes, prediction: Prediction, z: int | None, *, outlines: bool = True) -> Axes:
    """Draw slice ``z`` of a volume with the patient's R and L, or the image (None), with its classes outlined."""
    image, label, spacing, title = prediction.image, prediction.label, prediction.spacing, ""
    if z is not None:
        image, label, title = image[z], label[z], f"slice {z + 1} of {len(image)}"
    colors = [class_color(number, prediction.class_names) for number in range(1, len(prediction.class_names) + 1)]
    pixels = _pixels(image, label if outlines else np.zeros_like(label), colors)
    sides = z is not None and prediction.plane != "sagittal"
    plots.show_slice(ax, pixels, spacing=spacing, title=title, sides=sides)
    if outlines:
        _outline(ax, label, colors)
    return ax


def _pixels(image: NDArray[np.float32], label: NDArray[np.uint8], colors: Sequence[str]) -> NDArray[np.uint8]:
    """The image, gray (y, x) or in color, as RGB (y, x, 3) with a light fill in its classes' colors."""
    pixels = np.rint(255 * image).astype(np.uint8)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    inside = label > 0
    fill = 255 * np.array([to_rgb(color) for color in colors])[label[inside] - 1]
    pixels[inside] = np.rint((1 - plots.FILL) * pixels[inside] + plots.FILL * fill)
    return pixels


def _outline(ax: Axes, label: NDArray[np.uint8], colors: Sequence[str]) -> None:
    for number, box in enumerate(label_boxes(label, len(colors) + 1), start=1):
        if box is not None:  # in which alone a contour is looked for
            rows, columns = (np.arange(side.start - 1, side.stop + 1) for side in box)
            inside = np.pad(label[box] == number, 1)  # so that it closes at the image's edge, and one row is enough
            ax.contour(columns, rows, inside, levels=[0.5], colors=[colors[number - 1]], linewidths=1.2)


def _legend(figure: Figure, prediction: Prediction, columns: int) -> None:
    colors = class_colors(prediction.class_names)
    found = {name: prediction.rows[name] for name in prediction.found}
    amounts = {name: _ml(row["ml"]) if "ml" in row else f"{row['share']:.1%}" for name, row in found.items()}
    handles = [Patch(color=colors[name], label=f"{name} {text}") for name, text in amounts.items()]
    handles = handles or [Patch(color="white", label="nothing found: all background")]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(columns, len(handles)), fontsize=8)


def _slices(label: NDArray[np.uint8]) -> list[int]:
    """The richest slices, or, where nothing was found, some spread over the volume."""
    return plots.busiest_slices(label, SLICES) or sorted({*np.linspace(0, len(label) - 1, SLICES).astype(int).tolist()})


def _shown_box(prediction: Prediction, slices: Sequence[int | None]) -> tuple[float, float, float, float]:
    """Edges (top, bottom, left, right) of what is not air in these slices, with a margin; of all, in an image."""
    height, width = prediction.label.shape[-2:]
    if prediction.spacing is None:
        return -0.5, height - 0.5, -0.5, width - 0.5
    body = prediction.image[[z for z in slices if z is not None]] > BODY
    return *_extent(reduce(body, "z y x -> y", "any")), *_extent(reduce(body, "z y x -> x", "any"))


def _extent(there: NDArray[np.bool_]) -> tuple[float, float]:
    positions, margin = np.flatnonzero(there), 0.03 * len(there)
    first, last = (positions[0], positions[-1]) if len(positions) else (0, len(there) - 1)
    return max(-0.5, float(first - margin)), min(len(there) - 0.5, float(last + margin))


def _ml(volume: float) -> str:
    return f"{volume:,.0f} ml" if volume >= 10 else f"{volume:.1f} ml"
