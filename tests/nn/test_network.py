"""The whole network: published counts, the released code's keys, sizes, classes, channels and errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from small_run import SMALL
from torch import nn

from msa2net_lib import MSA2Net, NetworkConfig
from msa2net_lib.config import PRESETS, LevelConfig
from msa2net_lib.errors import InputError
from msa2net_lib.nn.masag import MASAG
from msa2net_lib.nn.network import count_parameters
from msa2net_lib.nn.official import official_key

SMALL_ENCODER: dict[str, Any] = {"encoder": SMALL.encoder, "encoder_options": SMALL.encoder_options}
PUBLISHED_PARAMETERS = {"published": 112_767_981, "released": 93_660_877, "paper": 103_340_666}


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    return MSA2Net.from_preset("tiny").eval()


@pytest.mark.parametrize("preset", ["published", "released"])
def test_keys_shapes_and_totals_are_the_released_codes(preset, official_shapes):
    with torch.device("meta"):
        network = MSA2Net.from_preset(preset)
    blocks = tuple(level.block for level in network.config.levels)
    ours = {official_key(key, blocks): tuple(v.shape) for key, v in network.state_dict().items()}
    assert ours == official_shapes(preset)
    assert count_parameters(network) == PUBLISHED_PARAMETERS[preset]


def test_paper_preset_is_counted_and_nothing_in_it_is_idle():
    """`paper`'s count is checked as `published` less its unused parts and dense convolutions, plus its own."""
    with torch.device("meta"):
        paper = MSA2Net.from_preset("paper")
        published = MSA2Net.from_preset("published")
    assert count_parameters(paper) == PUBLISHED_PARAMETERS["paper"]
    unused_of_level_3 = count_parameters(published.decoder.levels[3].gate) + 768 * 768 + 768 + 2 * 768
    dense_minus_depthwise = sum(9 * c * c - 9 * c for c in (96, 192, 384))
    stem = 12
    expected = count_parameters(published) - unused_of_level_3 - dense_minus_depthwise - stem
    assert count_parameters(paper) == expected


@pytest.mark.parametrize("preset", ["paper", "tiny"])
def test_every_parameter_receives_a_gradient(preset):
    """Nothing is unused. Small channels stand in for the paper's, the form is the preset's own."""
    network = MSA2Net.from_preset(preset, image_size=64, **SMALL_ENCODER)
    network(torch.randn(2, 1, 64, 64)).square().mean().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None]
    assert without == []


def test_idle_parameters_of_the_published_form_are_the_counted_ones():
    """Autograd finds what never runs: all of level 3 but its expansion, and the gray stem."""
    network = MSA2Net.from_preset("published", image_size=64, **SMALL_ENCODER)
    network(torch.randn(2, 1, 64, 64)).square().mean().backward()
    unused = {name for name, p in network.named_parameters() if p.grad is None}
    expected = {
        name
        for name, _ in network.named_parameters()
        if name.startswith("encoder.gray_stem.")
        or (name.startswith("decoder.levels.3.") and not name.startswith("decoder.levels.3.expand."))
    }
    assert unused == expected


def test_idle_share_of_the_published_network_is_36_161315_million():
    with torch.device("meta"):
        level = MSA2Net.from_preset("published").decoder.levels[3]
    assert count_parameters(level) - count_parameters(level.expand) + 12 == 36_161_315


def test_released_start_of_the_decoder():
    """Xavier's bound is sqrt(6 / (fan_in + fan_out)), and the encoder keeps its own start."""
    torch.manual_seed(0)
    decoder = MSA2Net.from_preset("tiny", decoder_init="xavier").decoder
    linear = decoder.levels[0].linear
    bound = (6 / (2 * linear.in_features)) ** 0.5
    assert 0.95 * bound < linear.weight.abs().max() <= bound
    assert all(
        not m.bias.any() for m in decoder.modules() if isinstance(m, nn.Linear | nn.Conv2d) and m.bias is not None
    )
    assert MSA2Net.from_preset("tiny").decoder.levels[0].linear.bias.any()
    assert {name: PRESETS[name].decoder_init for name in PRESETS} == {
        "paper": "torch", "published": "xavier", "released": "xavier", "tiny": "torch",
    }  # fmt: skip


@pytest.mark.parametrize("part", ["linear", "norm"])
def test_a_part_that_cannot_idle_is_refused(part):
    """A level with a skip runs its linear and norm: accepting the setting would be to ignore it."""
    levels = list(NetworkConfig.from_preset("tiny").levels)
    levels[1] = LevelConfig("lka", "masag", unused=(part,))
    with pytest.raises(InputError, match=rf"levels\[1\]\.unused: a level with a skip runs its {part}"):
        NetworkConfig.from_preset("tiny", levels=tuple(levels))


