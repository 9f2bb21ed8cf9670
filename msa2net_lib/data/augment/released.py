"""The released code's augmentation policy, batched on the images' own device.

Read from datasets/datasets_synapse.py of github.com/xmindflow/MSA-2Net, and from imgaug 0.4.0, which it pins, for
what each call does to a float image in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from kornia.filters import filter2d_separable, get_gaussian_kernel1d
from torch import Tensor
from torch.nn import functional as F

from msa2net_lib.data.augment.draws import Augmentation
from msa2net_lib.data.augment.grid import sampling_grid
from msa2net_lib.data.augment.policy import FLIPS, GEOMETRY, INTENSITY, NONE, TRANSFORMS, ReleasedDraws
from msa2net_lib.data.resize_matrix import resize_on_device

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

RELEASED_NOISE = 0.005 * 255
"""Standard deviation of the noise as released: the factor suits images of 0 to 255, these are 0 to 1."""
INTENDED_NOISE = 0.005
RELEASED_SIDE = 512
"""Side of the slices that the released code augments, in pixels; it resizes them afterwards."""
BLUR = 1 / RELEASED_SIDE
"""Standard deviation of the blur in shares of the image height: one pixel of the 512 the released code has."""
CONTRAST, SCALE, SIGMA = (0.5, 1.5), (0.5, 2.0), (0.008, 0.03)
ROTATION, SHEAR, TRANSLATION = 40.0, 16.0, 0.2
MOST = 4
FLIP_PROBABILITY = 0.5
_WARPS = tuple(name for name in GEOMETRY if name not in FLIPS)
_NUMBERS = {name: number for number, name in enumerate(TRANSFORMS)}


@dataclass(frozen=True)
class ReleasedAugmentation(Augmentation):
    """Per sample 0 to 4 (each as likely) of the ten `TRANSFORMS`, without replacement, in random order.

    noise: standard deviation on values in [0, 1], `RELEASED_NOISE` or `INTENDED_NOISE`. noise_side: the side of the
    square that noise is made on, before it is resized to the images by cubic splines, which takes some of it away;
    None: the images' own pixels. As in the released code: a
    flip acts with probability 0.5 once chosen; contrast multiplies values in [0, 1] (a float image's center is 0 in
    imgaug), half the samples with a factor for each channel; noise is the same in all channels; shear takes one
    angle for both axes; a piecewise affine map has 2 to 4 nodes a row and a column; what comes from outside the
    image is 0 of [0, 1], and background; nothing is clipped to [0, 1].

    Other than there: the images have the network's resolution, where the released code augments at 512 x 512 and then
    resizes (lengths in pixels go with the size); the geometry is one interpolation, bilinear for the image and
    nearest for the label, see `grid.sampling_grid`; noise, blur and contrast follow it, among themselves in the drawn
    order, so that noise also covers what comes from outside. Kornia has the matrices and the blur, but its own policy
    (``random_apply``) chooses once for a whole batch; choosing for every sample is done here.
    """

    noise: float = RELEASED_NOISE
    noise_side: int | None = None

    def draw(self, count: int, image_shape: tuple[int, int, int]) -> ReleasedDraws:
        """Draw for ``count`` samples of shape (c, h, w) from torch's global CPU generator."""
        channels = image_shape[0]
        order = torch.rand(count, len(TRANSFORMS)).argsort(dim=1)[:, :MOST]
        order[torch.arange(MOST) >= torch.randint(MOST + 1, (count, 1))] = NONE
        factors, one_for_all = _uniform(CONTRAST, count, channels), torch.rand(count, 1) < 0.5
        return ReleasedDraws(
            order=order,
            flips=torch.rand(count, 2) < FLIP_PROBABILITY,
            contrast=torch.where(one_for_all, factors[:, :1], factors),
            scale=_uniform(SCALE, count, 2),
            rotation=_uniform((-ROTATION, ROTATION), count),
            shear=_uniform((-SHEAR, SHEAR), count),
            sigma=_uniform(SIGMA, count),
            nodes=torch.randint(2, 5, (count, 2)),
            moves=torch.randn(count, 2, 4, 4),
            translation=_uniform((-TRANSLATION, TRANSLATION), count, 2),
            noise_seed=torch.randint(2**62, (count,)),
        )

    def apply(
        self, images: Float[Tensor, "b c h w"], labels: Int[Tensor, "b h w"], draws: ReleasedDraws
    ) -> tuple[Float[Tensor, "b c h w"], Int[Tensor, "b h w"]]:
        """Return augmented copies; images in about [-1, 1] (twice [0, 1], less 1), as the network takes them.

        Samples that drew nothing are exactly what they were. The noise of a seed is another on another kind of device.
        """
        acting = draws.acting()
        flat = _has(acting, FLIPS) & ~_has(acting, _WARPS)
        warped = _has(acting, _WARPS)
        images, labels = images.clone(), labels.clone()
        for name, axis in zip(FLIPS, (-2, -1), strict=True):
            rows = _rows(flat & _has(acting, (name,)), images.device)
            _replace(images, rows, lambda part, axis=axis: part.flip(axis))
            _replace(labels, rows, lambda part, axis=axis: part.flip(axis))
        self._warp(images, labels, draws, warped)
        for numbers in acting.unbind(dim=1):
            for name in INTENSITY:
                self._change(name, images, draws, numbers == _NUMBERS[name])
        return images, labels

    def describe(self, draws: ReleasedDraws, sample: int = 0) -> dict[str, str]:
        """Return what acts on a sample, first to last, and the strength that was drawn for it (none for a flip)."""
        one = draws[sample : sample + 1]
        factors = sorted(set(one.contrast[0].tolist()))
        (scale_x, scale_y), (shift_x, shift_y) = one.scale[0].tolist(), one.translation[0].tolist()
        rows, columns = one.nodes[0].tolist()
        strengths = {
            "additive Gaussian noise": f"σ {self.noise:g}",
            "Gaussian blur": "σ 1 px of 512",
            "linear contrast": " ".join(f"x {factor:.2f}" for factor in factors),
            "scaling": f"x {scale_x:.2f}, y {scale_y:.2f}",
            "rotation": f"{one.rotation.item():+.0f}°",
            "shear": f"{one.shear.item():+.0f}°",
            "piecewise affine": f"σ {one.sigma.item():.1%}, {rows} x {columns} nodes",
            "translation": f"x {shift_x:+.0%}, y {shift_y:+.0%}",
        }
        return {name: strengths.get(name, "") for name in draws.names(sample)}

    def _warp(self, images: Tensor, labels: Tensor, draws: ReleasedDraws, chosen: Tensor) -> None:
        """Move the chosen samples and their labels in place: one interpolation each."""
        if not chosen.any():
            return
        rows = _rows(chosen, images.device)
        grid = sampling_grid(draws[chosen], *images.shape[-2:], device=images.device)
        # Zeros from outside the image are black and background: hence the shift of the image's -1 to 0.
        _replace(images, rows, lambda part: _sample(part + 1, grid, "bilinear") - 1)
        _replace(labels, rows, lambda part: _sample(part[:, None], grid, "nearest")[:, 0])

    def _change(self, name: str, images: Tensor, draws: ReleasedDraws, chosen: Tensor) -> None:
        """Change the values of the chosen samples in place."""
        if not chosen.any():
            return
        rows = _rows(chosen, images.device)
        if name == "linear contrast":
            factor = draws.contrast[chosen][:, :, None, None].to(images.device, images.dtype, non_blocking=True)
            _replace(images, rows, lambda part: (part + 1) * factor - 1)
        elif name == "Gaussian blur":
            # The kernel is made on the CPU: Kornia's `gaussian_blur2d` makes a device wait for it.
            sigma = BLUR * images.shape[-2]
            kernel = get_gaussian_kernel1d(_kernel_size(sigma), sigma).to(images.device, non_blocking=True)
            _replace(images, rows, lambda part: filter2d_separable(part, kernel, kernel))
        else:
            field = _noise(draws.noise_seed[chosen], images, self.noise_side)
            # The noise is stated for [0, 1], half as wide as [-1, 1].
            _replace(images, rows, lambda part: part + 2 * self.noise * field)


