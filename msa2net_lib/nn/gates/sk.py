"""Selective kernels, with skip and decoder as the two branches: a weighted mean of x and g, by channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from einops import rearrange
from torch import Tensor, nn

if TYPE_CHECKING:
    from jaxtyping import Float


class SelectiveKernel(nn.Module):
    """Selection of whole channels: y = a * x + (1 - a) * g, where (a, 1 - a) is a softmax over the two inputs.

    Shapes: x, g (b, c, h, w) -> y (b, c, h, w); the weights come from the mean of x + g over all cells by two linear
    layers with max(32, c / 16) channels between them, so that they are the same everywhere in the image. In the
    source the two branches are two kernels on one input; here they are skip and decoder, hence "SK-style". Source: Li
    et al. 2019, Selective Kernel Networks, section 3.1. Their batch norm between the two layers is left out: with one
    value per image it cannot train on a batch of one.
    """

    def __init__(self, channels: int):
        super().__init__()
        inner = max(32, channels // 16)
        self.squeeze = nn.Sequential(nn.Conv2d(channels, inner, 1), nn.ReLU())
        self.select = nn.Conv2d(inner, 2 * channels, 1, bias=False)

    def share(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c 1 1"]:
        """The share of x in the sum, in (0, 1), one value per channel and image."""
        both = self.select(self.squeeze((x + g).mean(dim=(-2, -1), keepdim=True)))
        return rearrange(both, "b (two c) h w -> two b c h w", two=2).softmax(dim=0)[0]

    def attention(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The share of x, the same at every cell."""
        return self.share(x, g).expand_as(x)

    def forward(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        share = self.share(x, g)
        return share * x + (1 - share) * g
