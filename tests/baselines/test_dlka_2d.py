"""2D D-LKA Net against its own code's arrays; its offsets are not zero at the start."""

from __future__ import annotations

import torch
from baseline_parity import Case, Parity, map_tokens

from msa2net_lib.baselines.dlka_2d import DLKANet
from msa2net_lib.baselines.registry import official_rules
from msa2net_lib.config import PRESETS

SMALL = {"encoder": PRESETS["tiny"].encoder, "encoder_options": PRESETS["tiny"].encoder_options}


def no_offsets(network, patch):
    for part in ("depthwise", "dilated"):
        offsets = getattr(network.levels[0].blocks[1].attention.attention, part).offsets
        patch.setattr(offsets, "forward", lambda x, run=offsets.forward: torch.zeros_like(run(x)))


class TestParity(Parity):
    case = Case(
        system="dlka_2d",
        build=DLKANet,
        rules=official_rules("dlka_2d"),
        modules={
            "backbone.0": "encoder.backbone.norm",
            "backbone.1": "encoder.backbone.stages.2",
            "backbone.2": "encoder.backbone.stages.1",
            "backbone.3": "encoder.backbone.stages.0",
            "decoder_3": "levels.3.expand",
            "decoder_2.layer_lka_1": ("levels.2.blocks.0", map_tokens),
            "decoder_2": "levels.2.expand",
            "decoder_0.layer_up": "levels.0.expand",
        },
        mistakes={
            "no offsets in one block": no_offsets,
            "one block of two at one level": lambda network, patch: patch.setattr(
                network.levels[1].blocks[1], "forward", lambda features: features
            ),
        },
    )


def test_offsets_move_from_the_start_and_gradients_reach_them():
    torch.manual_seed(0)
    network = DLKANet(2, 64, **SMALL)
    moved = []
    network.levels[1].blocks[0].attention.attention.dilated.offsets.register_forward_hook(
        lambda module, inputs, output: moved.append(output)
    )
    network(torch.randn(1, 1, 64, 64)).square().mean().backward()
    assert moved[0].abs().mean() > 0.01
    assert network.levels[1].blocks[0].attention.attention.dilated.offsets.weight.grad.any()
