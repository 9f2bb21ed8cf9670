"""The ablation: six networks that differ in their parts, differences as in arithmetic, one place for its runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from small_run import SMALL

from msa2net_lib import MSA2Net, NetworkConfig
from msa2net_lib.config import PRESETS
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation import experiments
from msa2net_lib.evaluation.intervals import corrected, detectable, holm, paired_interval, t_interval
from msa2net_lib.nn.dual_attention import DualAttentionBlock
from msa2net_lib.nn.lka import LKABlock
from msa2net_lib.nn.masag import MASAG
from msa2net_lib.nn.network import count_parameters
from msa2net_lib.paper.ablation import comparison as ablation
from msa2net_lib.paper.ablation import runs as ablation_runs
from msa2net_lib.paper.ablation.comparison import FULL, ROWS, part_contrasts, row_contrasts
from msa2net_lib.paper.ablation.rows import find_row
from msa2net_lib.paper.reproduced.table_3 import COLUMNS, Measured, measured_by, measured_once, reproduced_table_3

pytestmark = pytest.mark.slow

TINY = replace(SMALL, num_classes=9)
NAMES = [row.name for row in ROWS]


def fake_runs(seeds=(1, 2, 3)):
    """Runs of all six rows: the whole network is 0.70, 0.72, 0.71; every other row has its own distance and noise."""
    rng = np.random.default_rng(0)
    rows = [
        {"variant": name, "seed": seed, "dsc": 0.70 + 0.01 * (seed % 3) - 0.02 * (5 - i) + rng.normal(0, 0.002),
         "hd95": 10.0 + seed - i, "minutes": 0.1}
        for seed in seeds for i, name in enumerate(NAMES)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def modules(network, kind):
    return sum(count_parameters(module) for module in network.modules() if isinstance(module, kind))


def empty(config):
    with torch.device("meta"):
        return MSA2Net(config)


def test_rows_are_the_tables_in_its_order():
    assert [row.key for row in ROWS] == ["lka", "dae", "lka_dae", "masag_lka", "masag_dae", "masag_lka_dae"]
    table = ablation.published_rows()
    assert table.loc["MASAG + DAE-Former", ["dsc", "hd95"]].tolist() == [84.41, 14.82]
    for row in ROWS:
        assert find_row(row.key) is row
        assert find_row(row.name) is row
        assert table.loc[row.name, ["masag", "lka", "dae_former"]].tolist() == [row.masag, row.lka, row.dae_former]
    with pytest.raises(InputError, match="row 'masag' is not in Table 3: use one of lka, dae"):
        find_row("masag")


@pytest.mark.parametrize("preset", ["paper", "published", "tiny"])
@pytest.mark.parametrize("reading", ["replaced", "removed"])
def test_the_whole_row_is_the_preset_itself(preset, reading):
    base = PRESETS[preset]
    configs = ablation.ablation_configs(base, reading)
    assert configs[FULL] == base
    for config in configs.values():
        assert replace(config, levels=base.levels) == base
    assert len({str(config.levels) for config in configs.values()}) == 6


def test_released_owns_a_gate_that_its_rows_run():
    base = PRESETS["released"]
    whole = ablation.ablation_config(base, ROWS[-1])
    assert whole != base
    assert [level.unused for level in whole.levels[:3]] == [(), (), ()]
    assert whole.levels[3].unused == base.levels[3].unused


def test_unknown_reading():
    with pytest.raises(InputError, match="reading='gone'"):
        ablation.ablation_config(TINY, ROWS[0], "gone")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("reading", ["replaced", "removed"])
def test_parts_that_are_out_are_not_in_the_network(reading):
    """Counted module by module, not by the table's own rule."""
    table = ablation.parameter_table(TINY, reading)
    for row in ROWS:
        network = empty(ablation.ablation_config(TINY, row, reading))
        counts = {"MASAG": modules(network, MASAG), "LKA": modules(network, LKABlock)}
        counts["DAE-Former"] = modules(network, DualAttentionBlock)
        assert table.loc[row.name].to_dict() == {"parameters": count_parameters(network), **counts}
        assert [bool(count) for count in counts.values()] == [row.masag, row.lka, row.dae_former]
        assert len([m for m in network.modules() if isinstance(m, MASAG)]) == 3 * row.masag


