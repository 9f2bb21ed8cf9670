"""What several of the systems share: sizes, feed-forward networks that mix neighbors, steps up, spatial attention."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from timm.models.pvt_v2 import OverlapPatchEmbed
from torch import Tensor, nn
from torch.nn import functional

from msa2net_lib.errors import InputError
from msa2net_lib.nn.layout import map_to_tokens, tokens_to_map
from msa2net_lib.nn.plain_unet import two_convolutions
from msa2net_lib.utils.names import listed

if TYPE_CHECKING:
    from jaxtyping import Float


def conv_norm_relu(channels_in: int, channels_out: int, kernel: int = 3) -> nn.Sequential:
    """Convolution with bias that keeps height and width, batch norm, ReLU."""
    convolution = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out), nn.ReLU())


def double_conv(channels_in: int, channels_out: int) -> nn.Sequential:
    """Twice `conv_norm_relu` with a 3x3 kernel."""
    return nn.Sequential(conv_norm_relu(channels_in, channels_out), conv_norm_relu(channels_out, channels_out))


def fitting_size(image_size: int | tuple[int, int], multiple: int, network: str) -> tuple[int, int]:
    """(height, width) of images that a network is built for. Raises: `InputError` unless multiples of ``multiple``."""
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if min(height, width) < multiple or height % multiple or width % multiple:
        raise InputError(f"image_size={image_size}: {network} takes multiples of {multiple}, such as {7 * multiple}")
    return height, width


def window_size(size: tuple[int, int], coarsest: int) -> tuple[int, int]:
    """Swin's windows for images of ``size``: 7 x 7 where that divides the grid at 1/``coarsest``, else 1/32 of a side.

    The official code of Swin-UNet and HiFormer has the 7 only, and with it 224 pixels.
    """
    height, width = (7 if side % (7 * coarsest) == 0 else side // 32 for side in size)
    return height, width


def drop_path_rates(rate: float, depths: tuple[int, ...]) -> list[list[float]]:
    """Stochastic depth by stage and block: from 0 in the first block to ``rate`` in the last, in equal steps."""
    rates = iter(np.linspace(0, rate, sum(depths)).tolist())
    return [[next(rates) for _ in range(depth)] for depth in depths]


def from_scratch(pretrained: bool | str, network: str) -> None:
    """Refuse pretrained weights where a network has none. Raises: `InputError`."""
    if pretrained:
        raise InputError(f"pretrained={pretrained!r}: {network} has no pretrained encoder, it starts from scratch")


def load_part(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load what a module has of a larger state dict, all of it. Raises: `InputError` for another width or depth."""
    ours = module.state_dict()
    wrong = [key for key, value in ours.items() if key not in state or state[key].shape != value.shape]
    if wrong:
        raise InputError(f"pretrained weights do not fit ({listed(wrong, 3)}): leave the network's widths as they are")
    module.load_state_dict({key: state[key] for key in ours})


class UpConcat(nn.Module):
    """Twice the grid by bilinear resampling with aligned corners, the skip beside, two convolutions.

    Shapes: (b, c, h, w), skip (b, channels_in - c, 2h, 2w) or None -> (b, channels_out, 2h, 2w); ``channels_in``
    counts both.
    """

    def __init__(self, channels_in: int, channels_out: int):
        super().__init__()
        self.mix = two_convolutions(channels_in, channels_out)

    def forward(self, features: Float[Tensor, "b c h w"], skip: Tensor | None = None) -> Float[Tensor, "b d h2 w2"]:
        features = functional.interpolate(features, scale_factor=2, mode="bilinear", align_corners=True)
        return self.mix(features if skip is None else torch.cat([features, skip], dim=1))


