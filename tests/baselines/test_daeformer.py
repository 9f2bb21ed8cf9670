"""DAEFormer against its own code's arrays; what it computes and throws away changes its cost only."""

from __future__ import annotations

import pytest
import torch
from baseline_parity import Case, Parity, count, image

from msa2net_lib.baselines.daeformer import DAEFormer
from msa2net_lib.baselines.registry import official_rules
from msa2net_lib.errors import InputError


def keys_from_the_decoder(network, patch):
    attention = network.levels[0].cross_attention
    run = attention.forward
    patch.setattr(attention, "forward", lambda decoder, skip, grid: run(skip, decoder, grid))


class TestParity(Parity):
    case = Case(
        system="daeformer",
        build=DAEFormer,
        rules=official_rules("daeformer"),
        modules={
            "backbone.norm1": "stages.0.norm",
            "backbone.norm2": "stages.1.norm",
            "backbone.norm3": "stages.2.norm",
            "decoder_2": "levels.2.expand",
            "decoder_1.cross_attn": "levels.1.cross_attention",
            "decoder_1": "levels.1.expand",
            "decoder_0.cross_attn": "levels.0.cross_attention",
            "decoder_0.layer_up": "levels.0.expand",
        },
        options={"compute_discarded": True},
        mistakes={
            "keys from the decoder": keys_from_the_decoder,
            "second norm runs": lambda network, patch: patch.setattr(
                network.stages[0].blocks[0].feed_forward_1, "active", 2
            ),
        },
    )


@pytest.mark.slow
def test_discarded_results_cost_and_change_nothing():
    torch.manual_seed(0)
    network = DAEFormer(2, 32, channels=(16, 24, 32)).eval()
    twin = DAEFormer(2, 32, channels=(16, 24, 32), compute_discarded=True).eval()
    twin.load_state_dict(network.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(network(image(size=32)), twin(image(size=32)), rtol=0, atol=0)
    once = count(lambda: DAEFormer(2, 32, channels=(16, 24, 32)), (1, 3, 32, 32))[1]
    twice = count(lambda: DAEFormer(2, 32, channels=(16, 24, 32), compute_discarded=True), (1, 3, 32, 32))[1]
    assert twice > 1.1 * once


def test_there_are_no_pretrained_weights():
    with pytest.raises(InputError, match="daeformer has no pretrained encoder, it starts from scratch"):
        DAEFormer(2, 32, pretrained=True)
