"""UCTransNet: a transformer over channels rewrites all skips together before the decoder sees them."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from timm.layers.mlp import Mlp
from torch import Tensor, nn
from torch.nn import functional

from msa2net_lib.baselines.blocks import conv_norm_relu, double_conv, encoded, fitting_size
from msa2net_lib.nn.encoder import as_rgb


class ChannelAttention(nn.Module):
    """Channels of one level attend to the channels of all levels.

    Queries from each level's own tokens; keys and values from all levels beside one another, shared. Each head has
    full-width linear layers, without bias, and the heads are averaged. Of scores / sqrt(width) an instance norm is
    taken before the softmax, so that the division counts only beside the norm's eps.
    """

    def __init__(self, widths: tuple[int, ...], heads: int, dropout: float):
        super().__init__()
        self.heads, self.width = heads, sum(widths)
        self.queries = nn.ModuleList(nn.Linear(width, heads * width, bias=False) for width in widths)
        self.key = nn.Linear(self.width, heads * self.width, bias=False)
        self.value = nn.Linear(self.width, heads * self.width, bias=False)
        self.out = nn.ModuleList(nn.Linear(width, width, bias=False) for width in widths)
        self.dropout = nn.Dropout(dropout)

    def forward(self, levels: list[Tensor], joint: Tensor) -> list[Tensor]:
        keys = rearrange(self.key(joint), "b n (head d) -> b head n d", head=self.heads)
        values = rearrange(self.value(joint), "b n (head d) -> b head d n", head=self.heads)
        found = []
        for tokens, query, out in zip(levels, self.queries, self.out, strict=True):
            queries = rearrange(query(tokens), "b n (head c) -> b head c n", head=self.heads)
            scores = functional.instance_norm(queries @ keys / math.sqrt(self.width))
            mixed = self.dropout(scores.softmax(dim=-1)) @ values
            found.append(self.dropout(out(rearrange(mixed.mean(dim=1), "b c n -> b n c"))))
        return found


class TransformerLayer(nn.Module):
    """Channel attention over all levels, then one feed-forward network a level; norms before, residuals around."""

    def __init__(self, widths: tuple[int, ...], heads: int, dropout: float):
        super().__init__()
        self.attn_norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-6) for width in widths)
        self.joint_norm = nn.LayerNorm(sum(widths), eps=1e-6)
        self.attention = ChannelAttention(widths, heads, dropout)
        self.ffn_norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-6) for width in widths)
        self.ffns = nn.ModuleList(Mlp(width, 4 * width) for width in widths)

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        normed = [norm(tokens) for norm, tokens in zip(self.attn_norms, levels, strict=True)]
        found = self.attention(normed, self.joint_norm(torch.cat(levels, dim=2)))
        levels = [tokens + change for tokens, change in zip(levels, found, strict=True)]
        blocks = zip(levels, self.ffn_norms, self.ffns, strict=True)
        return [tokens + ffn(norm(tokens)) for tokens, norm, ffn in blocks]


class ChannelTransformer(nn.Module):
    """Four encoder maps to as many maps of the same shapes, each made from all of them, plus the encoder's own.

    Level i is cut into patches of 16, 8, 4, 2 pixels, so that all levels have the same cells.
    """

    def __init__(self, widths: tuple[int, ...], grid: tuple[int, int], layers: int, heads: int, dropout: float):
        super().__init__()
        self.grid, self.scales = grid, [2 ** (len(widths) - level) for level in range(len(widths))]
        pairs = list(zip(widths, self.scales, strict=True))
        self.patches = nn.ModuleList(nn.Conv2d(width, width, scale, stride=scale) for width, scale in pairs)
        self.positions = nn.ParameterList(torch.zeros(1, grid[0] * grid[1], width) for width in widths)
        self.layers = nn.ModuleList(TransformerLayer(widths, heads, dropout) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-6) for width in widths)
        self.maps = nn.ModuleList(conv_norm_relu(width, width, 1) for width in widths)
        self.dropout = nn.Dropout(dropout)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        cut = zip(maps, self.patches, self.positions, strict=True)
        levels = [self.dropout(rearrange(cutter(x), "b c h w -> b (h w) c") + place) for x, cutter, place in cut]
        for layer in self.layers:
            levels = layer(levels)
        found = []
        for x, tokens, norm, mix, scale in zip(maps, levels, self.norms, self.maps, self.scales, strict=True):
            coarse = rearrange(norm(tokens), "b (h w) c -> b c h w", h=self.grid[0])
            found.append(mix(functional.interpolate(coarse, scale_factor=float(scale))) + x)
        return found


class UpLevel(nn.Module):
    """One step of the decoder: the skip's channels are weighted by means of skip and decoder features, then mixed."""

    def __init__(self, channels: int, channels_out: int):
        super().__init__()
        self.from_x, self.from_g = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.gated = nn.ReLU()
        self.mix = double_conv(2 * channels, channels_out)

    def forward(self, g: Tensor, x: Tensor) -> Tensor:
        g = functional.interpolate(g, scale_factor=2.0)
        weights = ((self.from_x(x.mean(dim=(2, 3))) + self.from_g(g.mean(dim=(2, 3)))) / 2).sigmoid()
        return self.mix(torch.cat([self.gated(x * weights[:, :, None, None]), g], dim=1))


class UCTransNet(nn.Module):
    """UCTransNet: (b, 1|3, h, w) -> logits (b, k, h, w) at the size it is built for, multiples of 16.

    As in McGregorWwww/UCTransNet. With one class that code returns the sigmoid of the logits, and logits otherwise;
    here they are logits always. The position tables fix the size. ``base``: channels of the finest level.
    """

    def __init__(
        self,
        num_classes: int = 9,
        image_size: int | tuple[int, int] = 224,
        base: int = 64,
        layers: int = 4,
        heads: int = 4,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.image_size = fitting_size(image_size, 16, "uctransnet")
        widths = (base, 2 * base, 4 * base, 8 * base)
        grid = (self.image_size[0] // 16, self.image_size[1] // 16)
        deeper = zip(widths, (*widths[1:], widths[-1]), strict=True)
        first = nn.Sequential(conv_norm_relu(3, base))
        self.encoder = nn.ModuleList([first, *(double_conv(fine, deep) for fine, deep in deeper)])
        self.transformer = ChannelTransformer(widths, grid, layers, heads, dropout)
        pairs = zip(widths[::-1], (*widths[-2::-1], base), strict=True)
        self.decoder = nn.ModuleList(UpLevel(channels, channels_out) for channels, channels_out in pairs)
        self.head = nn.Conv2d(base, num_classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        *maps, features = encoded(self.encoder, as_rgb(image, multiple=16, size=self.image_size))
        skips = self.transformer(maps)
        for level, skip in zip(self.decoder, skips[::-1], strict=True):
            features = level(features, skip)
        return self.head(features)