def test_removed_parts_make_the_difference_in_parameters():
    table = ablation.parameter_table(TINY, "removed")
    whole = table.loc[FULL]
    for part, name in (("MASAG", "LKA + DAE-Former"), ("LKA", "MASAG + DAE-Former"), ("DAE-Former", "MASAG + LKA")):
        assert whole.parameters - table.parameters[name] == whole[part] > 0
    assert whole.parameters - table.parameters["LKA"] == whole["MASAG"] + whole["DAE-Former"]


def test_replaced_blocks_make_the_difference_between_kinds():
    table = ablation.parameter_table(TINY)
    for less, part in (("MASAG + LKA", "LKA"), ("MASAG + DAE-Former", "DAE-Former")):
        gained = table.loc[less, part] - table.loc[FULL, part]
        lost = table.loc[FULL, "DAE-Former" if part == "LKA" else "LKA"]
        assert table.parameters[FULL] - table.parameters[less] == lost - gained
        assert gained > 0
    for pair in (("MASAG + LKA", "LKA"), ("MASAG + DAE-Former", "DAE-Former"), (FULL, "LKA + DAE-Former")):
        assert table.parameters[pair[0]] - table.parameters[pair[1]] == table.loc[FULL, "MASAG"]


def test_released_has_the_size_of_the_row_without_dual_attention():
    """93.660877 M: what the page calls evidence that LKA blocks took the place of dual attention."""
    fourth = ablation.parameter_table(PRESETS["published"]).parameters["MASAG + LKA"]
    assert fourth == count_parameters(empty(PRESETS["released"])) == 93_660_877


@pytest.mark.parametrize("reading", ["replaced", "removed"])
def test_all_rows_start_from_the_same_encoder_and_run(reading):
    states = []
    for config in ablation.ablation_configs(TINY, reading).values():
        torch.manual_seed(3)
        network = MSA2Net(config).eval()
        states.append(network.encoder.state_dict())
        assert network(torch.zeros(2, 1, 64, 64)).shape == (2, 9, 64, 64)
    for state in states[1:]:
        assert all(torch.equal(value, states[0][key]) for key, value in state.items())


def test_contrasts_and_published_differences():
    assert list(row_contrasts()) == NAMES[:-1]
    parts = part_contrasts()
    assert len(parts) == 7
    table = ablation.published_differences(parts)
    assert table.dsc["MASAG beside LKA + DAE-Former"] == pytest.approx(84.75 - 83.76)
    assert table.hd95["DAE-Former beside LKA"] == pytest.approx(14.42 - 17.42)
    for one, other in parts.values():
        a, b = find_row(one), find_row(other)
        assert sum(getattr(a, part) != getattr(b, part) for part in ablation.PARTS) == 1


def test_differences_are_paired_t_in_points():
    runs = fake_runs()
    table = ablation.differences(runs, row_contrasts())
    scores = runs.pivot(index="seed", columns="variant", values="dsc")
    for name in NAMES[:-1]:
        test = stats.ttest_rel(100 * scores[name], 100 * scores[FULL])
        assert table.loc[name, ["low", "high"]].tolist() == pytest.approx(list(test.confidence_interval(0.95)))
        assert table.p[name] == pytest.approx(test.pvalue)
    assert table.holm.tolist() == pytest.approx(holm(table.p).tolist())
    assert set(table.significance) == {"beyond noise"}
    assert ablation.differences(runs, row_contrasts(), "hd95").difference["LKA"] == pytest.approx(5.0)


def test_noise_is_called_noise_and_one_seed_nothing():
    runs = fake_runs()
    for seed, dsc in zip((1, 2, 3), (0.60, 0.80, 0.71), strict=True):
        runs.loc[(runs.variant == "LKA") & (runs.seed == seed), "dsc"] = dsc
    table = ablation.differences(runs, row_contrasts())
    assert table.significance["LKA"] == "within noise"
    said = ablation.sentences(table)
    assert said[0].startswith("LKA: ")
    assert f"within noise; four in five would see {table.detectable['LKA']:.2f}" in said[0]
    assert said[1].endswith("beyond noise")
    single = ablation.differences(fake_runs((1,)), row_contrasts())
    assert set(single.significance) == {"not known"}
    assert "one seed" in ablation.sentences(single)[0]
    with pytest.raises(InputError, match="runs hold no 'LKA'"):
        ablation.differences(runs[runs.variant != "LKA"], row_contrasts())


