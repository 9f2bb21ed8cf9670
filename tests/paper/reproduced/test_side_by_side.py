"""Rows of Tables 1 and 2 beside what was reproduced, from runs made by hand, against plain arithmetic."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy import stats

from msa2net_lib.baselines.spec import NetworkSpec
from msa2net_lib.baselines.table import NETWORKS, networks_of, tables_of
from msa2net_lib.errors import InputError
from msa2net_lib.paper.recorded import recorded_costs
from msa2net_lib.paper.reproduced.lines import COLUMNS, in_words
from msa2net_lib.paper.reproduced.side_by_side import (
    NOT_REPRODUCED,
    RowRun,
    counted,
    found_runs,
    group_in_words,
    measured_once,
    side_by_side,
)
from msa2net_lib.paper.tables import OWN, table_1, table_2
from msa2net_lib.train_config import TrainConfig

VIRTUAL = group_in_words("virtual", (64, 64), 300, TrainConfig())
SKIN = group_in_words("skin", (96, 96), 200, TrainConfig())


def run(network, seed, cases, data="virtual", group=VIRTUAL, steps=300):
    scores = {f"case{i}": value for i, value in enumerate(cases)}
    return RowRun(network, seed, data, group, float(np.mean(cases)), 5.0 + seed, scores, steps)


OWN_RUNS = [run("msa2net_published", seed, [0.80, 0.82 + 0.01 * seed, 0.75, 0.9]) for seed in (1, 2)]
SWIN = [run("swin_unet", seed, [0.70, 0.84, 0.71 + 0.02 * seed, 0.8]) for seed in (1, 2)]


@pytest.mark.parametrize(("number", "published"), [("1", table_1()), ("2", table_2())])
def test_every_published_row_has_a_line_with_a_score_or_a_reason(number, published):
    table = side_by_side(number, [*OWN_RUNS, *SWIN])
    assert list(table.index) == list(published.index)
    assert tuple(table.columns) == COLUMNS
    missing = table[table["dsc"].isna()]
    assert set(table.index) - set(missing.index) == {OWN, "Swin-UNet"}
    assert missing["note"].str.contains(r"not trained here: msa2net reproduce .* --networks \w+").all()
    scale = 1 if number == "1" else 100
    np.testing.assert_allclose(table["published_dsc"], scale * published["dsc"])
    shown = in_words(table)
    assert len(shown.columns) == (8 if number == "1" else 6)
    assert (shown.loc[missing.index, "DSC reproduced (%)"] == "not measured").all()
    assert "" not in shown.to_numpy()


def test_a_row_is_its_arithmetic():
    row = side_by_side("1", [*OWN_RUNS, *SWIN]).loc["Swin-UNet"]
    scores = np.array([list(one.cases.values()) for one in SWIN])
    assert row["dsc"] == pytest.approx(100 * scores.mean(), abs=0.0051)
    assert row["dsc_sd"] == pytest.approx(100 * scores.mean(axis=1).std(ddof=1), abs=0.0051)
    assert (row["seeds"], row["hd95"]) == (2, 6.5)
    by_case = 100 * (scores.mean(axis=0) - np.mean([list(one.cases.values()) for one in OWN_RUNS], axis=0))
    half = stats.t.ppf(0.975, 3) * by_case.std(ddof=1) / 2
    expected = (by_case.mean(), by_case.mean() - half, by_case.mean() + half)
    assert (row["difference"], row["low"], row["high"]) == pytest.approx(expected, abs=0.0051)
    assert "synthetic" in row["data"] or "virtual" in row["data"]


@pytest.mark.slow  # the one test that counts all networks
@pytest.mark.parametrize(("number", "published"), [("1", table_1()), ("2", table_2())])
def test_recorded_costs_are_what_is_counted(number, published):
    networks = [networks_of(str(row))[0] for row in published.index]
    assert recorded_costs(number) == {network: counted(network, number) for network in networks}


def test_counts_are_those_of_the_official_code_and_printed_ones_that_are_not_say_so():
    table = side_by_side("1", [])
    assert table["counts"][table["counts"] != ""].to_dict() == {
        "TransUNet": f"parameters and FLOPs {NOT_REPRODUCED}",
        "ScaleFormer": f"parameters {NOT_REPRODUCED}",
    }
    exact = {"TransUNet": (105.28, 29.27), "MISSFormer": (42.46, 9.89), "2D D-LKA Net": (101.64, 19.92)}
    assert {name: tuple(table.loc[name, ["counted_m", "counted_g"]]) for name in exact} == exact
    second = side_by_side("2", [])
    assert second.loc["DermoSegDiff", "counted_m"] == 321.18, "the running mean is not counted"
    assert (table.loc["Swin-UNet", "counted_g"], second.loc["Swin-UNet", "counted_g"]) == (6.16, 6.13), "by classes"


@pytest.mark.parametrize(
    "others",
    [
        [],
        [run("msa2net_published", 1, [0.8, 0.9, 0.7, 0.8], group="virtual; 700 steps")],
        [run("msa2net_published", 1, [0.8, 0.9, 0.7])],
        [RowRun("msa2net_published", 1, "virtual", VIRTUAL, why="loss is nan")],
    ],
)
def test_no_difference_without_a_run_of_msa2net_trained_alike_on_the_same_cases(others):
    row = side_by_side("1", [*SWIN, *others]).loc["Swin-UNet"]
    assert row["dsc"] > 0
    assert math.isnan(row["difference"])
    assert in_words(side_by_side("1", SWIN)).loc["Swin-UNet", f"minus {OWN}, 95 % interval"] == "not measured"


def test_the_papers_data_come_before_others_and_longer_runs_before_shorter_ones():
    real = run("swin_unet", 1, [0.5, 0.6], "synapse", "real", 10)
    longer = run("swin_unet", 1, [0.9, 0.9], "virtual", "long", 900)
    skin = run("swin_unet", 3, [0.8, 0.8], "skin", SKIN, 20)
    for table, expected in (("1", "real"), ("2", SKIN)):
        assert side_by_side(table, [*SWIN, longer, skin, real]).loc["Swin-UNet", "data"] == expected
    assert side_by_side("1", [*SWIN, longer]).loc["Swin-UNet", "data"] == "long"
    assert side_by_side("2", [*SWIN]).loc["Swin-UNet", "data"] == VIRTUAL, "better than nothing, and named"
    alone = run("msa2net_tiny", 1, [0.9, 0.9], group="long", steps=900)
    assert side_by_side("1", [*SWIN, *OWN_RUNS, alone]).loc[OWN, "data"] == VIRTUAL, "rows are to be compared"
    tiny = run("msa2net_tiny", 1, [0.9, 0.9, 0.9, 0.8])
    assert side_by_side("1", [*SWIN, tiny]).loc["Swin-UNet", "data"] == f"{VIRTUAL}; difference to MSA²Net, tiny"


def test_a_row_that_failed_says_why_and_a_stand_in_is_named():
    failed = RowRun("transunet", 1, "", "", why="memory does not suffice")
    small = run("dermosegdiff_small", 1, [0.4, 0.5], "skin", SKIN)
    table = side_by_side("2", [failed, small])
    assert table.loc["TransUNet", "note"] == "memory does not suffice"
    assert table.loc["DermoSegDiff", "note"].startswith("trained: DermoSegDiff, small")
    assert table.loc["DermoSegDiff", "seeds"] == 1
    assert np.isnan(table.loc["DermoSegDiff", "dsc_sd"])


def test_every_row_has_its_network():
    rows = {"1": table_1().index, "2": table_2().index}
    first = {networks_of(name)[0] for names in rows.values() for name in names}
    assert first == {name for name, entry in NETWORKS.items() if entry.row}
    for name in NETWORKS:
        assert tables_of(name) == tuple(
            t for t, names in rows.items() if any(name in networks_of(row) for row in names)
        )
    assert (tables_of("msa2net_tiny"), tables_of("dermosegdiff_small"), tables_of("unet_nitr")) == (
        ("1", "2"),
        ("2",),
        (),
    )


def test_committed_measurements_are_read(tmp_path):
    assert measured_once(tmp_path) == []
    training = TrainConfig(steps=300).to_dict() | {"seed": "see runs"}
    scores = {"network": "swin_unet", "seed": 1, "image_size": 64, "dsc": 0.8, "hd95": 4.0, "cases": {"a": 0.8}}
    why = {"network": "dermosegdiff", "why": "takes two classes only"}
    path = tmp_path / "rival_networks.json"
    path.write_text(json.dumps({"data": "virtual", "training": training, "runs": [scores, why]}))
    good, bad = measured_once(tmp_path)
    assert (good.network, good.group, good.cases, good.steps) == ("swin_unet", VIRTUAL, {"a": 0.8}, 300)
    assert bad.why == "takes two classes only"
    pictures = scores | {"cases": {"a": 0.5, "b": 0.7}}
    (tmp_path / "rival_networks_skin.json").write_text(
        json.dumps({"data": "skin", "training": training, "runs": [pictures]})
    )
    assert measured_once(tmp_path)[-1].dsc == pytest.approx(0.6), "the mean over images, whose interval is given"
    for damaged in ({"data": "virtual", "training": training, "runs": [{"network": "unet"}]}, {"runs": 3}, {}):
        path.write_text(json.dumps(damaged))
        with pytest.raises(InputError, match=r"rival_networks\.json: .*measure anew"):
            measured_once(tmp_path)


def test_the_committed_measurements_of_this_repository_fill_rows(root):
    runs = measured_once(root / "benchmarks" / "results")
    for number in ("1", "2"):
        table = side_by_side(number, runs)
        assert (table["dsc"].notna() | (table["note"] != "")).all()


def test_runs_of_a_batch_are_read_and_what_was_set_aside_is_not(tmp_path):
    home = tmp_path / "runs" / "networks" / "1" / "swin_unet" / "seed_3"
    home.mkdir(parents=True)
    assert found_runs(tmp_path) == []
    (home / "row.json").write_text('{"why": "loss is nan"}')
    (failed,) = found_runs(tmp_path)
    assert (failed.network, failed.seed, failed.why) == ("swin_unet", 3, "loss is nan")
    (home / "row.json").write_text('{"data": "virtual"}')
    record = {"network": NetworkSpec("swin_unet", 9, 64).to_dict(), "training": TrainConfig().to_dict(), "steps": 300}
    (home / "run.json").write_text(json.dumps(record))
    lines = [
        "protocol,case,organ,dsc,hd95",
        *(f"paper,{c},{o},{d},{2 * d}" for c, o, d in (("a", "x", 0.5), ("a", "y", 0.9), ("b", "x", 0.7))),
    ]
    (home / "scores.csv").write_text("\n".join(lines))
    home.with_name("seed_3_before_1").mkdir()
    (home.with_name("seed_3_before_1") / "row.json").write_text("{}")
    (found,) = found_runs(tmp_path)
    assert (found.dsc, found.hd95) == pytest.approx((0.75, 1.5)), "over cases for each organ, then over organs"
    assert found.cases == pytest.approx({"a": 0.7, "b": 0.7})
    assert found.group == VIRTUAL
    (home / "scores.csv").write_text("image,dsc\na,0.5\nb,0.6\n")
    (found,) = found_runs(tmp_path)
    assert (found.dsc, found.cases) == (pytest.approx(0.55), {"a": 0.5, "b": 0.6})
    (home / "scores.csv").write_text("case,dice\na,0.5\n")
    with pytest.raises(InputError, match=r"scores\.csv: no scores by case or image; evaluate again"):
        found_runs(tmp_path)
