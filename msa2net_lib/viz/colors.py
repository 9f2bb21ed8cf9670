"""One palette for the classes of a label, the same in every figure."""

from __future__ import annotations

from msa2net_lib.data.labels import ORGANS

# Okabe and Ito's palette, which stays apart in the common color-vision deficiencies, plus lavender.
COLORS = ("#D55E00", "#009E73", "#F0E442", "#E69F00", "#56B4E9", "#CC79A7", "#0072B2", "#C8B6FF")
"""Color of each class by its number in the label, from 1 on; with more classes than colors they repeat."""
ORGAN_COLORS = dict(zip(ORGANS, COLORS, strict=True))
"""Those of the Synapse organs by name."""


def class_color(number: int) -> str:
    """The color of a class by its number in the label, from 1 on: the same in every figure."""
    return COLORS[(number - 1) % len(COLORS)]