def test_a_family_is_corrected_together_and_the_same_test_counts_once():
    runs = fake_runs()
    one, two = (ablation.differences(runs, row_contrasts(), column) for column in ("dsc", "hd95"))
    one.loc["LKA", "p"] = 0.004
    first, again, second = corrected(one, one, two)
    distinct = [*one.p, *two.p]
    assert first.holm.tolist() == again.holm.tolist() == pytest.approx(holm(distinct)[:5].tolist())
    assert second.holm.tolist() == pytest.approx(holm(distinct)[5:].tolist())
    noise = pd.DataFrame({"difference": range(20), "low": -1.0, "high": 1.0, "p": [0.03] * 20})
    assert set(corrected(noise)[0].significance) == {"within noise"}  # one alone would be beyond


def test_effects_are_pooled_over_pairs_seed_by_seed():
    runs = fake_runs().assign(**{"dsc liver": lambda table: table.dsc / 2, "dsc aorta": lambda table: table.dsc})
    table = ablation.pooled_effects(runs)
    assert table.pairs.to_dict() == {"MASAG": 3, "LKA": 2, "DAE-Former": 2}
    scores = 100 * runs.pivot(index="seed", columns="variant", values="dsc")
    masag = sum(scores[NAMES[i + 3]] - scores[NAMES[i]] for i in range(3)) / 3
    assert table.loc["MASAG", ["low", "high"]].tolist() == pytest.approx(list(t_interval(masag)))
    assert table.detectable["MASAG"] == pytest.approx(detectable(masag))
    organs = ablation.pooled_effects(runs, ("dsc liver", "dsc aorta"))
    assert len(organs) == 6
    assert organs.difference["MASAG, liver"] == pytest.approx(table.difference["MASAG"] / 2)


def test_short_runs_stay_out_of_the_table():
    plan = ablation_runs.ablation_plan("smoke", steps=299)
    assert list(reproduced_table_3([measured_by(plan, fake_runs())]).origin.unique()) == ["published"]
    long = measured_by(ablation_runs.ablation_plan("smoke", steps=300), fake_runs())
    assert list(reproduced_table_3([long]).origin.unique()) == ["published", "measured"]


def test_spread_is_pooled_within_rows():
    runs = fake_runs()
    expected = np.sqrt(np.mean([100**2 * np.var(group, ddof=1) for _, group in runs.groupby("variant").dsc]))
    assert ablation.seed_spread(runs) == pytest.approx(expected)
    assert np.isnan(ablation.seed_spread(fake_runs((1,))))


def test_paired_interval_is_the_summary_of_two():
    first, second = np.array([0.82, 0.73, 0.74]), np.array([0.80, 0.70, 0.75])
    interval = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert paired_interval(first, second) == pytest.approx((0.04 / 3, *interval))
    assert np.isnan(paired_interval([0.8], [0.7])[1:]).all()
    for wrong in ([0.8, 0.7], [], 0.8):
        with pytest.raises(InputError, match="give one score per seed for both"):
            paired_interval(wrong, [0.7])


def test_largest_spread_by_simulation():
    """At that spread, runs that do not differ are apart by more than the difference in one of twenty pairs."""
    rng = np.random.default_rng(0)
    pairs = rng.normal(0, ablation.largest_spread(0.99), (200_000, 2))
    assert np.mean(np.abs(pairs[:, 0] - pairs[:, 1]) > 0.99) == pytest.approx(0.05, abs=0.003)


class Data:
    """Stands for a prepared data set; `replace` keeps what a run rests on."""

    class_names = ORGANS

    def __init__(self, cases=("a", "b")):
        self.test_cases = list(cases)

    def digest(self):
        return ",".join(self.test_cases)


