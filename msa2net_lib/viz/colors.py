"""One palette for the classes of a label, the same in every figure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

from matplotlib.colors import to_rgb

from msa2net_lib.data.labels import ORGANS

# Okabe and Ito's palette, which stays apart in the common color-vision deficiencies, plus lavender. Organs side by side
# are no neighbors in it: the aorta has vermilion, and of the kidneys beside it none has orange.
COLORS = ("#D55E00", "#E69F00", "#F0E442", "#009E73", "#56B4E9", "#CC79A7", "#0072B2", "#C8B6FF")
"""The colors of classes; with more classes than colors they repeat."""
ORGAN_COLORS = dict(zip(ORGANS, COLORS, strict=True))
"""Those of the Synapse organs by name."""


def class_color(number: int, names: Sequence[str] = ORGANS) -> str:
    """The color of a class by its number in the label, from 1 on, and the names of all: the same in every figure."""
    colors = [*class_colors(names).values()]
    return colors[number - 1] if number <= len(colors) else COLORS[(number - 1) % len(COLORS)]


def class_colors(names: Sequence[str]) -> dict[str, str]:
    """A color for each class by its name: a Synapse organ's own, else those that none of them has, in turn."""
    taken = {ORGAN_COLORS[name] for name in names if name in ORGAN_COLORS}
    others = cycle([color for color in COLORS if color not in taken] or COLORS)
    return {name: ORGAN_COLORS.get(name) or next(others) for name in names}


def indexed_palette(names: Sequence[str]) -> list[int]:
    """The colors as the palette of an indexed image: black for the background, then each class; 0 to 255."""
    colors = [(0.0, 0.0, 0.0), *(to_rgb(color) for color in class_colors(names).values())]
    return [round(255 * value) for color in colors for value in color]
