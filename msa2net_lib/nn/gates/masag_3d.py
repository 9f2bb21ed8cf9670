"""Between the gate on maps and the gate on volumes: one slice as a volume, and weights carried from 2-D to 3-D."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch import Tensor, nn

from msa2net_lib.nn.masag import MASAG, Dilated

if TYPE_CHECKING:
    from jaxtyping import Float


class SliceByVolume(nn.Module):
    """MASAG in 3-D for a 2-D network: every map is taken for a volume of one slice.

    Shapes: x, g (b, c, h, w) -> y (b, c, h, w). Above and below the slice is padding, so the outer planes of the
    kernels meet zeros only and get no gradient: it computes what the 2-D gate with the middle planes does.
    """

    def __init__(self, channels: int, dilated: Dilated = "depthwise"):
        super().__init__()
        self.volume = MASAG(channels, dilated, dims=3)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SliceByVolume:
        """As in every module, with kernels (out, in, d, h, w) handed on as (out * in, d, h, w).

        Training gives the whole network channels last, a format that torch refuses for five axes.
        """

        def one_axis_less(tensor: Tensor) -> Tensor:
            if tensor.ndim != 5:
                return fn(tensor)
            return fn(tensor.flatten(0, 1)).unflatten(0, tensor.shape[:2]).contiguous()

        return super()._apply(one_axis_less, recurse)

    def attention(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The attention map in (0, 1), one value per cell and channel."""
        return _as_map(self.volume.attention(_as_volume(x), _as_volume(g)))

    def forward(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return _as_map(self.volume(_as_volume(x), _as_volume(g)))


def inflated(gate: MASAG) -> MASAG:
    """A 3-D gate that does to every slice of a volume what a 2-D gate does to it: its kernels in the middle planes.

    A start for training on volumes from weights trained on slices; the outer planes are zero. Keeps dtype, device and
    mode. Source of the idea: Carreira and Zisserman 2017, who repeat the kernel along the new axis instead.
    """
    local = gate.fusion.local_context
    dilated: Dilated = "dense" if local.dilated.groups == 1 and local.dilated.in_channels > 1 else "depthwise"
    volume = MASAG(local.dilated.in_channels, dilated, dims=3).to(local.dilated.weight).train(gate.training)
    weights = gate.state_dict()
    with torch.no_grad():
        for name, tensor in volume.state_dict().items():
            if tensor.ndim == 5:  # a kernel (out, in, depth, height, width)
                tensor.zero_()[:, :, tensor.shape[2] // 2] = weights[name]
            else:
                tensor.copy_(weights[name])
    return volume


def _as_volume(features: Tensor) -> Tensor:
    return rearrange(features, "b c h w -> b c 1 h w")


def _as_map(features: Tensor) -> Tensor:
    return rearrange(features, "b c 1 h w -> b c h w")
