"""Taps: every layer once, in order, on its grid; values equal to the network's own methods; nothing stays hooked."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from msa2net_lib import MSA2Net, NetworkConfig
from msa2net_lib.analysis.layers import capture, feature_maps, is_encoder
from msa2net_lib.config import PRESETS
from msa2net_lib.nn.layout import map_to_tokens, tokens_to_map

TINY = NetworkConfig.from_preset("tiny", image_size=64)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return MSA2Net(TINY).eval()


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(2, 1, 64, 64, generator=torch.Generator().manual_seed(1))


def test_layers_in_order_on_their_grids(network, pixels):
    maps = feature_maps(network, pixels)
    gated = ("g", "gate", "merged", "block 1", "block 2", "expanded")
    assert list(maps) == [
        *(f"encoder stage {stage}" for stage in range(1, 5)),
        *(f"level 3 {part}" for part in gated[3:]),
        *(f"level {level} {part}" for level in (2, 1) for part in gated),
        *(f"level 0 {part}" for part in gated[:-1]),
        "last decoder layer",
        "logits",
    ]
    for level, channels in enumerate((24, 48, 96, 192)):
        grid = 16 // 2**level
        assert maps[f"encoder stage {level + 1}"].shape == (2, channels, grid, grid)
        assert maps[f"level {level} block 2"].shape == (2, channels, grid, grid)
        scale, left = (4, channels) if level == 0 else (2, channels // 2)
        expanded = maps[f"level {level} expanded" if level else "last decoder layer"]
        assert expanded.shape == (2, left, scale * grid, scale * grid)
    assert [name for name in maps if is_encoder(name)] == [f"encoder stage {stage}" for stage in range(1, 5)]


def test_values_are_those_of_the_decoder_step_by_step(network, pixels):
    maps = feature_maps(network, pixels)
    with torch.inference_mode():
        tokens = network.decoder.levels[3](map_to_tokens(network.encoder(pixels)[3]), (2, 2))
        level, skip = network.decoder.levels[2], network.encoder(pixels)[2]
        g = level.gating_features(tokens, (4, 4))
        expected = {"g": g, "gate": level.gate(skip, g)}
        expected["merged"] = tokens_to_map(level.merge(tokens, skip), 4, 4)
        expected["block 2"] = tokens_to_map(level.refine(level.merge(tokens, skip), (4, 4)), 4, 4)
        expected["expanded"] = tokens_to_map(level(tokens, (4, 4), skip), 8, 8)
        torch.testing.assert_close(maps["logits"], network(pixels))
    for part, values in expected.items():
        torch.testing.assert_close(maps[f"level 2 {part}"], values)


def test_nothing_stays_hooked(network, pixels):
    feature_maps(network, pixels)
    assert not [m for m in network.modules() if m._forward_hooks or m._forward_pre_hooks]
    with pytest.raises(Exception, match="64"):
        feature_maps(network, pixels[..., :32])
    assert not [m for m in network.modules() if m._forward_hooks or m._forward_pre_hooks]


@pytest.mark.parametrize("activation", [nn.ReLU, nn.SiLU, nn.ELU])
def test_what_was_captured_is_not_overwritten(activation):
    """By an activation in place: neither what the layer before it gave, nor what it got itself."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(1, 2, 3), activation(inplace=True))
    image = torch.randn(1, 1, 5, 5)
    seen = capture(lambda: layers(image), {"conv": layers[0], "activation": layers[1]})
    convolved = layers[0](image).detach()
    assert torch.equal(seen["conv"][1], convolved)
    assert torch.equal(seen["activation"][0][0], convolved)
    assert torch.equal(seen["activation"][1], activation()(convolved))


@pytest.mark.parametrize("preset", ["published", "released"])
def test_idle_parts_leave_no_map(preset, pixels):
    config = replace(PRESETS[preset], encoder=TINY.encoder, encoder_options=TINY.encoder_options, image_size=64)
    maps = feature_maps(MSA2Net(config), pixels)
    assert "level 3 expanded" in maps
    assert not [name for name in maps if name.startswith("level 3") and name != "level 3 expanded"]
    assert ("level 2 gate" in maps) == (preset == "published")  # the other's is unused there
    network = MSA2Net(config).eval()
    seen = []
    network.decoder.levels[2].gate.register_forward_hook(lambda _, inputs, __: seen.append(inputs[1]))
    g = feature_maps(network, pixels)["level 2 g"]
    for given in seen:  # what the gate is given, whatever the layout
        torch.testing.assert_close(g, given)
    assert len(seen) == (preset == "published")
