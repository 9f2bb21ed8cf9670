"""The Fourier spectrum of feature maps: how much of each spatial frequency a layer holds, relative to its mean.

Frequencies are lengths |f| of the two-dimensional frequency vector, in cycles per pixel of the map itself: 0.5 along
an axis and 0.707 in the corner, where rows and columns both alternate, are the highest that a grid can hold (Nyquist),
a little less if its sides are odd.
Times the longer side of the map they are cycles per image, which is the axis on which layers of different grids meet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from msa2net_lib.errors import InputError
from msa2net_lib.utils.plain import require_choice

Along = Literal["diagonal", "radius"]
"""Which coefficients make a curve: those with equal frequencies of both axes, as in the literature, or all of them."""

FLOOR = 1e-6
"""Smallest amplitude that counts, as a share of the map's root mean square amplitude.

An amplitude of 0 has no logarithm; below this share lies what single precision rounds away. A share and no fixed
number, so that a map times ten has the same curve.
"""


def amplitude(maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Size of each Fourier coefficient, in the maps' unit times pixels, frequency 0 first; in float64.

    Raises: `InputError` unless the maps have four axes and finite values.
    """
    if maps.ndim != 4:
        raise InputError(f"maps of shape {tuple(maps.shape)}: give (batch, channels, height, width)")
    if not maps.isfinite().all():
        raise InputError("maps hold nan or infinity, which have no spectrum: leave such layers out")
    return torch.fft.fft2(maps.detach().double()).abs()


def log_amplitude(maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """Natural logarithm of `amplitude`, no lower than `FLOOR` allows; nan for a map that is zero everywhere."""
    size = amplitude(maps)
    mean_square = size.square().mean(dim=(-2, -1), keepdim=True)
    logarithm = size.clamp(min=FLOOR * mean_square.sqrt()).log()
    # Nothing, at any frequency: a dead channel must not count as a flat spectrum.
    return logarithm.masked_fill(mean_square == 0, torch.nan)


def frequency_grid(height: int, width: int) -> NDArray[np.float64]:
    """|f| of each coefficient (height, width) in cycles per pixel, in the order of `amplitude`."""
    return np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])


def frequencies(height: int, width: int, along: Along = "diagonal") -> NDArray[np.float64]:
    """|f| of each point of a curve (k,) in cycles per pixel, from 0 up; with "radius" the mean over the ring.

    Raises: `InputError` for a diagonal of a map that is not square.
    """
    index = _curve_index(height, width, along)
    grid = frequency_grid(height, width)
    return np.array([grid[index == point].mean() for point in range(index.max() + 1)])


def relative_log_amplitude(maps: Float[Tensor, "b c h w"], along: Along = "diagonal") -> Float[Tensor, "b k"]:
    """Mean over channels of the natural log amplitude, minus its value at frequency 0: one curve per sample.

    A value of -2.3 says: a tenth of the mean's amplitude, in the geometric mean over channels. Dead channels are left
    out; a sample of nothing else is nan. `frequencies` has the curve's axis. Raises: `InputError`, see `amplitude`
    and `frequencies`.
    Source: Park & Kim, "How Do Vision Transformers Work?" (ICLR 2022), who read the diagonal up to one step below the
    highest frequency, which is kept here. The paper shows such curves and cites Wang et al. 2022, but defines nothing.
    """
    index = torch.from_numpy(_curve_index(maps.shape[-2], maps.shape[-1], along)).flatten().to(maps.device)
    over_channels = log_amplitude(maps).nanmean(dim=1).flatten(1)
    used = index >= 0
    curves = over_channels.new_zeros(len(maps), int(index.max()) + 1)
    curves.index_add_(1, index[used], over_channels[:, used])
    curves = curves / torch.bincount(index[used])
    return curves - curves[:, :1]


def high_band(curves: NDArray, frequency: NDArray) -> NDArray:
    """Mean of curves (..., k) over the upper half of the band, above half of the highest |f|: what stays of detail."""
    return np.asarray(curves)[..., frequency > frequency[-1] / 2].mean(axis=-1)


def high_over_low(curves: NDArray, frequency: NDArray) -> NDArray:
    """Mean of curves (..., k) over the upper half of the band minus that over the lower half without frequency 0.

    The value at 0 cancels: a layer's mean, which a norm or a bias moves at will, has no say in it. nan on a grid
    whose lower half holds nothing but frequency 0.
    """
    low = (frequency > 0) & (frequency <= frequency[-1] / 2)
    if not low.any():
        return np.full(np.shape(curves)[:-1], np.nan)
    return high_band(curves, frequency) - np.asarray(curves)[..., low].mean(axis=-1)


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Curves of one layer, one per slice: (slices, k), at frequencies (k,) in cycles per pixel of a grid (h, w)."""

    curves: NDArray[np.float64]
    frequency: NDArray[np.float64]
    grid: tuple[int, int]

    @property
    def cycles_per_image(self) -> NDArray[np.float64]:
        """The frequencies in cycles per image, along its longer side."""
        return self.frequency * max(self.grid)

    @property
    def measures(self) -> dict[str, NDArray[np.float64]]:
        """`high_band` and `high_over_low` by their names, one number per slice."""
        return {
            "high_band": high_band(self.curves, self.frequency),
            "high_over_low": high_over_low(self.curves, self.frequency),
        }


def layer_spectra(layers: Mapping[str, Tensor], along: Along = "diagonal") -> dict[str, Spectrum]:
    """The spectrum of each layer's maps (b, c, h, w), by the layer's name. Raises: `InputError`."""
    found = {}
    for name, maps in layers.items():
        height, width = maps.shape[-2:]
        curves = relative_log_amplitude(maps, along).cpu().numpy()
        found[name] = Spectrum(curves, frequencies(height, width, along), (height, width))
    return found


def split_bands(maps: Float[Tensor, "b c h w"], edges: Sequence[float]) -> Float[Tensor, "n b c h w"]:
    """Parts of maps that hold one band of frequencies each; they add up to the maps.

    edges: ascending |f| in cycles per pixel, above 0: n - 1 of them part the band into [0, first), [first, second) ...
    and all above the last. The cut is sharp, so edges in the maps ring. Raises: `InputError`, edges out of order.
    """
    if list(edges) != sorted(set(edges)) or min(edges, default=1.0) <= 0:
        raise InputError(f"edges={tuple(edges)}: give frequencies above 0, each higher than the one before")
    height, width = maps.shape[-2:]
    band = torch.from_numpy(np.searchsorted(np.asarray(edges), frequency_grid(height, width), side="right"))
    coefficients = torch.fft.fft2(maps.detach().double())
    parts = [torch.fft.ifft2(coefficients * (band == number).to(maps.device)).real for number in range(len(edges) + 1)]
    return torch.stack(parts)


def _curve_index(height: int, width: int, along: Along) -> NDArray[np.int64]:
    """Which point of the curve each coefficient (height, width) belongs to; -1 for none."""
    require_choice("along", along, get_args(Along))
    if along == "diagonal":
        if height != width:
            raise InputError(f"a map of {height} x {width} has no diagonal of equal frequencies: use along='radius'")
        index = np.full((height, width), -1)
        half = np.arange(height // 2 + 1)
        index[half, half] = half
        return index
    # Rings one step of the longer side wide, the first around frequency 0 alone; empty ones are dropped.
    ring = np.floor(frequency_grid(height, width) * max(height, width) + 0.5).astype(int)
    return np.unique(ring, return_inverse=True)[1].reshape(height, width)
