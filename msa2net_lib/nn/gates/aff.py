"""Attentional feature fusion: a weighted mean of x and g, with a weight for each cell and channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from jaxtyping import Float


def _bottleneck(channels: int, inner: int, *, normed: bool) -> nn.Sequential:
    layers = [nn.Conv2d(channels, inner, 1), nn.BatchNorm2d(inner), nn.ReLU(), nn.Conv2d(inner, channels, 1)]
    layers.append(nn.BatchNorm2d(channels))
    return nn.Sequential(*(layer for layer in layers if normed or not isinstance(layer, nn.BatchNorm2d)))


class AttentionalFusion(nn.Module):
    """Attentional feature fusion: y = a * x + (1 - a) * g with a = sigmoid(local(x + g) + global(mean of x + g)).

    Shapes: x, g (b, c, h, w) -> y (b, c, h, w); local and global are two 1x1 convolutions each, with c / 4 channels (at
    least 1) between them; the mean runs over all cells. Source: Dai et al. 2021, Attentional Feature Fusion, Equations
    2 to 4 (their code doubles y, the paper does not). They have batch norm in both branches; here it is in the local
    one only, since behind the mean it has one value per image and cannot train on a batch of one.
    """

    def __init__(self, channels: int):
        super().__init__()
        inner = max(1, channels // 4)
        self.local_context = _bottleneck(channels, inner, normed=True)
        self.global_context = _bottleneck(channels, inner, normed=False)

    def attention(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The share of x in the sum, in (0, 1), one value per cell and channel."""
        both = x + g
        return (self.local_context(both) + self.global_context(both.mean(dim=(-2, -1), keepdim=True))).sigmoid()

    def forward(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        share = self.attention(x, g)
        return share * x + (1 - share) * g
