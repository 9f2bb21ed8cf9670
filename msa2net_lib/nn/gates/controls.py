"""Negative controls: gates with MASAG's last step, y = BN(Conv1x1(a * x)), whose map a cannot be of use.

A difference from MASAG then speaks of the map and of nothing else. The interface is the one of `msa2net_lib.nn.gates`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from msa2net_lib.nn.masag import MASAG, Dilated

if TYPE_CHECKING:
    from jaxtyping import Float

CONTROL_SEED = 2018
"""Seed of the shuffled gate's permutations and of the random gate's map; no training run changes it."""
PRIME = 1048583
"""A prime that leaves 2 when divided by 3, so that cubing permutes the numbers below it."""


class ConstantGate(nn.Module):
    """Negative control: one learned number per channel for a map, so that neither content nor place is seen.

    Shapes: x, g (b, c, h, w) -> y (b, c, h, w). A number per channel and not one in all, because MASAG's map too has
    its own value for each channel; the sigmoid keeps it in the same range, and it starts at one half.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.level = nn.Parameter(torch.zeros(channels))
        self.project = nn.Conv2d(channels, channels, 1)
        self.project_norm = nn.BatchNorm2d(channels)

    def attention(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The constant map, the same at every cell and for every image."""
        return rearrange(self.level.sigmoid(), "c -> 1 c 1 1").expand_as(x)

    def forward(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.project_norm(self.project(self.attention(x, g) * x))


class ShuffledGate(nn.Module):
    """Negative control: MASAG with the positions of its attention map permuted; values stay, places are lost.

    Shapes: x, g (b, c, h, w) -> y (b, c, h, w). One fixed permutation per number of cells, for all channels, images,
    steps and runs (`fixed_permutation`).
    """

    def __init__(self, channels: int, dilated: Dilated = "depthwise"):
        super().__init__()
        self.masag = MASAG(channels, dilated)

    def attention(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """MASAG's attention map with its positions permuted."""
        attention = rearrange(self.masag.attention(x, g), "b c h w -> b c (h w)")
        order = fixed_permutation(attention.shape[-1], x.device)
        return rearrange(attention[..., order], "b c (h w) -> b c h w", h=x.shape[-2])

    def forward(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        last = self.masag.recalibration
        return last.project_norm(last.project(self.attention(x, g) * x))


def fixed_permutation(count: int, device: torch.device | str = "cpu") -> Tensor:
    """A permutation of 0 to count - 1 in no order to speak of, the same on every machine and device.

    By whole-number arithmetic, not a generator, so that it can be exported and compiled for any size: the numbers are
    sorted by their scattered cubes, which all differ as long as count is at most `PRIME` (about a million cells).
    """
    scattered = (torch.arange(count, device=device) * 374761 + CONTROL_SEED) % PRIME
    return (scattered * scattered % PRIME * scattered % PRIME).argsort()


class RandomGate(nn.Module):
    """Negative control: a fixed smooth random map, the same for all images and never learned.

    Shapes: x, g (b, c, h, w) -> y (b, c, h, w). The map is noise on a 4 x 4 grid, stretched to h x w, so that it looks
    like attention; one for all channels, levels and runs.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.noise: Tensor
        generator = torch.Generator().manual_seed(CONTROL_SEED)
        # Neither trained nor saved: the seed is all there is to it.
        noise = 2 * torch.randn(1, 1, 4, 4, generator=generator, device="cpu")
        self.register_buffer("noise", noise, persistent=False)
        self.project = nn.Conv2d(channels, channels, 1)
        self.project_norm = nn.BatchNorm2d(channels)

    def attention(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
        """The random map in (0, 1); it depends on the height and width only."""
        smooth = functional.interpolate(self.noise, size=x.shape[-2:], mode="bicubic")
        return smooth.sigmoid().to(x).expand(x.shape[0], -1, -1, -1)

    def forward(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.project_norm(self.project(self.attention(x, g) * x))
