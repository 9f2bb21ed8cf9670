"""Interventions: an unchanged gate changes nothing, a changed one changes what it should, and no more."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from msa2net_lib.analysis.interventions import (
    INPUTS,
    STAGES,
    merge,
    predict,
    relative_change,
    retrace,
    shuffle_pixels,
    slice_dice,
    with_inputs,
    with_tensors,
    without_stage,
)
from msa2net_lib.analysis.slice_study import study_slice
from msa2net_lib.checkpoints import SHIPPED_TINY, load_network
from msa2net_lib.data.datasets import Case
from msa2net_lib.data.resize import normalize
from msa2net_lib.errors import InputError
from msa2net_lib.nn.masag import STEPS


@pytest.fixture(scope="module")
def study():
    rng = np.random.default_rng(0)
    label = np.zeros((1, 96, 96), np.uint8)
    label[0, 20:60, 20:60], label[0, 70:80, 70:80] = 5, 1
    image = rng.random((1, 96, 96), dtype=np.float32) * 0.2 + 0.1 * label
    return study_slice(load_network(SHIPPED_TINY), Case("case", image, label, None), 0, "noise of this test")


def test_an_unchanged_gate_computes_its_trace(study):
    for level, trace in study.traces.items():
        for run in (with_tensors(study.gate(level), {}), with_inputs(study.gate(level), "as it is")):
            again = retrace(study, level, run)
            for (name, expected), (_, found) in zip(trace.items(), again.items(), strict=True):
                torch.testing.assert_close(found, expected, msg=name)
    assert ["x", "g", *STEPS] == [name for name, _ in study.traces[0].items()]


def test_prediction_without_and_with_changes(study):
    pixels = torch.from_numpy(normalize(study.image))[None, None]
    with torch.inference_mode():
        expected = study.network(pixels)[0].argmax(0).numpy()
    np.testing.assert_array_equal(predict(study), expected)
    same = {level: with_inputs(study.gate(level), "as it is") for level in study.levels}
    np.testing.assert_array_equal(predict(study, same), expected)
    changed = predict(study, {2: without_stage(study.gate(2), "skip")})
    assert (changed != expected).any()
    np.testing.assert_array_equal(predict(study), expected)
    with pytest.raises(InputError, match="level 3 has no MASAG"):
        predict(study, {0: same[0], 3: same[0]})
    assert not any(study.gate(level)._forward_hooks for level in study.levels)


def test_a_changed_input_reaches_the_gate_as_a_pre_hook_would_give_it(study):
    """Independent of `predict`: a forward pre-hook, and the whole network."""
    gate, pixels = study.gate(1), torch.from_numpy(normalize(study.image))[None, None]
    hook = gate.register_forward_pre_hook(lambda _, inputs: (inputs[0], torch.zeros_like(inputs[1])))
    with torch.inference_mode():
        expected = study.network(pixels)[0].argmax(0).numpy()
    hook.remove()
    np.testing.assert_array_equal(predict(study, {1: with_inputs(gate, "G blank")}), expected)


def test_inputs_by_name():
    x, g = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    found = {name: change(x, g) for name, change in INPUTS.items()}
    assert found["X and G swapped"][0] is g
    assert found["X and G swapped"][1] is x
    assert not found["G blank"][1].any()
    assert found["G blank"][0] is x
    assert not found["X blank"][0].any()
    assert not torch.equal(found["G shuffled"][1], g)
    torch.testing.assert_close(found["X shuffled"][0].sum((2, 3)), x.sum((2, 3)))


def test_shuffled_pixels_stay_whole():
    x = torch.randn(1, 3, 4, 5)
    shuffled = shuffle_pixels(x, seed=3)
    pixels, moved = ({tuple(p) for p in f[0].flatten(1).T.tolist()} for f in (x, shuffled))
    assert pixels == moved
    assert not torch.equal(x, shuffled)
    assert torch.equal(shuffled, shuffle_pixels(x, seed=3))


def test_each_stage_switched_off_is_what_its_words_say(study):
    gate, trace = study.gate(0), study.traces[0]
    off = {stage: retrace(study, 0, without_stage(gate, stage)) for stage in STAGES}
    recalibration, fusion = gate.recalibration, gate.fusion
    with torch.inference_mode():
        expected = {
            "attention": recalibration.project_norm(recalibration.project(trace.x)),
            "modulation": recalibration(trace.u, trace.x),
            "sigmoids": recalibration(trace.x_selected * trace.g_selected, trace.x),
            "selection": recalibration(gate.cross_modulation(1.5 * trace.x, 1.5 * trace.g), trace.x),
            "gate": trace.x,
            "skip": torch.zeros_like(trace.x),
        }
        for stage, u in (
            ("local context", fusion.norm(torch.zeros_like(trace.x) + trace.global_context)),
            ("global context", fusion.norm(trace.local_context)),
        ):
            expected[stage] = recalibration(gate.cross_modulation(*gate.selection(u, trace.x, trace.g)), trace.x)
    assert set(expected) == set(STAGES)
    for stage, output in expected.items():
        torch.testing.assert_close(off[stage].output, output)
    assert off["attention"].u_modulated.equal(trace.u_modulated)


def test_a_blank_gating_input_leaves_one_weight_per_channel(study):
    """U' is zero where an input is, so the attention is what the biases make of it, the same at every pixel."""
    for level in study.levels:
        trace = retrace(study, level, with_inputs(study.gate(level), "G blank"))
        assert not trace.u_modulated.any()
        assert float(trace.attention.std(dim=(2, 3)).max()) < 1e-6


