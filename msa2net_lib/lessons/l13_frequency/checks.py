"""Exercise of the frequency lesson: the curve of one layer's maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from msa2net_lib.analysis.frequency import relative_log_amplitude
from msa2net_lib.lessons.exercise import Check, random_tensor


def _draw_maps(rng: np.random.Generator) -> tuple[Any, ...]:
    """Channels of different strength, (c, n, n) with n even, so that orders of means cannot be confused."""
    channels, side = int(rng.integers(2, 6)), 2 * int(rng.integers(3, 9))
    strength = torch.from_numpy(rng.uniform(0.2, 4.0, size=(channels, 1, 1)))
    return (
        strength * random_tensor(rng, channels, side, side) + torch.from_numpy(rng.uniform(1, 2, (channels, 1, 1))),
    )


def _size(maps: Tensor) -> Tensor:
    return torch.fft.fft2(maps).abs()


def _diagonal(spectrum: Tensor) -> Tensor:
    """(n, n), frequency 0 first -> the diagonal from frequency 0 to the highest."""
    return spectrum.diagonal()[: len(spectrum) // 2 + 1]


def _relative(curve: Tensor) -> Tensor:
    return curve - curve[0]


def _from_other_end(maps: Tensor) -> Tensor:
    """The bins that come out if the spectrum is shifted and then read from its corner."""
    shifted = torch.fft.fftshift(_size(maps).log().mean(dim=0))
    return _relative(_diagonal(shifted))


def _along_row(maps: Tensor) -> Tensor:
    return _relative(_size(maps).log().mean(dim=0)[0, : maps.shape[-1] // 2 + 1])


log_amplitude = Check(
    "log_amplitude",
    lambda maps: relative_log_amplitude(maps[None])[0],
    _draw_maps,
    {
        "frequency 0 is taken at the wrong end: without fftshift it is element 0, with it the center": _from_other_end,
        "that is the log of the mean over channels: take the log of each channel, then the mean": lambda maps: (
            _relative(_diagonal(_size(maps).mean(dim=0)).log())
        ),
        "that is the spectrum of the mean of the channels: transform each channel, then average": lambda maps: (
            _relative(_diagonal(_size(maps.mean(dim=0)).log()))
        ),
        "that is power, the amplitude squared: everything comes out twice too large": lambda maps: (
            2 * _relative(_diagonal(_size(maps).log().mean(dim=0)))
        ),
        "the logarithm is to base 10: take the natural one": lambda maps: _relative(
            _diagonal(_size(maps).log10().mean(dim=0))
        ),
        "the value at frequency 0 is not taken off": lambda maps: _diagonal(_size(maps).log().mean(dim=0)),
        "the value at frequency 0 is divided by: logarithms are subtracted": lambda maps: (
            _diagonal(_size(maps).log().mean(dim=0)) / _size(maps).log().mean(dim=0)[0, 0]
        ),
        "that is the first row, frequencies of one axis: take the diagonal": _along_row,
        "the logarithm is missing": lambda maps: _relative(_diagonal(_size(maps).mean(dim=0))),
        "the transform is over channels too: over height and width alone, as fft2 does": lambda maps: _relative(
            _diagonal(torch.fft.fftn(maps).abs().log().mean(dim=0))
        ),
    },
)
