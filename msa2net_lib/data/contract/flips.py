"""Turning stored arrays into this project's orientation, said in a few letters.

A flip is "none" or letters out of t, x, y and z, in that order: t swaps rows and columns, and is done first; x, y
and z then reverse columns, rows and slices. Afterwards z grows towards the head, y towards the back and x
towards the patient's left.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from msa2net_lib.errors import InputError

FLIPS: tuple[str, ...] = tuple(
    "".join(letters) or "none" for letters in product(("", "t"), ("", "x"), ("", "y"), ("", "z"))
)
"""The sixteen flips, "none" first."""

IN_PLANE_FLIPS: tuple[str, ...] = tuple(flip for flip in FLIPS if "z" not in flip)
"""The eight of them that leave the order of the slices."""

_AXES = {"x": -1, "y": -2, "z": -3}


def parse_flip(text: str) -> str:
    """Return a flip in its standard form, letters in the order t, x, y, z. Raises: `InputError`."""
    letters = "" if text == "none" else text.strip().lower()
    flip = "".join(letter for letter in "txyz" if letter in letters) or "none"
    if len(letters) != len(flip.replace("none", "")):
        raise InputError(f"flip {text!r}: give 'none' or letters out of t, x, y and z, each once, such as 'ty'")
    return flip


def apply_flip(array: NDArray, flip: str) -> NDArray:
    """Turn a stored slice (H, W) or volume (Z, H, W); z does nothing to a slice. The result is contiguous."""
    if "t" in flip:
        array = array.swapaxes(-1, -2)
    return _reversed(array, flip)


def undo_flip(array: NDArray, flip: str) -> NDArray:
    """Turn an array back into the stored form: the inverse of ``apply_flip``."""
    array = _reversed(array, flip)
    return np.ascontiguousarray(array.swapaxes(-1, -2)) if "t" in flip else array


def flip_spacing(spacing: Sequence[float], flip: str) -> tuple[float, float, float]:
    """Return the spacing (z, y, x) after a flip."""
    z, y, x = spacing
    return (z, x, y) if "t" in flip else (z, y, x)


def _reversed(array: NDArray, flip: str) -> NDArray:
    axes = tuple(axis for letter, axis in _AXES.items() if letter in flip and -axis <= array.ndim)
    return np.ascontiguousarray(np.flip(array, axes))