@pytest.fixture
def trained(monkeypatch):
    """Training replaced by a list of what was asked for."""
    done = []

    def run_once(network, config, dataset, state, **_):
        done.append((network.levels, config.seed, config.steps, tuple(dataset.test_cases), state))
        if state is not None:
            state.mkdir(parents=True)
            (state / "state.pt").write_text("as training leaves it")
            (state / "weights.safetensors").write_text("as training leaves it")
        return {"dsc": 0.5, "hd95": 1.0}, network

    monkeypatch.setattr(experiments, "run_once", run_once)
    monkeypatch.setattr(ablation_runs, "replace", lambda data, test_cases: Data(test_cases))
    return done


def one_run(profile, row, seed, output_dir):
    """One run as a batch job makes it."""
    plan, folder = ablation_runs.ablation_plan(profile), ablation_runs.runs_folder(output_dir, profile)
    data = Data()
    runs = ablation_runs.run_ablation(plan, data, folder, rows=[row], seeds=[seed])  # pyright: ignore[reportArgumentType]
    return runs.to_dict("records")[0]


def test_what_a_batch_job_made_the_lesson_reads_back(trained, tmp_path):
    made = one_run("smoke", "masag_lka", 1235, tmp_path)
    assert made == {"variant": "MASAG + LKA", "seed": 1235, "dsc": 0.5, "hd95": 1.0}
    assert len(trained) == 1
    plan = ablation_runs.ablation_plan("smoke")
    assert plan.seeds == (1234, 1235, 1236)
    folder = ablation_runs.runs_folder(tmp_path, "smoke")
    assert folder == tmp_path / "smoke" / "12_ablation" / "runs"
    runs = ablation_runs.run_ablation(plan, Data(), folder)  # pyright: ignore[reportArgumentType]
    assert len(runs) == 18
    assert len(trained) == 18
    assert all(cases == ("a",) for _, _, _, cases, _ in trained)
    ablation_runs.run_ablation(plan, Data(), folder)  # pyright: ignore[reportArgumentType]
    assert len(trained) == 18


def test_long_runs_keep_their_state_while_they_last(trained, tmp_path):
    one_run("gpu", "lka", 1, tmp_path)
    _, _, steps, cases, state = trained[0]
    assert steps == 600
    assert cases == ("a", "b")
    assert state.parent == ablation_runs.runs_folder(tmp_path, "gpu")
    assert [path.name for path in state.iterdir()] == ["weights.safetensors"]
    one_run("gpu", "lka", 1, tmp_path)
    assert len(trained) == 1
    one_run("smoke", "lka", 1, tmp_path)
    assert trained[1][4] is None


def test_plans_follow_the_profiles():
    paper = ablation_runs.ablation_plan("paper")
    assert (paper.training.epochs, paper.dataset, paper.network.pretrained, paper.cases) == (700, "synapse", True, None)
    smoke = ablation_runs.ablation_plan("smoke", steps=7, image_size=96, seeds=2, seed=5, reading="removed")
    assert (smoke.training.steps, smoke.network.image_size, smoke.seeds, smoke.reading) == (7, 96, (5, 6), "removed")
    assert smoke.length() == "7 steps"
    assert paper.length() == "700 epochs"
    with pytest.raises(InputError, match="profile='smok'"):
        ablation_runs.ablation_plan("smok")
    with pytest.raises(InputError, match="seeds=0: give at least 1"):
        ablation_runs.ablation_plan("smoke", seeds=0)
    with pytest.raises(InputError, match="row 'x' is not in Table 3"):
        one_run("smoke", "x", 1, Path())


def test_table_3_has_the_reproduced_rows_below_the_published_rows(tmp_path):
    smoke = measured_by(ablation_runs.ablation_plan("smoke", steps=300), fake_runs())
    missing = measured_once(tmp_path / "none.json", "replaced")
    table = reproduced_table_3([smoke, missing])
    assert tuple(table.columns) == COLUMNS
    assert list(table.index) == NAMES * 3
    published, measured, absent = table[:6], table[6:12], table[12:]
    assert published.dsc.tolist() == [82.80, 83.16, 83.76, 84.32, 84.41, 84.75]
    assert set(published.origin) == {"published"}
    expected = fake_runs().groupby("variant").dsc.mean().loc[NAMES] * 100
    assert measured.dsc.tolist() == pytest.approx(expected.tolist(), abs=0.0051)
    assert measured.comparability.str.startswith("not comparable").all()
    assert "95 %" in measured.note.iloc[0]
    assert absent.dsc.isna().all()
    assert set(absent.origin) == {"not measured"}
    assert absent.note.str.contains("was not run").all()


