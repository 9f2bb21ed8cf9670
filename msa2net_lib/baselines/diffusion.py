"""A mask as the end of a diffusion: how noise is added, what a network is asked for, and how masks are drawn.

Source: mindflow-institue/DermoSegDiff d8e7eec, with the numbers of its ISIC 2018 config. diffusers' and MONAI's
``DDPMScheduler`` with 250 steps, ``clip_sample=False`` and the variance "fixed_small" are the same process.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn

from msa2net_lib.errors import InputError
from msa2net_lib.utils.progress import progress_bar

FOREGROUND = 0.01
"""Masks with a smaller share than this get the weight 1 everywhere."""


class Diffusion(nn.Module):
    """Betas that grow linearly over the steps; ``t`` runs from 0 (nearly clean) to steps - 1 (noise)."""

    alphas_bar: Tensor
    betas: Tensor

    def __init__(self, steps: int = 250, beta_start: float = 4e-4, beta_end: float = 0.08):
        super().__init__()
        betas = torch.linspace(beta_start, beta_end, steps, dtype=torch.float64)
        self.steps = steps
        self.register_buffer("betas", betas, persistent=False)
        self.register_buffer("alphas_bar", (1 - betas).cumprod(0), persistent=False)

    def _at(self, t: int | Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Shares of mask and noise in x_t: sqrt(abar), sqrt(1 - abar)."""
        kept = self.alphas_bar[t].reshape(-1, 1, 1, 1)
        return kept.sqrt().to(like), (1 - kept).sqrt().to(like)

    def add_noise(self, mask: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t from a mask of -1 and 1, (b, 1, h, w), and noise of the same shape; t (b)."""
        kept, added = self._at(t, mask)
        return kept * mask + added * noise

    def step(self, x: Tensor, predicted: Tensor, t: int, noise: Tensor | None = None) -> Tensor:
        """x_(t-1) from x_t and the noise predicted in it: its mean, and with ``noise`` a draw around it.

        Nothing is clipped, and at t = 0 nothing is drawn.
        """
        beta, bar = self.betas[t], self.alphas_bar[t]
        before = self.alphas_bar[t - 1] if t else torch.ones_like(bar)
        mean = (x - (beta / (1 - bar).sqrt()).to(x) * predicted) * (1 - beta).rsqrt().to(x)
        if noise is None or t == 0:
            return mean
        return mean + (beta * (1 - before) / (1 - bar)).sqrt().to(x) * noise

    def jump(self, x: Tensor, predicted: Tensor, t: int, to: int) -> Tensor:
        """x_to from x_t by DDIM without noise, ``to`` -1 for the mask itself; the mask in between stays in [-1, 1].

        Few steps need that bound: near the last step an error of the noise counts 175 times in the mask.
        """
        kept, added = self._at(t, x)
        mask = ((x - added * predicted) / kept).clamp(-1, 1)
        if to < 0:
            return mask
        kept, added = self._at(to, x)
        return kept * mask + added * predicted

    def draw(
        self,
        denoise: Callable[[Tensor, Tensor], Tensor],
        shape: tuple[int, ...],
        device: torch.device,
        steps: int,
        seed: int = 0,
        progress: bool = False,
    ) -> Tensor:
        """Draw masks from noise: all steps one by one, or with fewer of them by DDIM.

        denoise: (x_t, t) -> the noise in it. Raises: `InputError` for a number of steps that there are not.
        """
        if not 1 <= steps <= self.steps:
            raise InputError(f"steps={steps}: give 1 to {self.steps}")
        generator = torch.Generator().manual_seed(seed)

        def noise() -> Tensor:
            return torch.randn(shape, generator=generator).to(device)

        x, times = noise(), torch.linspace(self.steps - 1, 0, steps).round().int().tolist()
        with progress_bar(total=steps, desc="drawing a mask", unit="step", enabled=progress) as bar:
            for t, to in zip(times, [*times[1:], -1], strict=True):
                predicted = denoise(x, torch.full((shape[0],), t, device=device))
                x = self.step(x, predicted, t, noise()) if steps == self.steps else self.jump(x, predicted, t, to)
                bar.update()
        return x

    def boundary_weight(self, mask: Tensor, t: Tensor, gamma: float) -> Tensor:
        """Weights in [0, 1], 1 at the edge and 0 at the farthest pixel, flatter the noisier x_t is; (b, 1, h, w).

        mask: -1 and 1, (b, 1, h, w). t: (b). The distance d to the edge becomes ((max d - d) / max d) to the power
        ((gamma (T - t) / T) ^ gamma), with min-max in place of the quotient.
        """
        weights = torch.ones_like(mask)
        for index, (one, time) in enumerate(zip(mask[:, 0].cpu().numpy() > 0, t.tolist(), strict=True)):
            edge = canny_edge(one)
            if one.mean() < FOREGROUND or not edge.any():
                continue
            distance = np.asarray(ndimage.distance_transform_edt(~edge))
            near = distance.max() - distance
            near = (near - near.min()) / (near.max() - near.min())
            power = (gamma * (self.steps - time) / self.steps) ** gamma
            weights[index, 0] = torch.from_numpy(near**power)
        return weights


def canny_edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The edge that OpenCV's Canny finds in a mask (h, w) with both thresholds 0: one pixel wide.

    It lies outside the mask at the top and on the left, and inside at the bottom and on the right.
    """
    values = mask.astype(np.int64)
    gx, gy = (ndimage.sobel(values, axis, mode="nearest") for axis in (1, 0))
    strength = np.pad(np.abs(gx) + np.abs(gy), 1)

    def beside(rows: int, columns: int) -> NDArray[np.int64]:
        height, width = mask.shape
        return strength[1 + rows : 1 + rows + height, 1 + columns : 1 + columns + width]

    here = beside(0, 0)
    flat, steep = np.abs(gy) < np.tan(np.pi / 8) * np.abs(gx), np.abs(gy) > np.tan(3 * np.pi / 8) * np.abs(gx)
    one_way = (gx < 0) == (gy < 0)
    along = np.where(
        one_way, (here > beside(-1, -1)) & (here > beside(1, 1)), (here > beside(-1, 1)) & (here > beside(1, -1))
    )
    across = np.where(
        flat,
        (here > beside(0, -1)) & (here >= beside(0, 1)),
        np.where(steep, (here > beside(-1, 0)) & (here >= beside(1, 0)), along),
    )
    return across & (here > 0)
