"""UCTransNet against recorded arrays and counts of the original code."""

from __future__ import annotations

import pytest
import torch
from baseline_parity import Reference, count, image, never_reached, run
from torch import nn

from msa2net_lib.baselines import uctransnet
from msa2net_lib.baselines.registry import official_rules
from msa2net_lib.baselines.uctransnet import UCTransNet
from msa2net_lib.errors import InputError
from msa2net_lib.utils.torch_files import Undrawn

pytestmark = pytest.mark.slow
TOLERANCE = 2e-5
MODULES = {
    "act/inc": "encoder.0",
    "act/down4": "encoder.4",
    "act/mtc.embeddings_1": ("transformer.dropout", lambda tokens: tokens),
    "act/mtc.encoder.layer.0.channel_attn[0]": ("transformer.layers.0.attention", lambda found: found[0]),
    "act/mtc.encoder.layer.0.channel_attn[3]": ("transformer.layers.0.attention", lambda found: found[3]),
    "act/mtc.encoder.layer.3[3]": ("transformer.layers.3", lambda found: found[3]),
    "act/mtc[0]": ("transformer", lambda found: found[0]),
    "act/up4.coatt": "decoder.0.gated",
}


@pytest.fixture(scope="module")
def reference():
    return Reference("uctransnet")


@pytest.fixture(scope="module")
def network(reference):
    return reference.fill(lambda: UCTransNet(1), official_rules("uctransnet"))


def test_every_recorded_array(reference, network):
    first = []  # the dropout runs once a level, the finest first
    hook = network.transformer.dropout.register_forward_hook(lambda module, inputs, output: first.append(output))
    found = run(network, MODULES, image())
    hook.remove()
    deviations = reference.deviations(found | {"act/mtc.embeddings_1": first[0].detach()})
    assert set(deviations) == {*MODULES, "logits"}
    assert max(deviations.values()) < TOLERANCE, deviations


def test_counts(reference):
    facts = reference.facts
    assert count(lambda: UCTransNet(1), (1, 3, 224, 224)) == (facts["total_parameters"], facts["multiply_adds"])
    assert count(lambda: UCTransNet(2), (1, 3, 224, 224))[0] == 66_430_722, "printed in the group's notebooks"
    small = UCTransNet(2, 32, base=4, layers=1).eval()
    assert never_reached(small, image(size=32)) == facts["never_gradient_keys"] == []


@torch.no_grad()
def test_planted_mistakes_are_seen(network, monkeypatch):
    with Undrawn():
        small = UCTransNet(1, 64)  # 16 cells in place of 196: other positions, the same weights
    state = {key: value for key, value in network.state_dict().items() if "positions" not in key}
    small.load_state_dict(state | {k: v[:, :16] for k, v in network.state_dict().items() if "positions" in k})
    small, picture = small.eval(), image(size=64)
    right = small(picture)
    with monkeypatch.context() as patch:
        patch.setattr(uctransnet.functional, "instance_norm", lambda scores: scores)
        assert (small(picture) - right).abs().max() > 100 * TOLERANCE
    for layer in small.transformer.layers:
        for ffn in layer.ffns:
            ffn.act = nn.GELU(approximate="tanh")
    assert (small(picture) - right).abs().max() > TOLERANCE
    for layer in small.transformer.layers:
        for ffn in layer.ffns:
            ffn.act = nn.GELU()
    mix = small.decoder[0].mix[0][0].weight
    mix.copy_(mix.roll(512, dims=1))  # the upsampled features first, the skip second
    assert (small(picture) - right).abs().max() > 100 * TOLERANCE


def test_its_size_is_the_one_it_is_built_for():
    network = UCTransNet(3, (32, 48), base=4, layers=1)
    assert network(torch.zeros(2, 1, 32, 48)).shape == (2, 3, 32, 48)
    with pytest.raises(InputError, match=r"^input of 48 x 32 pixels, but the network is built for 32 x 48: "):
        network(torch.zeros(2, 1, 48, 32))
