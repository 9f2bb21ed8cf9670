"""The exercise on spectra: an answer written with numpy passes, stubs do not, mistakes are told apart."""

from __future__ import annotations

import numpy as np
import torch

from msa2net_lib.lessons.l13_frequency import checks


def with_numpy(maps):
    """The curve from a shifted spectrum, coefficient by coefficient."""
    shifted = np.fft.fftshift(np.fft.fft2(maps.numpy()), axes=(1, 2))
    middle = maps.shape[-1] // 2
    # The highest frequency stands first after the shift, for want of a positive twin.
    points = [*range(middle, maps.shape[-1]), 0]
    curve = [np.log(np.abs(shifted[:, k, k])).mean() for k in points]
    return torch.tensor(curve) - curve[0]


def test_an_independent_answer_passes():
    assert checks.log_amplitude.diagnosis(with_numpy) is None


def test_stubs_do_not():
    check = checks.log_amplitude
    assert str(check.diagnosis(lambda maps: torch.zeros(maps.shape[-1] // 2 + 1))).startswith("not yet")
    assert str(check.diagnosis(lambda maps: maps)).startswith("it returned shape")
