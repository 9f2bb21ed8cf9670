"""What a caller has (tensors, lists, bytes) as masks and labels fit for scoring, and the boxes that objects lie in."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from msa2net_lib.errors import InputError

Box = tuple[slice, ...]


def as_array(value: Any) -> np.ndarray:
    """Return a NumPy view of an array or list, or a copy of a tensor on the CPU."""
    if not isinstance(value, torch.Tensor):
        return np.asarray(value)
    value = value.detach().cpu()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()  # NumPy has no bfloat16


def mask_pair(pred: Any, target: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return two boolean arrays of one shape.

    Raises:
        InputError: the shapes differ, an array has no dimension, or floats are neither 0 nor 1.
    """
    first, second = _as_mask(pred, "pred"), _as_mask(target, "target")
    check_shapes(first, second)
    return first, second


def check_shapes(pred: np.ndarray, target: np.ndarray) -> None:
    """Raise InputError unless both arrays have the same shape."""
    if pred.shape != target.shape:
        raise InputError(f"pred: shape {pred.shape} differs from target's {target.shape}; bring both to the same grid")


def checked_labels(value: Any, num_classes: int, name: str) -> np.ndarray:
    """Return a label array, any integer dtype, with values in 0..num_classes-1.

    Raises:
        InputError: the labels are no integers (booleans pass as 0 and 1), there are none, or one of
            them is outside the classes. ``name`` is the argument the message blames.
    """
    labels = as_array(value)
    if labels.dtype == bool:
        labels = labels.view(np.uint8)
    if labels.dtype.kind not in "ui":
        raise InputError(f"{name}: expected integer labels, got {labels.dtype}; convert them to uint8 first")
    if labels.ndim == 0 or labels.size == 0:
        raise InputError(f"{name}: shape {labels.shape} holds no volume; give labels of (Z, Y, X) or (Y, X)")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        stray = low if low < 0 else high
        raise InputError(
            f"{name}: label {stray} is outside 0..{num_classes - 1}; map it to a class or raise num_classes"
        )
    return labels


def checked_num_classes(num_classes: Any) -> int:
    """Return the number of classes, background included; InputError unless an integer of at least 2."""
    if not isinstance(num_classes, Integral) or num_classes < 2:
        raise InputError(
            f"num_classes: got {num_classes!r}; give an integer of at least 2, the background counts as one"
        )
    return int(num_classes)


def checked_spacing(spacing: Sequence[float] | None, ndim: int) -> tuple[float, ...] | None:
    """Return one positive number per axis, or None for None; InputError for anything else."""
    if spacing is None:
        return None
    values = np.asarray(spacing)
    if values.dtype.kind in "uif" and values.shape == (ndim,) and np.all((values > 0) & (values < np.inf)):
        return tuple(map(float, values))
    raise InputError(f"spacing: got {spacing!r}; give {ndim} positive numbers, the voxel size along each axis")


def _as_mask(value: Any, name: str) -> np.ndarray:
    """Return a boolean array; refuse what looks like probabilities, where non-zero means nothing."""
    array = as_array(value)
    if array.dtype.kind not in "buif" or array.ndim == 0:
        raise InputError(f"{name}: got dtype {array.dtype} and shape {array.shape}; give a mask of booleans or numbers")
    if array.dtype.kind == "f" and not ((array == 0) | (array == 1)).all():
        raise InputError(f"{name}: floats other than 0 and 1 are no binary mask; apply a threshold first")
    return array.astype(bool, copy=False)


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
