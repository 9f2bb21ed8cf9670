"""The counts of lesson 08 written another way pass: attention by its formula, unused parameters by a small change."""

from __future__ import annotations

import copy

import torch

from msa2net_lib.lessons.l08_network import checks


def by_formula(cells, group, channels):
    return 4 * (channels**2 + channels), 4 * cells * channels**2 + 2 * cells * group * channels


def by_forward_hooks(network, image):
    """Layers that are never called, and parameters outside of layers that the result does not depend on."""
    called = []
    for layer in network.layers:
        layer.register_forward_hook(lambda layer, *_: called.append(layer))
    network(image)
    idle = [layer for layer in network.layers if layer not in called]
    return sum(p.numel() for layer in idle for p in layer.parameters()) + network.scale.numel()


def test_independent_answers_pass():
    assert checks.attention_count.diagnosis(by_formula) is None
    assert checks.unused_parameters.diagnosis(by_forward_hooks) is None


def test_what_is_multiplied_by_zero_is_live_and_changes_nothing():
    for network, image in checks.unused_parameters._inputs():
        other = copy.deepcopy(network)
        with torch.no_grad():
            other.layers[network.silent].weight.add_(1)
        assert torch.equal(network(image), other(image))
        network(image).sum().backward()
        assert network.layers[network.silent].weight.grad is not None
