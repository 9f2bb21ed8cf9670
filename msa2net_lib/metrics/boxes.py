"""Bounding boxes of objects: the part of an array in which scoring has to look."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

Box = tuple[slice, ...]


def label_boxes(labels: np.ndarray, num_classes: int) -> list[Box | None]:
    """Return the bounding box of each class 1..K-1, None where it is absent."""
    return ndimage.find_objects(labels, max_label=num_classes - 1)


def object_box(mask: np.ndarray) -> Box | None:
    """Return the bounding box of a boolean mask, None if it is empty."""
    return ndimage.find_objects(mask.view(np.uint8), max_label=1)[0] if mask.size else None


def common_box(first: Box, second: Box, shape: tuple[int, ...]) -> Box:
    """Return the box around two boxes with one voxel of margin, cut at the array's border.

    The margin keeps the background next to a surface in view, so that erosion finds the same surface
    whatever it assumes beyond the array; at the border itself box and array end at the same place.
    """
    return tuple(
        slice(max(min(a.start, b.start) - 1, 0), min(max(a.stop, b.stop) + 1, size))
        for a, b, size in zip(first, second, shape, strict=True)
    )