@pytest.mark.parametrize("size", [32, 96, 160, (64, 128)])
@pytest.mark.parametrize("layout", ["grid", "reinterpreted"])
def test_any_multiple_of_32(size, layout):
    network = MSA2Net.from_preset("tiny", image_size=size, layout=layout, **SMALL_ENCODER).eval()
    height, width = network.config.height_width
    with torch.no_grad():
        assert network(torch.rand(1, 1, height, width)).shape == (1, 9, height, width)


@pytest.mark.parametrize("num_classes", [2, 14])
def test_any_number_of_classes(num_classes):
    network = MSA2Net.from_preset("tiny", num_classes=num_classes, image_size=64, **SMALL_ENCODER).eval()
    with torch.no_grad():
        assert network(torch.rand(1, 3, 64, 64)).shape == (1, num_classes, 64, 64)


def test_weights_of_one_size_fit_another(tiny):
    """The relative position bias is an MLP of the offset, so nothing in the weights depends on the size."""
    larger = MSA2Net.from_preset("tiny", image_size=160)
    larger.load_state_dict(tiny.state_dict())


def test_gray_equals_the_same_image_as_rgb(tiny):
    gray = torch.rand(1, 1, 128, 128)
    with torch.no_grad():
        torch.testing.assert_close(tiny(gray), tiny(gray.repeat(1, 3, 1, 1)), rtol=0, atol=0)


def test_the_deepest_encoder_map_passes_the_final_norm(tiny):
    image = torch.rand(1, 3, 128, 128)
    with torch.no_grad():
        deepest = tiny.encoder(image)[3]
        torch.testing.assert_close(deepest, tiny.encoder.backbone.forward_features(image))


@pytest.mark.parametrize("preset", PRESETS)
def test_config_survives_json(preset):
    config = NetworkConfig.from_preset(preset, image_size=(64, 96))
    assert NetworkConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_trace_gates_sees_what_the_gates_see(tiny):
    image = torch.rand(1, 1, 128, 128)
    with torch.no_grad():
        traces = tiny.trace_gates(image)
        outputs = {}
        hooks = [
            level.gate.register_forward_hook(lambda m, a, out, i=i: outputs.__setitem__(i, out))
            for i, level in enumerate(tiny.decoder.levels)
            if isinstance(level.gate, MASAG)
        ]
        tiny(image)
        for hook in hooks:
            hook.remove()
    assert sorted(traces) == sorted(outputs) == [0, 1, 2]
    for index, trace in traces.items():
        torch.testing.assert_close(trace.output, outputs[index], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("overrides", "fragments"),
    [
        ({"preset": "papper"}, ["preset='papper'", "'paper'", "'tiny'"]),
        ({"preset": "tiny", "image_size": 100}, ["image_size=100", "96", "128"]),
        ({"preset": "tiny", "image_size": 0}, ["image_size=0", "32"]),
        ({"preset": "tiny", "num_clases": 3}, ["num_clases", "num_classes"]),
        ({"preset": "tiny", "num_classes": 1}, ["num_classes=1", "at least 2"]),
        ({"preset": "tiny", "encoder": "resnet50"}, ["encoder='resnet50'", "MaxViT"]),
        ({"preset": "tiny", "encoder": "maxvit_nope"}, ["encoder='maxvit_nope'", "list_models"]),
        ({"preset": "tiny", "encoder_options": {"embed_dim": (32, 64, 96, 192)}}, ["(32, 64, 96, 192)", "double"]),
        ({"preset": "tiny", "dilated": "wide"}, ["dilated='wide'", "depthwise"]),
    ],
)
def test_errors_at_construction(overrides, fragments):
    with pytest.raises(InputError) as caught:
        MSA2Net.from_preset(**overrides)
    assert "\n" not in str(caught.value)
    for fragment in fragments:
        assert fragment in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "fragments"),
    [
        ((1, 2, 128, 128), ["(1, 2, 128, 128)", "1 channel (gray)", "3 (RGB)"]),
        ((1, 128, 128), ["(1, 128, 128)", "batch"]),
        ((1, 1, 100, 128), ["100 x 128", "multiples of 32"]),
        ((1, 1, 160, 160), ["160 x 160", "128 x 128", "image_size=160"]),
    ],
)
def test_errors_at_the_input(tiny, shape, fragments):
    with pytest.raises(InputError) as caught:
        tiny(torch.rand(shape))
    assert "\n" not in str(caught.value)
    for fragment in fragments:
        assert fragment in str(caught.value)
