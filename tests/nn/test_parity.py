"""Every recorded array of the released code is reproduced to 1e-5, in evaluation and in training mode."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from einops import rearrange
from torch import nn

from msa2net_lib.config import LevelConfig, LevelPart
from msa2net_lib.nn import official
from msa2net_lib.nn.decoder import DecoderLevel
from msa2net_lib.nn.dual_attention import ChannelAttention, DualAttentionBlock, EfficientAttention
from msa2net_lib.nn.layout import PatchExpand, tokens_to_map
from msa2net_lib.nn.lka import LKABlock
from msa2net_lib.nn.masag import MASAG

GRID = (12, 12)
TOLERANCE = 1e-5


def fill(module: nn.Module, parameters: dict, rename) -> None:
    """Load recorded parameters under our names; every recorded one must be used."""
    remaining = dict(parameters)
    state = {}
    for key, value in module.state_dict().items():
        state[key] = value if key.endswith("num_batches_tracked") else remaining.pop(rename(key))
    assert not remaining, f"recorded and unused: {sorted(remaining)}"
    module.load_state_dict(state)


def undo_one_update(module: nn.Module, run) -> None:
    """Take one training-mode pass out of the batch-norm statistics.

    The arrays hold the statistics as they were after the recorded training pass, although evaluation was
    recorded before it: a running mean r1 = 0.9 r0 + 0.1 m gives r0 once m is known, and running once more
    gives r2 = 0.9 r1 + 0.1 m. With this undone evaluation agrees to 2e-6, without it MASAG is 0.09 off.
    """
    before = {key: value.clone() for key, value in module.named_buffers()}
    module.train()
    run()
    for key, after in module.named_buffers():
        if "running" in key:
            batch = (after - 0.9 * before[key]) / 0.1
            after.copy_((before[key] - 0.1 * batch) / 0.9)
        else:
            after.copy_(before[key])


def assert_parity(module: nn.Module, run, outputs: dict) -> None:
    undo_one_update(module, run)
    for mode in ("eval", "train"):
        module.train(mode == "train")
        difference = (run() - outputs[mode]).abs().max().item()
        assert difference <= TOLERANCE, f"{mode}: differs by {difference:.2e}"


def rename_by(table):
    return lambda key: "".join(official._rename(key, table))


def test_masag(recorded):
    data, gate = recorded("published/masag"), MASAG(16, dilated="dense")
    fill(gate, data.parameters, rename_by(official.NAMES["masag"]))
    assert_parity(gate, lambda: gate(*data.inputs), data.outputs)


@pytest.mark.parametrize(
    ("name", "build", "table", "arguments"),
    [
        ("lka_block", LKABlock, official.NAMES["lka_block"], ()),
        ("dual_transformer_block", DualAttentionBlock, official.NAMES["dual_attention_block"], (GRID,)),
        ("efficient_attention", EfficientAttention, {"project.": "reprojection.", "": ""}, ()),
        ("channel_attention", ChannelAttention, {"project.": "proj.", "": ""}, ()),
        ("patch_expand_x2", lambda c: PatchExpand(c, 2), {"": ""}, (GRID,)),
        ("patch_expand_x4", lambda c: PatchExpand(c, 4), {"": ""}, ((6, 6),)),
    ],
)
def test_block(recorded, name, build, table, arguments):
    data, block = recorded(f"published/{name}"), build(16)
    fill(block, data.parameters, rename_by(table))
    assert_parity(block, lambda: block(*data.inputs, *arguments), data.outputs)


ALL_UNUSED = get_args(LevelPart)
LEVELS = {
    "published/decoder_layer_dae_no_skip": LevelConfig("dual_attention", "masag", unused=ALL_UNUSED),
    "published/decoder_layer_dae_with_skip": LevelConfig("dual_attention", "masag"),
    "published/decoder_layer_lka_with_skip": LevelConfig("lka", "masag"),
    "released/decoder_layer_dae_no_skip": LevelConfig("lka", "masag", unused=ALL_UNUSED),
    "released/decoder_layer_dae_with_skip": LevelConfig("lka", "masag", unused=("gate",)),
}


def run_level(level: DecoderLevel, inputs: list[torch.Tensor]) -> torch.Tensor:
    skip = rearrange(inputs[1], "b h w c -> b c h w") if len(inputs) == 2 else None
    return level(inputs[0], GRID, skip)


@pytest.mark.parametrize("name", LEVELS)
def test_decoder_level(recorded, name):
    data, config = recorded(name), LEVELS[name]
    level = DecoderLevel(16, config, dilated="dense", layout="reinterpreted")
    fill(level, data.parameters, lambda key: official.official_level_key(key, config.block))
    assert_parity(level, lambda: run_level(level, data.inputs), data.outputs)


def test_last_decoder_level_with_its_head(recorded):
    data, config = recorded("published/decoder_layer_lka_last"), LevelConfig("lka", "masag")
    level = DecoderLevel(16, config, scale=4, dilated="dense", layout="reinterpreted")
    head = nn.Conv2d(16, 5, 1)
    parameters = dict(data.parameters)
    head.load_state_dict({key: parameters.pop(f"last_layer.{key}") for key in ("weight", "bias")})
    fill(level, parameters, lambda key: official.official_level_key(key, config.block))
    assert_parity(level, lambda: head(tokens_to_map(run_level(level, data.inputs), 48, 48)), data.outputs)


def test_true_grid_differs_from_the_released_layout(recorded):
    """The layout switch does something: on the true grid the same weights give another output."""
    name = "published/decoder_layer_lka_with_skip"
    data, config = recorded(name), LEVELS[name]
    level = DecoderLevel(16, config, dilated="dense", layout="grid")
    fill(level, data.parameters, lambda key: official.official_level_key(key, config.block))
    level.eval()
    assert (run_level(level, data.inputs) - data.outputs["eval"]).abs().max() > 0.1
