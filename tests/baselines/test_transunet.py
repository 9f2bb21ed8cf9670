"""TransUNet against its own code's arrays, and what its ImageNet weights become."""

from __future__ import annotations

import timm
import torch
from baseline_parity import Case, Parity
from small_networks import evenly_drawn
from torch.nn import functional

from msa2net_lib.baselines.registry import official_rules
from msa2net_lib.baselines.transunet import TransUNet


def shortcut_norm_of_32_groups(network, patch):
    patch.setattr(network.encoder.stages[0].blocks[0].downsample.norm, "num_groups", 32)


def corners_not_aligned(network, patch):
    resize = functional.interpolate
    patch.setattr(functional, "interpolate", lambda x, **options: resize(x, **(options | {"align_corners": False})))


class TestParity(Parity):
    case = Case(
        system="transunet",
        build=TransUNet,
        rules=official_rules("transunet"),
        modules={
            "transformer.embeddings.hybrid_model.root": "encoder.stem.norm",
            "transformer.embeddings.hybrid_model.body.block1": "encoder.stages.0",
            "transformer.embeddings.hybrid_model.body.block2": "encoder.stages.1",
            "transformer.embeddings.hybrid_model.body.block3": "encoder.stages.2",
            "transformer.embeddings": "transformer.dropout",
            "transformer.encoder": "transformer.norm",
            "decoder.blocks.0": "decoder.0",
            "decoder.blocks.3": "decoder.3",
        },
        # Rounding grows from stage to stage of a weight-standardized network, and is gone again in the logits.
        tolerances={
            "transformer.embeddings.hybrid_model.body.block2": 5e-4,
            "transformer.embeddings.hybrid_model.body.block3": 6e-3,
            "transformer.embeddings": 6e-3,
            "transformer.encoder": 1.3e-3,
        },
        mistakes={
            "shortcut norm of 32 groups": shortcut_norm_of_32_groups,
            "corners not aligned": corners_not_aligned,
            "standardization eps 1e-8": lambda network, patch: [
                patch.setattr(m, "eps", 1e-8) for m in network.encoder.modules() if type(m).__name__ == "StdConv2d"
            ],
        },
    )

    def test_what_no_array_sees(self, network):
        """The epsilons of the ResNet's norms change the logits by less than rounding: read off the page."""
        blocks = [block for stage in network.encoder.stages for block in stage.blocks]
        assert {block.norm2.eps for block in blocks} == {network.encoder.stem.norm.eps} == {1e-6}
        assert {stage.blocks[0].downsample.norm.eps for stage in network.encoder.stages} == {1e-5}
        assert {type(block.attn.proj_drop) for block in network.transformer.blocks} == {torch.nn.Identity}
        assert {block.mlp.drop1.p for block in network.transformer.blocks} == {0.1}


def test_pretrained_weights_start_encoder_and_transformer(monkeypatch):
    torch.manual_seed(0)
    whole = evenly_drawn(lambda: timm.create_model("vit_base_r50_s16_224", num_classes=2, depth=1))
    monkeypatch.setattr("msa2net_lib.baselines.transunet.create_timm", lambda name, pretrained: whole)
    network = TransUNet(2, 64, pretrained=True, depth=1)
    state = whole.state_dict()
    assert torch.equal(
        network.encoder.stages[2].blocks[8].conv3.weight, state["patch_embed.backbone.stages.2.blocks.8.conv3.weight"]
    )
    assert torch.equal(network.transformer.blocks[0].attn.qkv.weight, state["blocks.0.attn.qkv.weight"])
    positions = network.transformer.positions
    assert positions.shape == (1, 16, 768)
    assert torch.equal(positions[:, [0, 3, 12, 15]], state["pos_embed"][:, [1, 14, 183, 196]]), "corners stay corners"
