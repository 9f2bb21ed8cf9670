"""Comparing networks: arithmetic of the summary, finished runs are kept, and the recorded table is what it says."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from msa2net_lib.config import NetworkConfig
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation import experiments
from msa2net_lib.evaluation.intervals import summarize
from msa2net_lib.paper.discrepancies.variants import ALL, AS_WRITTEN, DENSE, SCRAMBLED, UNUSED, discrepancy_variants
from msa2net_lib.train_config import TrainConfig

RUNS = pd.DataFrame(
    {
        "variant": ["a", "b", "a", "b", "a", "b"],
        "seed": [1, 1, 2, 2, 3, 3],
        "dsc": [0.80, 0.82, 0.70, 0.73, 0.75, 0.74],
    }
)


def test_differences_are_taken_seed_by_seed():
    table = summarize(RUNS, "a")
    differences = np.array([0.02, 0.03, -0.01])
    assert table.loc["b", "difference"] == pytest.approx(differences.mean())
    assert table.loc["b", "difference_sd"] == pytest.approx(np.std(differences, ddof=1))
    interval = stats.ttest_rel([0.82, 0.73, 0.74], [0.80, 0.70, 0.75]).confidence_interval(0.95)
    assert table.loc["b", ["low", "high"]].tolist() == pytest.approx(list(interval))
    assert table.loc["a", "sd"] == pytest.approx(np.std([0.8, 0.7, 0.75], ddof=1))
    assert list(table.seeds_above) == [0, 2]
    assert list(table.index) == ["a", "b"]


def test_a_look_sees_every_network_and_keeps_its_training(tmp_path):
    made = []

    def make(state):
        made.append(state)
        return {"dsc": 0.5}, "network"

    for folder, state in ((None, None), (tmp_path, tmp_path / experiments.run_digest(3))):
        for _ in range(2):
            row = experiments.cached_run(make, (3,), folder, look=lambda network: {"seen": network})
            assert row == {"dsc": 0.5, "seen": "network"}
            assert made.pop() == state
    assert not list(tmp_path.glob("*.json"))


def test_unknown_baseline_and_nothing_to_compare():
    with pytest.raises(InputError, match="baseline='c' is not among the variants: a, b"):
        summarize(RUNS, "c")
    with pytest.raises(InputError, match="at least one variant and one seed"):
        experiments.compare({}, TrainConfig(), [1], dataset=None)  # pyright: ignore[reportArgumentType]


class Dataset:
    class_names = ORGANS

    def digest(self):
        return "data"


def test_finished_runs_are_read_back_unless_something_changed(monkeypatch, tmp_path):
    done = []

    def run_once(network, config, dataset, *_, **__):
        done.append((network.dilated, config.seed, config.steps))
        return {"dsc": 0.5, "minutes": 1.0}, network

    monkeypatch.setattr(experiments, "run_once", run_once)
    variants = {d: NetworkConfig.from_preset("tiny", dilated=d) for d in ("depthwise", "dense")}
    first = experiments.compare(variants, TrainConfig(steps=3), [1, 2], Dataset(), tmp_path)
    assert done == [("depthwise", 1, 3), ("dense", 1, 3), ("depthwise", 2, 3), ("dense", 2, 3)]
    again = experiments.compare(variants, TrainConfig(steps=3), [1, 2], Dataset(), tmp_path)
    pd.testing.assert_frame_equal(first, again)
    assert len(done) == 4
    experiments.compare(variants, TrainConfig(steps=4), [1], Dataset(), tmp_path)
    assert len(done) == 6


@pytest.mark.slow
def test_networks_have_the_classes_of_the_data(other_dataset):
    """Three of them here, where a preset has Synapse's eight."""
    tiny = NetworkConfig.from_preset("tiny", image_size=64)
    variants = {gate: tiny.with_gate(gate) for gate in ("masag", "addition")}
    runs = experiments.compare(variants, TrainConfig(steps=1, batch_size=2), [1], other_dataset, progress=False)
    assert list(runs.filter(like="dsc ")) == ["dsc stone", "dsc root", "dsc leaf"]


def test_each_switch_changes_one_thing():
    base = NetworkConfig.from_preset("tiny")
    variants = discrepancy_variants(base)
    plain = base.to_dict()
    changed = {
        name: {key for key, value in config.to_dict().items() if value != plain[key]}
        for name, config in variants.items()
    }
    assert changed == {
        AS_WRITTEN: set(),
        DENSE: {"dilated"},
        SCRAMBLED: {"layout"},
        UNUSED: {"levels"},
        ALL: {"dilated", "layout", "levels"},
    }


def test_recorded_effects_follow_from_their_runs(root):
    record = json.loads((root / "benchmarks" / "results" / "discrepancy_effects.json").read_text())
    runs = pd.DataFrame(record["runs"])
    assert set(runs.variant) == set(discrepancy_variants(NetworkConfig.from_preset("tiny")))
    assert runs.groupby("variant").seed.nunique().min() >= 3
    organs = runs.filter(regex="^dsc .")
    assert organs.shape[1] == 8
    np.testing.assert_allclose(organs.mean(axis=1), runs.dsc, atol=2e-5)
    assert record["selection"] == "none: last step"


def test_committed_measurement_reads_back(root, tmp_path):
    runs, record = experiments.read_measurement(root / "benchmarks" / "results" / "discrepancy_effects.json")
    assert len(runs) == runs.seed.nunique() * runs.variant.nunique()
    assert runs.seed.nunique() >= 3
    assert {"hardware", "versions", "training", "selection"} <= set(record)
    assert set(runs.variant) == set(discrepancy_variants(NetworkConfig.from_dict(record["network"])))
    for content in ("", "{}", "[]"):
        (tmp_path / "bad.json").write_text(content)
        with pytest.raises(InputError, match="holds no measured runs"):
            experiments.read_measurement(tmp_path / "bad.json")
    with pytest.raises(InputError, match=r"absent\.json: holds no measured runs"):
        experiments.read_measurement(tmp_path / "absent.json")
