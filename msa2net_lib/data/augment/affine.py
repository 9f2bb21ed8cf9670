"""The mild augmentation of the smoke recipe: a rotation with scale and shift, contrast and noise, for every sample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from msa2net_lib.data.augment.draws import Augmentation, Draws

if TYPE_CHECKING:
    from jaxtyping import Float, Int


@dataclass(frozen=True)
class AffineDraws(Draws):
    """Parameters of `AffineAugmentation`: shares of its ranges from [-1, 1], and the noise itself, of variance 1."""

    angle: Float[Tensor, " b"]
    size: Float[Tensor, " b"]
    shift_x: Float[Tensor, " b"]
    shift_y: Float[Tensor, " b"]
    contrast: Float[Tensor, " b"]
    noise: Float[Tensor, "b c h w"]


@dataclass(frozen=True)
class AffineAugmentation(Augmentation):
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

    def draw(self, count: int, image_shape: tuple[int, int, int]) -> AffineDraws:
        """Draw for ``count`` samples of shape (c, h, w) from torch's global CPU generator."""
        # The shipped weights were trained with these numbers in this order: another order would train others.
        angle, size, shift_x, shift_y, contrast = (2 * torch.rand(count) - 1 for _ in range(5))
        return AffineDraws(angle, size, shift_x, shift_y, contrast, torch.randn(count, *image_shape))

    def apply(
        self, images: Float[Tensor, "b c h w"], labels: Int[Tensor, "b h w"], draws: AffineDraws
    ) -> tuple[Float[Tensor, "b c h w"], Int[Tensor, "b h w"]]:
        """Return augmented copies: images bilinear, labels nearest, the border of both repeated outwards."""
        matrices = self._matrices(draws, images.shape[-2] / images.shape[-1]).to(images.device, non_blocking=True)
        grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
        warped = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
        moved = F.grid_sample(labels[:, None].float(), grid, mode="nearest", padding_mode="border", align_corners=False)
        gain = (1 + self.contrast * draws.contrast[:, None, None, None]).to(images.device, non_blocking=True)
        noisy = warped * gain + self.noise * draws.noise.to(images.device, non_blocking=True)
        return noisy.to(images.dtype), moved[:, 0].to(labels.dtype)

    def _matrices(self, draws: AffineDraws, aspect: float) -> Float[Tensor, "b 2 3"]:
        """Output-to-input maps in grid_sample's coordinates, corrected for images that are not square."""
        angle = math.radians(self.rotation) * draws.angle
        size = (1 + self.scale) ** draws.size
        cosine, sine = angle.cos() / size, angle.sin() / size
        rows = [
            torch.stack([cosine, -sine * aspect, 2 * self.shift * draws.shift_x], dim=1),
            torch.stack([sine / aspect, cosine, 2 * self.shift * draws.shift_y], dim=1),
        ]
        return torch.stack(rows, dim=1)