class SpatialAttention(nn.Module):
    """Multiply features by one map, sigmoid(7x7 convolution of their mean and maximum over channels); no norm, no bias.

    Shape: (b, c, h, w) -> (b, c, h, w). Source: Woo et al. 2018, CBAM, Equation 3.
    """

    def __init__(self):
        super().__init__()
        self.mix = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        seen = torch.cat([features.mean(1, keepdim=True), features.amax(1, keepdim=True)], dim=1)
        return features * self.mix(seen).sigmoid()


class SkipMixFeedForward(nn.Module):
    """Feed-forward network on tokens with a skip around its depthwise convolution, and layer norms after the sum.

    f = expand(x); LN(depthwise(f) + f), then LN(. + f) for each further norm; GELU; reduce. ``norms`` of the three that
    are built run; the rest never get a gradient. Shape: tokens (b, h*w, c) on a (h, w) grid -> (b, h*w, c).
    ``compute_discarded``: expand twice, as the released code of MISSFormer and DAEFormer does, for the same cost.
    Source: Huang et al. 2022, MISSFormer, "Enhanced Mix-FFN".
    """

    def __init__(
        self,
        channels: int,
        hidden: int | None = None,
        norms: int = 1,
        eps: float = 1e-5,
        compute_discarded: bool = False,
    ):
        super().__init__()
        hidden = 4 * channels if hidden is None else hidden
        self.active, self.compute_discarded = norms, compute_discarded
        self.expand = nn.Linear(channels, hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden, eps=eps) for _ in range(3))
        self.activation = nn.GELU()
        self.reduce = nn.Linear(hidden, channels)

    def forward(self, tokens: Float[Tensor, "b n c"], grid: tuple[int, int]) -> Float[Tensor, "b n c"]:
        expanded = self.expand(tokens)
        if self.compute_discarded:
            self.expand(tokens)
        mixed = map_to_tokens(self.depthwise(tokens_to_map(expanded, *grid)))
        for norm in list(self.norms)[: self.active]:
            mixed = norm(mixed + expanded)
        return self.reduce(self.activation(mixed))


def decoded(
    levels: nn.ModuleList, maps: Sequence[Float[Tensor, "b c h w"]], head: nn.Module
) -> Float[Tensor, "b k h4 w4"]:
    """Levels ``level(tokens, skip, grid)`` from coarse to fine, the deepest without skip, and a head.

    maps: the encoder's, finest first, one a level; the finest level enlarges its grid by 4.
    """
    tokens = map_to_tokens(maps[-1])
    for level, skip in reversed([*zip(levels, maps, strict=True)]):
        height, width = skip.shape[-2:]
        tokens = level(tokens, None if skip is maps[-1] else skip, (height, width))
    height, width = maps[0].shape[-2:]
    return head(tokens_to_map(tokens, 4 * height, 4 * width))


def encoded(blocks: nn.ModuleList, features: Tensor) -> list[Tensor]:
    """The maps of an encoder from fine to coarse: each block after a maximum over 2 x 2 cells, but the first."""
    maps = [blocks[0](features)]
    for block in blocks[1:]:
        maps.append(block(functional.max_pool2d(maps[-1], 2)))
    return maps


def maps_of(stages: nn.ModuleList, features: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b d h2 w2"]]:
    """What each of some stages gives, one after another."""
    return [features := stage(features) for stage in stages]


class TokenStage(nn.Module):
    """Overlapping patches by a strided convolution, layer norm, blocks ``block(tokens, grid)``, layer norm.

    Shape: (b, c, h, w) -> (b, channels, h / stride, w / stride).
    """

    def __init__(self, channels_in: int, channels: int, kernel_size: int, stride: int, blocks: Iterable[nn.Module]):
        super().__init__()
        self.embed = OverlapPatchEmbed(kernel_size, stride, channels_in, channels)
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(channels)

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        patches = self.embed(features)
        height, width = patches.shape[1:3]
        tokens = patches.flatten(1, 2)
        for block in self.blocks:
            tokens = block(tokens, (height, width))
        return tokens_to_map(self.norm(tokens), height, width)
