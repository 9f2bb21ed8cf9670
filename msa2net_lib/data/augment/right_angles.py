"""TransUNet's augmentation, which most repositories of Table 1 took over: right angles, flips, small rotations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from msa2net_lib.data.augment.draws import Augmentation, Draws

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

MOST_DEGREES = 20


@dataclass(frozen=True)
class RightAngleDraws(Draws):
    """Parameters of `RightAngleAugmentation`: degrees against the clock; flips along y and x after that."""

    degrees: Float[Tensor, " b"]
    flips: Bool[Tensor, "b 2"]


@dataclass(frozen=True)
class RightAngleAugmentation(Augmentation):
    """Half of the samples turned by 0, 90, 180 or 270 degrees and flipped along one axis; a quarter turned by -20 to 19
    whole degrees; a quarter left as they are.

    Image and label by the nearest pixel, black outside. The original does so at 512 x 512, before it resizes.

    Source: Beckschen/TransUNet 02ef001, datasets/dataset_synapse.py.
    """

    def draw(self, count: int, image_shape: tuple[int, int, int]) -> RightAngleDraws:
        """Draw for ``count`` samples from torch's global CPU generator."""
        turned, tilted = torch.rand(count) > 0.5, torch.rand(count) > 0.5
        quarters, axis = torch.randint(4, (count,)), torch.randint(2, (count,))
        angle = torch.randint(-MOST_DEGREES, MOST_DEGREES, (count,))
        degrees = torch.where(turned, 90 * quarters, torch.where(tilted, angle, 0)).float()
        return RightAngleDraws(degrees, F.one_hot(axis, 2).bool() & turned[:, None])

    def apply(
        self, images: Float[Tensor, "b c h w"], labels: Int[Tensor, "b h w"], draws: RightAngleDraws
    ) -> tuple[Float[Tensor, "b c h w"], Int[Tensor, "b h w"]]:
        """Return augmented copies; images are in [-1, 1], so that black is -1."""
        grid = F.affine_grid(self._matrices(draws, images), list(images.shape), align_corners=False)
        both = torch.cat([images.float() + 1, labels[:, None].float()], dim=1)
        moved = F.grid_sample(both, grid, mode="nearest", padding_mode="zeros", align_corners=False)
        return (moved[:, :-1] - 1).to(images.dtype), moved[:, -1].to(labels.dtype)

    def _matrices(self, draws: RightAngleDraws, images: Tensor) -> Float[Tensor, "b 2 3"]:
        """Output-to-input maps in grid_sample's coordinates: undo the flips, then the rotation."""
        aspect = images.shape[-2] / images.shape[-1]
        angle = draws.degrees.double() * (math.pi / 180)
        cosine, sine = angle.cos(), angle.sin()
        y, x = (1 - 2 * draws.flips.double()).unbind(dim=1)
        nothing = torch.zeros_like(angle)
        rows = [
            torch.stack([cosine * x, -sine * y * aspect, nothing], dim=1),
            torch.stack([sine * x / aspect, cosine * y, nothing], dim=1),
        ]
        return torch.stack(rows, dim=1).float().to(images.device, non_blocking=True)
