"""A cursor on a slice and on the maps that belong to it."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from msa2net_lib.analysis.slice_study import Study
from msa2net_lib.errors import InputError

CURSOR = "#FF2D95"
"""A color that no organ has."""


def cell_at(study: Study, grid: tuple[int, int], row: int, column: int) -> tuple[int, int]:
    """The cell (row, column) of a grid (h, w) in which a pixel of the slice lies. Raises: `InputError`, outside."""
    height, width = study.image.shape
    if not (0 <= row < height and 0 <= column < width):
        raise InputError(f"row={row}, column={column} is outside of the {height} x {width} slice: count from 0")
    return row * grid[0] // height, column * grid[1] // width


def cell_size(study: Study, grid: tuple[int, int]) -> tuple[float, float]:
    """Pixels of the slice (high, wide) that one cell of a grid (h, w) covers."""
    return study.image.shape[0] / grid[0], study.image.shape[1] / grid[1]


def frame_cells(ax: Axes, study: Study, grid: tuple[int, int], cell: tuple[int, int], side: int = 1) -> None:
    """Outline ``side`` x ``side`` cells of a grid around a cell, and mark the cell's center if there are several."""
    (height, width), (row, column), radius = cell_size(study, grid), cell, side // 2
    corner = ((column - radius) * width - 0.5, (row - radius) * height - 0.5)
    ax.add_patch(Rectangle(corner, side * width, side * height, fill=False, edgecolor=CURSOR, linewidth=1.4))
    if side > 1:
        ax.plot((column + 0.5) * width - 0.5, (row + 0.5) * height - 0.5, "+", color=CURSOR, markersize=6)
    ax.set(xlim=(-0.5, study.image.shape[1] - 0.5), ylim=(study.image.shape[0] - 0.5, -0.5))


def mark_cursor(ax: Axes, row: int, column: int) -> None:
    """Cross the cursor's pixel with two lines: within a coarse cell a step of it would not be seen otherwise."""
    ax.axhline(row, color=CURSOR, linewidth=0.5)
    ax.axvline(column, color=CURSOR, linewidth=0.5)


def cursor_axes() -> tuple[Figure, list[Axes]]:
    """Three axes in fixed places, for figures that follow a cursor: fitting the places costs more than drawing."""
    figure = Figure(figsize=(9.2, 3.3))
    return figure, [figure.add_axes((left, 0.17, 0.27, 0.7)) for left in (0.01, 0.33, 0.71)]
