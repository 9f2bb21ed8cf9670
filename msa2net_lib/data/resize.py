"""Resizing and scaling slices to what the network sees, as the field does it: by `scipy.ndimage.zoom`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from msa2net_lib.data.parallel import usable_cores
from msa2net_lib.errors import InputError

Resampling = Literal["scipy", "matrix"]
RESAMPLINGS: tuple[Resampling, ...] = ("scipy", "matrix")
"""How slices are brought to the network's size: "scipy" is what the released code calls; "matrix" the same splines
as two matrix products, on any device, equal to 1e-4 (`data.resize_matrix`)."""

Label = TypeVar("Label", bound=np.generic)


def resize_image(image: NDArray, size: int | tuple[int, int]) -> NDArray[np.float32]:
    """Resize (H, W) to (size, size) or (h, w) with cubic splines, as the field does; float32.

    Splines overshoot at sharp edges, so an image in [0, 1] comes out in about [-0.1, 1.2].
    """
    return _zoomed(np.asarray(image, dtype=np.float32), size, order=3)


def resize_label(label: NDArray, size: int | tuple[int, int]) -> NDArray:
    """Resize (H, W) to (size, size) or (h, w) by the nearest neighbor, as the field does; same dtype."""
    return _zoomed(np.asarray(label), size, order=0)


def resize_images(images: NDArray, size: int | tuple[int, int]) -> NDArray[np.float32]:
    """Resize (n, H, W) to (n, h, w), each slice as `resize_image` does, as many at once as there are cores."""
    _check_stack(images)
    resized = np.empty((len(images), *height_width(size)), dtype=np.float32)

    def put(index: int) -> None:
        resized[index] = resize_image(images[index], size)

    threads = ThreadPoolExecutor(usable_cores())  # which scipy does not hold up
    try:
        for _ in threads.map(put, range(len(images))):
            pass
    finally:
        threads.shutdown(cancel_futures=True)
    return resized


def resize_labels(labels: NDArray[Label], size: int | tuple[int, int]) -> NDArray[Label]:
    """Resize (n, H, W) to (n, h, w), each slice as `resize_label` does, all at once; same dtype."""
    _check_stack(labels)
    height, width = height_width(size)
    rows, columns = nearest_index(labels.shape[1], height), nearest_index(labels.shape[2], width)
    resized = labels[:, np.maximum(rows, 0)[:, None], np.maximum(columns, 0)]
    resized[:, rows < 0] = 0
    resized[:, :, columns < 0] = 0
    return resized


def resize_back(labels: NDArray[Label], size: int | tuple[int, int]) -> NDArray[Label]:
    """Bring predicted classes (..., H, W) back to (..., h, w), each pixel from the nearest; same dtype.

    Equal to `resize_label` but for the last row and column of some sizes, which that leaves empty: see `nearest_index`.
    """
    height, width = height_width(size)
    rows, columns = (nearest_index(*pair, "nearest") for pair in zip(labels.shape[-2:], (height, width), strict=True))
    return labels[..., rows[:, None], columns]


def without_lost_edge(labels: NDArray[Label], size: int | tuple[int, int]) -> NDArray[Label]:
    """Return what `resize_labels` makes of classes of ``size``, given what `resize_back` makes (n, H, W).

    The same array wherever the two agree, as from 224 to 512 pixels.
    """
    lost = [nearest_index(old, new) < 0 for old, new in zip(height_width(size), labels.shape[1:], strict=True)]
    if not any(axis.any() for axis in lost):
        return labels
    return np.where(lost[0][:, None] | lost[1], labels.dtype.type(0), labels)


@lru_cache(maxsize=64)
def nearest_index(old: int, new: int, mode: Literal["constant", "nearest"] = "constant") -> NDArray[np.intp]:
    """Return which of ``old`` pixels `scipy.ndimage.zoom` (order 0) takes for each of ``new``; -1 where it takes none.

    By rounding it may look for the last pixel just outside of the picture. With its default ``mode``, which the
    reference implementation uses, it writes 0 there: from 512 to 224 pixels, where the last row and column of every
    resized slice are 0, and back from 224 to 90 of the sizes 200 to 1100. With "nearest" it takes the last pixel.
    """
    if old == new:
        return _frozen(np.arange(old))
    numbered = np.arange(1, old + 1)
    return _frozen(np.asarray(ndimage.zoom(numbered, new / old, order=0, mode=mode), dtype=np.intp) - 1)


@lru_cache(maxsize=64)
def spline_matrix(old: int, new: int) -> NDArray[np.float64]:
    """Return the matrix (new, old) by which `scipy.ndimage.zoom` (order 3) resizes a line of pixels.

    It is linear, so that its columns are what it makes of the unit vectors; it works axis by axis, so that
    ``rows @ image @ columns.T`` is the resized slice.
    """
    if old == new:
        return _frozen(np.eye(old))
    return _frozen(np.stack([np.asarray(ndimage.zoom(unit, new / old, order=3)) for unit in np.eye(old)], axis=1))


def normalize(image: NDArray) -> NDArray[np.float32]:
    """Map [0, 1] to [-1, 1], any shape, float32: the encoder's mean and standard deviation are both 0.5."""
    return (np.asarray(image, dtype=np.float32) - np.float32(0.5)) / np.float32(0.5)


def check_resampling(resampling: str) -> None:
    """Raise InputError unless ``resampling`` is one of `RESAMPLINGS`."""
    if resampling not in RESAMPLINGS:
        raise InputError(f"resampling={resampling!r} is unknown: use one of {', '.join(RESAMPLINGS)}")


def _zoomed(array: NDArray, size: int | tuple[int, int], order: int) -> NDArray:
    target = height_width(size)
    if array.ndim != 2:
        raise InputError(f"only one slice (H, W) at a time can be resized, not shape {array.shape}")
    if array.shape == target:
        return array.copy()
    return np.asarray(ndimage.zoom(array, (target[0] / array.shape[0], target[1] / array.shape[1]), order=order))


def _check_stack(slices: NDArray) -> None:
    if slices.ndim != 3:
        raise InputError(f"slices of shape {slices.shape}: give (n, H, W)")


def _frozen(array: NDArray) -> NDArray:
    array.flags.writeable = False  # it is kept and handed out again
    return array


def height_width(size: int | tuple[int, int]) -> tuple[int, int]:
    height, width = (size, size) if isinstance(size, int) else size
    if height < 1 or width < 1:
        raise InputError(f"image size {size}: give one or two positive numbers of pixels")
    return height, width