def test_only_the_papers_data_and_schedule_compare():
    plan = ablation_runs.ablation_plan("paper")
    assert measured_by(plan, fake_runs()).comparable
    for other in (
        ablation_runs.ablation_plan("paper", steps=100),
        ablation_runs.ablation_plan("paper", dataset="virtual"),
        ablation_runs.ablation_plan("paper", image_size=256),
        ablation_runs.ablation_plan("gpu", dataset="synapse"),
        replace(plan, cases=2),
    ):
        assert not measured_by(other, fake_runs()).comparable
    said = reproduced_table_3([measured_by(plan, fake_runs())]).comparability
    assert said.iloc[-1] == "comparable, by our reading of the rows"


def test_a_measurement_without_the_reading_says_so(tmp_path):
    path = tmp_path / "runs.json"
    runs = fake_runs().assign(reading="replaced")
    training = ablation_runs.ablation_plan("smoke").training.to_dict()
    pd.Series({"runs": runs.to_dict("records"), "network": TINY.to_dict(), "training": training}).to_json(path)
    found = measured_once(path, "replaced")
    assert found.runs is not None
    assert len(found.runs) == 18
    assert found.title == "40 steps, 64 x 64 pixels"
    other = measured_once(path, "removed")
    assert isinstance(other, Measured)
    assert other.runs is None
    assert "'removed'" in other.why_not


def test_committed_measurement_holds_the_six_rows(root):
    runs, record = experiments.read_measurement(root / "benchmarks" / "results" / "ablation.json")
    base = NetworkConfig.from_dict(record["network"])
    assert record["selection"] == "none: last step"
    assert "replaced" in set(runs.reading)
    for reading, own in runs.groupby("reading"):
        assert list(dict.fromkeys(own.variant)) == NAMES
        assert own.groupby("variant").seed.nunique().min() >= 3
        sizes = ablation.parameter_table(base, reading).parameters  # pyright: ignore[reportArgumentType]
        assert own.groupby("variant").parameters.unique().map(list).to_dict() == {n: [sizes[n]] for n in NAMES}
    np.testing.assert_allclose(runs.filter(regex="^dsc .").mean(axis=1), runs.dsc, atol=2e-5)


def test_another_gate_stands_in_the_rows_with_masag_only():
    base = TINY.with_gate("sk")
    for row in ROWS:
        other, papers = (ablation.ablation_config(one, row) for one in (base, TINY))
        expected = "sk" if row.masag else "addition"
        assert [level.gate for level in other.levels] == [expected] * 3 + ["none"]
        assert other.with_gate("masag") == papers.with_gate("masag")
        assert (other == papers) == (not row.masag)
    assert ablation.other_gate(base) == "sk"
    assert ablation.other_gate(TINY) is None


def test_a_plan_with_another_gate_says_so_and_is_never_the_papers(tmp_path):
    paper = ablation_runs.ablation_plan("paper")
    assert measured_by(paper, None).comparable
    assert "MASAG" not in paper.length()
    other = ablation_runs.ablation_plan("paper", gate="aff")
    assert replace(other, network=paper.network) == paper
    assert not measured_by(other, None).comparable
    assert measured_by(other, fake_runs()).title.startswith("aff IN PLACE OF MASAG, ")
    table = reproduced_table_3([measured_by(other, fake_runs())])
    assert table.note[table.origin == "measured"].str.contains("aff IN PLACE OF MASAG").all()
    for gate in ("addition", "none", "sum"):
        with pytest.raises(InputError, match=f"gate='{gate}' is unknown: use one of 'concatenation'"):
            ablation_runs.ablation_plan("smoke", gate=gate)
