"""The walk through a network, against independent runs and counts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from einops import rearrange
from small_networks import LEVEL_3, OPTIONS, SIZE, build, by_name, unused_names, with_levels

from msa2net_lib.analysis.complexity import build_empty, network_parts
from msa2net_lib.config import PRESETS, NetworkConfig
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l08_network.study import rows_of, walk
from msa2net_lib.nn.network import count_parameters


def hooks_of(network):
    return [hook for module in network.modules() for hook in module._forward_hooks.values()]


def test_encoder_shapes_are_the_encoders(tiny, image, steps):
    with torch.no_grad():
        maps = tiny.eval().encoder(image)
    assert [step.shape for step in steps if step.kind == "encoder"] == [tuple(m.shape[1:]) for m in maps]
    assert by_name(steps)["input"].shape == (1, *SIZE)
    assert by_name(steps)["stem"].shape[1:] == (32, 48)


def test_decoder_shapes_follow_from_the_grid(tiny, steps):
    """Level i has the encoder's channels on 1/4 to 1/32 of the image; an expansion puts out the next level's shape."""
    named = by_name(steps)
    shapes = [(c, SIZE[0] // r, SIZE[1] // r) for c, r in zip(tiny.encoder.channels, (4, 8, 16, 32), strict=True)]
    for level, shape in enumerate(shapes):
        for part in ("linear", "gate", "norm", "blocks"):
            assert f"{part} {level}" not in named or named[f"{part} {level}"].shape == shape
        below = (tiny.encoder.channels[0], *SIZE) if level == 0 else shapes[level - 1]
        assert named[f"expansion {level}"].shape == below
    assert named["head"].shape == (tiny.config.num_classes, *SIZE)


def test_steps_come_in_order_of_data_flow(steps):
    names = [step.name for step in steps]
    stages = [f"encoder stage {i}" for i in (1, 2, 3, 4)]
    level = ["linear {}", "gate {}", "norm {}", "blocks {}", "expansion {}"]
    decoder = ["blocks 3", "expansion 3", *(part.format(i) for i in (2, 1, 0) for part in level)]
    assert names == ["input", "stem", *stages, *decoder, "head"]


@pytest.mark.parametrize("preset", ["tiny", "paper", "released"])
def test_every_parameter_belongs_to_one_step(preset, image):
    """On a small encoder; the published network's are counted below."""
    network = build(preset, **OPTIONS["msa2net"])
    assert sum(step.parameters for step in walk(network, image)) == count_parameters(network)


def test_idle_parts_of_the_published_network(published):
    """Table 1's network: 112.77 M parameters, of which 36.16 M never run."""
    total, steps = published
    assert sum(step.parameters for step in steps) == total == 112_767_981
    assert unused_names(steps) == LEVEL_3 | {"gray stem"}
    assert sum(step.parameters for step in steps if not step.runs) == 36_161_315
    assert all((step.shape is None) == (not step.runs) for step in steps)


def test_an_idle_gate_leaves_linear_and_norm_running(image):
    """Level 2 of the released code adds the skip as it is."""
    steps = walk(with_levels("released"), image)
    assert unused_names(steps) == LEVEL_3 | {"gate 2"}
    assert by_name(steps)["norm 2"].what == "LayerNorm(g + x)"
    assert by_name(steps)["norm 1"].what == "LayerNorm(g + y)"


def test_running_is_observed_not_read_from_the_config(image, monkeypatch):
    network = build("tiny")
    monkeypatch.setattr(network.decoder.levels[1], "refine", lambda tokens, grid: tokens)
    assert unused_names(walk(network, image)) == {"blocks 1"}


def test_parts_are_named_by_their_classes(published, image):
    named = by_name(published[1])
    assert named["gate 1"].what == "MASAG"
    assert named["blocks 1"].what == "LKABlock × 2"
    assert named["blocks 2"].what == "DualAttentionBlock × 2"
    assert named["encoder stage 3"].what == "MaxxVitBlock × 5"
    assert named["expansion 0"].what == "PatchExpand, grid × 4"
    addition = by_name(walk(with_levels(level_1={"gate": "addition"}), image))["gate 1"]
    assert (addition.what, addition.parameters, addition.runs) == ("Addition", 0, True)
    assert "blocks 0" not in by_name(walk(with_levels(level_0={"block": "none"}), image))


