"""MISSFormer: a pyramid of efficient transformers, and a bridge in which all scales' tokens attend to each other."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from timm.models.pvt_v2 import Attention
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
from msa2net_lib.nn.encoder import as_rgb
from msa2net_lib.nn.layout import PatchExpand, map_to_tokens, reinterpret_memory, tokens_to_map

if TYPE_CHECKING:
    from jaxtyping import Float

REDUCTIONS = (8, 4, 2, 1)
Grid = tuple[int, int]


class TransformerBlock(nn.Module):
    """Pre-norm attention whose keys and values are on a coarser grid, and the feed-forward network with a skip.

    Shape: tokens (b, h*w, c) on a (h, w) grid -> (b, h*w, c).
    """

    def __init__(self, channels: int, heads: int, reduction: int, compute_discarded: bool):
        super().__init__()
        self.attention_norm = nn.LayerNorm(channels)
        self.attention = Attention(channels, heads, reduction, qkv_bias=True)
        self.feed_forward_norm = nn.LayerNorm(channels)
        self.feed_forward = SkipMixFeedForward(channels, compute_discarded=compute_discarded)

    def forward(self, tokens: Float[Tensor, "b n c"], grid: Grid) -> Float[Tensor, "b n c"]:
        tokens = tokens + self.attention(self.attention_norm(tokens), grid)
        return tokens + self.feed_forward(self.feed_forward_norm(tokens), grid)


def split_channels(tokens: Float[Tensor, "b n c"], width: int) -> Float[Tensor, "b m w"]:
    """Cut each cell's channels, in their order, into tokens of ``width`` channels."""
    return tokens.unflatten(2, (-1, width)).flatten(1, 2)


class BridgeAttention(nn.Module):
    """One-headed attention of all scales' tokens to few of them: each scale's map, reduced to the coarsest grid.

    As in the released code the reduced maps' memory is read as tokens: a map (b, m*w, h, w) is taken for (b, w, m*h*w),
    so that channels stand for positions. The tokens that ask are cut cell by cell. Its weights need both.
    """

    def __init__(self, width: int, multiples: tuple[int, ...]):
        super().__init__()
        self.width = width
        self.queries = nn.Linear(width, width)
        self.keys_values = nn.Linear(width, 2 * width)
        self.project = nn.Linear(width, width)
        self.reduce = nn.ModuleList(
            nn.Conv2d(m * width, m * width, r, stride=r) for m, r in zip(multiples, REDUCTIONS[:-1], strict=False)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Float[Tensor, "b n w"], maps: list[Tensor]) -> Float[Tensor, "b n w"]:
        few = [
            reinterpret_memory(reduce(features), features.shape[0], self.width, -1).transpose(1, 2)
            for reduce, features in zip(self.reduce, maps, strict=False)
        ]
        few.append(split_channels(map_to_tokens(maps[-1]), self.width))
        keys, values = self.keys_values(self.norm(torch.cat(few, dim=1))).chunk(2, dim=-1)
        # One head, named as an axis: the ONNX exporter takes four axes only.
        heads = (part.unsqueeze(1) for part in (self.queries(tokens), keys, values))
        return self.project(nn.functional.scaled_dot_product_attention(*heads).squeeze(1))


class BridgeLayer(nn.Module):
    """Attention across the scales, then each scale's own feed-forward network on its own grid and channels."""

    def __init__(self, width: int, multiples: tuple[int, ...], compute_discarded: bool):
        super().__init__()
        self.width, self.multiples = width, multiples
        self.attention_norm = nn.LayerNorm(width)
        self.attention = BridgeAttention(width, multiples)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = nn.ModuleList(
            SkipMixFeedForward(m * width, compute_discarded=compute_discarded) for m in multiples
        )

    def by_scale(self, tokens: Float[Tensor, "b n w"], grids: list[Grid]) -> list[Tensor]:
        """Each scale's tokens with all channels of a cell together, (b, h*w, m*w)."""
        counts = [m * h * w for m, (h, w) in zip(self.multiples, grids, strict=True)]
        return [
            part.unflatten(1, (-1, m)).flatten(2)
            for part, m in zip(tokens.split(counts, dim=1), self.multiples, strict=True)
        ]

    def forward(self, tokens: Float[Tensor, "b n w"], grids: list[Grid]) -> Float[Tensor, "b n w"]:
        normed = self.by_scale(self.attention_norm(tokens), grids)
        maps = [tokens_to_map(part, *grid) for part, grid in zip(normed, grids, strict=True)]
        asking = torch.cat([split_channels(part, self.width) for part in normed], dim=1)
        tokens = tokens + self.attention(asking, maps)
        scales = zip(self.feed_forward, self.by_scale(self.feed_forward_norm(tokens), grids), grids, strict=True)
        mixed = [split_channels(feed_forward(part, grid), self.width) for feed_forward, part, grid in scales]
        return tokens + torch.cat(mixed, dim=1)


