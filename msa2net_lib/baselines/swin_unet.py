"""Swin-UNet: a U of Swin transformer stages, without a convolution between the first and the last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from timm.models.swin_transformer import SwinTransformerStage
from torch import Tensor, nn

from msa2net_lib.baselines.blocks import drop_path_rates, fitting_size, load_part, window_size
from msa2net_lib.nn.encoder import as_rgb
from msa2net_lib.nn.layout import PatchExpand, tokens_to_map
from msa2net_lib.nn.timm_models import create_timm

if TYPE_CHECKING:
    from jaxtyping import Float

ENCODER = "swin_tiny_patch4_window7_224"


class SwinStage(SwinTransformerStage):
    """timm's Swin stage without its downsampling, on tokens. Shape: (b, h*w, c) -> (b, h*w, c)."""

    def __init__(self, channels: int, grid: tuple[int, int], **options):
        super().__init__(channels, channels, grid, downsample=False, **options)

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        height, width = self.input_resolution
        return super().forward(x.unflatten(1, (height, width))).flatten(1, 2)


class DecoderLevel(nn.Module):
    """Concatenate the skip, mix linearly back to c channels, two Swin blocks."""

    def __init__(self, channels: int, grid: tuple[int, int], **options):
        super().__init__()
        self.mix = nn.Linear(2 * channels, channels)
        self.stage = SwinStage(channels, grid, **options)

    def forward(self, tokens: Float[Tensor, "b n c"], skip: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        return self.stage(self.mix(torch.cat([tokens, skip], dim=-1)))


class SwinUNet(nn.Module):
    """Swin-UNet (Cao et al. 2021): four Swin stages down, patch expansion and Swin stages up, skips concatenated.

    The paper draws the skips from the encoder's stages; the code takes what *enters* each stage (the patch embedding
    and the merged maps), before any of its blocks. The configuration's decoder depths are never passed on: the decoder
    has the encoder's. The official code takes 224 x 224 only, with windows of 7 x 7; here windows follow the size.
    ``pretrained``: Swin-T of ImageNet-1k, the first two of its six third-stage blocks; the decoder's blocks start from
    the encoder's stages of the same width, as in the official code. Images are expected in [0, 1].

    Shape: (b, 1|3, h, w) of ``image_size``, multiples of 32 -> logits (b, num_classes, h, w).
    Source: github.com/HuCaoFighting/Swin-Unet, commit f48f623 (no license).
    """

    def __init__(
        self,
        num_classes: int = 9,
        image_size: int | tuple[int, int] = 224,
        pretrained: bool | str = False,
        channels: int = 96,
        depth: int = 2,
        drop_path: float = 0.2,
    ):
        super().__init__()
        self.image_size = fitting_size(image_size, 32, "swin_unet")
        height, width = self.image_size
        window = window_size(self.image_size, 32)
        heads = tuple(channels // 32 * 2**stage for stage in range(4))
        shape: dict[str, Any] = {"embed_dim": channels, "num_heads": heads, "depths": (depth,) * 4}
        where: dict[str, Any] = {"img_size": self.image_size, "window_size": window}
        self.encoder = create_timm(ENCODER, drop_path_rate=drop_path, **shape, **where)
        rates = drop_path_rates(drop_path, (depth,) * 4)
        self.deepest = PatchExpand(8 * channels)
        self.levels, self.expansions = nn.ModuleList(), nn.ModuleList()
        for stage in (2, 1, 0):
            grid = (height // 2 ** (2 + stage), width // 2 ** (2 + stage))
            self.levels.append(
                DecoderLevel(
                    channels * 2**stage,
                    grid,
                    depth=depth,
                    num_heads=heads[stage],
                    window_size=window,
                    drop_path=rates[stage],
                )
            )
            if stage:
                self.expansions.append(PatchExpand(channels * 2**stage))
        self.norm = nn.LayerNorm(channels)
        self.last_expansion = PatchExpand(channels, 4)
        self.head = nn.Conv2d(channels, num_classes, 1, bias=False)
        self.decoder_start()
        if pretrained:
            imagenet = create_timm(ENCODER, pretrained)
            imagenet.set_input_size(self.image_size, window_size=window)
            self.load_imagenet(imagenet.state_dict())

    def decoder_start(self) -> None:
        """Linear layers from a normal distribution cut off at 2 (standard deviation 0.02), zero biases, as in Swin."""
        for module in [*self.deepest.modules(), *self.levels.modules(), *self.expansions.modules()]:
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def load_imagenet(self, state: dict[str, Tensor]) -> None:
        """Start from a Swin-T: the encoder, and by stage the blocks of the decoder; deeper blocks are left out."""
        load_part(self.encoder, state)
        levels: list[Any] = list(self.levels)
        for stage, level in zip((2, 1, 0), levels, strict=True):
            level.stage.load_state_dict(self.encoder.layers[stage].blocks.state_dict(prefix="blocks."))

    def forward(self, image: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b k h w"]:
        features = self.encoder.patch_embed(as_rgb(image, size=self.image_size))
        skips: list[Tensor] = []
        for stage in self.encoder.layers:
            features = stage.downsample(features)
            skips.append(features.flatten(1, 2))
            features = stage.blocks(features)
        height, width = features.shape[1:3]
        tokens = self.deepest(self.encoder.norm(features).flatten(1, 2), (height, width))
        for number, (level, skip) in enumerate(zip(self.levels, skips[2::-1], strict=True)):
            height, width = 2 * height, 2 * width
            tokens = level(tokens, skip)
            if number < len(self.expansions):
                tokens = self.expansions[number](tokens, (height, width))
        tokens = self.last_expansion(self.norm(tokens), (height, width))
        return self.head(tokens_to_map(tokens, 4 * height, 4 * width))
