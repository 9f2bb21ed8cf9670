"""The field's cubic resizing as two matrix products: whole batches at once, on any device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from einops import einsum
from torch import Tensor

from msa2net_lib.data.resize import height_width, spline_matrix
from msa2net_lib.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float

_NOTHING = 1e-15
"""A weight below which a value in [0, 1] stays far from what float32 can tell."""


def resize_on_device(images: Float[Tensor, "n h_old w_old"], size: int | tuple[int, int]) -> Float[Tensor, "n h w"]:
    """Resize slices with cubic splines, float32, on the device that they are on.

    Equal to `resize.resize_image` to 1e-4 for values in [0, 1]: the matrices are SciPy's own
    (`resize.spline_matrix`), and products are taken in full float32, whatever the process allows elsewhere.
    Raises: `InputError` for another number of axes.
    """
    if images.ndim != 3:
        raise InputError(f"slices of shape {tuple(images.shape)}: give (n, H, W)")
    height, width = height_width(size)
    rows = _matrix(images.shape[1], height, images.device)
    columns = _matrix(images.shape[2], width, images.device)
    with _full_float32(images.device):
        narrowed = einsum(images.float(), columns, "n h_old w_old, w w_old -> n h_old w")
        return einsum(rows, narrowed, "h h_old, n h_old w -> n h w")


@lru_cache(maxsize=16)
def _matrix(old: int, new: int, device: torch.device) -> Tensor:
    # A spline reaches over the whole slice, its weights falling by a factor of four a voxel: the far ones are subnormal
    # in float32, with which some processors count a hundred times slower, and add nothing.
    exact = spline_matrix(old, new)
    weights = np.where(np.abs(exact) < _NOTHING, 0, exact)
    with torch.inference_mode(False):  # so that it serves everywhere
        return torch.tensor(weights, dtype=torch.float32, device=device)


@contextmanager
def _full_float32(device: torch.device) -> Iterator[None]:
    """Neither TF32 nor bfloat16 for a while: their rounding is a hundred times what the resizing may differ by."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
