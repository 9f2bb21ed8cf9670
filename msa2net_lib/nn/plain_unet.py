"""A plain U-Net with room for a gate on every skip connection: what a network of your own may look like."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from msa2net_lib.nn.gates import build_gate


def two_convolutions(channels_in: int, channels_out: int) -> nn.Sequential:
    """Twice 3x3 convolution, batch norm, ReLU; same height and width."""
    layers = []
    for channels in (channels_in, channels_out):
        layers += [
            nn.Conv2d(channels, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


class Up(nn.Module):
    """Twice the height and width, then the skip features beside, then two convolutions."""

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__()
        self.up = nn.ConvTranspose2d(channels_in, channels_out, 2, stride=2)
        self.mix = two_convolutions(2 * channels_out, channels_out)
        self.gate: nn.Module | None = None  # the first of the lines that no other U-Net has

    def forward(self, g: Tensor, x: Tensor) -> Tensor:
        g = self.up(g)
        if self.gate is not None:
            x = self.gate(x, g)  # and the last
        return self.mix(torch.cat([x, g], dim=1))


class PlainUNet(nn.Module):
    """U-Net: (b, 1, h, w) -> logits (b, classes, h, w); h and w multiples of 8 with four stages.

    Example:
        >>> gate_plain_unet(PlainUNet(classes=3), "masag")(torch.zeros(2, 1, 16, 32)).shape
        torch.Size([2, 3, 16, 32])
    """

    def __init__(self, channels: tuple[int, ...] = (16, 32, 64, 128), channels_in: int = 1, classes: int = 9):
        super().__init__()
        pairs = list(zip((channels_in, *channels), channels, strict=False))
        self.encoder = nn.ModuleList(two_convolutions(*pair) for pair in pairs)
        self.decoder = nn.ModuleList(Up(*pair[::-1]) for pair in pairs[:0:-1])
        self.head = nn.Conv2d(channels[0], classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        features, skips = images, []
        for number, stage in enumerate(self.encoder):
            features = stage(features if number == 0 else nn.functional.max_pool2d(features, 2))
            skips.append(features)
        for up, skip in zip(self.decoder, skips[-2::-1], strict=True):
            features = up(features, skip)
        return self.head(features)


def gate_plain_unet(unet: PlainUNet, gate: str = "masag") -> PlainUNet:
    """Put a gate of the family on every skip connection, and return the network."""
    levels: list[Any] = list(unet.decoder)
    for level in levels:
        level.gate = build_gate(gate, level.up.out_channels)
    return unet
