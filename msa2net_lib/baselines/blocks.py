"""Blocks that several networks share, and what each of them does first with an image."""

from __future__ import annotations

from torch import Tensor, nn

from msa2net_lib.errors import InputError


def as_rgb(image: Tensor, multiple: int = 1, size: tuple[int, int] | None = None) -> Tensor:
    """An image with three channels, after its shape was looked at: gray is repeated.

    multiple: height and width must be multiples of it. size: or exactly this (height, width), where position tables or
    windows fix it. Raises: `InputError` for another shape.
    """
    if image.ndim != 4 or image.shape[1] not in (1, 3):
        raise InputError(
            f"input of shape {tuple(image.shape)}: give (batch, channels, height, width) "
            "with 1 channel (gray) or 3 (RGB)"
        )
    height, width = image.shape[-2:]
    if size is not None and (height, width) != tuple(size):
        raise InputError(
            f"input of {height} x {width} pixels, but the network is built for {size[0]} x {size[1]}: "
            "resize it, or build the network with another image_size"
        )
    if height % multiple or width % multiple:
        raise InputError(f"input of {height} x {width} pixels: resize it to multiples of {multiple} first")
    return image if image.shape[1] == 3 else image.expand(-1, 3, -1, -1)


def conv_norm_relu(channels_in: int, channels_out: int, kernel: int = 3) -> nn.Sequential:
    """Convolution with bias that keeps height and width, batch norm, ReLU."""
    convolution = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out), nn.ReLU())


def double_conv(channels_in: int, channels_out: int) -> nn.Sequential:
    """Twice `conv_norm_relu` with a 3x3 kernel."""
    return nn.Sequential(conv_norm_relu(channels_in, channels_out), conv_norm_relu(channels_out, channels_out))
