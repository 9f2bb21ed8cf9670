"""What networks are and cost, a rule put on their skips, claims, and scores read from a measurement made by hand."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from scipy import stats
from small_networks import small_network
from torch import nn

from msa2net_lib import build_network
from msa2net_lib.analysis.complexity import count_work
from msa2net_lib.baselines.table import NETWORKS
from msa2net_lib.lessons.l17_rival_networks import claims, study
from msa2net_lib.nn.network import count_parameters


class Passing(nn.Module):
    """A rule that lets the skip through as it is."""

    def __init__(self, channels):
        super().__init__()

    def forward(self, x, g):
        return x


class Closed(Passing):
    """A rule that lets nothing through."""

    def forward(self, x, g):
        return torch.zeros_like(x)


@pytest.mark.parametrize("name", ["unet", "attunet", "scaleformer", "uctransnet"])
def test_a_rule_is_on_every_skip(name):
    torch.manual_seed(0)  # with so few channels some draws let nothing through
    network, image = small_network(name).eval(), torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before = network(image)
        assert torch.equal(study.plug(network, Passing)(image), before)
        assert not torch.equal(study.plug(network, Closed)(image), before)
    assert sum(hasattr(level, "rule") for level in network.decoder) == 4


def test_the_page_has_every_row_of_both_tables():
    assert {name for name, entry in NETWORKS.items() if entry.tables} == set(study.RIVALS)
    assert {*claims.CLAIMS, "msa2net_published"} == set(study.RIVALS)
    assert all(len({*said}) == 3 for _, said in claims.CLAIMS.values())


@pytest.mark.slow
def test_counts_are_those_of_the_original():
    found = study.anatomy("missformer")
    assert (found.parameters, found.unused) == (42_462_537, 7_009_792)
    assert found.multiply_adds + found.discarded == 9_770_872_832


def test_anatomy_and_multiply_adds_share_one_network(monkeypatch):
    built, build = [], study.build_empty
    monkeypatch.setattr(study, "build_empty", lambda *given, **options: built.append(given) or build(*given, **options))
    study.anatomy("unet_nitr", 96)  # a size that no other test asks for
    assert len(built) == 1


@pytest.mark.slow
def test_noise_in_a_fusion_that_is_dropped_changes_nothing():
    assert claims.fusion_effect("released", 1) == 0
    assert claims.fusion_effect("paper", 1) > 0.01


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("swin_unet", "bit by bit: True"),
        ("transunet", "15 x 15 are left"),
        ("fatnet", "6, 4 and 2 times, the fourth step 0 times"),
        ("pvt_cascade", "called 4 times"),
        ("attunet", r"X \(64, 64\) and G \(64, 64\)"),
        ("unet", r"34\.5 M parameters, and 1\.9 M"),
    ],
)
def test_claims_are_what_the_code_does(name, words):
    assert re.search(words, claims.measured_claim(name, 1))


def record_of(tmp_path, runs):
    path = tmp_path / "rival_networks.json"
    path.write_text(json.dumps({"data": "virtual", "training": {"steps": 5, "batch_size": 2}, "runs": runs}))
    return path


def run(network, seed, cases):
    named = {f"case{i}": value for i, value in enumerate(cases)}
    shared = {
        "network": network,
        "seed": seed,
        "image_size": 64,
        "parameters": 1_000_000,
        "multiply_adds": 2_500_000_000,
    }
    return shared | {"dsc": float(np.mean(cases)), "cases": named}


def test_scores_of_one_seed_have_their_interval_over_cases(tmp_path):
    cases = [0.5, 0.6, 0.4, 0.55]
    path = record_of(tmp_path, [run("unet_nitr", 1, cases), {"network": "dermosegdiff", "why": "too large"}])
    scores, record = study.read_scores(path)
    assert record["training"]["steps"] == 5
    row = scores.loc["unet_nitr"]
    assert (row.over, row.seeds) == ("cases", 1)
    expected = stats.t.interval(0.95, 3, np.mean(cases), stats.sem(cases))
    np.testing.assert_allclose([row.low, row.high], expected)
    assert scores.loc["dermosegdiff", "why"] == "too large"
    assert np.isnan(scores.loc["dermosegdiff", "dsc"])
    assert (row.parameters_m, row.multiply_adds_g) == (1.0, 2.5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["unet_nitr", "msa2net_tiny", "hiformer_b"])
def test_recorded_multiply_adds_are_those_of_the_network_trained(root, name):
    """With nine classes, and with weights; HiFormer-B throws some of its work away."""
    record = json.loads((root / "benchmarks" / "results" / "rival_networks.json").read_text())
    (run,) = [run for run in record["runs"] if run["network"] == name]
    whole = {"compute_discarded": True} if name == "hiformer_b" else {}
    network = build_network(name, 9, run["image_size"], **whole)
    assert run["parameters"] == count_parameters(network)
    assert run["multiply_adds"] == count_work(network).products.sum()


def test_runs_without_a_count_are_refused(tmp_path, refused):
    old = run("unet_nitr", 1, [0.5, 0.6])
    del old["multiply_adds"]
    refused(["unet_nitr's runs do not say", "measure anew"], study.read_scores, record_of(tmp_path, [old]))


def test_scores_of_three_seeds_have_theirs_over_seeds(tmp_path):
    means = [0.5, 0.6, 0.4]
    scores, _ = study.read_scores(record_of(tmp_path, [run("unet_nitr", i, [m, m + 0.1]) for i, m in enumerate(means)]))
    row = scores.loc["unet_nitr"]
    assert (row.over, row.seeds) == ("seeds", 3)
    np.testing.assert_allclose([row.low, row.high], stats.t.interval(0.95, 2, row.dsc, stats.sem(means)))


def test_what_was_not_measured_is_no_error(tmp_path):
    scores, record = study.read_scores(tmp_path / "none.json")
    assert scores.empty
    assert record == {}
    only_why, _ = study.read_scores(record_of(tmp_path, [{"network": "unet", "why": "no time"}]))
    assert only_why.dsc.isna().all()
