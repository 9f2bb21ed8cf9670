"""What the released code's three memory reinterpretations do to a feature map, traced place by place.

Nothing here knows a formula for them: maps of indices go through the library's own `tokens_to_map` and
`map_to_tokens`, and where an index comes out is where its value would.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from msa2net_lib.errors import InputError
from msa2net_lib.nn.layout import TokenLayout, map_to_tokens, tokens_to_map

Step = Literal["skip", "tokens", "after LKA"]
"""Reinterpretation (1) of the skip, (2) of the linear layer's tokens, (3) of the map after the LKA blocks."""

GATED_LEVELS = ((96, 56, 56), (192, 28, 28), (384, 14, 14))
"""(channels, height, width) of the decoder levels 0, 1 and 2, those with a gate, for a 224 x 224 input."""


def apply_step(x: Float[Tensor, "b c h w"], step: Step, layout: TokenLayout = "reinterpreted") -> Tensor:
    """Take a (b, c, h, w) map through one step; the result (b, c, h, w) is the map as the next layer sees it.

    layout: "grid" gives the step as it was meant, which changes nothing. Raises: `InputError`, unknown step.
    """
    height, width = x.shape[-2:]
    if step in ("skip", "tokens"):
        # One and the same: a map stored as (b, h, w, c) and tokens (b, h*w, c) have one order in memory.
        return tokens_to_map(map_to_tokens(x), height, width, layout=layout)
    if step == "after LKA":
        return tokens_to_map(map_to_tokens(x, layout=layout), height, width)
    raise InputError(f"step={step!r} is unknown: use 'skip', 'tokens' or 'after LKA'")


def trace_origin(
    channels: int, height: int, width: int, *steps: Step, layout: TokenLayout = "reinterpreted"
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each place of the map after ``steps``: the pixel (row-major index) and channel its value came from.

    Both arrays are (channels, height, width). Several steps run one after another; with none, all is in place.
    "after LKA" alone starts from a map on its true grid, whereas in the network it follows "skip".
    """
    indices = torch.arange(channels * height * width).reshape(channels, height, width)
    maps = torch.stack([indices % (height * width), indices // (height * width)])
    for step in steps:
        maps = apply_step(maps, step, layout)
    return maps[0].numpy(), maps[1].numpy()


@dataclass(frozen=True)
class NeighborShare:
    """What surrounds a value of a map: means over all channels and all places but the border.

    Shares of the 8 neighbors: ``same_channel`` of a truly adjacent pixel and the same channel; ``any_channel``
    of an adjacent or the same pixel, in any channel; ``same_pixel``, the part of it that is the same pixel.
    ``pixels_seen``: different true cells among the 9 values of a 3x3 window, 9 on the true grid.
    """

    same_channel: float
    any_channel: float
    same_pixel: float
    pixels_seen: float


def share_of_true_neighbors(
    channels: int, height: int, width: int, *steps: Step, layout: TokenLayout = "reinterpreted"
) -> NeighborShare:
    """Measure how many neighbors are still true neighbors after ``steps`` (if none is named, after "skip").

    Adjacent means at a Chebyshev distance of 1. Raises: `InputError` for a map smaller than 3 x 3.
    """
    if min(height, width) < 3:
        raise InputError(f"a {height} x {width} map has no place with 8 neighbors: use at least 3 x 3")
    origins = trace_origin(channels, height, width, *(steps or ("skip",)), layout=layout)
    # (9, c, h - 2, w - 2): the nine values around each inner place, number 4 is its own.
    shifts = list(product(range(3), repeat=2))
    pixel, channel = (np.stack([a[:, i : i + height - 2, j : j + width - 2] for i, j in shifts]) for a in origins)
    row, column = pixel // width, pixel % width
    distance = np.delete(np.maximum(abs(row - row[4]), abs(column - column[4])), 4, axis=0)
    same_channel = np.delete(channel == channel[4], 4, axis=0)
    return NeighborShare(
        same_channel=float(((distance <= 1) & same_channel).mean()),
        any_channel=float((distance <= 1).mean()),
        same_pixel=float((distance == 0).mean()),
        pixels_seen=float(1 + (np.diff(np.sort(pixel, axis=0), axis=0) > 0).sum(axis=0).mean()),
    )


def neighborhood(
    channels: int = 96, height: int = 56, width: int = 56, row: int = 28, column: int = 28, channel: int = 0,
    *, reach: int = 1, layout: TokenLayout = "reinterpreted"
) -> pd.DataFrame:  # fmt: skip
    """List what a depthwise convolution at one place of the reinterpreted map mixes, one line per tap.

    Columns: row_offset and column_offset of the tap, true_row, true_column and true_channel of its value. reach:
    pixels to each side, 1 for a 3x3 kernel; taps in the zero padding are left out. layout: "grid" for the map as
    it was meant. Raises: `InputError` for a place outside the map.
    """
    if not (0 <= channel < channels and 0 <= row < height and 0 <= column < width):
        raise InputError(f"channel {channel}, row {row}, column {column} is outside {channels} x {height} x {width}")
    pixels, origin_channels = trace_origin(channels, height, width, "skip", layout=layout)
    taps = [
        (i, j, *divmod(int(pixels[at]), width), int(origin_channels[at]))
        for i, j in product(range(-reach, reach + 1), repeat=2)
        if 0 <= (at := (channel, row + i, column + j))[1] < height and 0 <= at[2] < width
    ]
    return pd.DataFrame(taps, columns=["row_offset", "column_offset", "true_row", "true_column", "true_channel"])
