"""Large-kernel attention blocks, used at the decoder's fine levels (Guo et al., Visual Attention Network)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from msa2net_lib.nn.layout import ChannelLayerNorm


class DilatedDepthwise(nn.Conv2d):
    """A depthwise convolution of odd kernel, dilated, that keeps the size of its input.

    With ``on_grids`` and gradients wanted it takes every d-th row and column as an image of its own, d x d of them, and
    convolves these without dilation: each sum has the same terms. CPU libraries have fast kernels for that, and for the
    gradients of a dilated depthwise convolution none. On a GPU, and without gradients, there is nothing to gain.

    Shape: (b, c, h, w) -> (b, c, h, w). Parameters and their names are `nn.Conv2d`'s. Raises: `ValueError` for an even
    kernel.
    """

    def __init__(self, channels: int, kernel_size: int, dilation: int):
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size={kernel_size}: give an odd one, which has a middle")
        padding = dilation * (kernel_size // 2)
        super().__init__(channels, channels, kernel_size, padding=padding, dilation=dilation, groups=channels)
        self.on_grids = False

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        if not (self.on_grids and torch.is_grad_enabled()):
            return super().forward(input)
        (step, _), (height, width) = self.dilation, input.shape[-2:]
        padded = F.pad(input, (0, -width % step, 0, -height % step))
        grids = rearrange(padded, "b c (h p) (w q) -> (b p q) c h w", p=step, q=step)
        grids = F.conv2d(grids, self.weight, self.bias, padding=self.kernel_size[0] // 2, groups=self.groups)
        whole = rearrange(grids, "(b p q) c h w -> b c (h p) (w q)", p=step, q=step)
        return whole[..., :height, :width]


def train_on_grids(network: nn.Module, device: torch.device) -> None:
    """Have a network's dilated depthwise convolutions trained the way that is fast on a device."""
    for module in network.modules():
        if isinstance(module, DilatedDepthwise):
            module.on_grids = device.type == "cpu"


class LargeKernelAttention(nn.Module):
    """Multiply features by a map that looks 23 x 23 cells wide: 5x5, then 7x7 dilated by 3, then 1x1.

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

    Shape: (b, c, h, w) -> (b, c, h, w). ``attention``: what makes another one in its place, given the channels.
    """

    def __init__(self, channels: int, attention: Callable[[int], nn.Module] = LargeKernelAttention):
        super().__init__()
        self.project_in = nn.Conv2d(channels, channels, 1)
        self.activation = nn.GELU()
        self.attention = attention(channels)
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

    Shape: (b, c, h, w) -> (b, c, h, w). Layer scales start at 0.01 (released code). ``attention`` as above.
    """

    def __init__(
        self,
        channels: int,
        layer_scale: float = 1e-2,
        attention: Callable[[int], nn.Module] = LargeKernelAttention,
    ):
        super().__init__()
        self.attention_norm = ChannelLayerNorm(channels)
        self.attention = SpatialAttention(channels, attention)
        self.attention_scale = nn.Parameter(torch.full((channels,), layer_scale))
        self.feed_forward_norm = ChannelLayerNorm(channels)
        self.feed_forward = ConvFeedForward(channels)
        self.feed_forward_scale = nn.Parameter(torch.full((channels,), layer_scale))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        x = x + self.attention_scale[:, None, None] * self.attention(self.attention_norm(x))
        return x + self.feed_forward_scale[:, None, None] * self.feed_forward(self.feed_forward_norm(x))
