"""ScaleFormer against its own code's arrays, its transposed and reinterpreted attention among them."""

from __future__ import annotations

import torch
from baseline_parity import Case, Parity
from torch.nn import functional

from msa2net_lib.baselines import scaleformer
from msa2net_lib.baselines.registry import official_rules
from msa2net_lib.baselines.scaleformer import ScaleFormer


def width_attention_turned(network, patch):
    for block in network.intra[0]:
        attention = block.attention
        run = attention.attention
        patch.setattr(
            attention, "attention", lambda x, axis, run=run: run(x, axis).mT if axis == "width" else run(x, axis)
        )


def tokens_to_their_places(network, patch):
    patch.setattr(
        scaleformer,
        "reinterpret_memory",
        lambda tokens, b, c, h, w: tokens.transpose(1, 2).reshape(b, c, h, w),
    )


def scaled_between_scales(network, patch):
    attend = functional.scaled_dot_product_attention
    patch.setattr(functional, "scaled_dot_product_attention", lambda q, k, v, scale: attend(q, k, v))


class TestParity(Parity):
    case = Case(
        system="scaleformer",
        build=ScaleFormer,
        rules=official_rules("scaleformer"),
        modules={
            "p_encoder.Encoder1.res3": "convolutional.2",
            "p_encoder.Encoder2.stage1": "intra.0",
            "p_encoder.Encoder2.stage4": "intra.3",
            "p_encoder.inter_trans.0": ("inter", lambda maps: maps[0]),
            "p_encoder.inter_trans.3": ("inter", lambda maps: maps[3]),
            "p_encoder.squeelayers.0": "skips.0",
            "decoder1": "decoder.0",
            "decoder_final": "decoder.4",
        },
        mistakes={
            "width attention transposed": width_attention_turned,
            "tokens at their places": tokens_to_their_places,
            "scores between scales divided": scaled_between_scales,
            "one of three norms": lambda network, patch: patch.setattr(network.intra[1][0].feed_forward, "active", 1),
        },
    )


def test_the_position_biases_start_at_zero():
    torch.manual_seed(0)
    network = ScaleFormer(2, 64, width=8)
    biases = [p for name, p in network.named_parameters() if ".bias_height" in name or ".bias_width" in name]
    assert len(biases) == 14
    assert not any(bias.any() for bias in biases)
    network(torch.rand(2, 1, 64, 64)).square().mean().backward()
    assert all(bias.grad is not None for bias in biases)
