"""The small U-Net behind the group's own numbers on skin pictures: no norm, bilinear upsampling, 1.9 M parameters."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from msa2net_lib.nn.encoder import as_rgb

OFFICIAL_KEYS = (
    (r"^en_(\d)\.step\.", lambda found: f"encoder.{int(found[1]) - 1}."),
    (r"^de_([123])\.step\.", lambda found: f"decoder.{int(found[1]) - 1}."),
    (r"^de_4\.", "head."),
)


def two_convolutions(channels_in: int, channels_out: int) -> nn.Sequential:
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
        self.encoder = nn.ModuleList(two_convolutions(*pair) for pair in pairwise((3, *widths)))
        self.decoder = nn.ModuleList(two_convolutions(deep + fine, fine) for deep, fine in pairwise(widths[::-1]))
        self.head = nn.Conv2d(widths[0], num_classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        features, skips = as_rgb(image, multiple=self.multiple), []
        for number, block in enumerate(self.encoder):
            features = block(features if number == 0 else functional.max_pool2d(features, 2))
            skips.append(features)
        for mix, skip in zip(self.decoder, skips[-2::-1], strict=True):
            up = functional.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
            features = mix(torch.cat([up, skip], dim=1))
        return self.head(features)
