"""What an output cell can see of the input, by counting paths, and what it does look at, by gradient.

Both hold for layers of stride 1, where input and output have one grid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from msa2net_lib.errors import InputError

LOCAL_CONTEXT = ((3, 1), (3, 2))
"""(kernel, dilation) of the convolutions in `msa2net_lib.nn.masag.LocalContext` that see more than one cell."""
LARGE_KERNEL_ATTENTION = ((5, 1), (7, 3))
"""(kernel, dilation) of the two depthwise convolutions of large-kernel attention."""
AT_ONCE = 32
"""Output channels differentiated together: a whole encoder, all channels at once, would fill a laptop's memory."""


def footprint_paths(layers: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """How many paths lead from each input offset to one output cell, through convolutions run one after another.

    layers: (kernel, dilation) of each, kernels odd and square; order does not matter. Result: (side, side), the output
    cell at the center; zero where no path leads. Raises: `InputError`, a kernel that is even or a number below 1.
    """
    line = np.ones(1, dtype=np.int64)  # square kernels: rows and columns are chosen apart
    for kernel, dilation in layers:
        line = np.convolve(line, _taps(kernel, dilation))
    return np.outer(line, line)


def footprint(layers: Sequence[tuple[int, int]]) -> NDArray[np.bool_]:
    """Which input offsets (side, side) a chain of convolutions can see; arguments as for `footprint_paths`."""
    return footprint_paths(layers) > 0


def receptive_field_size(kernels: Sequence[int], dilations: Sequence[int]) -> int:
    """Side of the footprint of a chain of convolutions, in cells of its own grid. Raises: `InputError`."""
    if len(kernels) != len(dilations):
        raise InputError(f"{len(kernels)} kernels and {len(dilations)} dilations: give one of each per convolution")
    return len(footprint_paths(list(zip(kernels, dilations, strict=True))))


def same_padding(kernel: int, dilation: int) -> int:
    """Zeros to add on each side so that a convolution keeps the size of its map: the radius of its footprint."""
    return receptive_field_size([kernel], [dilation]) // 2


def place_footprint(
    pattern: NDArray[np.generic], pixel: tuple[int, int], height_width: tuple[int, int]
) -> NDArray[np.generic]:
    """A footprint (side, side) on a map (h, w), centered on ``pixel`` (row, column) and cut off at the borders.

    Raises: `InputError` for a pixel outside of the map.
    """
    height, width = height_width
    _check_pixel(pixel, height_width)
    radius = len(pattern) // 2
    padded = np.zeros((height + 2 * radius, width + 2 * radius), dtype=pattern.dtype)
    row, column = pixel
    padded[row : row + len(pattern), column : column + len(pattern)] = pattern
    return padded[radius : radius + height, radius : radius + width]


def effective_receptive_field(
    function: Callable[[Tensor], Tensor], x: Float[Tensor, "1 c h w"], pixel: tuple[int, int]
) -> NDArray[np.float32]:
    """How strongly one output cell reacts to each input cell: norm of the Jacobian between the two, (h, w).

    The norm runs over all pairs of an output and an input channel (Frobenius), so that channels cannot cancel each
    other; the unit is output per input. function: (b, c, h, w) -> (b, k, h', w'), in evaluation mode, where samples
    and cells do not meet in batch norm. x: the input at which to differentiate. pixel: (row, column) of the output.
    Raises: `InputError` for a pixel outside of the output or a batch of several.
    Source: the gradient as a measure is that of Luo et al., "Understanding the Effective Receptive Field in Deep
    Convolutional Neural Networks" (NIPS 2016), who average it over many inputs; here it is for this input alone.
    """
    if len(x) != 1:
        raise InputError(f"x holds {len(x)} samples: the field is that of one, give x[:1]")
    with torch.inference_mode(False), torch.enable_grad():
        alone = function(x.detach().clone())
        _check_pixel(pixel, (alone.shape[-2], alone.shape[-1]))
        total = torch.zeros_like(x[0, 0])
        for channels in torch.arange(alone.shape[1]).split(AT_ONCE):
            # One copy of the input per output channel: samples do not meet, so one pass differentiates them all.
            copies = x.detach().repeat(len(channels), 1, 1, 1).requires_grad_()
            at_pixel = function(copies)[torch.arange(len(channels)), channels, pixel[0], pixel[1]]
            (rows,) = torch.autograd.grad(at_pixel.sum(), copies)
            total += rows.square().sum(dim=(0, 1))
    return total.sqrt().float().cpu().numpy()


def _taps(kernel: int, dilation: int) -> NDArray[np.int64]:
    if kernel < 1 or kernel % 2 == 0 or dilation < 1:
        raise InputError(f"kernel={kernel}, dilation={dilation}: use an odd kernel and a dilation of 1 or more")
    taps = np.zeros(dilation * (kernel - 1) + 1, dtype=np.int64)
    taps[::dilation] = 1
    return taps


def _check_pixel(pixel: tuple[int, int], height_width: tuple[int, int]) -> None:
    (row, column), (height, width) = pixel, height_width
    if not (0 <= row < height and 0 <= column < width):
        raise InputError(f"pixel={pixel} is outside of the {height} x {width} map: count rows and columns from 0")
