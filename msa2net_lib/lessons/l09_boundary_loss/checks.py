"""Exercise of the lesson on the boundary loss: alpha of one object."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import ndimage

from msa2net_lib.lessons.exercise import Check
from msa2net_lib.losses import MAX_ALPHA, boundary_alpha

SQUARE = np.ones((3, 3), bool)


def _draw_mask(rng: np.random.Generator) -> tuple[Any, ...]:
    """An ellipse somewhere in the image, often cut off by its border, and a thin stroke; from tiny to bulky."""
    height, width = (int(pixels) for pixels in rng.integers([52, 41], [70, 60]))
    y, x = np.mgrid[:height, :width]
    radii = rng.choice([2.0, 5.0, 11.0, 26.0]) * rng.uniform(0.8, 1.2, size=2)
    center = rng.uniform(0.1, 0.9, size=2) * (height, width)
    mask = ((y - center[0]) / radii[0]) ** 2 + ((x - center[1]) / radii[1]) ** 2 <= 1
    mask[int(center[0]), : int(center[1])] = True
    return (mask,)


def _inner(mask: np.ndarray, **options: Any) -> np.ndarray:
    return ndimage.binary_erosion(mask, **options)


def _alpha(boundary: float, size: float) -> float:
    return min(2 * (1 - boundary / size) - 1, MAX_ALPHA)


def _share(mask: np.ndarray) -> float:
    return (mask & ~_inner(mask)).sum() / mask.sum()


alpha = Check(
    "alpha",
    lambda mask: boundary_alpha(torch.from_numpy(mask)[None, None].double())[0],
    _draw_mask,
    {
        "the neighborhood is a 3x3 square: take the cross, a pixel and its four neighbors": lambda mask: _alpha(
            (mask & ~_inner(mask, structure=SQUARE)).sum(), mask.sum()
        ),
        "the boundary is counted outside: those pixels are not object, count object pixels": lambda mask: _alpha(
            (ndimage.binary_dilation(mask) & ~mask).sum(), mask.sum()
        ),
        "beyond the image counts as object: an object pixel at the image's border is boundary": lambda mask: _alpha(
            (mask & ~_inner(mask, border_value=1)).sum(), mask.sum()
        ),
        "not truncated: alpha goes no higher than 0.8": lambda mask: 1 - 2 * _share(mask),
        "the stretch to -1 .. 1 is missing: that is 1 - boundary / size": lambda mask: min(1 - _share(mask), MAX_ALPHA),
        "the - 1 is missing: alpha starts at -1, where all pixels are boundary": lambda mask: min(
            2 * (1 - _share(mask)), MAX_ALPHA
        ),
        "the 1 - is missing: alpha is high for a bulky object, which has little boundary": lambda mask: min(
            2 * _share(mask) - 1, MAX_ALPHA
        ),
        "alpha may be negative: thin objects have more boundary than inside": lambda mask: max(
            _alpha((mask & ~_inner(mask)).sum(), mask.sum()), 0.0
        ),
        "divided by the pixels of the image: the size is the object's": lambda mask: _alpha(
            (mask & ~_inner(mask)).sum(), mask.size
        ),
        "divided by the inside: the size holds the boundary too": lambda mask: _alpha(
            (mask & ~_inner(mask)).sum(), _inner(mask).sum() or 1.0
        ),
    },
    rounds=8,
    tolerance=1e-4,  # the smoothing of 1e-5 in the library's ratio is no part of the exercise
)
