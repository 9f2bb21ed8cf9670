"""Patch expansion: trade channels for resolution by a learnt linear map (Cao et al., Swin-Unet)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from einops import rearrange
from torch import Tensor, nn

if TYPE_CHECKING:
    from jaxtyping import Float


class PatchExpand(nn.Module):
    """Enlarge a token grid 2 or 4 times: linear without bias, spread each token over a patch, layer norm.

    Shape: tokens (b, h*w, c) on a (h, w) grid -> (b, s*h*s*w, c/2) for scale s = 2, (b, s*h*s*w, c) for
    s = 4. Token order stays row by row on the larger grid.
    """

    def __init__(self, channels: int, scale: int = 2):
        if scale not in (2, 4):
            raise ValueError(f"scale={scale}: patch expansion is defined for 2 and 4")
        super().__init__()
        self.scale = scale
        self.out_channels = channels // 2 if scale == 2 else channels
        self.expand = nn.Linear(channels, self.out_channels * scale**2, bias=False)
        self.norm = nn.LayerNorm(self.out_channels)

    def forward(self, tokens: Float[Tensor, "b n c"], grid: tuple[int, int]) -> Float[Tensor, "b m d"]:
        height, width = grid
        spread = rearrange(
            self.expand(tokens),
            "b (h w) (s1 s2 d) -> b (h s1 w s2) d",
            h=height,
            w=width,
            s1=self.scale,
            s2=self.scale,
        )
        return self.norm(spread)
