"""Skip gates behind one interface: gate(x, g) turns skip features x into what is added to g.

Three rivals of MASAG and three negative controls. The controls keep MASAG's last step, y = BN(Conv1x1(a * x)),
and spoil only its map a, so that a difference from MASAG speaks of the map and of nothing else.
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

    from msa2net_lib.config import Gate

CONTROL_SEED = 2018
"""Seed of the shuffled gate's permutations and of the random gate's map; no training run changes it."""


class Addition(nn.Module):
    """No gate: the skip features pass unchanged. Shapes: x, g (b, c, h, w) -> x."""

    def forward(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x


class Concatenation(nn.Module):
    """No map either: a 1x1 convolution mixes the channels of both, y = Conv1x1([x; g]), as in U-Net.

    Shapes: x, g (b, c, h, w) -> y (b, c, h, w).
    """

    def __init__(self, channels: int):
        super().__init__()
        self.mix = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.mix(torch.cat([x, g], dim=1))


class AttentionGate(nn.Module):
    """Additive attention gate: y = a * x with a = sigmoid(psi(relu(theta(x) + phi(g)))), one map for all channels.

    Shapes: x, g (b, c, h, w) -> y (b, c, h, w); inside c / 2 channels (at least 1), as in common implementations, and
    batch norm after each of the three 1x1 convolutions. x and g are on one grid here, so nothing is resampled.
    Source: Oktay et al. 2018, Attention U-Net, Equations 1 and 2.
    """

    def __init__(self, channels: int):
        super().__init__()
        inner = max(1, channels // 2)
        self.theta_x = nn.Sequential(nn.Conv2d(channels, inner, 1), nn.BatchNorm2d(inner))
        self.phi_g = nn.Sequential(nn.Conv2d(channels, inner, 1), nn.BatchNorm2d(inner))
        self.psi = nn.Sequential(nn.Conv2d(inner, 1, 1), nn.BatchNorm2d(1))

    def attention(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
        """The attention map in (0, 1), one value per pixel."""
        return self.psi((self.theta_x(x) + self.phi_g(g)).relu()).sigmoid()

    def forward(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.attention(x, g) * x


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
        """The constant map, the same at every pixel and for every image."""
        return rearrange(self.level.sigmoid(), "c -> 1 c 1 1").expand_as(x)

    def forward(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.project_norm(self.project(self.attention(x, g) * x))


class ShuffledGate(nn.Module):
    """Negative control: MASAG with the positions of its attention map permuted; values stay, places are lost.

    Shapes: x, g (b, c, h, w) -> y (b, c, h, w). One fixed permutation per number of pixels, for all channels, images,
    steps and runs.
    """

    def __init__(self, channels: int, dilated: Dilated = "depthwise"):
        super().__init__()
        self.masag = MASAG(channels, dilated)

    def attention(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """MASAG's attention map with its positions permuted."""
        attention = rearrange(masag_attention(self.masag, x, g), "b c h w -> b c (h w)")
        order = torch.randperm(attention.shape[-1], generator=_generator(), device="cpu").to(x.device)
        return rearrange(attention[..., order], "b c (h w) -> b c h w", h=x.shape[-2])

    def forward(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        last = self.masag.recalibration
        return last.project_norm(last.project(self.attention(x, g) * x))


class RandomGate(nn.Module):
    """Negative control: a fixed smooth random map, the same for all images and never learned.

    Shapes: x, g (b, c, h, w) -> y (b, c, h, w). The map is noise on a 4 x 4 grid, stretched to h x w, so that it looks
    like attention; one for all channels, levels and runs.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.project = nn.Conv2d(channels, channels, 1)
        self.project_norm = nn.BatchNorm2d(channels)

    def attention(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
        """The random map in (0, 1); it depends on the height and width only."""
        noise = 2 * torch.randn(1, 1, 4, 4, generator=_generator(), device="cpu")
        smooth = functional.interpolate(noise, size=x.shape[-2:], mode="bicubic")
        return smooth.sigmoid().to(x).expand(len(x), -1, -1, -1)

    def forward(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.project_norm(self.project(self.attention(x, g) * x))


def build_gate(name: Gate, channels: int, dilated: Dilated) -> nn.Module:
    """Build the gate that a config names, for ``channels`` channels; ``dilated`` matters where MASAG is inside."""
    if name == "masag":
        return MASAG(channels, dilated)
    if name == "shuffled":
        return ShuffledGate(channels, dilated)
    simple = {
        "concatenation": Concatenation,
        "attention": AttentionGate,
        "constant": ConstantGate,
        "random": RandomGate,
    }
    return simple[name](channels) if name in simple else Addition()


def attention_map(
    gate: nn.Module, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]
) -> Float[Tensor, "b k h w"] | None:
    """What a gate multiplies x by, in (0, 1), k = 1 or c; None for a gate without a map.

    Meant for a gate in evaluation mode: in training its batch norms would count the pass.
    """
    if isinstance(gate, MASAG):
        return masag_attention(gate, x, g)
    if isinstance(gate, AttentionGate | ConstantGate | ShuffledGate | RandomGate):
        return gate.attention(x, g)
    return None


def masag_attention(masag: MASAG, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """MASAG's attention map: its stages up to the sigmoid of Equation 6."""
    u_modulated = masag.cross_modulation(*masag.selection(masag.fusion(x, g), x, g))
    return masag.recalibration.attention(u_modulated)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(CONTROL_SEED)
