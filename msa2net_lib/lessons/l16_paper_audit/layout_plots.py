"""What the reference implementation's three memory reinterpretations do to a feature map, drawn.

The numbers behind the drawings come from `msa2net_lib.analysis.token_layout`.
"""

from __future__ import annotations

from collections.abc import Iterable
from string import ascii_uppercase

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from msa2net_lib.analysis.token_layout import Step, apply_step, neighborhood, trace_origin
from msa2net_lib.checkpoints import SHIPPED_TINY, load_network
from msa2net_lib.data.resize import normalize, resize_image
from msa2net_lib.errors import InputError
from msa2net_lib.nn.layout import TokenLayout
from msa2net_lib.viz.plots import VIRTUAL, figure_grid, show_slice, stamp

LKA_REACH = 11  # a 5x5, then a 7x7 kernel dilated by 3: 2 + 9 cells to each side, 23 x 23 in all
LKA_WINDOW = f"{2 * LKA_REACH + 1}x{2 * LKA_REACH + 1}"


def labeled_pattern(channels: int = 4, height: int = 4, width: int = 4) -> Figure:
    """Draw a small map whose every value carries its name: letter for the channel, number for the cell.

    Rows of panels: the true map, after (1) or (2), and after (3) has followed; one panel per channel. The shade
    is the true cell, and a frame follows one cell. Raises: `InputError` for more than 26 channels.
    """
    if channels > len(ascii_uppercase):
        raise InputError(f"channels={channels}: there are letters for 26 at most")
    total, followed = height * width, (height // 2) * width + width // 2
    digits = max(2, len(str(total - 1)))
    stages: dict[str, tuple[Step, ...]] = {
        "true map": (),
        "after (1) or (2):\nwhat the gate sees": ("skip",),
        "after (3),\nif nothing came between": ("skip", "after LKA"),
    }
    across = 9.6 / channels
    figure, axes = figure_grid(len(stages), channels, width=across, height=0.85 * across * height / width + 0.45)
    for panels, (name, steps) in zip(axes, stages.items(), strict=True):
        origins = zip(*trace_origin(channels, height, width, *steps), strict=True)
        for index, (ax, (pixel, letter)) in enumerate(zip(panels, origins, strict=True)):
            ax.imshow(pixel, cmap="cividis", vmin=0, vmax=total - 1)
            for (i, j), number in np.ndenumerate(pixel):
                label, ink = f"{ascii_uppercase[letter[i, j]]}{number:0{digits}d}", "w" if 2 * number < total else "k"
                ax.text(j, i, label, ha="center", va="center", color=ink, fontsize=8)
                if number == followed:
                    ax.add_patch(Rectangle((j - 0.43, i - 0.43), 0.86, 0.86, fill=False, edgecolor=ink, linewidth=2))
            letters, numbers = _runs(letter.flat, ascii_uppercase), _runs(pixel.flat)
            ax.set_title(f"channel {index}:\n{letters} of cells {numbers}", fontsize=8)
            ax.set(xticks=[], yticks=[])
        panels[0].set_ylabel(name, fontsize=9)
    text = f"letter = true channel · number and shade = true cell · frame = the values of cell {followed:0{digits}d}"
    figure.supxlabel(text, fontsize=9)
    return figure


def plot_neighborhood(
    image: NDArray, channels: int = 96, height: int = 56, width: int = 56, row: int = 28, column: int = 28,
    channel: int = 40, *, source: str = VIRTUAL
) -> Figure:  # fmt: skip
    """Mark on a slice (y, x) in [0, 1] which true cells a convolution mixes: on the grid, and reinterpreted.

    Columns: a 3x3 depthwise kernel close up, with the true channels of its nine values; the 23 x 23 window of
    large-kernel attention, cut off at the border; a 1x1 convolution, which mixes all channels of its place. Errors:
    `InputError` for a place outside the map.
    """
    place = (channels, height, width, row, column)
    figure, axes = figure_grid(2, 3, width=3.25, height=3.6)
    rows: tuple[tuple[TokenLayout, str, str], ...] = (
        ("grid", "#56B4E9", "TRUE GRID"),
        ("reinterpreted", "#E69F00", "REINTERPRETED"),
    )
    for panels, (layout, color, name) in zip(axes, rows, strict=True):
        near = neighborhood(*place, channel, layout=layout)
        far = neighborhood(*place, channel, reach=LKA_REACH, layout=layout)
        through = pd.concat([neighborhood(*place, c, reach=0, layout=layout) for c in range(channels)])
        kernels = (("3x3 depthwise, close up", near), (f"{LKA_WINDOW} window (LKA)", far), ("1x1", through))
        for ax, (kernel, taps) in zip(panels, kernels, strict=True):
            _mark_pixels(ax, resize_image(image, 224), taps, (height, width), (row, column), color, taps is near)
            cells, seen = len(taps.groupby(["true_row", "true_column"])), taps.true_channel.nunique()
            ax.set_title(f"{name}: {kernel}\n{len(taps)} values · cells: {cells} · channels: {seen}", fontsize=9)
    where = f"{channels} channels, {height} x {width}; a convolution at channel {channel}, row {row}, column {column}"
    figure.supxlabel(f"{where} (white ring).\nColored: the true cells whose values it mixes there.", fontsize=9)
    return stamp(figure, source)


def _mark_pixels(
    ax: Axes, image: NDArray, taps: pd.DataFrame, grid: tuple[int, int], place: tuple[int, int], color: str,
    close_up: bool
) -> None:  # fmt: skip
    """Color the taps' true cells on the image; close up, crop to them and write the channels on each."""
    down, right = image.shape[0] / grid[0], image.shape[1] / grid[1]
    show_slice(ax, image, sides=not close_up)
    marks = np.zeros((*grid, 4))
    marks[taps.true_row, taps.true_column] = (*to_rgb(color), 0.85)
    ax.imshow(marks, extent=(-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5), interpolation="nearest")
    if not close_up:
        at = (place[1] + 0.5) * right - 0.5, (place[0] + 0.5) * down - 0.5
        for ink, line in (("k", 3.5), ("w", 1.5)):
            ax.plot(*at, "o", markerfacecolor="none", markeredgecolor=ink, markersize=13, markeredgewidth=line)
        return
    for (i, j), values in taps.groupby(["true_row", "true_column"]).true_channel:
        x, y = j * right - 0.5, i * down - 0.5
        ax.add_patch(Rectangle((x, y), right, down, fill=False, edgecolor="k"))
        text = "channel\n" + _runs(values).replace(", ", ",\n")
        ax.text(x + right / 2, y + down / 2, text, ha="center", va="center", fontsize=8)
    # A square of at least 4 x 4 cells around the marks, moved inside the image.
    low, high = (taps[["true_row", "true_column"]].agg(end).to_numpy() for end in ("min", "max"))
    half = max(2.0, float((high - low).max()) / 2 + 1)
    i, j = np.clip((low + high + 1) / 2, half, np.maximum(np.array(grid) - half, half))
    ax.set_xlim((j - half) * right - 0.5, (j + half) * right - 0.5)
    ax.set_ylim((i + half) * down - 0.5, (i - half) * down - 0.5)


def _runs(numbers: Iterable[int], letters: str = "") -> str:
    """Write numbers, sorted, as runs: "1-3, 7"; with ``letters``, each number's letter in its place."""
    values = np.unique(np.fromiter(numbers, dtype=np.int64))
    parts = np.split(values, np.flatnonzero(np.diff(values) > 1) + 1)
    ends = [[letters[v] if letters else str(v) for v in (part[0], part[-1])] for part in parts]
    return ", ".join(first if first == last else f"{first}-{last}" for first, last in ends)


def shipped_features(image: NDArray, level: int = 0) -> NDArray[np.float32]:
    """Encode a slice (y, x) in [0, 1] with the shipped tiny network: features (c, h, w) of a level, 0 the finest."""
    network = load_network(SHIPPED_TINY)
    pixels = torch.from_numpy(normalize(resize_image(image, network.config.height_width)))
    with torch.inference_mode():
        return network.encoder(pixels[None, None])[level][0].numpy()


def plot_scrambled_slice(
    image: NDArray, channels: int = 96, height: int = 56, width: int = 56, channel: int | None = None,
    *, features: NDArray | None = None, source: str = VIRTUAL
) -> Figure:  # fmt: skip
    """Take an image through the reinterpretations: one channel above, the mean of all channels below.

    Every channel is a copy of the slice (y, x) in [0, 1], resized, on one gray scale; or encoder ``features``
    (c, h, w) are given, each panel on its own scale. Columns: true map; after (1); after (3), with nothing and with
    a depthwise 23 x 23 mean in between; that mean on the true grid. channel: the middle one if None.
    """
    small = resize_image(image, (height, width))
    limits = (float(np.quantile(small, 0.01)), float(np.quantile(small, 0.99))) if features is None else None
    true = torch.from_numpy(np.array([small] * channels if features is None else features, dtype=np.float32))[None]
    channels, height, width = true.shape[1:]
    channel = channels // 2 if channel is None else channel
    scrambled = apply_step(true, "skip")
    columns = {
        "true map:\nthe skip itself": true,
        "after (1):\nwhat the gate sees": scrambled,
        "(1), then (3):\nthe same again": apply_step(scrambled, "after LKA"),
        f"(1), {LKA_WINDOW} mean, (3):\nthe reference's order": apply_step(_window_mean(scrambled), "after LKA"),
        f"{LKA_WINDOW} mean,\ntrue grid": _window_mean(true),
    }
    figure, axes = figure_grid(2, len(columns), width=1.95, height=2.25)
    for panels, (name, values) in zip(axes.T, columns.items(), strict=True):
        rows = {f"channel {channel}": values[0, channel], f"mean of {channels} channels": values[0].mean(dim=0)}
        for ax, (what, shown) in zip(panels, rows.items(), strict=True):
            show_slice(ax, shown.numpy(), limits=limits, sides=values is not scrambled)
            ax.set_title(f"{name}\n{what}", fontsize=8)
    copies, encoded = "every channel a copy of the slice; one gray scale", "encoder features; a gray scale per panel"
    kind = copies if features is None else encoded
    figure.supxlabel(f"{channels} channels, {height} x {width}: {kind}", fontsize=9)
    return stamp(figure, source)


def _window_mean(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2 * LKA_REACH + 1, stride=1, padding=LKA_REACH, count_include_pad=False)
