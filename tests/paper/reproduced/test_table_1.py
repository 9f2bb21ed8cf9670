"""Reproduced rows below the published ones, against plain arithmetic; what is comparable, condition by condition."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from msa2net_lib.config import NetworkConfig
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.volumes import Evaluation
from msa2net_lib.paper.comparability import ISIC_TEST_COUNT, judge_count, judge_images, judge_volumes
from msa2net_lib.paper.reproduced.rows import COMPARABILITY
from msa2net_lib.paper.reproduced.runs import ReproducedRun, kept_beside, read_training, told_beside
from msa2net_lib.paper.reproduced.table_1 import costs, reproduced_table_1
from msa2net_lib.paper.reproduced.table_a import count_parts, reproduced_table_a
from msa2net_lib.paper.tables import TABLE_1_ORGANS, table_1, table_a
from msa2net_lib.train_config import TrainConfig

pytestmark = pytest.mark.slow

TINY = NetworkConfig.from_preset("tiny")
PAPER = NetworkConfig.from_preset("paper", pretrained=True)
PUBLISHED = NetworkConfig.from_preset("published", pretrained=True)
SYNAPSE = TrainConfig.from_recipe("synapse")
TEST_CASES = [f"case{n:04d}" for n in (8, 22, 38, 36, 32, 2, 29, 3, 1, 4, 25, 35)]


def scores(seed, cases=("a", "b", "c")):
    """Random scores of two protocols; under the strict one all are zero, so that mixing them up shows."""
    rng = np.random.default_rng(seed)
    rows = []
    for case in cases:
        for organ in ORGANS:
            dsc, hd95 = rng.uniform(0.5, 1), rng.uniform(1, 9)
            rows.append(("paper", case, organ, True, dsc, hd95, hd95, 2.5 * hd95))
            rows.append(("strict", case, organ, True, 0.0, 0.0, 0.0, 0.0))
    return pd.DataFrame(
        rows, columns=["protocol", "case", "organ", "in_label", "dsc", "hd95", "hd95_voxels", "hd95_mm"]
    )


def by_hand(table, column):
    """Mean over cases for each organ, then over organs, with loops."""
    rows = [row for row in table.to_dict("records") if row["protocol"] == "paper"]
    means = [sum(r[column] for r in rows if r["organ"] == o) / sum(r["organ"] == o for r in rows) for o in ORGANS]
    return means, sum(means) / len(means)


def measured(table):
    return table[table["origin"] == "measured"]


def test_published_rows_come_first_and_unchanged():
    table = reproduced_table_1([ReproducedRun("tiny", TINY, "virtual", scores(0))])
    published = table_1()
    assert list(table.index[: len(published)]) == list(published.index)
    pd.testing.assert_frame_equal(
        table.loc[published.index, list(published.columns)], published, check_names=False, check_dtype=False
    )
    assert tuple(table.columns[-5:]) == COMPARABILITY
    assert table.index.name == "row"


def test_one_run_is_its_arithmetic_in_percent():
    run = ReproducedRun("tiny", TINY, "virtual", scores(1))
    row = measured(reproduced_table_1([run])).iloc[0]
    organs, mean = by_hand(run.scores, "dsc")
    assert row["dsc"] == pytest.approx(100 * mean, abs=0.0051)
    for organ in TABLE_1_ORGANS:
        assert row[organ] == pytest.approx(100 * organs[ORGANS.index(organ)], abs=0.0051)
    assert row["hd95"] == pytest.approx(by_hand(run.scores, "hd95")[1], abs=0.0051)
    assert row["hd95_mm"] == pytest.approx(2.5 * by_hand(run.scores, "hd95")[1], abs=0.0051)
    assert np.isnan(row["dsc_sd"])
    low, high = Evaluation(run.scores, {}).interval("paper", "dsc")
    assert (row["dsc_low"], row["dsc_high"]) == (round(100 * low, 2), round(100 * high, 2))
    assert row["dsc_low"] < row["dsc"] < row["dsc_high"]


def test_seeds_of_a_network_are_one_row_with_their_spread():
    runs = [ReproducedRun("tiny", TINY, "virtual", scores(seed)) for seed in range(3)]
    table = measured(reproduced_table_1([*runs, ReproducedRun("tiny", TINY, "virtual", scores(9), "test")]))
    means = [100 * by_hand(run.scores, "dsc")[1] for run in runs]
    assert list(table.index) == ["reproduced: tiny", "reproduced: tiny, best on test (chosen on the reported cases)"]
    assert table.iloc[0]["dsc"] == pytest.approx(np.mean(means), abs=0.0051)
    assert table.iloc[0]["dsc_sd"] == pytest.approx(np.std(means, ddof=1), abs=0.0051)
    assert table.iloc[0]["note"].startswith("3 seeds; ")
    assert table.iloc[1]["note"].startswith("1 seed; ")
    assert table.iloc[1]["selection"] == "best on test (chosen on the reported cases)"


def test_seeds_on_different_cases_are_refused():
    runs = [ReproducedRun("tiny", TINY, "virtual", scores(0, cases)) for cases in (("a", "b"), ("a", "c"))]
    with pytest.raises(InputError, match="different cases"):
        reproduced_table_1(runs)


def test_counted_parameters_stand_in_rows_that_are_not_measured():
    table = reproduced_table_1()
    missing = table[table["origin"] == "not measured"]
    assert list(missing["parameters_m"]) == [table_1().loc["MSA²Net", "parameters_m"]] * 2
    assert missing["flops_g"].iloc[1] == table_1().loc["MSA²Net", "flops_g"]
    assert missing[["dsc", "hd95", *TABLE_1_ORGANS]].isna().all(axis=None)
    assert all("registration" in note for note in missing["note"])


def test_costs_fetch_no_weights(monkeypatch):
    """Building a pretrained network would download them."""
    monkeypatch.setattr("timm.models._builder.load_pretrained", lambda *_, **__: pytest.fail("fetches weights"))
    assert costs(replace(TINY, num_classes=3, pretrained=True))["parameters_m"] == 4.28


def test_a_comparable_run_replaces_the_missing_rows():
    run = ReproducedRun("published", PUBLISHED, "synapse", scores(0, TEST_CASES), training=SYNAPSE)
    table = reproduced_table_1([run])
    assert "not measured" not in set(table["origin"])
    assert table.iloc[-1]["comparability"].startswith("comparable: ")
    assert table.iloc[-1]["data"] == "12 cases, the Synapse multi-organ data"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"data": "virtual"}, "virtual patients"), ({"data": "mine"}, "other data (mine)"),
     ({"cases": TEST_CASES[1:]}, "other test cases"), ({"network": TINY}, "another network (tiny)"),
     ({"network": replace(PUBLISHED, encoder_options={"a": 1})}, "changed from the preset published"),
     ({"network": replace(PUBLISHED, image_size=256)}, "256 x 256"),
     ({"network": replace(PUBLISHED, pretrained=False)}, "encoder not trained before"),
     ({"training": replace(SYNAPSE, epochs=100)}, "trained otherwise (epochs)")],
)  # fmt: skip
def test_one_difference_is_enough_not_to_compare(changes, reason):
    same = {"data": "synapse", "cases": TEST_CASES, "network": PUBLISHED, "training": SYNAPSE, "selection": "last"}
    assert judge_volumes(**same).comparable
    compared = judge_volumes(**(same | changes))
    assert not compared.comparable
    assert compared.phrase.startswith("not comparable: ")
    assert reason in compared.phrase


@pytest.mark.parametrize("form", ["published", "paper", "released"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "auto"])
@pytest.mark.parametrize("selection", ["last", "validation", "test", "unknown"])
def test_form_precision_and_selection_decide_and_are_named(form, precision, selection):
    """All 36 triples: only form published, in fp32 or not recorded, last step or not recorded, is one."""
    network, training = NetworkConfig.from_preset(form, pretrained=True), replace(SYNAPSE, precision=precision)
    compared = judge_volumes("synapse", TEST_CASES, network, training, selection)
    expected = form == "published" and precision != "bf16" and selection in ("last", "unknown")
    assert compared.comparable is expected
    words = {"last": "last step", "unknown": "selection not recorded"}.get(selection, f"best on {selection}")
    said = f"form {form}, {'precision not recorded' if precision == 'auto' else precision}, {words}"
    assert said in " ".join((compared.phrase, *compared.remarks))
    assert compared.phrase.startswith("comparable: " if expected else "not comparable: ")


def test_what_does_not_change_a_result_does_not_forbid_to_compare():
    compared = judge_volumes("synapse", TEST_CASES, replace(PUBLISHED, pretrained=False), None, "unknown")
    assert compared.comparable
    assert "how it was trained is not recorded" in compared.remarks
    assert judge_volumes("synapse", TEST_CASES, PUBLISHED, replace(SYNAPSE, seed=7, log_every=1), "last").comparable


@pytest.mark.parametrize(("used", "precision"), [("bf16", "bf16"), ("no", "fp32"), (None, "auto")])
def test_auto_precision_is_read_as_what_it_came_to(tmp_path, used, precision):
    training = replace(SYNAPSE, precision="auto").to_dict()
    record = {"network": PAPER.to_dict(), "training": training} | ({"mixed_precision": used} if used else {})
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert read_training(tmp_path / "run.json")[1].precision == precision


def test_pictures_are_comparable_up_to_the_split_and_pooled_only():
    network, isic = replace(PAPER, num_classes=2), TrainConfig.from_recipe("isic")
    assert ISIC_TEST_COUNT == 2594 - 1815 - 259
    assert "random split" in judge_images("isic", 520, "pooled", network, isic).phrase
    for given in (("skin", 520, "pooled"), ("isic", 519, "pooled"), ("isic", 520, "per_image")):
        assert not judge_images(*given, network, isic).comparable
    assert not judge_images("isic", 520, "pooled", network, replace(isic, augment="affine")).comparable


def test_counts_are_exact_up_to_the_printed_digits():
    assert judge_count(112.767981, 112.77).phrase.startswith("reproduced within rounding")
    assert "cut off" in judge_count(64.126044, 64.12).phrase
    assert judge_count(1.358025, 1.37).phrase == "not reproduced: -0.012 M"


def test_table_a_is_counted_part_by_part():
    table = reproduced_table_a()
    counted = measured(table).filter(like="reproduced: published", axis=0)["parameters_m"]
    assert list(counted) == [64.126044, 9.440668, 1.358025, 37.843232, 112.767981]
    assert list(table["parameters_m"][:5]) == table_a().to_list()
    totals = [f"reproduced: {preset}, Total" for preset in ("tiny", "paper", "released")]
    assert list(table.loc[totals, "parameters_m"]) == [4.278846, 103.340666, 93.660877]
    assert table.index[-1] == "reproduced: published, Total"
    assert table.iloc[-1]["unused_m"] == 36.161315


@pytest.mark.parametrize("preset", ["published", "released", "paper"])
def test_parts_add_up_to_the_network(preset):
    parts = count_parts(preset)
    rest = parts.loc["Total"] - parts.drop(index="Total").sum()
    gray = 12e-6 if NetworkConfig.from_preset(preset).gray_stem else 0  # 1 -> 3 convolution and its norm
    assert rest["parameters_m"] == pytest.approx(gray, abs=1e-9)
    assert (parts["unused_m"] <= parts["parameters_m"]).all()


def test_a_run_is_read_from_what_a_batch_leaves(tmp_path):
    table = scores(4, ("case0001", "case0002"))
    table.to_csv(tmp_path / "scores.csv", index=False)
    record = {"network": TINY.to_dict(), "training": SYNAPSE.to_dict()}
    (tmp_path / "run.json").write_text(json.dumps(record))
    run = ReproducedRun.from_files(tmp_path / "scores.csv", tmp_path / "run.json", name="tiny", data="synapse")
    assert (run.network, run.training) == (TINY, SYNAPSE)
    assert run.scores.case.unique().tolist() == ["case0001", "case0002"]
    assert measured(reproduced_table_1([run])).iloc[0]["dsc"] == pytest.approx(
        100 * by_hand(table, "dsc")[1], abs=0.0051
    )


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [("scores.csv", "a,b\n1,2\n", "no column protocol"), ("scores.csv", None, "not a readable table"),
     ("run.json", "{}", "not the record of a training")],
)  # fmt: skip
def test_files_of_another_kind_are_refused_in_one_line(tmp_path, name, text, words):
    scores(0).to_csv(tmp_path / "scores.csv", index=False)
    (tmp_path / "run.json").write_text(json.dumps({"network": TINY.to_dict(), "training": SYNAPSE.to_dict()}))
    path = tmp_path / name
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(InputError) as caught:
        ReproducedRun.from_files(tmp_path / "scores.csv", tmp_path / "run.json", name="x", data="virtual")
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_scores_without_the_released_protocol_are_refused():
    strict = scores(0)
    with pytest.raises(InputError, match="paper protocol"):
        ReproducedRun("tiny", TINY, "virtual", strict[strict["protocol"] == "strict"])


def test_what_lies_beside_a_checkpoint_tells_how_it_came_about(tmp_path):
    record = {"network": PAPER.to_dict(), "training": SYNAPSE.to_dict()}
    (tmp_path / "run.json").write_text(json.dumps(record))
    for name in ("weights.safetensors", "best_on_validation.safetensors", "best_on_test.safetensors"):
        (tmp_path / name).touch()
    assert told_beside(tmp_path / "weights.safetensors") == ("last", SYNAPSE, PAPER)
    assert told_beside(tmp_path / "best_on_test.safetensors")[0] == "test"
    assert told_beside(tmp_path / "theirs.pth") == ("unknown", None, None)
    kept = kept_beside(tmp_path / "weights.safetensors")
    assert [path.name for path in kept] == ["best_on_validation.safetensors"]
    everything = kept_beside(tmp_path / "weights.safetensors", with_best_on_test=True)
    assert [path.name for path in everything] == ["best_on_validation.safetensors", "best_on_test.safetensors"]
    assert kept_beside(tmp_path / "theirs.pth") == []
