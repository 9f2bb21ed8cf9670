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


def table_of(**readings):
    return pd.DataFrame({"reading": pd.Series(readings)}).assign(seeds=3)


def test_what_is_said_follows_the_readings():
    table = table_of(
        **{"encoder stage 1": fs.HIGHER, "level 2 gate": fs.LOWER, "level 0 gate": fs.NOISE, "logits": fs.NOISE}
    )
    assert fs.sentences(table, "A minus B") == [
        "A minus B, 3 seeds:",
        "  encoder: higher in 1 of 1 layers",
        "  coarse decoder (levels 3 and 2): lower in 1 of 1 layers",
        "  fine decoder (levels 1 and 0, logits): within noise in 2 of 2 layers",
        "  more high frequencies in all layers? no: higher in 1 of 4 layers, lower in 1, within noise in 2",
    ]


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


@pytest.mark.parametrize(
    ("readings", "told"),
    [
        ([fs.HIGHER, fs.HIGHER, fs.UNDEFINED], "yes: higher in 2 of 2 layers, lower in 0, within noise in 0"),
        ([fs.HIGHER, fs.NOISE, fs.LOWER], "no: higher in 1 of 3 layers, lower in 1, within noise in 1"),
        ([fs.UNDEFINED], "no: higher in 0 of 0 layers, lower in 0, within noise in 0"),
    ],
)
def test_the_papers_reading_is_of_all_layers(readings, told):
    assert fs.in_all_layers(pd.DataFrame({"reading": readings})) == told


def test_the_lessons_answer_is_that_of_the_committed_measurement(root):
    """Its last lines are prose; the numbers in them are those of the runs."""
    runs, _ = read_measurement(root / "benchmarks" / "results" / "frequency.json")
    cells = nbformat.read(root / "notebooks" / "13_frequency.ipynb", as_version=4).cells
    (answer,) = [cell.source for cell in cells if "What to take away" in cell.source]
    counts = [fs.contrast(runs, fs.WITH, fs.WITHOUT, key).reading.value_counts() for key in fs.MEASURES]
    higher, lower = ([int(count.get(reading, 0)) for count in counts] for reading in (fs.HIGHER, fs.LOWER))
    layers = len(fs.shared_layers(runs, fs.WITH, fs.WITHOUT))
    assert f"higher in {higher[0]} of {layers} layers, the gates' own outputs, and lower in {lower[0]};" in answer
    assert f"with the mean left out higher in {higher[1]} and lower in {lower[1]}," in answer
    assert max(higher) < layers, "the answer there is no"
