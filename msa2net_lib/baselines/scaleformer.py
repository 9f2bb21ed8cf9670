"""ScaleFormer: a convolutional and a transformer pyramid, and windows where cells of all scales attend."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from einops import rearrange
from timm.layers.mlp import Mlp
from torch import Tensor, nn
from torch.nn import functional

from msa2net_lib.baselines.blocks import SkipMixFeedForward, UpConcat, fitting_size, from_scratch
from msa2net_lib.nn.encoder import as_rgb
from msa2net_lib.nn.layout import map_to_tokens, reinterpret_memory, tokens_to_map
from msa2net_lib.nn.plain_unet import two_convolutions

if TYPE_CHECKING:
    from jaxtyping import Float

HEADS = 8


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, a ReLU between, then relu(h + BN(Conv1x1(h))). Shape: (b, c, h, w) -> (b, d, h, w)."""

    def __init__(self, channels_in: int, channels: int):
        super().__init__()
        self.convolutions = two_convolutions(channels_in, channels)[:-1]
        self.mix = nn.Conv2d(channels, channels, 1)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        features = self.convolutions(features)
        return (features + self.norm(self.mix(features))).relu()


class DualAxisAttention(nn.Module):
    """Attention along the height, then along the width, with learned position biases and one set of values.

    Queries and keys of an axis are averaged over the other one. As in the released code the values are multiplied from
    the right by the width's attention itself, not its transpose, so that its softmax is not over the summed axis; and
    the output's tokens are read as a map without a transpose. Its weights need both. The code leaves the biases
    uninitialized; here they start at zero. Shape: (b, c, h, w) of ``grid`` -> (b, c, h, w).
    """

    def __init__(self, channels: int, grid: tuple[int, int]):
        super().__init__()
        names = ("query_height", "key_height", "query_width", "key_width", "value")
        self.depthwise = nn.ModuleDict(
            {name: nn.Conv2d(channels, channels, 3, padding=1, groups=channels) for name in names}
        )
        self.linear = nn.ModuleDict({name: nn.Linear(channels, channels) for name in names})
        self.bias_height = nn.Parameter(torch.zeros(1, HEADS, grid[0], grid[0]))
        self.bias_width = nn.Parameter(torch.zeros(1, HEADS, grid[1], grid[1]))
        self.project = nn.Linear(channels, channels)

    def attention(self, x: Float[Tensor, "b c h w"], axis: str) -> Float[Tensor, "b heads s s"]:
        """The softmax of one axis, "height" or "width"."""
        query, key = (
            rearrange(
                self.linear[name](self.depthwise[name](x).mean(3 if axis == "height" else 2).transpose(1, 2)),
                "b s (heads d) -> b heads s d",
                heads=HEADS,
            )
            for name in (f"query_{axis}", f"key_{axis}")
        )
        bias = self.bias_height if axis == "height" else self.bias_width
        return (query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5 + bias).softmax(dim=-1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        batch, channels, height, width = x.shape
        values = self.linear["value"](map_to_tokens(self.depthwise["value"](x)))
        values = rearrange(values, "b (h w) (heads d) -> b heads h (w d)", heads=HEADS, h=height)
        values = rearrange(self.attention(x, "height") @ values, "b heads h (w d) -> b heads (h d) w", w=width)
        values = values @ self.attention(x, "width")
        tokens = self.project(rearrange(values, "b heads (h d) w -> b (h w) (heads d)", h=height))
        return reinterpret_memory(tokens, batch, channels, height, width)


class IntraScaleBlock(nn.Module):
    """Pre-norm dual-axis attention, and a feed-forward network with three norms. Shape: (b, c, h, w) -> the same."""

    def __init__(self, channels: int, grid: tuple[int, int]):
        super().__init__()
        self.attention_norm = nn.LayerNorm(channels, eps=1e-6)
        self.attention = DualAxisAttention(channels, grid)
        self.feed_forward_norm = nn.LayerNorm(channels, eps=1e-6)
        self.feed_forward = SkipMixFeedForward(channels, norms=3, eps=1e-6)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        grid = (x.shape[-2], x.shape[-1])
        x = x + self.attention(tokens_to_map(self.attention_norm(map_to_tokens(x)), *grid))
        return x + tokens_to_map(self.feed_forward(self.feed_forward_norm(map_to_tokens(x)), grid), *grid)


class InterScaleBlock(nn.Module):
    """All scales' cells of one part of the image attend to each other: 64 + 16 + 4 + 1 = 85 tokens a window.

    The scores are not divided by the square root of the channels: the code computes that factor and leaves it out.
    Shapes: four maps at 8, 4, 2 and 1 times the coarsest grid -> maps of the same shapes.
    """

    def __init__(self, channels: tuple[int, ...], width: int):
        super().__init__()
        self.go = nn.ModuleList(nn.Linear(c, width) for c in channels)
        self.attention_norm = nn.LayerNorm(width, eps=1e-6)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.feed_forward_norm = nn.LayerNorm(width, eps=1e-6)
        self.feed_forward = Mlp(width, 4 * width, drop=0.1)
        self.come_back = nn.ModuleList(nn.Linear(width, c) for c in channels)

    def attend(self, tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        """Self-attention with 8 heads inside each window, without a scale."""
        q, k, v = rearrange(
            self.queries_keys_values(tokens), "b n (three heads d) -> three b heads n d", three=3, heads=HEADS
        )
        attended = functional.scaled_dot_product_attention(q, k, v, scale=1.0)
        return self.project(rearrange(attended, "b heads n d -> b n (heads d)"))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        height, width = maps[-1].shape[-2:]
        windows = [
            rearrange(
                linear(rearrange(x, "b c h w -> b h w c")),
                "b (h p) (w q) c -> (b h w) (p q) c",
                h=height,
                w=width,
            )
            for linear, x in zip(self.go, maps, strict=True)
        ]
        tokens = torch.cat(windows, dim=1)
        tokens = tokens + self.attend(self.attention_norm(tokens))
        tokens = tokens + self.feed_forward(self.feed_forward_norm(tokens))
        parts = tokens.split([window.shape[1] for window in windows], dim=1)
        return [
            rearrange(
                linear(part),
                "(b h w) (p q) c -> b c (h p) (w q)",
                h=height,
                w=width,
                p=x.shape[-2] // height,
            )
            for linear, part, x in zip(self.come_back, parts, maps, strict=True)
        ]


class ScaleFormer(nn.Module):
    """ScaleFormer (Huang et al., IJCAI 2022): two pyramids, attention inside a scale and then between the scales.

    Skips: the map of `InterScaleBlock` beside the convolutional one, mixed to the latter's width; at half the size the
    convolutional map alone. Table 1 prints 111.6 M parameters, which is this network without its inter-scale block, and
    48.93 G, which needs it: the official code has 113.82 M. The attention over the width is transposed in that code,
    and its output's memory reinterpreted (`DualAxisAttention`). It takes 224 pixels only, and its training code was
    not released. There are no ``pretrained`` weights. ``depth``: attention blocks in each scale but the coarsest, which
    has one. Images are expected in [0, 1].

    Shape: (b, 1|3, h, w) of ``image_size``, multiples of 32 -> logits (b, num_classes, h, w).
    Source: github.com/ZJUGiveLab/ScaleFormer, commit d3e2416 (no license), as described.
    """

    def __init__(
        self,
        num_classes: int = 9,
        image_size: int | tuple[int, int] = 224,
        pretrained: bool | str = False,
        width: int = 64,
        depth: int = 2,
    ):
        super().__init__()
        from_scratch(pretrained, "scaleformer")
        self.image_size = fitting_size(image_size, 32, "scaleformer")
        height, wide = self.image_size
        grids = [(height // s, wide // s) for s in (4, 8, 16, 32)]
        channels = [width * m for m in (1, 2, 4, 8, 16)]
        scales = (channels[2], channels[3], channels[4], channels[4])
        self.convolutional = nn.ModuleList(ResidualBlock(*pair) for pair in pairwise((3, *channels)))
        self.intra = nn.ModuleList(
            nn.Sequential(*(IntraScaleBlock(c, grid) for _ in range(1 if i == 3 else depth)))
            for i, (c, grid) in enumerate(zip(scales, grids, strict=True))
        )
        self.down = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, 2 * c, 2, stride=2, bias=False), nn.BatchNorm2d(2 * c), nn.ReLU())
            for c in scales[:3]
        )
        self.join = nn.ModuleList(nn.Conv2d(2 * c + d, d, 1) for c, d in pairwise(scales))
        self.inter = InterScaleBlock(scales, channels[2])
        self.skips = nn.ModuleList(nn.Conv2d(2 * c, c, 1) for c in scales)
        steps = ((16, 16, 8), (8, 8, 4), (4, 4, 2), (2, 2, 1), (1, 0, 1))
        self.decoder = nn.ModuleList(UpConcat(width * (below + skip), width * out) for below, skip, out in steps)
        self.head = nn.Conv2d(channels[0], num_classes, 3, padding=1)

    def forward(self, image: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b k h w"]:
        features, maps = as_rgb(image, size=self.image_size), []
        for block in self.convolutional:
            features = block(features)
            maps.append(features)
            features = functional.max_pool2d(features, 2)
        maps.append(features)
        scales = [self.intra[0](maps[2])]
        for index in range(3):
            below = self.down[index](scales[-1])
            scales.append(self.intra[index + 1](self.join[index](torch.cat([maps[index + 3], below], dim=1))))
        joined = zip(self.skips, self.inter(scales), maps[2:], strict=True)
        skips = [mix(torch.cat([inter, own], dim=1)) for mix, inter, own in joined]
        features = skips[3]
        for level, skip in zip(self.decoder, (skips[2], skips[1], skips[0], maps[1], None), strict=True):
            features = level(features, skip)
        return self.head(features)
