"""Skip gates in networks whose x and g differ: bring g to the channels and the grid of x, then gate.

Notation as in `msa2net_lib.nn.masag`: ``x`` skip features from the encoder, ``g`` gating features from the decoder. A
gate wants both with one number of channels on one grid; here g is made so and x is left as it is. Like the gate's own,
this module needs torch and nothing else; ready-made uses are in `msa2net_lib.nn.third_party`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from msa2net_lib.errors import InputError
from msa2net_lib.nn.masag import MASAG, Dims

if TYPE_CHECKING:
    from jaxtyping import Float

_CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}
_MODE = {2: "bilinear", 3: "trilinear"}


class MatchChannels(nn.Module):
    """Bring features to another number of channels by a 1x1 convolution; none where the number is right already.

    Shapes: (b, channels, *grid) -> (b, target_channels, *grid), maps for ``dims=2``, volumes for 3. Errors:
    `InputError` for another ``dims``, less than one channel, and features of another number of channels.
    """

    def __init__(self, channels: int, target_channels: int, dims: Dims = 2):
        super().__init__()
        _check(channels, target_channels, dims)
        self.channels = channels
        convolution = _CONVOLUTION[dims]
        self.mix = nn.Identity() if channels == target_channels else convolution(channels, target_channels, 1)

    def forward(self, features: Float[Tensor, "b c1 *grid"]) -> Float[Tensor, "b c2 *grid"]:
        if features.shape[1] != self.channels:
            raise InputError(f"features with {features.shape[1]} channels: this adapter was made for {self.channels}")
        return self.mix(features)


class MatchGrid(nn.Module):
    """Bring features to the grid of others by bilinear (in 3-D trilinear) resampling; as they are if it is the same.

    Shapes: features (b, c, *grid), like (b, any, *other grid) -> (b, c, *other grid). A cell is an area and the edges
    of both images fall together (``align_corners=False``), as after strided convolutions and pooling.
    """

    def forward(
        self, features: Float[Tensor, "b c *grid"], like: Float[Tensor, "b c2 *grid2"]
    ) -> Float[Tensor, "b c *grid2"]:
        if features.ndim not in (4, 5) or features.ndim != like.ndim:
            shapes = f"{tuple(features.shape)} and {tuple(like.shape)}"
            raise InputError(f"shapes {shapes}: give two maps (b, c, h, w) or two volumes (b, c, d, h, w)")
        size = like.shape[2:]
        # While it is traced both cases go one way, with the same values, so that an exported file takes either.
        if not torch.compiler.is_compiling() and features.shape[2:] == size:
            return features
        return functional.interpolate(features, size=size, mode=_MODE[features.ndim - 2], align_corners=False)


class GatedSkip(nn.Module):
    """Any gate of the family for skip and gating features of unequal channels and sizes; MASAG unless told otherwise.

    Shapes: x (b, channels, *grid), g (b, gating_channels, *other grid) -> y (b, channels, *grid), in place of x.
    gate: a module ``gate(x, g)`` for ``channels`` channels. g's channels are mixed before it is resampled, where
    its grid is the smaller one; the two steps commute. Raises: `InputError` for features of other shapes than these.
    """

    def __init__(
        self, channels: int, gating_channels: int | None = None, gate: nn.Module | None = None, dims: Dims = 2
    ):
        super().__init__()
        self.channels, self.dims = channels, dims
        self.to_channels = MatchChannels(channels if gating_channels is None else gating_channels, channels, dims)
        self.to_grid = MatchGrid()
        self.gate = MASAG(channels, dims=dims) if gate is None else gate

    def match(self, x: Float[Tensor, "b c *grid"], g: Float[Tensor, "b c2 *grid2"]) -> Float[Tensor, "b c *grid"]:
        """g as the gate gets it: the channels and the grid of x."""
        for name, features, channels in (("x", x, self.channels), ("g", g, self.to_channels.channels)):
            if features.ndim != self.dims + 2 or features.shape[1] != channels:
                axes = ", ".join("dhw"[-self.dims :])
                raise InputError(
                    f"{name} of shape {tuple(features.shape)}: this skip was made for (b, {channels}, {axes})"
                )
        if x.shape[0] != g.shape[0]:
            raise InputError(f"x is a batch of {x.shape[0]} and g of {g.shape[0]}: give both for the same images")
        return self.to_grid(self.to_channels(g), x)

    def attention(self, x: Float[Tensor, "b c *grid"], g: Float[Tensor, "b c2 *grid2"]) -> Tensor | None:
        """The gate's map in (0, 1) on the grid of x, or None for a gate without one."""
        return self.gate.attention(x, self.match(x, g))  # pyright: ignore[reportCallIssue]

    def forward(self, x: Float[Tensor, "b c *grid"], g: Float[Tensor, "b c2 *grid2"]) -> Float[Tensor, "b c *grid"]:
        return self.gate(x, self.match(x, g))


def _check(channels: int, target_channels: int, dims: int) -> None:
    if dims not in _CONVOLUTION:
        raise InputError(f"dims={dims!r}: use 2 for maps (b, c, h, w) or 3 for volumes (b, c, d, h, w)")
    if min(channels, target_channels) < 1:
        raise InputError(f"channels {channels} and {target_channels}: give at least 1 of each")
