"""Large-kernel attention blocks, used at the decoder's fine levels (Guo et al., Visual Attention Network)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from msa2net_lib.nn.dilated import DilatedDepthwise
from msa2net_lib.nn.layout import ChannelLayerNorm

if TYPE_CHECKING:
    from jaxtyping import Float


class LargeKernelAttention(nn.Module):
    """Multiply features by a map that looks 23 x 23 pixels wide: 5x5, then 7x7 dilated by 3, then 1x1.

    Shape: (b, c, h, w) -> (b, c, h, w). Both wide convolutions are depthwise.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.dilated = DilatedDepthwise(channels, 7, dilation=3)
        self.pointwise = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x * self.pointwise(self.dilated(self.depthwise(x)))


class SpatialAttention(nn.Module):
    """Large-kernel attention between two pointwise convolutions, with a residual around all of it.

    Shape: (b, c, h, w) -> (b, c, h, w).
    """

    def __init__(self, channels: int):
        super().__init__()
        self.project_in = nn.Conv2d(channels, channels, 1)
        self.activation = nn.GELU()
        self.attention = LargeKernelAttention(channels)
        self.project_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x + self.project_out(self.attention(self.activation(self.project_in(x))))


class ConvFeedForward(nn.Sequential):
    """Feed-forward network on a feature map: 1x1 to 4c, 3x3 depthwise, GELU, 1x1 back to c.

    Shape: (b, c, h, w) -> (b, c, h, w).
    """

    def __init__(self, channels: int, expansion: int = 4):
        hidden = expansion * channels
        super().__init__()
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.activation = nn.GELU()
        self.reduce = nn.Conv2d(hidden, channels, 1)


class LKABlock(nn.Module):
    """Pre-norm transformer-style block with large-kernel attention in place of self-attention.

    Shape: (b, c, h, w) -> (b, c, h, w). Layer scales start at 0.01 (released code).
    """

    def __init__(self, channels: int, layer_scale: float = 1e-2):
        super().__init__()
        self.attention_norm = ChannelLayerNorm(channels)
        self.attention = SpatialAttention(channels)
        self.attention_scale = nn.Parameter(torch.full((channels,), layer_scale))
        self.feed_forward_norm = ChannelLayerNorm(channels)
        self.feed_forward = ConvFeedForward(channels)
        self.feed_forward_scale = nn.Parameter(torch.full((channels,), layer_scale))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        x = x + self.attention_scale[:, None, None] * self.attention(self.attention_norm(x))
        return x + self.feed_forward_scale[:, None, None] * self.feed_forward(self.feed_forward_norm(x))
