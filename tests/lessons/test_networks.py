"""Which network and which case a lesson looks at."""

from __future__ import annotations

import pytest

from msa2net_lib import MSA2Net, save_official_checkpoint
from msa2net_lib.checkpoints import SHIPPED_TINY
from msa2net_lib.lessons.networks import find_network, held_out_case


def test_the_network_is_the_readers_own_if_there_is_one(tmp_path):
    network, path, origin = find_network(tmp_path)
    assert path == SHIPPED_TINY
    assert origin == "the network that ships"
    own = tmp_path / "10_training" / "run" / "weights.safetensors"
    own.parent.mkdir(parents=True)
    own.write_bytes(SHIPPED_TINY.read_bytes())
    assert find_network(tmp_path)[1:] == (own, "trained by lesson 10 on this machine")
    assert find_network(tmp_path, "shipped")[1:] == (SHIPPED_TINY, "the network that ships")
    assert find_network(tmp_path, str(SHIPPED_TINY))[1:] == (SHIPPED_TINY, "the checkpoint you named")
    assert network.config.preset == "tiny"


@pytest.mark.parametrize("form", ["published", "released"])
@pytest.mark.usefixtures("small_forms")
def test_a_checkpoint_of_the_released_code_is_taken_too(tmp_path, form):
    saved = save_official_checkpoint(MSA2Net.from_preset(form, num_classes=3), tmp_path / "theirs.pth")
    network, path, origin = find_network(tmp_path, str(saved))
    assert (network.config.preset, network.config.num_classes) == (form, 3)
    assert (path, origin) == (saved, "the checkpoint you named")


@pytest.mark.parametrize("place", [2001, -1, 2])
def test_a_case_that_is_not_there_is_refused_with_those_that_are(other_dataset, refused, place):
    refused([f"CASE={place}", *other_dataset.test_cases], held_out_case, other_dataset, place)
    assert held_out_case(other_dataset, 0).name == other_dataset.test_cases[0]
