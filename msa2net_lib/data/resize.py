"""Resizing and scaling a slice to what the network sees, as the field does it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from msa2net_lib.errors import InputError


def resize_image(image: NDArray, size: int | tuple[int, int]) -> NDArray[np.float32]:
    """Resize (H, W) to (size, size) or (h, w) with cubic splines, as the field does; float32.

    Splines overshoot at sharp edges, so an image in [0, 1] comes out in about [-0.1, 1.2].
    """
    return _zoomed(np.asarray(image, dtype=np.float32), size, order=3)


def resize_label(label: NDArray, size: int | tuple[int, int]) -> NDArray:
    """Resize (H, W) to (size, size) or (h, w) by the nearest neighbour, as the field does; same dtype."""
    return _zoomed(np.asarray(label), size, order=0)


def normalise(image: NDArray) -> NDArray[np.float32]:
    """Map [0, 1] to [-1, 1], any shape, float32: the encoder's mean and standard deviation are both 0.5."""
    return (np.asarray(image, dtype=np.float32) - np.float32(0.5)) / np.float32(0.5)


def _zoomed(array: NDArray, size: int | tuple[int, int], order: int) -> NDArray:
    target = height_width(size)
    if array.ndim != 2:
        raise InputError(f"only one slice (H, W) at a time can be resized, not shape {array.shape}")
    if array.shape == target:
        return array.copy()
    return np.asarray(ndimage.zoom(array, (target[0] / array.shape[0], target[1] / array.shape[1]), order=order))


def height_width(size: int | tuple[int, int]) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise InputError(f"image size {size}: give one or two positive numbers of pixels")
    return height, width
