"""2D D-LKA Net: MSA²Net's encoder, plain additions for skips, large-kernel attention that looks where it wants to."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torchvision.ops import DeformConv2d

from msa2net_lib.baselines.blocks import decoded, fitting_size
from msa2net_lib.nn.decoder import xavier_start
from msa2net_lib.nn.encoder import Encoder
from msa2net_lib.nn.layout import PatchExpand, map_to_tokens, tokens_to_map
from msa2net_lib.nn.lka import LKABlock

if TYPE_CHECKING:
    from jaxtyping import Float


class DeformableDepthwise(nn.Module):
    """A depthwise convolution whose every tap is moved by an offset that a dense convolution of the same kernel gives.

    Two offsets (row, column) a tap and cell, the same for all channels. Shape: (b, c, h, w) -> (b, c, h, w).
    Source: Dai et al. 2017, Deformable Convolutional Networks.
    """

    def __init__(self, channels: int, kernel_size: int, dilation: int = 1):
        super().__init__()
        options: dict[str, Any] = {"padding": dilation * (kernel_size // 2), "dilation": dilation}
        self.offsets = nn.Conv2d(channels, 2 * kernel_size**2, kernel_size, **options)
        self.convolution = DeformConv2d(channels, channels, kernel_size, groups=channels, bias=False, **options)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.convolution(x, self.offsets(x))


class DeformableLargeKernelAttention(nn.Module):
    """Multiply features by a map from a 5x5, then a 7x7 convolution dilated by 3, both deformable, then a 1x1."""

    def __init__(self, channels: int):
        super().__init__()
        self.depthwise = DeformableDepthwise(channels, 5)
        self.dilated = DeformableDepthwise(channels, 7, dilation=3)
        self.pointwise = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x * self.pointwise(self.dilated(self.depthwise(x)))


class Level(nn.Module):
    """Linear, plus the skip, two deformable blocks, expansion; the deepest level owns all of it and only expands."""

    def __init__(self, channels: int, scale: int, depth: int):
        super().__init__()
        self.linear = nn.Linear(channels, channels)
        block = partial(LKABlock, channels, attention=DeformableLargeKernelAttention)
        self.blocks = nn.Sequential(*(block() for _ in range(depth)))
        self.expand = PatchExpand(channels, scale)

    def forward(
        self, tokens: Float[Tensor, "b n c"], skip: Float[Tensor, "b c h w"] | None, grid: tuple[int, int]
    ) -> Float[Tensor, "b m d"]:
        if skip is not None:
            features = tokens_to_map(self.linear(tokens), *grid) + skip
            tokens = map_to_tokens(self.blocks(features))
        return self.expand(tokens, grid)


class DLKANet(nn.Module):
    """2D D-LKA Net (Azad et al., WACV 2024): MaxViT encoder, deformable large-kernel attention in the decoder.

    Offsets come from ordinary, dense convolutions, which hold most of the decoder's parameters and start from Xavier
    noise: at the start they are not zero. The skips are added as they are. Table 1 counts 23,059,508 parameters that
    never get a gradient: the deepest level's linear and blocks, and a 1 -> 3 convolution of the encoder; they are kept.
    The official code takes 224 pixels only. ``pretrained``: MaxViT of ImageNet-1k, MSA²Net's own, or its file.
    ``depth``: blocks a level. Images are expected normalized from [0, 1] by (x - 0.5) / 0.5.

    Shape: (b, 1|3, h, w) of ``image_size``, multiples of 32 -> logits (b, num_classes, h, w).
    Source: github.com/xmindflow/deformableLKA, commit d2d2992, folder 2D (MIT).
    """

    def __init__(
        self,
        num_classes: int = 9,
        image_size: int | tuple[int, int] = 224,
        pretrained: bool | str = False,
        encoder: str = "maxvit_rmlp_small_rw_224",
        encoder_options: dict[str, Any] | None = None,
        depth: int = 2,
    ):
        super().__init__()
        size = fitting_size(image_size, 32, "dlka_2d")
        self.encoder = Encoder(encoder, size, encoder_options, pretrained, gray_stem=True)
        self.levels = nn.ModuleList(Level(c, 2 if i else 4, depth) for i, c in enumerate(self.encoder.channels))
        self.head = nn.Conv2d(self.encoder.channels[0], num_classes, 1)
        xavier_start(self.levels)
        xavier_start(self.head)

    def forward(self, image: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b k h w"]:
        return decoded(self.levels, self.encoder(image), self.head)
