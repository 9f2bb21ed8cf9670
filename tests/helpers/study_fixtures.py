"""Fixtures for the gate lessons: a case of noise with two drawn organs, and the shipped network's way through it."""

from __future__ import annotations

import numpy as np
import pytest

from msa2net_lib.analysis.slice_study import study_slice
from msa2net_lib.checkpoints import SHIPPED_TINY, load_network
from msa2net_lib.data.datasets import Case


@pytest.fixture(scope="session")
def noise_case():
    """Three slices of noise; the middle one has a liver and an aorta, both square."""
    label = np.zeros((3, 96, 96), np.uint8)
    label[1, 20:60, 20:60], label[1, 70:80, 70:80] = 5, 1
    image = np.random.default_rng(0).random((3, 96, 96), dtype=np.float32)
    return Case("case", image, label, (3.0, 3.0, 3.0))


@pytest.fixture(scope="session")
def study(noise_case):
    """The shipped network on the middle slice; tests read it and change nothing."""
    return study_slice(load_network(SHIPPED_TINY), noise_case, 1, "noise of this test")
