"""Other networks trained by the library's loop, their costs and effects: against arithmetic and plain properties."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.experiments import read_measurement
from msa2net_lib.lessons.l15_integration.study import (
    OWN,
    THIRD_PARTY,
    VARIANTS,
    WITHOUT,
    compare_third_party,
    cost_table,
    effects,
    sentences,
)
from msa2net_lib.nn.network import count_parameters
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training.failures import NotFiniteError

pytestmark = pytest.mark.slow

SHORT = TrainConfig.from_recipe("smoke", steps=2, batch_size=2)


PLAIN = replace(THIRD_PARTY["plain U-Net"], variants=VARIANTS[:2])


def test_each_network_has_the_control():
    for network in THIRD_PARTY.values():
        assert set(VARIANTS) <= set(network.variants)
        assert (OWN in network.variants) == (network.name == "MONAI AttentionUnet")


@pytest.mark.parametrize("network", THIRD_PARTY.values(), ids=lambda network: network.name)
def test_at_one_seed_variants_share_all_weights_but_the_gates(network):
    states = {variant: network.make(variant, seed=3).state_dict() for variant in network.variants}
    for variant, state in states.items():
        for key in set(state) & set(states[WITHOUT]):
            if ".attention." not in key:
                assert torch.equal(state[key], states[WITHOUT][key]), (variant, key)
    assert not torch.equal(*(next(iter(network.make("masag", seed).parameters())) for seed in (3, 4)))
    images = torch.randn(2, 1, 64, 64)
    assert all(network.make(variant, seed=0)(images).shape == (2, 9, 64, 64) for variant in network.variants)


def test_a_gate_that_lets_everything_pass_is_the_plain_unet_itself():
    images = torch.randn(2, 1, 32, 32)
    plain, gated, masag = (PLAIN.make(variant, 0) for variant in (WITHOUT, "addition", "masag"))
    torch.testing.assert_close(gated(images), plain(images), rtol=0, atol=0)
    gates = count_parameters(masag) - count_parameters(plain)
    assert gates == sum(count_parameters(up.gate) for up in masag.decoder) > 0


def test_a_network_without_gate_of_its_own_says_so():
    with pytest.raises(InputError, match="plain U-Net has no gate of its own"):
        PLAIN.make(OWN, 0)


def another_gate(network, gate):
    raise RuntimeError("gated anew")


def test_runs_are_trained_kept_and_read_back(other_dataset, tmp_path):
    runs = compare_third_party([PLAIN], SHORT, [1, 2], other_dataset, 32, tmp_path, device="cpu")
    assert len(runs) == 4
    assert list(runs.columns) == ["network", "variant", "seed", "dsc", "hd95", "loss", "parameters", "minutes"]
    assert runs.dsc.between(0, 1).all()
    assert np.isfinite(runs.loss).all()
    with pytest.raises(RuntimeError, match="gated anew"):  # other code: not read back
        compare_third_party([replace(PLAIN, gate=another_gate)], SHORT, [1], other_dataset, 32, tmp_path, device="cpu")
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = compare_third_party([PLAIN], SHORT, [1, 2], other_dataset, 32, tmp_path, device="cpu")
    pd.testing.assert_frame_equal(again, runs)
    assert files == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    with pytest.raises(InputError, match="nothing to compare"):
        compare_third_party([], SHORT, [1], other_dataset, 32)


def test_a_run_is_a_function_of_its_seed_and_moves_the_gate(other_dataset):
    networks = []

    def look(variant, network):
        networks.append((variant, network.state_dict()))
        return {}

    masag = replace(PLAIN, variants=("masag",))
    for _ in range(2):
        compare_third_party([masag], SHORT, [1], other_dataset, 32, device="cpu", look=look)
    (variant, one), (_, two) = networks
    assert variant == "masag"
    assert all(torch.equal(one[key], two[key]) for key in one)
    kernel = "decoder.0.gate.recalibration.project.weight"
    assert not torch.equal(one[kernel], PLAIN.make("masag", 1).state_dict()[kernel])


def test_a_network_whose_loss_is_no_number_stops_in_one_line(other_dataset):
    def broken(network, gate):
        torch.nn.init.constant_(network.head.bias, float("inf"))
        return network

    failing = replace(PLAIN, gate=broken, variants=("masag",))
    with pytest.raises(NotFiniteError, match=r"^loss is not finite from step 1 on: lower learning_rate") as error:
        compare_third_party([failing], SHORT, [1], other_dataset, 32, device="cpu")
    assert "\n" not in str(error.value)


def test_costs_count_the_gates_and_the_network_without_gate_is_one():
    table = cost_table([replace(PLAIN, variants=VARIANTS)], 32, 2, repeats=1, device="cpu").set_index("variant")
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
            rows.append({"network": "a network", "variant": variant, "seed": seed, "dsc": dsc})
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
        assert row.p == pytest.approx(result.pvalue)


def test_masag_is_compared_with_the_gate_that_a_network_comes_with():
    runs = planted(0.1, spread=0.003)
    own = runs[runs.variant == WITHOUT].assign(variant=OWN)
    own["dsc"] += 0.05 + np.linspace(-0.002, 0.002, len(own))
    table = effects(pd.concat([runs, own]))
    row = table.set_index(["variant", "against"]).loc[("masag", OWN)]
    scores = runs.pivot(index="seed", columns="variant", values="dsc").masag.to_numpy()
    result = stats.ttest_rel(scores, own.dsc.to_numpy())
    interval = result.confidence_interval(0.95)
    assert (row.low, row.high) == pytest.approx((100 * interval.low, 100 * interval.high))
    assert "MASAG against own gate: beyond noise above in 1, below in 0, neither in 0 of 1 network(s)" in sentences(
        table
    )
    assert OWN not in set(effects(runs).against)


@pytest.mark.parametrize(
    ("gain", "said"), [(0.1, "above in 1, below in 0"), (-0.1, "above in 0, below in 1"), (0.0, "neither in 1 of 1")]
)
def test_sentences_follow_the_numbers(gain, said):
    lines = sentences(effects(planted(gain, spread=0.003 if gain else 0.03)))
    assert said in lines[-2]
    assert lines[0].startswith("a network: MASAG minus without gate: ")
    assert ("beyond noise" in lines[0]) == bool(gain)


def test_one_seed_has_no_interval_and_no_reading():
    table = effects(planted(0.1, seeds=1))
    assert set(table.significance) == {"not known"}
    assert table.low.isna().all()
    assert "interval" not in sentences(table)[0]


def test_the_committed_measurement_is_whole(root):
    runs, record = read_measurement(root / "benchmarks" / "results" / "third_party_networks.json")
    per_network = runs.groupby(["network", "variant"]).seed.nunique()
    assert set(runs.network) == set(THIRD_PARTY)
    assert (per_network >= 3).all()
    assert {(row["network"], row["variant"]) for row in record["costs"]} == set(per_network.index)
    assert record["selection"] == "none: last step"
    assert record["baseline"] == WITHOUT
