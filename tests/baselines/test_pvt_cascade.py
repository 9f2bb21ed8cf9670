"""PVT-CASCADE against its own code's arrays, its four heads, and its weights."""

from __future__ import annotations

import numpy as np
import timm
import torch
from baseline_parity import Case, Parity, image, slices

from msa2net_lib.baselines.pvt_cascade import PVTCascade
from msa2net_lib.baselines.registry import official_rules


def own_spatial_attention(network, patch):
    patch.setattr(network.spatial_attention, "forward", lambda features: features)


def bilinear_up(network, patch):
    patch.setattr(network.levels[2].up[0], "mode", "bilinear")


def gate_of_the_lower_map(network, patch):
    gate = network.levels[1].gate
    run = gate.forward
    patch.setattr(gate, "forward", lambda x, g: run(g, x))


class TestParity(Parity):
    case = Case(
        system="pvt_cascade",
        build=PVTCascade,
        rules=official_rules("pvt_cascade"),
        modules={
            "conv": "gray_stem",
            "backbone.0": "encoder.stages.0",
            "backbone.1": "encoder.stages.1",
            "backbone.2": "encoder.stages.2",
            "backbone.3": "encoder.stages.3",
            "decoder.ConvBlock4": "levels.0.mix",
            "decoder.AG3": "levels.1.gate",
            "decoder.ConvBlock1": "levels.3.mix",
        },
        mistakes={
            "no spatial attention": own_spatial_attention,
            "bilinear up": bilinear_up,
            "x and g exchanged": gate_of_the_lower_map,
        },
    )

    def test_heads(self, network, reference):
        with torch.no_grad():
            heads = network.heads(image()[:, :1])
        for number, head in enumerate(heads, start=1):
            where = slices("[:, :, 3::16, 5::16]")
            np.testing.assert_allclose(head[where], reference.arrays[f"head/p{number}"], rtol=0, atol=5e-5)


def test_the_gray_stem_learns_from_gray_images_only():
    network = PVTCascade(2, 64, encoder="pvt_v2_b0")
    network(torch.rand(2, 3, 64, 64)).square().mean().backward()
    none = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    assert none == {f"gray_stem.{part}" for part in ("0.weight", "0.bias", "1.weight", "1.bias")}


def test_pretrained_weights_from_a_file(tmp_path):
    whole = timm.create_model("pvt_v2_b0", num_classes=10)
    torch.save(whole.state_dict(), tmp_path / "pvt.pth")
    network = PVTCascade(2, 64, pretrained=str(tmp_path / "pvt.pth"), encoder="pvt_v2_b0")
    assert torch.equal(network.encoder.stages[2].norm.weight, whole.stages[2].norm.weight)
    key = "stages.3.blocks.1.mlp.fc2.weight"
    assert torch.equal(network.encoder.get_parameter(key), whole.get_parameter(key))
