"""Figures as a gray print shows them: what a test asks of them is a difference of luminance, 0 black to 255 white."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image

LEGIBLE = 60
"""Difference of luminance that is taken to be seen at a glance, of 255."""


def luminance(color):
    """Of a matplotlib color, by the weights of ITU-R BT.601, which Pillow's gray takes too."""
    return float(np.dot(to_rgb(color), (299, 587, 114)) * 255 / 1000)


def in_gray(figure):
    """The figure as (height, width) of luminance, pixel for pixel as its canvas has it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=figure.dpi)
    return np.asarray(Image.open(buffer).convert("L")).astype(int)


def at(gray, ax, points):
    """Rows and columns of ``gray`` at points (n, 2) of an axis, as x and y."""
    columns, rows = ax.transData.transform(np.asarray(points)).T
    return gray.shape[0] - 1 - np.floor(rows).astype(int), np.floor(columns).astype(int)


def contrast_along(gray, ax, points, reach=4):
    """Largest minus smallest luminance within ``reach`` pixels of each point of a line, at its worst point."""
    found = []
    for row, column in zip(*at(gray, ax, points), strict=True):
        window = gray[row - reach : row + reach + 1, column - reach : column + reach + 1]
        found.append(int(window.max() - window.min()))
    return min(found)


def outline_points(ax):
    """Points of every outline that was drawn on an axis, one array for each."""
    return [path.vertices for lines in ax.collections for path in lines.get_paths() if len(path.vertices)]
