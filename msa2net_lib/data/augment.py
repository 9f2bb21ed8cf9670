"""Augmentation of a batch on its own device: one interpolation pass for the geometry, then intensity."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclass(frozen=True)
class AffineAugmentation:
    """Random rotation, scale, shift, contrast and noise, another draw for every sample.

    rotation: degrees either way. scale: factor up to 1 + scale or down to 1 / (1 + scale). shift: share of
    the image either way. contrast: share either way. noise: standard deviation, in units of the image's
    [-1, 1] range. No flips: an abdomen's left and right are not alike. Draws come from torch's global
    random state, which `training.train` seeds for every step.
    """

    rotation: float = 8.0
    scale: float = 0.15
    shift: float = 0.05
    contrast: float = 0.15
    noise: float = 0.02

    def __call__(
        self, images: Float[Tensor, "b 1 h w"], labels: Int[Tensor, "b h w"]
    ) -> tuple[Float[Tensor, "b 1 h w"], Int[Tensor, "b h w"]]:
        """Return augmented copies: images bilinear, labels nearest, the border of both repeated outwards."""
        grid = F.affine_grid(self._matrices(images), list(images.shape), align_corners=False)
        warped = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
        moved = F.grid_sample(
            labels[:, None].to(images.dtype), grid, mode="nearest", padding_mode="border", align_corners=False
        )
        gain = 1 + self.contrast * _symmetric(len(images), images.device)[:, None, None, None]
        noisy = warped * gain + self.noise * torch.randn_like(warped)
        return noisy, moved[:, 0].to(labels.dtype)

    def _matrices(self, images: Tensor) -> Float[Tensor, "b 2 3"]:
        """Output-to-input maps in grid_sample's coordinates, corrected for images that are not square."""
        count, device = len(images), images.device
        aspect = images.shape[-2] / images.shape[-1]
        angle = math.radians(self.rotation) * _symmetric(count, device)
        size = (1 + self.scale) ** _symmetric(count, device)
        cosine, sine = angle.cos() / size, angle.sin() / size
        shift_x, shift_y = (
            2 * self.shift * _symmetric(count, device),
            2 * self.shift * _symmetric(count, device),
        )
        rows = [
            torch.stack([cosine, -sine * aspect, shift_x], dim=1),
            torch.stack([sine / aspect, cosine, shift_y], dim=1),
        ]
        return torch.stack(rows, dim=1)


def _symmetric(count: int, device: torch.device) -> Float[Tensor, " b"]:
    """Uniform draws from [-1, 1]."""
    return 2 * torch.rand(count, device=device) - 1
