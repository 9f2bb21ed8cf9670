"""Skips without a map: addition, which passes x on as it is, and concatenation, which mixes x and g."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
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
