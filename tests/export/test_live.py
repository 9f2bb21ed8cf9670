"""The live page's network computes what the library does, and ships in half the bytes."""

from __future__ import annotations

import copy
import json
from types import SimpleNamespace

import onnx
import pytest
import torch
from live_gate import FIXTURE, made_gate
from small_networks import shortened

from msa2net_lib.analysis.interventions import INPUTS, STAGES, with_inputs, without_stage
from msa2net_lib.checkpoints import SHIPPED_TINY, load_network
from msa2net_lib.export import export_module, open_exported
from msa2net_lib.export.live import CONTROLS, LiveNetwork, as_trained, store_half
from msa2net_lib.nn.gates import build_gate
from msa2net_lib.nn.network import MSA2Net

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def live():
    """The shipped network as the page has it, on two images of noise."""
    torch.manual_seed(0)
    shipped = load_network(SHIPPED_TINY).eval()
    others = [build_gate("attention", channels).eval() for channels in shipped.encoder.channels[:3]]
    image = torch.rand(2, 1, 128, 128)
    with torch.inference_mode():
        traces = shipped.trace_gates((image - 0.5) / 0.5)
    return SimpleNamespace(
        network=shipped, others=others, live=LiveNetwork(shipped, others), image=image, traces=traces
    )


def tensors(live, level=0, **changes):
    """Name -> tensor (1, c, h, w) of the second image, with some controls of a level set."""
    controls = as_trained(2)
    for name, value in changes.items():
        controls[:, level, CONTROLS.index(name)] = value
    return {name: tensor[1:] for name, tensor in live.live.tensors(live.image, controls).items()}


def test_unchanged_it_is_the_network(live):
    found = tensors(live)
    with torch.inference_mode():
        torch.testing.assert_close(found["logits"], live.network((live.image - 0.5) / 0.5)[1:], rtol=0, atol=1e-4)
    for level, trace in live.traces.items():
        for name, tensor in trace.items():
            torch.testing.assert_close(found[f"{level}/{name}"], tensor[1:], rtol=0, atol=1e-4, msg=f"{level} {name}")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_switched_off_as_the_library_does(live, stage):
    level = 1
    found, trace = tensors(live, level, **{stage: 1}), live.traces[level]
    with torch.inference_mode():
        expected = without_stage(live.network.decoder.levels[level].gate, stage)(trace.x[1:], trace.g[1:])
    for name, tensor in expected.items():
        torch.testing.assert_close(found[f"{level}/{name}"], tensor, rtol=0, atol=1e-4, msg=name)


@pytest.mark.parametrize(("change", "controls"), [("G blank", {"scale of G": 0}), ("X shuffled", {"X shuffled": 1})])
def test_inputs_are_changed_as_the_library_does(live, change, controls):
    assert change in INPUTS
    found, trace = tensors(live, 2, **controls), live.traces[2]
    with torch.inference_mode():
        expected = with_inputs(live.network.decoder.levels[2].gate, change)(trace.x[1:], trace.g[1:])
    for name, tensor in expected.items():
        torch.testing.assert_close(found[f"2/{name}"], tensor, rtol=0, atol=1e-4, msg=name)


def test_the_attention_gate_takes_the_place(live):
    found, trace = tensors(live, 0, **{"attention gate": 1}), live.traces[0]
    with torch.inference_mode():
        y = live.others[0](trace.x[1:], trace.g[1:])
    torch.testing.assert_close(found["0/output"], y, rtol=0, atol=1e-4)


@pytest.mark.parametrize("change", [{"preset": "released"}, {"gate": "attention"}, {"gate": "none"}])
def test_another_network_is_refused(live, refused, change):
    small = live.network.config.to_dict()
    options = {name: small[name] for name in ("encoder", "encoder_options", "image_size")}
    network = MSA2Net.from_preset(**{"preset": "tiny"} | options | change)
    refused("give one with MASAG at levels 0 to 2", LiveNetwork, network, live.others)
    refused("an attention gate for each", LiveNetwork, live.network, live.others[:2])


def test_half_the_bytes_and_the_same_numbers(live, tmp_path):
    """Of the encoder without its attention, which `test_export_shipped.py` writes: it takes longest to translate."""
    path = tmp_path / "encoder.onnx"
    network = shortened(copy.deepcopy(live.network), attention=[])
    encoder = LiveNetwork(network, live.others).encoder
    before = export_module(encoder, {"image": live.image}, path, output="row").bytes
    computed = open_exported(path)(live.image)
    after = store_half(path)
    assert after < 0.65 * before
    onnx.checker.check_model(onnx.load(path))
    assert torch.equal(open_exported(path)(live.image), computed)


def test_the_units_tests_numbers_are_todays(root):
    """What the page's unit test compares with is what torch computes."""
    stored = json.loads((root / FIXTURE).read_text())
    made = made_gate()
    assert stored.keys() == made.keys()
    for name, tensor in made["tensors"].items():
        assert stored["tensors"][name]["shape"] == tensor["shape"]
        assert stored["tensors"][name]["data"] == pytest.approx(tensor["data"], abs=2e-5), name