@pytest.mark.parametrize("bad", [(1, 1, 64, 64), (2, 1, *SIZE), (1, 2, *SIZE), SIZE])
def test_hooks_and_modes_survive_an_error(bad):
    network = build("tiny").train()
    network.encoder.eval()
    modes = {name: module.training for name, module in network.named_modules()}
    with pytest.raises(InputError):
        walk(network, torch.rand(bad))
    assert not hooks_of(network)
    assert {name: module.training for name, module in network.named_modules()} == modes


def test_walking_changes_nothing(image):
    network = build("tiny").train()
    network.encoder.eval()
    modes = {name: module.training for name, module in network.named_modules()}
    before = {key: value.clone() for key, value in network.state_dict().items()}
    walk(network, image)
    assert not hooks_of(network)
    assert {name: module.training for name, module in network.named_modules()} == modes
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_thumbnails_lie_on_the_image(tiny, image, steps):
    """Each thumbnail against the same map, taken by hand: pixels in their places, tokens row by row."""
    named, level = by_name(steps), tiny.decoder.levels[0]
    with torch.no_grad():
        maps = tiny.eval().encoder(image)
        tokens = rearrange(maps[3], "b c h w -> b (h w) c")
        for i in (3, 2, 1):
            tokens = tiny.decoder.levels[i](tokens, tuple(maps[i].shape[-2:]), None if i == 3 else maps[i])
        below = rearrange(tokens[0], "(h w) c -> c h w", h=SIZE[0] // 4)
        g = level.gating_features(tokens, (SIZE[0] // 4, SIZE[1] // 4))
        expected = {"encoder stage 4": maps[3][0], "expansion 1": below, "gate 0": level.gate(maps[0], g)[0]}
        expected |= {"linear 0": g[0], "head": tiny(image)[0]}
    for name, features in expected.items():
        values = features.numpy()
        away = np.sqrt(((values - values.mean((1, 2), keepdims=True)) ** 2).mean(0))
        np.testing.assert_allclose(named[name].thumbnail, away, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(named["input"].thumbnail, image[0, 0].numpy())


def test_reinterpreted_maps_have_no_thumbnails(published):
    shown = {step.name for step in published[1] if step.thumbnail is not None}
    assert shown == {"input", "stem", "head"} | {f"encoder stage {i}" for i in (1, 2, 3, 4)}


def test_color_images_walk_too(tiny):
    step = walk(tiny, torch.rand(1, 3, *SIZE))[0]
    assert step.shape == (3, *SIZE)
    assert step.thumbnail is not None
    assert step.thumbnail.shape == SIZE


def test_the_arrows_tell_who_reads_whom(tiny, image):
    """What the drawing says in arrows, seen on the tensors: gate(x, g), norm(g + y), blocks, expansion, linear."""
    seen = {}
    parts = {
        f"{part}{i}": getattr(level, part)
        for i, level in enumerate(tiny.decoder.levels)
        for part in ("linear", "gate", "norm", "expand")
    }
    handles = [
        module.register_forward_hook(lambda _, given, out, name=name: seen.__setitem__(name, (given, out)))
        for name, module in parts.items()
        if module is not None
    ]
    with torch.no_grad():
        maps = tiny.eval().encoder(image)
        tiny(image)
    for handle in handles:
        handle.remove()
    for level in (0, 1, 2):
        torch.testing.assert_close(seen[f"linear{level}"][0][0], seen[f"expand{level + 1}"][1])
        x, g = seen[f"gate{level}"][0]
        torch.testing.assert_close(x, maps[level])
        torch.testing.assert_close(rearrange(g, "b c h w -> b (h w) c"), seen[f"linear{level}"][1])
        y = seen[f"gate{level}"][1]
        torch.testing.assert_close(seen[f"norm{level}"][0][0], rearrange(g + y, "b c h w -> b (h w) c"))


@pytest.mark.parametrize("preset", PRESETS)
def test_every_part_has_a_row(preset):
    network = build_empty(NetworkConfig.from_preset(preset))
    ones = pd.DataFrame({"count": 1}, index=list(network_parts(network)))
    assert int(rows_of(ones)["count"].to_numpy().sum()) == len(network_parts(network))
