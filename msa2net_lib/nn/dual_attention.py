"""Dual-attention transformer blocks, used at the decoder's coarse levels (Azad et al., DAE-Former)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from msa2net_lib.nn.layout import map_to_tokens, tokens_to_map


class EfficientAttention(nn.Module):
    """Spatial attention whose cost grows linearly with the number of positions (Shen et al., WACV 2021).

    Keys are normalized over positions, queries over channels; their (c x c) context stands in for the
    (n x n) attention matrix. One head, as in the released code. Shape: (b, c, h, w) -> (b, c, h, w).
    """

    def __init__(self, channels: int):
        super().__init__()
        self.keys = nn.Conv2d(channels, channels, 1)
        self.queries = nn.Conv2d(channels, channels, 1)
        self.values = nn.Conv2d(channels, channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        height, width = x.shape[-2:]
        keys = rearrange(self.keys(x), "b c h w -> b c (h w)").softmax(dim=2)
        queries = rearrange(self.queries(x), "b c h w -> b c (h w)").softmax(dim=1)
        values = rearrange(self.values(x), "b c h w -> b c (h w)")
        context = torch.einsum("b k n, b v n -> b k v", keys, values)
        attended = torch.einsum("b k v, b k n -> b v n", context, queries)
        return self.project(rearrange(attended, "b c (h w) -> b c h w", h=height, w=width))


class ChannelAttention(nn.Module):
    """Attention between channels instead of positions (Ali et al., XCiT): one (c/8 x c/8) map per head.

    Shape: tokens (b, n, c) -> (b, n, c); ``channels`` must be a multiple of ``heads``.
    """

    def __init__(self, channels: int, heads: int = 8):
        if channels % heads:
            raise ValueError(f"channels={channels} is no multiple of heads={heads}: change one of them")
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.project = nn.Linear(channels, channels)

    def forward(self, tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        queries, keys, values = rearrange(
            self.qkv(tokens), "b n (three heads c) -> three b heads c n", three=3, heads=self.heads
        )
        queries, keys = F.normalize(queries, dim=-1), F.normalize(keys, dim=-1)
        # softmax(temperature * queries @ keys^T) @ values, by a fused kernel where the device has one for these sizes.
        attended = F.scaled_dot_product_attention(queries * self.temperature, keys, values, scale=1.0)
        return self.project(rearrange(attended, "b heads c n -> b n (heads c)"))


class MixFeedForward(nn.Module):
    """Feed-forward network on tokens that lets neighbors mix: linear to 4c, 3x3 depthwise, GELU, linear.

    Shape: tokens (b, h*w, c) on a (h, w) grid -> (b, h*w, c).
    """

    def __init__(self, channels: int, expansion: int = 4):
        hidden = expansion * channels
        super().__init__()
        self.expand = nn.Linear(channels, hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.activation = nn.GELU()
        self.reduce = nn.Linear(hidden, channels)

    def forward(self, tokens: Float[Tensor, "b n c"], grid: tuple[int, int]) -> Float[Tensor, "b n c"]:
        mixed = self.depthwise(tokens_to_map(self.expand(tokens), *grid))
        return self.reduce(self.activation(map_to_tokens(mixed)))


class DualAttentionBlock(nn.Module):
    """Spatial (efficient) attention, feed-forward, channel attention, feed-forward; pre-norm, residual.

    Shape: tokens (b, h*w, c) on a (h, w) grid -> (b, h*w, c). ``feed_forward``: what makes either feed-forward
    network, given the channels.
    """

    def __init__(self, channels: int, feed_forward: Callable[[int], nn.Module] = MixFeedForward):
        super().__init__()
        self.spatial_norm = nn.LayerNorm(channels)
        self.spatial_attention = EfficientAttention(channels)
        self.feed_forward_1_norm = nn.LayerNorm(channels)
        self.feed_forward_1 = feed_forward(channels)
        self.channel_norm = nn.LayerNorm(channels)
        self.channel_attention = ChannelAttention(channels)
        self.feed_forward_2_norm = nn.LayerNorm(channels)
        self.feed_forward_2 = feed_forward(channels)

    def forward(self, tokens: Float[Tensor, "b n c"], grid: tuple[int, int]) -> Float[Tensor, "b n c"]:
        features = tokens_to_map(self.spatial_norm(tokens), *grid)
        tokens = tokens + map_to_tokens(self.spatial_attention(features))
        tokens = tokens + self.feed_forward_1(self.feed_forward_1_norm(tokens), grid)
        tokens = tokens + self.channel_attention(self.channel_norm(tokens))
        return tokens + self.feed_forward_2(self.feed_forward_2_norm(tokens), grid)
