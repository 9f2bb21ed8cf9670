"""FAT-Net against recorded arrays and counts of the original code."""

from __future__ import annotations

import pytest
import torch
from baseline_parity import Reference, count, image, never_reached, run
from torch import nn

from msa2net_lib.baselines import fatnet
from msa2net_lib.baselines.fatnet import FATNet
from msa2net_lib.baselines.registry import official_rules
from msa2net_lib.errors import InputError
from msa2net_lib.utils.official_keys import our_key
from msa2net_lib.utils.torch_files import Undrawn

pytestmark = pytest.mark.slow
TOLERANCE = 2e-5
RULES = official_rules("fatnet")
MODULES = {
    "act/encoder1": "cnn.layer1",
    "act/encoder4": "cnn.layer4",
    "act/transformers.11": "transformer.blocks.11",
    "act/se": "squeeze",
    "act/FAMBlock1": "adapt.0",
    "act/decoder4": "decoder.0",
    "act/decoder2": "decoder.2",
    "act/final_conv1": "head.0",
}


@pytest.fixture(scope="module")
def reference():
    return Reference("fatnet")


@pytest.fixture(scope="module")
def network(reference):
    return reference.fill(lambda: FATNet(1), RULES)


@pytest.fixture(scope="module")
def right(network):
    return run(network, MODULES, image())


@pytest.fixture
def small(network):
    """The same weights at 64 pixels, where everything costs less; nothing of this network depends on the size."""
    with Undrawn():
        small = FATNet(1, 64).eval()
    small.load_state_dict(network.state_dict())
    return small


def test_every_recorded_array(reference, right):
    deviations = reference.deviations(right)
    assert max(deviations.values()) < TOLERANCE, deviations


def test_counts(reference, small):
    facts = reference.facts
    assert count(lambda: FATNet(1), (1, 3, 224, 224)) == (facts["total_parameters"], facts["multiply_adds"])
    unused = never_reached(small, image(size=64))
    assert set(unused) == {our_key(key, RULES) for key in facts["never_gradient_keys"]}
    sizes = dict(small.named_parameters())
    assert sum(sizes[name].numel() for name in unused) == facts["never_gradient_parameters"] == 4640


@torch.no_grad()
def test_the_epsilon_of_the_layer_norms_is_seen(reference, network, right):
    """At full size: at 64 pixels the mistake costs less than rounding."""
    norms = [norm for block in network.transformer["blocks"] for norm in (block.norm1, block.norm2)]
    try:
        for norm in norms:
            norm.eps = 1e-5
        assert max(reference.deviations(run(network, MODULES, image())).values()) > TOLERANCE
    finally:
        for norm in norms:
            norm.eps = 1e-6


@torch.no_grad()
def test_planted_mistakes_are_seen(small, monkeypatch):
    picture = image(size=64)
    expected = small(picture)
    with monkeypatch.context() as patch:
        patch.setattr(fatnet, "APPLIED", (1, 1, 1))
        assert (small(picture) - expected).abs().max() > 100 * TOLERANCE
    small.cnn.act1 = nn.Sequential(nn.ReLU(), nn.MaxPool2d(3, stride=1, padding=1))
    assert (small(picture) - expected).abs().max() > 100 * TOLERANCE


def test_its_size_is_the_one_it_is_built_for():
    network = FATNet(3, 32, cnn="resnet18", depth=1)
    assert network(torch.zeros(2, 1, 32, 32)).shape == (2, 3, 32, 32)
    with pytest.raises(InputError, match=r"^input of 64 x 64 pixels, but the network is built for 32 x 32: "):
        network(torch.zeros(2, 1, 64, 64))
