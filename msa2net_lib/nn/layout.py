"""Feature maps and tokens: how one becomes the other, truly and as the released code does it, and larger grids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from einops import rearrange
from torch import Tensor, nn

if TYPE_CHECKING:
    from jaxtyping import Float

TokenLayout = Literal["grid", "reinterpreted"]


def reinterpret_memory(tensor: Tensor, *shape: int) -> Tensor:
    """Read a tensor's memory, in its row-major order, as another shape: axes change meaning, values stay put.

    The released code does this where a permutation of axes was meant (three reshapes in each decoder
    level), so that channels end up as positions and positions as channels. Its weights were trained that
    way and need it; nothing else should. Every such reinterpretation of this library happens here.
    """
    return tensor.contiguous().view(*shape)


def tokens_to_map(
    tokens: Float[Tensor, "b n c"], height: int, width: int, layout: TokenLayout = "grid"
) -> Float[Tensor, "b c h w"]:
    """Lay (b, h*w, c) tokens out on their grid as (b, c, h, w)."""
    if layout == "reinterpreted":
        return reinterpret_memory(tokens, tokens.shape[0], tokens.shape[2], height, width)
    return rearrange(tokens, "b (h w) c -> b c h w", h=height, w=width)


def map_to_tokens(features: Float[Tensor, "b c h w"], layout: TokenLayout = "grid") -> Float[Tensor, "b n c"]:
    """Line up a (b, c, h, w) feature map's pixels, row by row, as (b, h*w, c) tokens."""
    if layout == "reinterpreted":
        b, c, h, w = features.shape
        return reinterpret_memory(features, b, h * w, c)
    return rearrange(features, "b c h w -> b (h w) c")


class ChannelLayerNorm(nn.LayerNorm):
    """Layer normalization over the channels of a feature map. Shape: (b, c, h, w) -> (b, c, h, w)."""

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return rearrange(super().forward(rearrange(input, "b c h w -> b h w c")), "b h w c -> b c h w")


class PatchExpand(nn.Module):
    """Enlarge a token grid 2 or 4 times: linear without bias, spread each token over a patch, layer norm.

    Shape: tokens (b, h*w, c) on a (h, w) grid -> (b, s*h*s*w, c/2) for scale s = 2, (b, s*h*s*w, c) for
    s = 4. Token order stays row by row on the larger grid. Source: Cao et al., Swin-Unet.
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
