"""Swin-UNet against its own code's arrays, and where its ImageNet weights go."""

from __future__ import annotations

import pytest
import timm
import torch
from baseline_parity import Case, Parity, tokens
from small_networks import evenly_drawn

from msa2net_lib.baselines.registry import official_rules
from msa2net_lib.baselines.swin_unet import ENCODER, SwinUNet
from msa2net_lib.errors import InputError
from msa2net_lib.utils.torch_files import Undrawn


def skip_after_the_blocks(network, patch):
    level, blocks = network.levels[2], network.encoder.layers[0].blocks
    run = level.forward
    patch.setattr(level, "forward", lambda x, skip: run(x, tokens(blocks(skip.unflatten(1, (56, 56))))))


def skip_before_decoder(network, patch):
    level = network.levels[1]
    run = level.forward
    patch.setattr(level, "forward", lambda x, skip: run(skip, x))


class TestParity(Parity):
    case = Case(
        system="swin_unet",
        build=SwinUNet,
        rules=official_rules("swin_unet"),
        modules={
            "swin_unet.patch_embed": ("encoder.patch_embed", tokens),
            "swin_unet.layers.0.blocks.1": ("encoder.layers.0.blocks.1", tokens),
            "swin_unet.layers.0": ("encoder.layers.1.downsample", tokens),
            "swin_unet.layers.2": ("encoder.layers.3.downsample", tokens),
            "swin_unet.norm": ("encoder.norm", tokens),
            "swin_unet.layers_up.0": "deepest",
            "swin_unet.layers_up.1": "expansions.0",
            "swin_unet.norm_up": "norm",
        },
        mistakes={
            "unshifted": lambda network, patch: patch.setattr(network.levels[2].stage.blocks[1], "shift_size", (0, 0)),
            "skip after the blocks": skip_after_the_blocks,
            "skip before decoder": skip_before_decoder,
        },
    )


@pytest.mark.slow
def test_pretrained_weights_start_both_halves(tmp_path):
    torch.manual_seed(0)
    whole = evenly_drawn(lambda: timm.create_model(ENCODER, num_classes=10))
    torch.save(whole.state_dict(), tmp_path / "swin.pth")
    with Undrawn():
        network = SwinUNet(3, pretrained=str(tmp_path / "swin.pth"))
        small = SwinUNet(3, 64, pretrained=str(tmp_path / "swin.pth"))
    state = whole.state_dict()
    for ours, theirs in (
        ("encoder.layers.2.blocks.1.mlp.fc1.weight", "layers.2.blocks.1.mlp.fc1.weight"),
        ("encoder.layers.3.downsample.reduction.weight", "layers.3.downsample.reduction.weight"),
        ("levels.0.stage.blocks.1.attn.qkv.weight", "layers.2.blocks.1.attn.qkv.weight"),
        ("levels.2.stage.blocks.0.mlp.fc2.bias", "layers.0.blocks.0.mlp.fc2.bias"),
    ):
        assert torch.equal(network.get_parameter(ours), state[theirs]), ours

    assert small.encoder.layers[1].blocks[0].attn.relative_position_bias_table.shape == (9, 6)
    assert torch.equal(small.encoder.norm.weight, network.encoder.norm.weight)
    with pytest.raises(InputError, match="leave the network's widths as they are"):
        SwinUNet(3, 64, pretrained=str(tmp_path / "swin.pth"), channels=32)


def test_windows_follow_the_size():
    small = SwinUNet(2, (64, 96), channels=32)
    assert small(torch.rand(1, 3, 64, 96)).shape == (1, 2, 64, 96)
    assert small.levels[0].stage.blocks[0].window_size == (2, 3)


@pytest.mark.parametrize(("size", "line"), [(100, "swin_unet takes multiples of 32"), ((64, 0), "multiples of 32")])
def test_sizes_that_do_not_fit_are_named(size, line):
    with pytest.raises(InputError, match=line):
        SwinUNet(2, size)
