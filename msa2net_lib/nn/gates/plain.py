"""Rivals of MASAG that other networks use: addition, concatenation, the additive attention gate, and two selections.

Each is ``gate(x, g) -> y`` with x skip and g gating features (b, c, h, w) on one grid, y what is added to g; and
``gate.attention(x, g)``, the map in (0, 1) that x is multiplied by, or None.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch import Tensor, nn

if TYPE_CHECKING:
    from jaxtyping import Float


class Addition(nn.Module):
    """No gate: the skip features pass unchanged. Shapes: x, g (b, c, h, w) -> x."""

    def attention(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> None:
        """None: there is no map."""

    def forward(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x


class Concatenation(nn.Module):
    """No map either: a 1x1 convolution mixes the channels of both, y = Conv1x1([x; g]), as in U-Net.

    Shapes: x, g (b, c, h, w) -> y (b, c, h, w).
    """

    def __init__(self, channels: int):
        super().__init__()
        self.mix = nn.Conv2d(2 * channels, channels, 1)

    def attention(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> None:
        """None: there is no map."""

    def forward(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.mix(torch.cat([x, g], dim=1))


class AttentionGate(nn.Module):
    """Additive attention gate: y = a * x with a = sigmoid(psi(relu(theta(x) + phi(g)))), one map for all channels.

    Shapes: x, g (b, c, h, w) -> y (b, c, h, w); inside c / 2 channels (at least 1), as in common implementations, and
    batch norm after each of the three 1x1 convolutions. x and g are on one grid here, so nothing is resampled.
    Source: Oktay et al. 2018, Attention U-Net, Equations 1 and 2.
    """

    def __init__(self, channels: int):
        super().__init__()
        inner = max(1, channels // 2)
        self.theta_x = nn.Sequential(nn.Conv2d(channels, inner, 1), nn.BatchNorm2d(inner))
        self.phi_g = nn.Sequential(nn.Conv2d(channels, inner, 1), nn.BatchNorm2d(inner))
        self.psi = nn.Sequential(nn.Conv2d(inner, 1, 1), nn.BatchNorm2d(1))

    def attention(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
        """The attention map in (0, 1), one value per pixel."""
        return self.psi((self.theta_x(x) + self.phi_g(g)).relu()).sigmoid()

    def forward(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.attention(x, g) * x


def _bottleneck(channels: int, inner: int, *, normed: bool) -> nn.Sequential:
    layers = [nn.Conv2d(channels, inner, 1), nn.BatchNorm2d(inner), nn.ReLU(), nn.Conv2d(inner, channels, 1)]
    layers.append(nn.BatchNorm2d(channels))
    return nn.Sequential(*(layer for layer in layers if normed or not isinstance(layer, nn.BatchNorm2d)))


class AttentionalFusion(nn.Module):
    """Attentional feature fusion: y = a * x + (1 - a) * g with a = sigmoid(local(x + g) + global(mean of x + g)).

    Shapes: x, g (b, c, h, w) -> y (b, c, h, w); local and global are two 1x1 convolutions each, with c / 4 channels (at
    least 1) between them; the mean runs over all pixels. Source: Dai et al. 2021, Attentional Feature Fusion, Equations
    2 to 4 (their code doubles y, the paper does not). They have batch norm in both branches; here it is in the local
    one only, since behind the mean it has one value per image and cannot train on a batch of one.
    """

    def __init__(self, channels: int):
        super().__init__()
        inner = max(1, channels // 4)
        self.local_context = _bottleneck(channels, inner, normed=True)
        self.global_context = _bottleneck(channels, inner, normed=False)

    def attention(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The share of x in the sum, in (0, 1), one value per pixel and channel."""
        both = x + g
        return (self.local_context(both) + self.global_context(both.mean(dim=(-2, -1), keepdim=True))).sigmoid()

    def forward(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        share = self.attention(x, g)
        return share * x + (1 - share) * g


class SelectiveKernel(nn.Module):
    """Selection of whole channels: y = a * x + (1 - a) * g, where (a, 1 - a) is a softmax over the two inputs.

    Shapes: x, g (b, c, h, w) -> y (b, c, h, w); the weights come from the mean of x + g over all pixels by two linear
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
        """The share of x, the same at every pixel."""
        return self.share(x, g).expand_as(x)

    def forward(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        share = self.share(x, g)
        return share * x + (1 - share) * g
