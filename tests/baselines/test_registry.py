"""What every network of the registry has to pass, whatever it is; an entry of the table is all that a new one needs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from msa2net_lib import build_network, list_networks, list_presets
from msa2net_lib.baselines.registry import NETWORKS, register_network
from msa2net_lib.config import PRESETS
from msa2net_lib.errors import InputError

SMALL = {
    # The form is the preset's own, on the smallest encoder.
    name: {"encoder": PRESETS["tiny"].encoder, "encoder_options": PRESETS["tiny"].encoder_options}
    for name in NETWORKS
    if name.startswith("msa2net")
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_logits_trains_and_comes_back_from_its_state(name):
    options = SMALL.get(name, {})
    torch.manual_seed(0)
    network = build_network(name, num_classes=3, image_size=64, **options)
    for channels in (1, 3):
        logits = network(torch.randn(2, channels, 64, 64))
        assert logits.shape == (2, 3, 64, 64)
        assert logits.isfinite().all()
    assert logits.min() < 0, "logits, not probabilities"
    (logits * torch.randn_like(logits)).sum().backward()
    reached = sum(parameter.grad is not None for parameter in network.parameters())
    assert reached > len(list(network.parameters())) / 2
    twin = build_network(name, num_classes=3, image_size=64, **options)
    twin.load_state_dict(network.state_dict())
    image = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(twin.eval()(image), network.eval()(image), rtol=0, atol=0)


def test_entries_say_what_they_are():
    assert list_networks() == list(NETWORKS)
    assert len({entry.title for entry in NETWORKS.values()}) == len(NETWORKS)
    assert all(entry.source for entry in NETWORKS.values())
    assert {f"msa2net_{preset}" for preset in list_presets()} - set(NETWORKS) == {"msa2net_paper"}


def test_a_network_of_ones_own_is_built_by_name(monkeypatch):
    monkeypatch.setattr("msa2net_lib.baselines.registry.NETWORKS", dict(NETWORKS))
    own = replace(
        NETWORKS["msa2net"], title="own", build=lambda num_classes, image_size: torch.nn.Conv2d(3, num_classes, 1)
    )
    register_network("own", own)
    assert build_network("own", num_classes=4)(torch.zeros(1, 3, 8, 8)).shape == (1, 4, 8, 8)
    register_network("by name", replace(own, build="registry:list_networks"))
    with pytest.raises(TypeError, match="list_networks"):
        build_network("by name")
    with pytest.raises(InputError, match="network='own' is registered already"):
        register_network("own", own)


def test_an_unknown_network_is_named():
    with pytest.raises(InputError, match="network='msa3net' is unknown: use one of 'msa2net', 'msa2net_published'"):
        build_network("msa3net")