class Bridge(nn.Module):
    """Four bridge layers over the encoder's maps; no residual around them. Shapes: maps -> maps of the same shapes."""

    def __init__(self, width: int, multiples: tuple[int, ...], compute_discarded: bool, depth: int = 4):
        super().__init__()
        self.width = width
        self.layers: Any = nn.ModuleList(BridgeLayer(width, multiples, compute_discarded) for _ in range(depth))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        grids = [(features.shape[-2], features.shape[-1]) for features in maps]
        tokens = torch.cat([split_channels(map_to_tokens(features), self.width) for features in maps], dim=1)
        for layer in self.layers:
            tokens = layer(tokens, grids)
        scales = zip(self.layers[-1].by_scale(tokens, grids), grids, strict=True)
        return [tokens_to_map(part, *grid) for part, grid in scales]


class Level(nn.Module):
    """Concatenate the bridge's map, mix, two blocks, expansion; the deepest only expands, and owns all of it."""

    def __init__(
        self, channels_below: int, channels: int, heads: int, reduction: int, discarded: bool, scale: int, depth: int
    ):
        super().__init__()
        self.mix = nn.Linear(channels_below + channels, channels)
        self.blocks = nn.ModuleList(TransformerBlock(channels, heads, reduction, discarded) for _ in range(depth))
        self.expand = PatchExpand(channels, scale)

    def forward(self, tokens: Float[Tensor, "b n c"], skip: Tensor | None, grid: Grid) -> Float[Tensor, "b m d"]:
        if skip is not None:
            tokens = self.mix(torch.cat([tokens, map_to_tokens(skip)], dim=-1))
            for block in self.blocks:
                tokens = block(tokens, grid)
        return self.expand(tokens, grid)


class MISSFormer(nn.Module):
    """MISSFormer (Huang et al., TMI 2023): efficient transformer encoder and decoder, a bridge instead of plain skips.

    As executed: the bridge takes its reduced maps' channels for positions (`BridgeAttention`); the feed-forward network
    expands twice and forgets one result (``compute_discarded`` does so too, for the same cost), and two of its three
    norms never run; the deepest decoder level owns a linear layer and two blocks that never run. These 7,009,792
    parameters without a gradient are kept, Table 1 counts them. The official code takes 224 pixels only. There are no
    ``pretrained`` weights. Images are expected normalized from [0, 1] by (x - 0.5) / 0.5. ``depth``: blocks a stage and
    level; the bridge has twice as many.

    Shape: (b, 1|3, h, w), multiples of 32 -> logits (b, num_classes, h, w).
    Source: github.com/ZhifangDeng/MISSFormer, commit 007424e (no license), as described.
    """

    def __init__(
        self,
        num_classes: int = 9,
        image_size: int | tuple[int, int] = 224,
        pretrained: bool | str = False,
        width: int = 64,
        compute_discarded: bool = False,
        depth: int = 2,
    ):
        super().__init__()
        from_scratch(pretrained, "missformer")
        fitting_size(image_size, 32, "missformer")
        multiples = (1, 2, 5, 8)
        channels = [m * width for m in multiples]
        block = partial(TransformerBlock, compute_discarded=compute_discarded)
        self.stages = nn.ModuleList(
            TokenStage(
                before, c, *((3, 2) if i else (7, 4)), (block(c, multiples[i], REDUCTIONS[i]) for _ in range(depth))
            )
            for i, (before, c) in enumerate(pairwise((3, *channels)))
        )
        self.bridge = Bridge(width, multiples, compute_discarded, 2 * depth)
        below = [c // 2 for c in channels[1:]] + [channels[3]]
        self.levels = nn.ModuleList(
            Level(below[i], c, multiples[i], REDUCTIONS[i], compute_discarded, 2 if i else 4, depth)
            for i, c in enumerate(channels)
        )
        self.head = nn.Conv2d(width, num_classes, 1)
        xavier_start(self.levels)
        xavier_start(self.head)

    def forward(self, image: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b k h w"]:
        return decoded(self.levels, self.bridge(maps_of(self.stages, as_rgb(image))), self.head)
