"""Skin images said to be drawn and runs read back, a reader's checkpoints, rows of the figures, tables as text."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pandas as pd
import pytest

from msa2net_lib import MSA2Net
from msa2net_lib.checkpoints import SHIPPED_TINY, save_network
from msa2net_lib.data.catalog import DATASETS
from msa2net_lib.data.datasets import Case
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.data.skin.prepare import prepare_skin, skin_folder
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l11_evaluation import study as lesson
from msa2net_lib.lessons.l11_evaluation.study import (
    images_through,
    numbers_as_text,
    open_others,
    said_of_reproduced,
    slices_through,
    spread_of,
)
from msa2net_lib.paper.tables import table_1 as published_table_1
from msa2net_lib.train_config import PROFILES, TrainConfig


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Ten drawn images of 64 pixels, prepared in this process."""
    folder = tmp_path_factory.mktemp("data")
    prepare_skin(skin_folder(folder, 10, 64), count=10, size=64, workers=1, progress=False)
    return folder


@pytest.fixture(scope="module")
def ran(data_dir, tmp_path_factory):
    """Where the plan of two steps was run once, and what came of it."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        plan = lesson.SkinPlan("skin", "tiny", 64, "smoke", steps=2, count=10, size=64)
        patch.setitem(lesson.SKIN_PLANS, "smoke", plan)
        yield folder, study(data_dir, folder)


def study(data_dir, folder, **options):
    return lesson.study_skin("smoke", data_dir, folder, device="cpu", progress=False, **options)


@pytest.mark.slow
def test_a_second_study_reads_the_first_one_back(data_dir, ran):
    folder, first = ran
    (home,) = folder.iterdir()
    written = (home / "state.pt").stat().st_mtime_ns
    again = study(data_dir, folder)
    assert (home / "state.pt").stat().st_mtime_ns == written
    assert len(again.result.history) > 0
    np.testing.assert_array_equal(again.evaluation.scores, first.evaluation.scores)
    study(data_dir, folder, steps=1)
    assert len(list(folder.iterdir())) == 2  # another setting is another run


def test_its_row_and_figure_say_that_the_images_are_drawn(ran):
    _, found = ran
    assert (found.run.data, found.plan.source) == ("skin", DATASETS["skin"].source)
    assert found.run.training == TrainConfig.from_recipe("smoke", steps=2)
    assert found.run.network.num_classes == 2
    rows = images_through(found, {"theirs": found.evaluation}, count=2)
    assert [list(row.predictions) for row in rows] == [["reproduced: tiny, trained here", "theirs"]] * 2
    assert all(row.title.startswith("drawn 9") for row in rows)
    assert not any("ISIC" in row.title for row in rows)


def test_every_profile_has_a_plan_whose_parts_exist():
    assert set(lesson.SKIN_PLANS) == set(PROFILES)
    for plan in lesson.SKIN_PLANS.values():
        assert plan.network().height_width == (plan.image_size, plan.image_size)
        assert TrainConfig.from_recipe(plan.recipe)
    paper = lesson.skin_plan("paper")
    assert (paper.data, paper.recipe, paper.preset, paper.pretrained) == ("isic", "isic", "published", True)
    assert "ISIC" in paper.source


def test_isic_that_is_not_there_is_a_reason_and_not_a_crash(tmp_path):
    assert lesson.why_not("smoke", tmp_path) == ""
    reason = lesson.why_not("paper", tmp_path)
    assert "isic2018" in reason
    assert "\n" not in reason


def test_an_unknown_profile_is_refused():
    with pytest.raises(InputError, match="profile='smoky'"):
        lesson.skin_plan("smoky")


@pytest.fixture
def lesions(tmp_path):
    network = MSA2Net.from_preset("tiny", num_classes=2, image_size=64)
    return save_network(network, tmp_path / "skin.safetensors", class_names=["lesion"])


def test_networks_are_sorted_by_what_they_segment(lesions):
    others = open_others([SHIPPED_TINY, lesions], ORGANS)
    assert [(other.name, other.path, other.is_lesion) for other in others] == [
        ("tiny", SHIPPED_TINY, False), ("skin", lesions, True)
    ]  # fmt: skip
    assert others[0].network.config.num_classes == 9
    assert not others[1].network.training


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    paths = [tmp_path / folder / "weights.safetensors" for folder in ("a", "b")]
    for path in paths:
        path.parent.mkdir()
        shutil.copy(SHIPPED_TINY, path)
    assert [other.name for other in open_others(paths, ORGANS)] == ["a/weights", "b/weights"]


def test_networks_of_another_data_sets_classes_stand_beside_its_own(tmp_path):
    network = MSA2Net.from_preset("tiny", num_classes=3, image_size=64)
    path = save_network(network, tmp_path / "lungs.safetensors", class_names=["lung", "tumor"])
    (other,) = open_others([path], ("lung", "tumor"))
    assert (other.name, other.is_lesion) == ("lungs", False)


def test_no_networks_are_none():
    assert open_others([], ORGANS) == []


def test_what_cannot_stand_there_is_refused(tmp_path, lesions):
    network = MSA2Net.from_preset("tiny", num_classes=4, image_size=64)
    four = save_network(network, tmp_path / "four.safetensors")
    polyps = save_network(
        MSA2Net.from_preset("tiny", num_classes=2, image_size=64),
        tmp_path / "polyps.safetensors",
        class_names=["polyp"],
    )
    for given, words in (([four], "4 classes"), ([polyps], "classes polyp"), ([lesions, lesions], "given twice"),
                         ([tmp_path / "none.safetensors"], "no such checkpoint")):  # fmt: skip
        with pytest.raises(InputError) as caught:
            open_others(given, ORGANS)
        assert words in str(caught.value)
        assert str(given[0]) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_slices_climb_through_the_cases_and_are_cut_to_the_body(cases):
    rows = slices_through(cases, {"own": {case.name: case.label for case in cases}})
    assert [row.title.split()[-1] for row in rows] == ["1", "4", "7"]
    assert {row.image.shape for row in rows} == {(38, 48)}  # the body and 4 pixels of air on each side
    for row in rows:
        assert row.spacing == (2.0, 1.0)
        np.testing.assert_array_equal(row.predictions["own"], row.label)


def test_a_case_without_organs_or_body_is_drawn_whole():
    empty = Case("case0", np.zeros((3, 8, 8), np.float32), np.zeros((3, 8, 8), np.uint8), None)
    (row,) = slices_through([empty], {"own": {"case0": empty.label}})
    assert row.image.shape == (8, 8)
    assert np.isnan(row.dsc("own"))


def test_a_network_without_a_prediction_is_named(cases):
    with pytest.raises(InputError, match="theirs: has no prediction of case0"):
        slices_through(cases, {"theirs": {}})


def test_images_are_spread_from_worst_to_best():
    scores = pd.DataFrame({"dsc": [0.9, 0.1, 0.5, 0.7, 0.3]}, index=list("abcde"))
    assert spread_of(scores, 3) == {"b": "DSC 0.10, worst", "c": "DSC 0.50", "a": "DSC 0.90, best"}
    assert list(spread_of(scores, 9)) == list("becda")


def table():
    rows = {
        "theirs": (8.045, 80.0, math.nan, math.nan, "published", "their data", "not said", "", "as printed"),
        "reproduced": (
            0.28,
            87.1,
            85.0,
            89.0,
            "measured",
            "our data",
            "last step",
            "not comparable: x",
            "1 seed",
        ),
        "missing": (math.nan, math.nan, math.nan, math.nan, "not measured", "", "", "not measured", "why " * 60),
    }
    columns = ["flops_g", "dsc", "dsc_low", "dsc_high", "origin", "data", "selection", "comparability", "note"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def test_cells_are_as_printed_or_say_that_they_are_missing():
    shown = numbers_as_text(table(), 2, {"dsc": "DSC"})
    assert list(shown.columns) == ["flops_g", "DSC", "dsc, 95 % interval"]
    assert list(shown.loc["theirs"]) == ["8.045", "80.00", "–"]
    assert list(shown.loc["reproduced"]) == ["0.28", "87.10", "85.00 to 89.00"]
    assert set(shown.loc["missing"]) == {"not measured"}


def test_every_reproduced_row_is_explained_in_short_lines():
    lines = said_of_reproduced(table()).splitlines()
    assert lines[:2] == ["reproduced: not comparable: x", "    our data; last step; 1 seed"]
    assert lines[2] == "missing: not measured"
    assert max(map(len, lines)) <= 118
    assert "theirs" not in "\n".join(lines)


def test_the_published_table_shows_hiformer_s_three_digits():
    assert numbers_as_text(published_table_1().assign(origin="published"), 2).loc["HiFormer-B", "flops_g"] == "8.045"
