"""Comparing spectra: differences are paired, readings follow the interval, sentences follow the readings."""

from __future__ import annotations

import json

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from msa2net_lib import MSA2Net, NetworkConfig
from msa2net_lib.analysis.frequency import relative_log_amplitude
from msa2net_lib.config import PRESETS
from msa2net_lib.data.resize import normalize
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.experiments import read_measurement
from msa2net_lib.lessons.l13_frequency import study as fs

TINY = NetworkConfig.from_preset("tiny", image_size=64)


def made_up(values, layers=("encoder stage 1", "level 3 block 1", "level 0 gate")):
    """Runs with a given number per variant and seed, the same in every layer; the last layer is worth nothing."""
    rows = []
    for variant, numbers in values.items():
        for seed, number in enumerate(numbers, start=1):
            row = {layer: {"grid": [4, 4], "high_band": number, "high_over_low": None} for layer in layers}
            rows.append({"variant": variant, "seed": seed, "layers": row})
    return pd.DataFrame(rows)


def test_variants_are_gates_and_decoders_of_presets():
    variants = fs.frequency_variants(TINY)
    assert variants["masag"] == TINY
    assert [level.gate for level in variants["none"].levels] == ["none"] * 4
    for preset in ("published", "released"):
        config = variants[f"preset {preset}"]
        assert config.levels == PRESETS[preset].levels
        assert (config.encoder, config.encoder_options, config.image_size) == (TINY.encoder, TINY.encoder_options, 64)


def test_spectra_are_those_of_the_layers_whatever_the_batch(monkeypatch):
    torch.manual_seed(0)
    network = MSA2Net(TINY).eval()
    images = np.random.default_rng(0).random((5, 64, 64), dtype=np.float32)
    spectra = fs.network_spectra(network, images)
    with torch.inference_mode():
        logits = network(torch.from_numpy(normalize(images))[:, None])
    np.testing.assert_allclose(spectra["logits"].curves, relative_log_amplitude(logits), atol=1e-3)
    monkeypatch.setattr(fs, "BATCH", 2)
    by_two = fs.network_spectra(network, images)
    assert list(by_two) == list(spectra)
    for layer, spectrum in by_two.items():
        np.testing.assert_allclose(spectrum.curves, spectra[layer].curves, atol=1e-2)


def test_compact_is_json_and_keeps_means_and_spreads():
    rng = np.random.default_rng(1)
    spectrum = fs.layer_spectra({"a": torch.from_numpy(rng.random((3, 2, 8, 8)))})["a"]
    row = json.loads(json.dumps(fs.compact({"a": spectrum}), allow_nan=False))["a"]
    np.testing.assert_allclose(row["mean"], spectrum.curves.mean(axis=0), atol=6e-4)
    np.testing.assert_allclose(row["slices_sd"], spectrum.curves.std(axis=0, ddof=1), atol=6e-4)
    assert row["high_over_low"] == pytest.approx(spectrum.measures["high_over_low"].mean(), abs=6e-4)
    one = fs.compact(fs.layer_spectra({"a": torch.rand(1, 2, 2, 2)}))["a"]
    assert one["high_over_low"] is None
    assert one["high_band_slices_sd"] is None


def test_differences_are_taken_seed_by_seed():
    one, other = [5.0, 1.0, 3.3], [4.0, 0.1, 2.1]
    table = fs.contrast(made_up({"masag": one, "addition": other}), "masag", "addition", "high_band")
    test = stats.ttest_rel(one, other)
    low, high = test.confidence_interval()
    assert list(table.index) == ["encoder stage 1", "level 3 block 1", "level 0 gate"]
    row = table.loc["encoder stage 1"]
    assert (row.low, row.high) == (pytest.approx(low), pytest.approx(high))
    assert row.difference == pytest.approx(np.mean(one) - np.mean(other))
    assert set(table.reading) == {fs.HIGHER}
    back = fs.contrast(made_up({"masag": one, "addition": other}), "addition", "masag", "high_band")
    assert set(back.reading) == {fs.LOWER}
    noise = fs.contrast(made_up({"masag": [1, 2, 3], "addition": [3, 1, 2]}), "masag", "addition", "high_band")
    assert set(noise.reading) == {fs.NOISE}
    single = fs.contrast(made_up({"masag": [9.0], "addition": [1.0]}), "masag", "addition", "high_band")
    assert set(single.reading) == {fs.NOISE}
    undefined = fs.contrast(made_up({"masag": one, "addition": other}), "masag", "addition", "high_over_low")
    assert set(undefined.reading) == {fs.UNDEFINED}


def test_what_is_said_follows_the_numbers():
    """One layer with a quiet difference, one with a loud one: alone, at once, and their mean seed by seed."""
    runs = made_up({"masag": [5.0, 5.1, 5.2], "addition": [4.0, 4.1, 4.21]})
    table = fs.contrast(runs, "masag", "addition", "high_band")
    table.at["level 0 gate", "by_seed"] = [3.0, -2.0, 1.0]
    mean = fs.layer_mean(table)
    by_seed = np.array(table.by_seed.tolist()).mean(axis=0)
    assert (mean["low"], mean["high"]) == pytest.approx(tuple(stats.ttest_1samp(by_seed, 0).confidence_interval()))
    assert (mean["layers"], mean["seeds"], mean["reading"]) == (3, 3, fs.NOISE)
    lines = fs.sentences(table, "A minus B")
    assert lines[0] == "A minus B, 3 seeds:"
    assert lines[1].startswith("  encoder: higher in 1 of 1 layers; mean +1.00")
    assert f"within noise (four in five would see {mean['detectable']:.2f})" in lines[-2]
    assert lines[-1].startswith("  each layer: yes: higher in 3 of 3 alone, lower in 0; all at once higher in 3")


