"""A dilated depthwise convolution that CPUs train several times faster, by the same sums in another order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from jaxtyping import Float


class DilatedDepthwise(nn.Conv2d):
    """A depthwise convolution of odd kernel, dilated, that keeps the size of its input.

    With ``on_grids`` and gradients wanted it takes every d-th row and column as an image of its own, d x d of them, and
    convolves these without dilation: each sum has the same terms. CPU libraries have fast kernels for that, and for the
    gradients of a dilated depthwise convolution none. On a GPU, and without gradients, there is nothing to gain.

    Shape: (b, c, h, w) -> (b, c, h, w). Parameters and their names are `nn.Conv2d`'s. Raises: `ValueError` for an even
    kernel.
    """

    def __init__(self, channels: int, kernel_size: int, dilation: int):
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size={kernel_size}: give an odd one, which has a middle")
        padding = dilation * (kernel_size // 2)
        super().__init__(channels, channels, kernel_size, padding=padding, dilation=dilation, groups=channels)
        self.on_grids = False

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        if not (self.on_grids and torch.is_grad_enabled()):
            return super().forward(input)
        (step, _), (height, width) = self.dilation, input.shape[-2:]
        padded = F.pad(input, (0, -width % step, 0, -height % step))
        grids = rearrange(padded, "b c (h p) (w q) -> (b p q) c h w", p=step, q=step)
        grids = F.conv2d(grids, self.weight, self.bias, padding=self.kernel_size[0] // 2, groups=self.groups)
        whole = rearrange(grids, "(b p q) c h w -> b c (h p) (w q)", p=step, q=step)
        return whole[..., :height, :width]


def train_on_grids(network: nn.Module, device: torch.device) -> None:
    """Have a network's dilated depthwise convolutions trained the way that is fast on a device."""
    for module in network.modules():
        if isinstance(module, DilatedDepthwise):
            module.on_grids = device.type == "cpu"
