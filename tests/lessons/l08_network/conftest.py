"""What one image meets in the tiny and in the published network."""

from __future__ import annotations

import pytest
import torch
from small_networks import SIZE, build

from msa2net_lib.lessons.l08_network.study import walk
from msa2net_lib.nn.network import count_parameters


@pytest.fixture(scope="session")
def image():
    return torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="session")
def tiny():
    return build("tiny")


@pytest.fixture(scope="session")
def steps(tiny, image):
    return walk(tiny, image)


@pytest.fixture(scope="session")
def published(image):
    network = build("published")
    return count_parameters(network), walk(network, image)