def _uniform(limits: tuple[float, float], *shape: int) -> Tensor:
    low, high = limits
    return low + (high - low) * torch.rand(*shape)


def _has(order: Int[Tensor, "b most"], names: Sequence[str]) -> Bool[Tensor, " b"]:
    """Whether a sample's transforms include one of these."""
    return torch.isin(order, torch.tensor([_NUMBERS[name] for name in names])).any(dim=1)


def _rows(chosen: Bool[Tensor, " b"], device: torch.device) -> Int[Tensor, " some"]:
    return chosen.nonzero()[:, 0].to(device, non_blocking=True)


def _replace(values: Tensor, rows: Int[Tensor, " some"], change: Callable[[Tensor], Tensor]) -> None:
    """Change some samples in place."""
    if len(rows):
        values.index_copy_(0, rows, change(values.index_select(0, rows)).to(values.dtype))


def _sample(values: Tensor, grid: Float[Tensor, "b h w 2"], mode: str) -> Tensor:
    return F.grid_sample(values.to(grid.dtype), grid, mode=mode, padding_mode="zeros", align_corners=False)


def _kernel_size(sigma: float) -> int:
    """Kernel that reaches three standard deviations or more; imgaug's is 5 for sigma 1."""
    return 2 * max(2, math.ceil(3 * sigma)) + 1


def _noise(seeds: Int[Tensor, " b"], images: Tensor, side: int | None) -> Float[Tensor, "b 1 h w"]:
    """Fields of variance 1, each from its own seed, so that a sample's noise depends on nothing else.

    side: make them on a square of this side and resize them to the images, whatever is left of the variance.
    """
    size, device, kind = (images.shape[-2], images.shape[-1]), images.device, images.dtype
    made = size if side is None else (side, side)
    makers = (torch.Generator(device).manual_seed(seed) for seed in seeds.tolist())
    fields = torch.stack([torch.randn(made, generator=maker, device=device, dtype=kind) for maker in makers])
    return (fields if made == size else resize_on_device(fields, size).to(kind))[:, None]