def test_at_once_is_bonferroni_over_layers_with_a_number():
    runs = made_up({"masag": [5.0, 1.0, 3.3], "addition": [4.0, 0.1, 2.1]})
    table = fs.contrast(runs, "masag", "addition", "high_band")
    assert set(table.reading) == {fs.HIGHER}
    p = stats.ttest_rel([5.0, 1.0, 3.3], [4.0, 0.1, 2.1]).pvalue
    assert set(table.at_once) == {fs.HIGHER if p * 3 < 0.05 else fs.NOISE}
    close = fs.contrast(
        made_up({"masag": [5.0, 1.2, 3.6], "addition": [4.0, 0.4, 2.2]}), "masag", "addition", "high_band"
    )
    assert (set(close.reading), set(close.at_once)) == ({fs.HIGHER}, {fs.NOISE})
    assert "not shown: higher in 3 of 3 alone" in fs.in_all_layers(close)


def test_one_seed_or_no_number_has_no_mean_interval():
    single = fs.contrast(made_up({"masag": [9.0], "addition": [1.0]}), "masag", "addition", "high_band")
    assert fs.mean_in_words(fs.layer_mean(single)) == "mean +8.00, one seed"
    undefined = fs.contrast(
        made_up({"masag": [1.0, 2.0], "addition": [1.0, 2.5]}), "masag", "addition", "high_over_low"
    )
    assert fs.mean_in_words(fs.layer_mean(undefined)) == "mean not defined"


def test_every_layer_is_in_one_group():
    layers = ["encoder stage 4", "level 3 expanded", "level 2 g", "level 1 gate", "level 0 block 1", "logits"]
    assert sorted(name for group in fs.layer_groups(layers).values() for name in group) == sorted(layers)


def test_untrained_networks_follow_the_seed_and_leave_the_generator():
    images = np.random.default_rng(0).random((2, 64, 64), dtype=np.float32)
    torch.manual_seed(5)
    rows = fs.untrained_runs({"masag": TINY}, [1, 2], images)
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(1))
    assert [(row["variant"], row["seed"]) for row in rows] == [("masag, not trained", 1), ("masag, not trained", 2)]
    assert rows[0]["layers"] != rows[1]["layers"]
    assert rows[0] == fs.untrained_runs({"masag": TINY}, [1], images)[0]
    torch.manual_seed(1)
    assert rows[0]["layers"] == fs.compact(fs.network_spectra(MSA2Net(TINY), images))


@pytest.mark.parametrize("kind", ["noise", "checkerboard"])
def test_a_disturbance_raises_the_band_and_goes_away(kind, study):
    quiet = fs.network_spectra(study.network, study.image[None])
    with fs.disturbed(study.network, kind, 3.0) as network:
        loud = fs.network_spectra(network, study.image[None])
    after = fs.network_spectra(study.network, study.image[None])
    behind = ("level 1 merged", "level 0 merged") if kind == "checkerboard" else ()  # white noise is flat, not high
    for layer in ("level 1 gate", "level 0 gate", *behind):
        assert loud[layer].measures["high_over_low"][0] > quiet[layer].measures["high_over_low"][0]
        np.testing.assert_array_equal(after[layer].curves, quiet[layer].curves)
    np.testing.assert_array_equal(loud["encoder stage 1"].curves, quiet["encoder stage 1"].curves)


def test_what_is_not_there_is_refused(study):
    runs = made_up({"masag": [1.0], "addition": [2.0]})
    with pytest.raises(InputError, match="'sk' has no runs: there are masag, addition"):
        fs.contrast(runs, "sk", "addition", "high_band")
    with pytest.raises(InputError, match="no seed in common"):
        fs.contrast(runs.assign(seed=[1, 2]), "masag", "addition", "high_band")
    with pytest.raises(InputError, match="'hum' is unknown"), fs.disturbed(study.network, "hum", 1.0):
        pass


def test_the_lessons_answer_is_that_of_the_committed_measurement(root):
    """Its last lines are prose; the numbers in them are those of the runs."""
    runs, _ = read_measurement(root / "benchmarks" / "results" / "frequency.json")
    cells = nbformat.read(root / "notebooks" / "13_frequency.ipynb", as_version=4).cells
    (answer,) = [cell.source for cell in cells if "What to take away" in cell.source]
    smaller, _ = read_measurement(root / "benchmarks" / "results" / "frequency_64.json")
    for table, key in ((runs, "high_band"), (smaller, "high_band"), (runs, "high_over_low")):
        mean = fs.layer_mean(fs.contrast(table, fs.WITH, fs.WITHOUT, key))
        assert f"{mean['difference']:+.2f} ({mean['low']:+.2f} to {mean['high']:+.2f})" in answer
    tables = [fs.contrast(runs, fs.WITH, fs.WITHOUT, key) for key in fs.MEASURES]
    assert all("not shown" in fs.in_all_layers(table) for table in tables), "the answer there is no"
    layers = len(fs.shared_layers(runs, fs.WITH, fs.WITHOUT))
    assert (
        f"of {layers} layers {int((tables[0].at_once == fs.HIGHER).sum())} is higher at once with the others" in answer
    )
