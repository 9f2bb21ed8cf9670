"""MISSFormer against its own code's arrays, the bridge's reinterpreted memory among them."""

from __future__ import annotations

import torch
from baseline_parity import Case, Parity

from msa2net_lib.baselines import missformer
from msa2net_lib.baselines.missformer import MISSFormer
from msa2net_lib.baselines.registry import official_rules


def read_as_tokens(tensor, *shape):
    """What was probably meant: each cell's channels cut in order. (b, m*w, h, w) -> (b, w, m*h*w)."""
    return missformer.split_channels(tensor.flatten(2).transpose(1, 2), shape[1]).transpose(1, 2)


def loose_eps(network, patch):
    for module in network.modules():
        if isinstance(module, torch.nn.LayerNorm):
            patch.setattr(module, "eps", 1e-6)


class TestParity(Parity):
    case = Case(
        system="missformer",
        build=MISSFormer,
        rules=official_rules("missformer"),
        modules={
            "backbone.norm1": "stages.0.norm",
            "backbone.norm4": "stages.3.norm",
            "bridge.bridge_layer1": "bridge.layers.0",
            "bridge.bridge_layer4": "bridge.layers.3",
            "decoder_3": "levels.3.expand",
            "decoder_2": "levels.2.expand",
            "decoder_1": "levels.1.expand",
            "decoder_0.layer_up": "levels.0.expand",
        },
        options={"compute_discarded": True},
        mistakes={
            "channels stay channels in the bridge": lambda network, patch: patch.setattr(
                missformer, "reinterpret_memory", read_as_tokens
            ),
            "LayerNorm eps 1e-6": loose_eps,
        },
    )


def test_other_sizes_and_widths():
    network = MISSFormer(2, (64, 96), width=8)
    assert network(torch.rand(1, 1, 64, 96)).shape == (1, 2, 64, 96)
    assert network(torch.rand(1, 3, 32, 32)).shape == (1, 2, 32, 32)
