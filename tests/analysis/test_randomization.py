"""Redrawn networks: every weight belongs to one part, and only the named parts change."""

from __future__ import annotations

import pytest
import torch

from msa2net_lib import MSA2Net
from msa2net_lib.analysis.randomization import reinitialize_parts, reinitialized, reinitialized_steps, weight_parts
from msa2net_lib.errors import InputError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def network():
    """A tiny network of which no entry is as construction leaves it."""
    torch.manual_seed(0)
    network = MSA2Net.from_preset("tiny", image_size=64)
    state = network.state_dict()
    moved = {key: value + (torch.rand(value.shape) if value.is_floating_point() else 1) for key, value in state.items()}
    network.load_state_dict(moved)
    return network.eval()


def test_every_entry_belongs_to_exactly_one_part(network):
    owners = [
        [part for part, prefixes in weight_parts(network).items() if key.startswith(prefixes)]
        for key in network.state_dict()
    ]
    assert all(len(owner) == 1 for owner in owners)
    assert {owner[0] for owner in owners} == set(weight_parts(network))


@pytest.mark.parametrize("parts", [("head",), ("level 0 gate", "encoder stage 4"), ()])
def test_only_the_named_parts_change(network, parts):
    copy, prefixes = reinitialize_parts(network, parts, seed=3), [weight_parts(network)[name] for name in parts]
    weights = copy.state_dict()
    for key, value in network.state_dict().items():
        reinitialized = any(key.startswith(prefix) for prefix in prefixes)
        assert torch.equal(weights[key], value) != reinitialized, key


def test_a_cascade_ends_in_a_network_that_knows_nothing_of_the_trained_one(network):
    steps = reinitialized_steps(network, "cascading")
    assert next(iter(steps)) == "head"
    assert [len(parts) for parts in steps.values()] == list(range(1, len(steps) + 1))
    last = reinitialize_parts(network, steps["stem"], seed=5).state_dict()
    torch.manual_seed(5)
    fresh = MSA2Net(network.config).state_dict()
    assert all(torch.equal(last[key], fresh[key]) for key in fresh)


def test_independent_steps_are_single_parts_and_seeds_decide(network):
    assert reinitialized_steps(network, "independent") == {name: (name,) for name in weight_parts(network)}
    one, same, other = (reinitialize_parts(network, ["head"], seed).decoder.head.weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_gates_alone_or_everything_is_drawn_anew(network):
    trained = network.state_dict()
    for part in ("gates", "all"):
        copy = reinitialized(network, part, 0).state_dict()
        for key in ("encoder.backbone.stem.conv1.weight", "decoder.levels.0.linear.weight"):
            assert torch.equal(copy[key], trained[key]) == (part == "gates")
        for key in (k for k in trained if ".gate." in k and k.endswith("attend.weight")):
            assert not torch.equal(copy[key], trained[key])
    first, again = (reinitialized(network, "all", 3).state_dict() for _ in range(2))
    assert all(torch.equal(first[key], again[key]) for key in first)


def test_unknown_names_are_refused(network):
    with pytest.raises(InputError, match="part 'tail' is unknown: use head, level 0 expansion"):
        reinitialize_parts(network, ["tail"], 0)
    with pytest.raises(InputError, match="mode='all' is unknown: use cascading or independent"):
        reinitialized_steps(network, "all")  # pyright: ignore[reportArgumentType]
