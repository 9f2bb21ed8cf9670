"""Three U-Nets: the usual one, the same with attention gates, and the group's small one without norms."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from msa2net_lib.baselines.blocks import conv_norm_relu, double_conv, encoded
from msa2net_lib.nn.encoder import as_rgb
from msa2net_lib.nn.gates import build_gate


class UpLevel(nn.Module):
    """One step of the decoder: g on a grid twice as fine, the gated skip x before it, two convolutions."""

    def __init__(self, channels_in: int, channels_out: int, gate: str):
        super().__init__()
        self.up = nn.Sequential(nn.Upsample(scale_factor=2), conv_norm_relu(channels_in, channels_out))
        self.gate = None if gate == "none" else build_gate(gate, channels_out)
        self.mix = double_conv(2 * channels_out, channels_out)

    def forward(self, g: Tensor, x: Tensor) -> Tensor:
        g = self.up(g)
        return self.mix(torch.cat([x if self.gate is None else self.gate(x, g), g], dim=1))


class UNet(nn.Module):
    """U-Net, as in LeeJunHyun/Image_Segmentation: (b, 1|3, h, w) -> logits (b, k, h, w); h and w multiples of 16.

    The paper (Ronneberger et al. 2015) has convolutions without padding and norm, crops the skips, and upsamples by 2x2
    transposed convolutions; this code pads, normalizes each batch, crops nothing, and upsamples by repeating pixels
    before a 3x3 convolution. ``gate``: any of `list_gates` on each skip, called with the upsampled g; "none" leaves the
    skips as they are.
    """

    def __init__(
        self,
        num_classes: int = 9,
        image_size: int | tuple[int, int] = 224,
        widths: tuple[int, ...] = (64, 128, 256, 512, 1024),
        gate: str = "none",
    ):
        super().__init__()
        self.multiple = 2 ** (len(widths) - 1)
        self.encoder = nn.ModuleList(double_conv(*pair) for pair in pairwise((3, *widths)))
        self.decoder = nn.ModuleList(UpLevel(deep, fine, gate) for deep, fine in pairwise(widths[::-1]))
        self.head = nn.Conv2d(widths[0], num_classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        *skips, features = encoded(self.encoder, as_rgb(image, multiple=self.multiple))
        for level, skip in zip(self.decoder, skips[::-1], strict=True):
            features = level(features, skip)
        return self.head(features)


class AttUNet(UNet):
    """AttU-Net, as in LeeJunHyun/Image_Segmentation: (b, 1|3, h, w) -> logits (b, k, h, w); h and w multiples of 16.

    The paper (Oktay et al. 2018) gates with the coarser decoder features, strides the skip's 1x1 convolution, resamples
    the map and ends with a 1x1 convolution; this code gates with features that are upsampled already, on the skip's own
    grid, and does none of that.
    """

    def __init__(
        self,
        num_classes: int = 9,
        image_size: int | tuple[int, int] = 224,
        widths: tuple[int, ...] = (64, 128, 256, 512, 1024),
        gate: str = "attention",
    ):
        super().__init__(num_classes, image_size, widths, gate)


def plain_convolutions(channels_in: int, channels_out: int) -> nn.Sequential:
    """Twice 3x3 convolution and ReLU, without a norm."""
    first = nn.Conv2d(channels_in, channels_out, 3, padding=1)
    return nn.Sequential(first, nn.ReLU(), nn.Conv2d(channels_out, channels_out, 3, padding=1), nn.ReLU())


class SmallUNet(nn.Module):
    """U-Net of NITR098/Awesome-U-Net: (b, 1|3, h, w) -> logits (b, k, h, w); h and w multiples of 8.

    "U-Net" in the tables of this group's skin papers may be this network, 18 times smaller than the usual one.
    """

    def __init__(
        self,
        num_classes: int = 9,
        image_size: int | tuple[int, int] = 224,
        widths: tuple[int, ...] = (32, 64, 128, 256),
    ):
        super().__init__()
        self.multiple = 2 ** (len(widths) - 1)
        self.encoder = nn.ModuleList(plain_convolutions(*pair) for pair in pairwise((3, *widths)))
        self.decoder = nn.ModuleList(plain_convolutions(deep + fine, fine) for deep, fine in pairwise(widths[::-1]))
        self.head = nn.Conv2d(widths[0], num_classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        *skips, features = encoded(self.encoder, as_rgb(image, multiple=self.multiple))
        for mix, skip in zip(self.decoder, skips[::-1], strict=True):
            up = functional.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
            features = mix(torch.cat([up, skip], dim=1))
        return self.head(features)
