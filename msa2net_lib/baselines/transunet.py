"""TransUNet: a ResNet, a vision transformer on its deepest map, and a convolutional decoder with the ResNet's skips."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from timm.layers.norm_act import GroupNormAct
from timm.layers.std_conv import StdConv2d
from timm.models.resnetv2 import ResNetV2
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional

from msa2net_lib.baselines.blocks import UpConcat, fitting_size, load_part, maps_of
from msa2net_lib.nn.encoder import as_rgb
from msa2net_lib.nn.layout import map_to_tokens, tokens_to_map
from msa2net_lib.nn.timm_models import create_timm

if TYPE_CHECKING:
    from jaxtyping import Float

IMAGENET = "vit_base_r50_s16_224.orig_in21k"


def residual_network(blocks: Sequence[int] = (3, 4, 9)) -> Any:
    """timm's ResNet with group norm, in TransUNet's arithmetic: 64, 256, 512, 1024 channels at 1/2, 1/4, 1/8, 1/16.

    It differs from timm's own hybrid in six ways: padding is symmetric, pooling has none, two epsilons, and each
    stage's shortcut has a group norm with as many groups as channels. Blocks are post-activation, whatever the class
    is called in the original.
    """
    convolution, norm = partial(StdConv2d, eps=1e-5), partial(GroupNormAct, num_groups=32, eps=1e-6)
    network: Any = ResNetV2(list(blocks), num_classes=0, preact=False, conv_layer=convolution, norm_layer=norm)
    network.stem.pool = nn.MaxPool2d(3, stride=2)
    for stage in network.stages:
        shortcut = stage.blocks[0].downsample
        channels = shortcut.norm.num_channels
        shortcut.norm = GroupNormAct(channels, num_groups=channels, eps=1e-5, apply_act=False)
    return network


class Transformer(nn.Module):
    """Linear embedding of each cell, learned positions, pre-norm blocks, a last norm. Dropout in the MLPs only.

    Shape: (b, 1024, h, w) -> (b, channels, h, w) of the grid that it was built for.
    """

    def __init__(self, grid: tuple[int, int], channels: int, depth: int, dropout: float):
        super().__init__()
        self.embed = nn.Conv2d(1024, channels, 1)
        self.positions = nn.Parameter(torch.zeros(1, grid[0] * grid[1], channels))
        self.dropout = nn.Dropout(dropout)
        norm: Any = partial(nn.LayerNorm, eps=1e-6)
        self.blocks = nn.ModuleList(
            Block(channels, channels // 64, qkv_bias=True, proj_drop=dropout, norm_layer=norm) for _ in range(depth)
        )
        blocks: list[Any] = list(self.blocks)
        for block in blocks:
            block.attn.proj_drop = nn.Identity()
        self.norm = norm(channels)

    def forward(self, features: Float[Tensor, "b 1024 h w"]) -> Float[Tensor, "b c h w"]:
        tokens = self.dropout(map_to_tokens(self.embed(features)) + self.positions)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens_to_map(self.norm(tokens), features.shape[-2], features.shape[-1])


class TransUNet(nn.Module):
    """TransUNet (Chen et al. 2021), R50-ViT-B_16: its three skips are the ResNet's, concatenated in the decoder.

    Max pooling without padding leaves 55 x 55 cells of 112; that skip gets one zero row and column. Table 1
    prints 96.07 M parameters and 88.91 G, which no setting of the official code gives: it has 105.28 M and 29.2 G at
    224 pixels. ``pretrained``: Google's R50+ViT-B_16 of ImageNet-21k, used in the arithmetic
    above although it was trained in another; positions are resized for other grids, the class position is dropped.
    ``blocks``: of the ResNet, a stage. Images are expected in [0, 1].

    Shape: (b, 1|3, h, w) of ``image_size``, multiples of 16 -> logits (b, num_classes, h, w).
    Source: github.com/Beckschen/TransUNet, commit 02ef001 (Apache-2.0).
    """

    def __init__(
        self,
        num_classes: int = 9,
        image_size: int | tuple[int, int] = 224,
        pretrained: bool | str = False,
        channels: int = 768,
        depth: int = 12,
        dropout: float = 0.1,
        blocks: tuple[int, int, int] = (3, 4, 9),
    ):
        super().__init__()
        self.image_size = fitting_size(image_size, 16, "transunet")
        grid = (self.image_size[0] // 16, self.image_size[1] // 16)
        self.encoder = residual_network(blocks)
        self.transformer = Transformer(grid, channels, depth, dropout)
        self.widen = nn.Sequential(nn.Conv2d(channels, 512, 3, padding=1, bias=False), nn.BatchNorm2d(512), nn.ReLU())
        self.decoder = nn.ModuleList(
            UpConcat(below + skip, out)
            for below, skip, out in ((512, 512, 256), (256, 256, 128), (128, 64, 64), (64, 0, 16))
        )
        self.head = nn.Conv2d(16, num_classes, 3, padding=1)
        if pretrained:
            self.load_imagenet(create_timm(IMAGENET, pretrained).state_dict(), grid)

    def load_imagenet(self, state: dict[str, Tensor], grid: tuple[int, int]) -> None:
        """Start from timm's state dict of the hybrid."""
        prefix = "patch_embed.backbone."
        load_part(self.encoder, {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)})
        positions = state["pos_embed"][:, 1:]
        side = round(positions.shape[1] ** 0.5)
        resized = functional.interpolate(
            tokens_to_map(positions, side, side), grid, mode="bilinear", align_corners=True
        )
        ours = {"embed.weight": state["patch_embed.proj.weight"], "embed.bias": state["patch_embed.proj.bias"]}
        load_part(self.transformer, state | ours | {"positions": map_to_tokens(resized)})

    def forward(self, image: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b k h w"]:
        image = as_rgb(image, 16, self.image_size)
        stem = self.encoder.stem.norm(self.encoder.stem.conv(image))
        maps = maps_of(self.encoder.stages, self.encoder.stem.pool(stem))
        height, width = image.shape[-2] // 4, image.shape[-1] // 4
        quarter = functional.pad(maps[0], (0, width - maps[0].shape[-1], 0, height - maps[0].shape[-2]))
        features = self.widen(self.transformer(maps[-1]))
        for level, skip in zip(self.decoder, (maps[1], quarter, stem, None), strict=True):
            features = level(features, skip)
        return self.head(features)
