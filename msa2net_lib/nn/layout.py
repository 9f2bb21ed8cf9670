"""Feature maps and tokens: how one becomes the other, truly and as the released code does it."""

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