def test_swapping_before_fusion_and_after_selection(study):
    """Equation 4 is symmetric in X' and G'; the gate as a whole is not symmetric in X and G."""
    gate, trace = study.gate(1), study.traces[1]
    with torch.inference_mode():
        swapped = gate.cross_modulation(trace.g_selected, trace.x_selected)
    assert torch.equal(swapped, gate.cross_modulation(trace.x_selected, trace.g_selected))
    run = with_inputs(gate, "X and G swapped")
    assert relative_change(trace.output, retrace(study, 1, run).output) > 0.1


def test_relative_change_and_dice(study):
    one = torch.randn(2, 3)
    assert relative_change(one, torch.zeros(2, 3)) == pytest.approx(1)
    assert relative_change(one, one) == 0
    scores = slice_dice(study, study.label)
    assert scores == {"liver": 1.0, "aorta": 1.0, "mean": 1.0}
    halved = np.where(study.label == 5, 0, study.label)
    assert slice_dice(study, halved) == {"liver": 0.0, "aorta": 1.0, "mean": 0.5}


def test_inputs_as_they_are_change_nothing_and_without_skip_nothing_is_left(study):
    full = slice_dice(study, predict(study))
    for level in study.levels:
        same, none = with_inputs(study.gate(level), "as it is"), without_stage(study.gate(level), "skip")
        output = study.traces[level].output
        assert relative_change(output, retrace(study, level, same).output) == pytest.approx(0, abs=1e-5)
        assert relative_change(output, retrace(study, level, none).output) == pytest.approx(1)
        assert slice_dice(study, predict(study, {level: same})) == pytest.approx(full)


def test_merge_is_the_decoders(study):
    for level, trace in study.traces.items():
        decoder_level = study.network.decoder.levels[level]
        caught = []
        hook = decoder_level.norm.register_forward_hook(lambda _, __, out, kept=caught: kept.append(out))
        predict(study)
        hook.remove()
        summed, normalized = merge(study, level, trace.output)
        torch.testing.assert_close(normalized.flatten(2).mT, caught[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(summed, trace.g + trace.output)


def test_unknown_names_are_refused(study):
    gate = study.gate(0)
    for call, message in (
        (lambda: with_inputs(gate, "G blan"), "change='G blan' is unknown: use one of as it is, G blank"),
        (lambda: without_stage(gate, "fusion"), "stage='fusion' is unknown: use one of local context"),
        (lambda: with_tensors(gate, {"v": STEPS["u"]}), "tensor='v' is unknown: use one of local_context"),
    ):
        with pytest.raises(InputError, match=message):
            call()
