"""DAEFormer: dual attention in encoder and decoder, and skips that meet the decoder in a cross attention."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch import Tensor, nn

from msa2net_lib.baselines.blocks import (
    SkipMixFeedForward,
    TokenStage,
    decoded,
    fitting_size,
    from_scratch,
    maps_of,
)
from msa2net_lib.nn.decoder import xavier_start
from msa2net_lib.nn.dual_attention import DualAttentionBlock
from msa2net_lib.nn.encoder import as_rgb
from msa2net_lib.nn.layout import PatchExpand, map_to_tokens

if TYPE_CHECKING:
    from jaxtyping import Float


class SkipCrossAttention(nn.Module):
    """Skip and decoder tokens become one of twice the width: keys and queries from the skip, values from the decoder.

    Both pass one layer norm; there are no projections before the attention, a 1x1 convolution and a norm after it; the
    two side by side are added, then a feed-forward network. Shapes: decoder, skip (b, h*w, c) -> (b, h*w, 2c).
    """

    def __init__(self, channels: int, compute_discarded: bool):
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.project = nn.Conv2d(channels, 2 * channels, 1)
        self.project_norm = nn.LayerNorm(2 * channels)
        self.feed_forward_norm = nn.LayerNorm(2 * channels)
        self.feed_forward = SkipMixFeedForward(2 * channels, 4 * channels, compute_discarded=compute_discarded)

    def forward(
        self, decoder: Float[Tensor, "b n c"], skip: Float[Tensor, "b n c"], grid: tuple[int, int]
    ) -> Float[Tensor, "b n d"]:
        asked = rearrange(self.norm(skip), "b n c -> b c n")
        values = rearrange(self.norm(decoder), "b n c -> b c n")
        context = torch.einsum("b k n, b v n -> b k v", asked.softmax(dim=2), values)
        attended = torch.einsum("b k v, b k n -> b v n", context, asked.softmax(dim=1)).unflatten(2, grid)
        both = torch.cat([decoder, skip], dim=-1) + self.project_norm(map_to_tokens(self.project(attended)))
        return both + self.feed_forward(self.feed_forward_norm(both), grid)


class Level(nn.Module):
    """Bring the decoder's tokens to the skip's width, cross attention, back to that width, two dual blocks, expansion.

    Without a skip, the deepest level, it owns all of it and only expands.
    """

    def __init__(self, channels_below: int, channels: int, scale: int, compute_discarded: bool, depth: int):
        super().__init__()
        self.linear = nn.Linear(channels_below, channels)
        self.cross_attention = SkipCrossAttention(channels, compute_discarded)
        self.mix = nn.Linear(2 * channels, channels)
        feed_forward = partial(SkipMixFeedForward, compute_discarded=compute_discarded)
        self.blocks = nn.ModuleList(DualAttentionBlock(channels, feed_forward) for _ in range(depth))
        self.expand = PatchExpand(channels, scale)

    def forward(
        self, tokens: Float[Tensor, "b n c"], skip: Float[Tensor, "b d h w"] | None, grid: tuple[int, int]
    ) -> Float[Tensor, "b m e"]:
        if skip is not None:
            tokens = self.mix(self.cross_attention(self.linear(tokens), map_to_tokens(skip), grid))
            for block in self.blocks:
                tokens = block(tokens, grid)
        return self.expand(tokens, grid)


class DAEFormer(nn.Module):
    """DAEFormer (Azad et al., PRIME 2023): MSA²Net's dual attention blocks with another feed-forward network.

    As executed: efficient attention has one head, whatever the head count says; the feed-forward network expands twice
    and forgets one result (``compute_discarded`` does so too, for the same cost), and two of its three norms never run;
    the deepest decoder level owns a cross attention and blocks that never run. These 18,382,864 parameters without a
    gradient are kept, Table 1 counts them. The official code is written for 224 pixels. There are no ``pretrained``
    weights. Images are expected normalized from [0, 1] by (x - 0.5) / 0.5. ``depth``: dual blocks a stage and level.

    Shape: (b, 1|3, h, w), multiples of 16 -> logits (b, num_classes, h, w).
    Source: github.com/mindflow-institue/DAEFormer, commit 9460d3a (MIT).
    """

    def __init__(
        self,
        num_classes: int = 9,
        image_size: int | tuple[int, int] = 224,
        pretrained: bool | str = False,
        channels: tuple[int, int, int] = (128, 320, 512),
        compute_discarded: bool = False,
        depth: int = 2,
    ):
        super().__init__()
        from_scratch(pretrained, "daeformer")
        fitting_size(image_size, 16, "daeformer")
        feed_forward = partial(SkipMixFeedForward, compute_discarded=compute_discarded)
        self.stages = nn.ModuleList(
            TokenStage(
                before, c, *((3, 2) if i else (7, 4)), (DualAttentionBlock(c, feed_forward) for _ in range(depth))
            )
            for i, (before, c) in enumerate(pairwise((3, *channels)))
        )
        below = (channels[1] // 2, channels[2] // 2, channels[2])
        self.levels = nn.ModuleList(
            Level(below[i], c, 2 if i else 4, compute_discarded, depth) for i, c in enumerate(channels)
        )
        self.head = nn.Conv2d(channels[0], num_classes, 1)
        xavier_start(self.levels)
        xavier_start(self.head)

    def forward(self, image: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b k h w"]:
        return decoded(self.levels, maps_of(self.stages, as_rgb(image, 16)), self.head)
