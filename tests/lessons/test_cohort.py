"""What a lesson says of the gate over all held-out cases: the same numbers as slice by slice, a case as the unit."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from msa2net_lib.analysis.interventions import predict, running, slice_dice, with_inputs, without_stage
from msa2net_lib.analysis.slice_study import network_input, study_slice
from msa2net_lib.checkpoints import SHIPPED_TINY, load_network
from msa2net_lib.data.datasets import Case
from msa2net_lib.errors import InputError
from msa2net_lib.lessons import cohort as cohorts
from msa2net_lib.lessons.cohort import HIGHER, LOWER, UNCLEAR, cohort_effects, held_out_cohort, hold, show_effects


def drawn_case(name, seed, slices=5):
    """Bright squares that the network takes for nothing in particular; slice 1 holds no organ."""
    rng = np.random.default_rng(seed)
    label = np.zeros((slices, 64, 64), np.uint8)
    for z in range(slices):
        label[z, 10 : 30 + z, 12:40] = 5 if z != 1 else 0
        label[z, 40:52, 40:52] = 3 if z > 2 else 0
    return Case(name, (0.3 * rng.random(label.shape) + 0.1 * label).astype(np.float32), label, None)


@pytest.fixture(scope="module")
def dataset():
    cases = {name: drawn_case(name, seed) for seed, name in enumerate(("one", "two", "three"))}
    return SimpleNamespace(root="drawn", test_cases=list(cases), load_case=cases.__getitem__)


@pytest.fixture(scope="module")
def cohort(dataset):
    return held_out_cohort(load_network(SHIPPED_TINY), dataset, every=2)


@pytest.mark.parametrize("level", [3, 9])
def test_a_level_without_a_gate_is_refused(cohort, refused, level):
    refused(f"level {level} has no MASAG: use one of 0, 1, 2", cohort.predict, {level: lambda x, g: None})


def test_every_second_slice_with_an_organ(cohort):
    assert cohort.slices == (0, 3) * 3
    assert cohort.cases == ("one", "one", "two", "two", "three", "three")
    assert str(cohort) == "6 slices of 3 held-out cases"


@pytest.mark.parametrize("levels", [[0], [1], [2], [0, 2]])
def test_a_change_of_some_levels_is_the_whole_networks(dataset, levels, monkeypatch):
    """With a cohort in two parts that was not asked for anything yet."""
    monkeypatch.setattr(cohorts, "AT_ONCE", 4)
    network = load_network(SHIPPED_TINY)
    new = held_out_cohort(network, dataset, every=2)
    runs = {level: with_inputs(new.gate(level), "X shuffled") for level in levels}
    labels = new.predict(runs)
    with torch.inference_mode(), running(new.gate, runs):
        expected = network(network_input(network, new.images)).argmax(dim=1)
    assert (labels != expected.numpy()).mean() < 1e-3, "but for ties that rounding breaks"
    assert (labels != new.predict()).mean() > 1e-3


@pytest.mark.parametrize("change", [None, "G blank", "attention"])
def test_it_predicts_what_a_study_of_the_slice_does(cohort, dataset, change):
    def runs(gate_of):
        if change is None:
            return None
        made = with_inputs if change == "G blank" else without_stage
        return {level: made(gate_of(level), change) for level in cohort.levels}

    labels, scores = cohort.predict(runs(cohort.gate)), cohort.dice(runs(cohort.gate))
    for place, (name, z) in enumerate(zip(cohort.cases, cohort.slices, strict=True)):
        study = study_slice(cohort.network, dataset.load_case(name), z, "drawn")
        expected = predict(study, runs(study.gate))
        assert (labels[place] != expected).mean() < 1e-3, "but for ties that rounding breaks"
        assert scores[place] == pytest.approx(slice_dice(study, expected)["mean"], abs=5e-3)


def test_what_is_watched_is_every_gate_of_every_slice(cohort, dataset):
    def measure(level, t):
        return {"local": t.local_context.std(dim=(2, 3)).mean(dim=1), "x": t.x.mean(dim=(1, 2, 3))}

    watched = cohort.watch(measure)
    assert list(watched.index) == [(level, case) for level in cohort.levels for case in cohort.cases]
    for place, (name, z) in enumerate(zip(cohort.cases, cohort.slices, strict=True)):
        study = study_slice(cohort.network, dataset.load_case(name), z, "drawn")
        for level, trace in study.traces.items():
            spread = np.mean([channel.numpy().std(ddof=1) for channel in trace.local_context[0]])
            row = watched.loc[level].iloc[place]
            assert row.to_list() == pytest.approx([spread, float(trace.x.mean())], rel=1e-3, abs=1e-4)


def test_hooks_are_gone_after_a_change(cohort):
    before = cohort.predict()
    cohort.predict({0: without_stage(cohort.gate(0), "skip")})
    assert np.array_equal(cohort.predict(), before)


def test_a_changed_gate_is_computed_once(cohort):
    """Not as it was before, for nothing, and then as it is to be."""
    calls, gate = [], cohort.gate(0)
    hook = gate.fusion.local_context.register_forward_hook(lambda *_: calls.append(1))
    cohort.predict({0: without_stage(gate, "attention")})
    hook.remove()
    assert len(calls) == 1  # six slices are one batch
    assert "forward" not in vars(gate)


def test_scores_as_trained_are_computed_once_and_no_callers_to_change(cohort, monkeypatch):
    first = cohort.dice()
    expected = first.copy()
    first += 1
    monkeypatch.setattr(cohorts.Cohort, "predict", lambda self, runs=None: pytest.fail("predicted again"))
    assert np.array_equal(cohort.dice(), expected)
    assert np.array_equal(cohort.dice({}), expected)


def test_effects_are_differences_of_cases_with_their_interval(cohort, monkeypatch):
    """By hand: cases 0.5, 0.6, 0.7 as trained; 0.1 less, 0.2 less, 0.3 less: mean -0.2, sd 0.1, t(2) = 4.303."""
    trained = np.array([0.4, 0.6, 0.5, 0.7, 0.7, 0.7])
    scores = {
        None: trained,
        "worse": trained - np.repeat([0.1, 0.2, 0.3], 2),
        "sure": trained - np.repeat([0.2, 0.21, 0.22], 2),
        "up": trained + np.repeat([0.05, 0.051, 0.052], 2),
    }
    monkeypatch.setattr(cohorts.Cohort, "dice", lambda self, runs=None: scores[runs])
    effects = cohort_effects(cohort, {name: name for name in ("worse", "sure", "up")})
    worse = effects.loc["worse"]
    assert worse.dots == pytest.approx([-0.1, -0.2, -0.3])
    assert (worse.Dice, worse.difference) == pytest.approx((0.4, -0.2))
    assert worse.high == pytest.approx(-0.2 + 4.3027 * 0.1 / 3**0.5, abs=1e-4)
    assert effects.verdict.to_dict() == {"worse": UNCLEAR, "sure": LOWER, "up": HIGHER}
    assert "as trained: mean Dice 0.60" in show_effects(cohort, effects)
    with pytest.raises(AssertionError, match="worse"):
        hold(effects, SHIPPED_TINY, "virtual", {LOWER: ["sure", "worse"]})
    hold(effects, SHIPPED_TINY, "virtual", {LOWER: ["sure"], HIGHER: ["up"]})


def test_claims_are_not_held_against_another_network(cohort, capsys):
    hold(cohort_effects(cohort, {}), "mine.safetensors", "virtual", {LOWER: ["anything"]})
    assert "your own table" in capsys.readouterr().out


def test_the_typical_slice_is_rich_in_organs(cohort, monkeypatch):
    """Slice 3 alone has both organs; among equals the score nearest to the mean decides."""
    monkeypatch.setattr(cohorts.Cohort, "dice", lambda self, runs=None: np.array([0.8, 0.1, 0.8, 0.2, 0.8, 0.9]))
    assert {cohort.typical(name) for name in ("one", "two", "three")} == {3}


def test_no_slice_with_an_organ(dataset):
    empty = Case("empty", np.zeros((2, 8, 8), np.float32), np.zeros((2, 8, 8), np.uint8), None)
    nothing = SimpleNamespace(root="empty", test_cases=["empty"], load_case=lambda name: empty)
    with pytest.raises(InputError, match="no held-out case has a slice with an organ"):
        held_out_cohort(load_network(SHIPPED_TINY), nothing)
    with pytest.raises(InputError, match="level 9 has no MASAG"):
        held_out_cohort(load_network(SHIPPED_TINY), dataset, every=4).gate(9)
