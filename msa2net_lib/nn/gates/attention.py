"""The additive attention gate of Attention U-Net: one map for all channels, from x and g."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from jaxtyping import Float


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
        """The attention map in (0, 1), one value per cell."""
        return self.psi((self.theta_x(x) + self.phi_g(g)).relu()).sigmoid()

    def forward(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.attention(x, g) * x
