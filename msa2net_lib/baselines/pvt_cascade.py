"""PVT-CASCADE: a pyramid transformer, and a decoder that gates its skips and looks twice at what it concatenates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from timm.layers.cbam import ChannelAttn
from torch import Tensor, nn
from torch.nn import functional

from msa2net_lib.baselines.blocks import SpatialAttention, conv_norm_relu, double_conv, fitting_size
from msa2net_lib.nn.encoder import as_rgb
from msa2net_lib.nn.gates.attention import AttentionGate
from msa2net_lib.nn.timm_models import create_timm

if TYPE_CHECKING:
    from jaxtyping import Float


class NarrowGate(AttentionGate):
    """Attention U-Net's gate with another number of channels inside: 128 of 320, then half of 128 and 64."""

    def __init__(self, channels: int, inner: int):
        super().__init__(channels)
        self.theta_x = nn.Sequential(nn.Conv2d(channels, inner, 1), nn.BatchNorm2d(inner))
        self.phi_g = nn.Sequential(nn.Conv2d(channels, inner, 1), nn.BatchNorm2d(inner))
        self.psi = nn.Sequential(nn.Conv2d(inner, 1, 1), nn.BatchNorm2d(1))


class Level(nn.Module):
    """Enlarge, gate the skip by what comes up, concatenate; then channel attention, spatial attention, convolutions.

    The deepest level has no skip and only refines. The spatial attention is not its own.
    """

    def __init__(self, channels: int, channels_below: int, deepest: bool = False):
        super().__init__()
        concatenated = channels if deepest else 2 * channels
        self.up = (
            None if deepest else nn.Sequential(nn.Upsample(scale_factor=2), conv_norm_relu(channels_below, channels))
        )
        self.gate = None if deepest else NarrowGate(channels, min(128, channels // 2))
        self.channel_attention = ChannelAttn(concatenated, rd_channels=max(1, concatenated // 16))
        self.mix = double_conv(concatenated, channels)

    def forward(
        self, features: Float[Tensor, "b c h w"], skip: Tensor | None, spatial_attention: nn.Module
    ) -> Float[Tensor, "b d h2 w2"]:
        if self.up is not None and self.gate is not None and skip is not None:
            features = self.up(features)
            features = torch.cat([self.gate(skip, features), features], dim=1)
        return self.mix(spatial_attention(self.channel_attention(features)))


class PVTCascade(nn.Module):
    """PVT-CASCADE (Rahman and Marculescu, WACV 2023): PVTv2-B2, attention gates, channel and spatial attention.

    Four heads, one a level; the prediction is the *sum* of their logits, and in training each has its own loss in the
    official code. `heads` gives them one by one. The spatial attention is one module, shared by the four levels. A gray
    image goes through a learned 1 -> 3 convolution with batch norm and ReLU, which gets no gradient from color images.
    The repository trains another network as shipped (TransCASCADE); this one is a commented line there.
    ``pretrained``: PVTv2-B2 of ImageNet-1k. Images are expected in [0, 1].

    Shape: (b, 1|3, h, w), multiples of 32 -> logits (b, num_classes, h, w).
    Source: github.com/SLDGroup/CASCADE, commit b40c127 (Apache-2.0 there; later commits are not), as described.
    """

    def __init__(
        self,
        num_classes: int = 9,
        image_size: int | tuple[int, int] = 224,
        pretrained: bool | str = False,
        encoder: str = "pvt_v2_b2",
    ):
        super().__init__()
        fitting_size(image_size, 32, "pvt_cascade")
        self.every_head = False  # in training, whether the heads' logits come apart, (heads, b, k, h, w)
        self.gray_stem = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3), nn.ReLU())
        self.encoder = create_timm(encoder, pretrained, drop_path_rate=0.1)
        channels = [stage["num_chs"] for stage in self.encoder.feature_info]
        self.project = nn.Conv2d(channels[3], channels[3], 1)
        self.spatial_attention = SpatialAttention()
        self.levels = nn.ModuleList(
            Level(channels[stage], channels[min(3, stage + 1)], deepest=stage == 3) for stage in (3, 2, 1, 0)
        )
        self.classify = nn.ModuleList(nn.Conv2d(channels[stage], num_classes, 1) for stage in (3, 2, 1, 0))

    def heads(self, image: Float[Tensor, "b ch h w"]) -> list[Float[Tensor, "b k h w"]]:
        """The four heads' logits at the size of the image, the coarsest first."""
        rgb = as_rgb(image)
        if image.shape[1] == 1:
            rgb = self.gray_stem(image)
        skips = self.encoder.forward_intermediates(rgb, intermediates_only=True)
        features, logits = self.project(skips[3]), []
        for number, (level, classify) in enumerate(zip(self.levels, self.classify, strict=True)):
            features = level(features, skips[3 - number] if number else None, self.spatial_attention)
            coarse = classify(features)
            logits.append(functional.interpolate(coarse, scale_factor=2 ** (5 - number), mode="bilinear"))
        return logits

    def forward(self, image: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b k h w"]:
        logits = torch.stack(self.heads(image))
        return logits if self.every_head and self.training else logits.sum(dim=0)
