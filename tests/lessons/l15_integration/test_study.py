"""Other networks trained by the library's loop, their costs and effects: against arithmetic and plain properties."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from gray import LEGIBLE, at, in_gray
from scipy import stats

from msa2net_lib.data.catalog import open_dataset
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.experiments import read_measurement
from msa2net_lib.lessons.execute import NOTEBOOKS
from msa2net_lib.lessons.l15_integration.plots import plot_host_effects
from msa2net_lib.lessons.l15_integration.study import (
    OWN,
    VARIANTS,
    WITHOUT,
    compare_hosts,
    hosts,
    plain_unet_source,
    train_host,
)
from msa2net_lib.lessons.l15_integration.tables import cost_table, effects, sentences
from msa2net_lib.nn.network import count_parameters
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training.failures import NotFiniteError

MEASURED = NOTEBOOKS.parent / "benchmarks" / "results" / "host_networks.json"
SHORT = TrainConfig.from_recipe("smoke", steps=2, batch_size=2)


@pytest.fixture(scope="module")
def known():
    return hosts()


@pytest.fixture(scope="module")
def dataset(root):
    found = open_dataset("virtual", root / "data", progress=False)
    return replace(found, test_cases=found.test_cases[:1])


def test_there_are_four_hosts_and_each_has_the_control(known):
    assert list(known) == ["smp Unet", "MONAI AttentionUnet", "MONAI BasicUNet", "plain U-Net"]
    for host in known.values():
        assert set(VARIANTS) <= set(host.variants)
        assert (OWN in host.variants) == (host.name == "MONAI AttentionUnet")


def test_the_plain_unet_is_about_sixty_lines_and_comes_from_the_notebook():
    source = plain_unet_source()
    assert 40 <= len([line for line in source.splitlines() if line.strip()]) <= 70
    namespace = {}
    exec(source, namespace)
    found = hosts(namespace)["plain U-Net"]
    assert found.build is namespace["PlainUNet"]


@pytest.mark.parametrize("name", ["smp Unet", "MONAI AttentionUnet", "MONAI BasicUNet", "plain U-Net"])
def test_at_one_seed_variants_share_all_weights_but_the_gates(known, name):
    host = known[name]
    states = {variant: host.make(variant, seed=3).state_dict() for variant in host.variants}
    for variant, state in states.items():
        for key in set(state) & set(states[WITHOUT]):
            if ".attention." not in key:
                assert torch.equal(state[key], states[WITHOUT][key]), (variant, key)
    assert not torch.equal(*(next(iter(host.make("masag", seed).parameters())) for seed in (3, 4)))
    images = torch.randn(2, 1, 64, 64)
    assert all(host.make(variant, seed=0)(images).shape == (2, 9, 64, 64) for variant in host.variants)


def test_a_gate_that_lets_everything_pass_is_the_plain_unet_itself(known):
    host, images = known["plain U-Net"], torch.randn(2, 1, 32, 32)
    plain, gated = host.make(WITHOUT, 0), host.make("addition", 0)
    torch.testing.assert_close(gated(images), plain(images), rtol=0, atol=0)
    gates = count_parameters(host.make("masag", 0)) - count_parameters(plain)
    assert gates == sum(count_parameters(up.gate) for up in host.make("masag", 0).decoder) > 0


def test_a_host_without_gate_of_its_own_says_so(known):
    with pytest.raises(InputError, match="plain U-Net has no gate of its own"):
        known["plain U-Net"].make(OWN, 0)


def test_runs_are_trained_kept_and_read_back(known, dataset, tmp_path):
    seen, told = [], []
    arguments = ([known["plain U-Net"]], SHORT, [1, 2], dataset, 32, tmp_path)
    runs = compare_hosts(*arguments, device="cpu", variants=VARIANTS[:2], look=lambda row, network: seen.append(row))
    assert len(runs) == len(seen) == 4
    assert list(runs.columns) == ["host", "variant", "seed", "dsc", "hd95", "loss", "parameters", "minutes"]
    assert runs.dsc.between(0, 1).all()
    assert np.isfinite(runs.loss).all()
    again = compare_hosts(*arguments, device="cpu", variants=VARIANTS[:2], told=told.append, look=pytest.fail)
    pd.testing.assert_frame_equal(again, runs)
    assert len(told) == 4
    with pytest.raises(InputError, match="nothing to compare"):
        compare_hosts([], SHORT, [1], dataset, 32)


def test_a_run_is_a_function_of_its_seed_and_moves_the_gate(known, dataset):
    networks = []
    for _ in range(2):
        compare_hosts(
            [known["plain U-Net"]], SHORT, [1], dataset, 32,
            variants=["masag"], device="cpu", look=lambda row, network: networks.append(network),
        )  # fmt: skip
    one, two = (network.state_dict() for network in networks)
    assert all(torch.equal(one[key], two[key]) for key in one)
    fresh = known["plain U-Net"].make("masag", 1).state_dict()
    kernel = "decoder.0.gate.recalibration.project.weight"
    assert not torch.equal(one[f"host.{kernel}"], fresh[kernel])


def test_a_host_whose_loss_is_no_number_stops_in_one_line(known, dataset):
    broken = known["plain U-Net"].make("masag", 0)
    with torch.no_grad():
        broken.head.bias.fill_(float("nan"))
    with pytest.raises(NotFiniteError, match=r"^loss is not finite from step 1 on: lower learning_rate") as error:
        train_host(broken, SHORT, dataset, 32, "cpu")
    assert "\n" not in str(error.value)


def test_costs_count_the_gates_and_the_host_without_gate_is_one(known):
    table = cost_table([known["plain U-Net"]], 32, 2, repeats=3, device="cpu").set_index("variant")
    assert table.ratio[WITHOUT] == 1
    assert table.added[WITHOUT] == 0
    assert table.added["masag"] > table.added["constant"] > 0
    assert (table.step_ms > 0).all()


def planted(gain, seeds=4, spread=0.01):
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(seeds):
        base = rng.normal(0.7, 0.05)  # shared by the variants of a seed: differences are paired
        for variant in VARIANTS:
            dsc = base + rng.normal(0, spread) + gain * (variant == "masag")
            rows.append({"host": "a host", "variant": variant, "seed": seed, "dsc": dsc})
    return pd.DataFrame(rows)


def test_effects_are_paired_t_intervals_in_points():
    runs = planted(0.03)
    table = effects(runs).set_index(["variant", "against"])
    scores = runs.pivot(index="seed", columns="variant", values="dsc")
    for variant, against in (("masag", WITHOUT), ("constant", WITHOUT), ("masag", "constant")):
        row, result = table.loc[(variant, against)], stats.ttest_rel(scores[variant], scores[against])
        interval = result.confidence_interval(0.95)
        assert (row.low, row.high) == pytest.approx((100 * interval.low, 100 * interval.high))
        assert row.difference == pytest.approx(100 * (scores[variant] - scores[against]).mean())
        assert (row.verdict == "beyond noise") == (result.pvalue < 0.05)


def test_masag_is_compared_with_the_gate_that_a_host_comes_with():
    runs = planted(0.1, spread=0.003)
    own = runs[runs.variant == WITHOUT].assign(variant=OWN)
    own["dsc"] += 0.05 + np.linspace(-0.002, 0.002, len(own))
    table = effects(pd.concat([runs, own]))
    row = table.set_index(["variant", "against"]).loc[("masag", OWN)]
    scores = runs.pivot(index="seed", columns="variant", values="dsc").masag.to_numpy()
    result = stats.ttest_rel(scores, own.dsc.to_numpy())
    interval = result.confidence_interval(0.95)
    assert (row.low, row.high) == pytest.approx((100 * interval.low, 100 * interval.high))
    assert "MASAG against own gate: beyond noise above in 1, below in 0, neither in 0 of 1 host(s)" in sentences(table)
    assert OWN not in set(effects(runs).against)


@pytest.mark.parametrize(
    ("gain", "said"), [(0.1, "above in 1, below in 0"), (-0.1, "above in 0, below in 1"), (0.0, "neither in 1 of 1")]
)
def test_sentences_follow_the_numbers(gain, said):
    lines = sentences(effects(planted(gain, spread=0.003 if gain else 0.03)))
    assert said in lines[-2]
    assert lines[0].startswith("a host: MASAG minus without gate: ")
    assert ("beyond noise" in lines[0]) == bool(gain)


def test_one_seed_has_no_interval_and_no_verdict():
    table = effects(planted(0.1, seeds=1))
    assert set(table.verdict) == {"not known"}
    assert table.low.isna().all()
    assert "interval" not in sentences(table)[0]


def test_the_figure_shows_every_host():
    runs = pd.concat([planted(0.03), planted(-0.03).assign(host="another")])
    figure = plot_host_effects(runs, "noise of this test", "2 steps")
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["a host", "another"]
    markers = {line.get_marker() for line in left.lines if line.get_marker() not in ("None", "", "|")}
    assert {"o", "s"} <= markers, "variants differ in more than color"
    means = [line.get_xdata()[0] for line in right.lines if line.get_marker() == "o" and len(line.get_xdata()) == 1]
    table = effects(runs)
    assert means == pytest.approx(list(table.difference[table.against == "constant"]))
    with pytest.raises(InputError, match="nothing to compare with"):
        plot_host_effects(runs[runs.variant != WITHOUT], "", "")


def test_gates_are_told_apart_in_gray():
    """The marks of means, as a gray print has them: each as bright as no other and as the paper."""
    runs = planted(0.03)
    own = runs[runs.variant == "masag"].assign(variant=OWN)
    figure = plot_host_effects(pd.concat([runs, own.assign(dsc=own.dsc + 0.02)]), "", "")
    left, gray = figure.axes[0], in_gray(figure)
    means = [line.get_xydata() for bar in left.containers for line in [bar.lines[0]]]
    assert len(means) == 3
    seen = sorted([255, *(int(gray[at(gray, left, mean)][0]) for mean in means)])
    assert min(np.diff(seen)) > LEGIBLE, seen


@pytest.mark.skipif(not MEASURED.is_file(), reason="benchmarks/host_networks.py has not been run to its end here")
def test_the_committed_measurement_is_whole():
    runs, record = read_measurement(MEASURED)
    known = json.loads(MEASURED.read_text())["costs"]
    per_host = runs.groupby(["host", "variant"]).seed.nunique()
    assert runs.host.nunique() == 4
    assert (per_host >= 3).all()
    assert {(row["host"], row["variant"]) for row in known} == set(per_host.index)
    assert record["selection"] == "none: last step"
    assert record["baseline"] == WITHOUT
