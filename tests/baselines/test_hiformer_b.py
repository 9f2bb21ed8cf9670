"""HiFormer-B against its own code's arrays; its fusion reaches nothing as released, and does in the paper's form."""

from __future__ import annotations

import pytest
import timm
import torch
from baseline_parity import Case, Parity, Reference, image
from small_networks import evenly_drawn

from msa2net_lib.baselines.hiformer_b import HiFormer
from msa2net_lib.baselines.registry import official_rules
from msa2net_lib.errors import InputError
from msa2net_lib.utils.official_keys import our_key
from msa2net_lib.utils.torch_files import Undrawn

RULES = official_rules("hiformer_b")


class TestParity(Parity):
    case = Case(
        system="hiformer_b",
        build=HiFormer,
        rules=RULES,
        modules={
            "All2Cross.pyramid.swin_transformer.layers.0": "pyramid.stages.0",
            "All2Cross.pyramid.swin_transformer.layers.2": "pyramid.stages.2",
            "All2Cross.pyramid.0": "class_tokens.0",
            "All2Cross.pyramid.1": "class_tokens.1",
            "All2Cross.norm.0": "norms.0",
            "All2Cross.norm.1": "norms.1",
            "ConvUp_l": "large",
            "ConvUp_s": "small",
        },
        options={"compute_discarded": True},
        channels=3,
        mistakes={
            "self-attention applied": lambda network, patch: patch.setattr(network, "acts", True),
            "corners aligned": lambda network, patch: patch.setattr(network.small[3], "align_corners", True),
            "no residual around a stage": lambda network, patch: patch.setattr(
                network.pyramid.stages[0], "forward", lambda x: x
            ),
        },
    )

    @torch.no_grad()
    def test_the_fusion_reaches_nothing_as_released(self, network, run, monkeypatch):
        monkeypatch.setattr(network, "fuses", False)
        torch.testing.assert_close(network(image()), run[0], rtol=0, atol=2e-6)


def without_gradient(network):
    network(torch.rand(2, 3, 64, 64)).square().mean().backward()
    return {name for name, parameter in network.named_parameters() if parameter.grad is None}


@pytest.mark.slow
def test_presets():
    recorded = Reference("hiformer_b").facts
    dead = {our_key(key, RULES) for key in recorded["never_gradient_keys"] + recorded["zero_gradient_keys"]}
    with Undrawn():  # which parameters the graph reaches does not depend on them
        released, paper = (HiFormer(2, 64, preset=preset) for preset in ("released", "paper"))
    assert without_gradient(released) == dead
    assert without_gradient(paper) == set()
    with pytest.raises(InputError, match="preset='papers' is unknown: use one of 'released', 'paper'"):
        HiFormer(2, 64, preset="papers")


@pytest.mark.slow
def test_pretrained_weights_come_from_two_files(tmp_path):
    torch.manual_seed(0)
    files, states = [], []
    for name in ("resnet50", "swin_tiny_patch4_window7_224"):
        states.append(evenly_drawn(lambda name=name: timm.create_model(name, num_classes=2)).state_dict())
        files.append(str(tmp_path / f"{name}.pth"))
        torch.save(states[-1], files[-1])
    with Undrawn():
        pyramid = HiFormer(2, 64, pretrained=tuple(files)).pyramid
    assert torch.equal(pyramid.resnet.layer3[5].conv2.weight, states[0]["layer3.5.conv2.weight"])
    assert torch.equal(pyramid.merges[1].reduction.weight, states[1]["layers.2.downsample.reduction.weight"])
    assert torch.equal(pyramid.stages[2].blocks[5].mlp.fc1.weight, states[1]["layers.2.blocks.5.mlp.fc1.weight"])
    with pytest.raises(InputError, match="two encoders, give"):
        HiFormer(2, 64, pretrained=files[0])
