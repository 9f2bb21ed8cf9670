"""The small training on pictures: said to be on synthetic ones, read back, and each profile a plan that holds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from msa2net_lib.config import PROFILES
from msa2net_lib.data.skin.prepare import prepare_skin, skin_folder
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l11_evaluation import skin_study
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.viz.images import SYNTHETIC


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Ten drawn pictures of 64 pixels, prepared in this process."""
    folder = tmp_path_factory.mktemp("data")
    prepare_skin(skin_folder(folder, 10, 64), count=10, size=64, workers=1, progress=False)
    return folder


@pytest.fixture
def small(monkeypatch):
    plan = skin_study.SkinPlan("skin", "tiny", 64, "smoke", steps=2, count=10, size=64)
    monkeypatch.setitem(skin_study.SKIN_PLANS, "smoke", plan)
    return plan


def study(data_dir, folder, **options):
    return skin_study.study_skin("smoke", data_dir, folder, device="cpu", progress=False, **options)


def test_a_second_study_reads_the_first_one_back(small, data_dir, tmp_path):
    first = study(data_dir, tmp_path)
    (home,) = tmp_path.iterdir()
    written = (home / "state.pt").stat().st_mtime_ns
    again = study(data_dir, tmp_path)
    assert (home / "state.pt").stat().st_mtime_ns == written
    np.testing.assert_array_equal(first.evaluation.scores, again.evaluation.scores)
    assert len(first.result.history) > 0
    study(data_dir, tmp_path, steps=1)
    assert len(list(tmp_path.iterdir())) == 2  # another setting is another run


def test_its_row_and_figure_say_that_the_pictures_are_drawn(small, data_dir, tmp_path):
    found = study(data_dir, tmp_path)
    assert (found.run.data, found.plan.source) == ("skin", SYNTHETIC)
    assert found.run.training == TrainConfig.from_recipe("smoke", steps=2)
    assert found.run.network.num_classes == 2
    rows = skin_study.figure_3_rows(found, {"theirs": found.evaluation}, count=2)
    assert [list(row.predictions) for row in rows] == [["ours: tiny, trained here", "theirs"]] * 2
    assert all(row.title.startswith("drawn 9") for row in rows)
    assert not any("ISIC" in row.title for row in rows)


def test_every_profile_has_a_plan_whose_parts_exist():
    assert set(skin_study.SKIN_PLANS) == set(PROFILES)
    for plan in skin_study.SKIN_PLANS.values():
        assert plan.network().height_width == (plan.image_size, plan.image_size)
        assert TrainConfig.from_recipe(plan.recipe)
    paper = skin_study.skin_plan("paper")
    assert (paper.data, paper.recipe, paper.preset, paper.pretrained) == ("isic", "isic", "paper", True)
    assert "ISIC" in paper.source


def test_isic_that_is_not_there_is_a_reason_and_not_a_crash(tmp_path):
    assert skin_study.why_not("smoke", tmp_path) == ""
    reason = skin_study.why_not("paper", tmp_path)
    assert "isic2018" in reason
    assert "\n" not in reason


def test_an_unknown_profile_is_refused():
    with pytest.raises(InputError, match="profile='smoky'"):
        skin_study.skin_plan("smoky")


def test_settings_tell_runs_apart(small, data_dir):
    dataset = small.open(data_dir, progress=False)
    training = TrainConfig.from_recipe("smoke", steps=2)
    names = {
        skin_study._digest(network, config, dataset)
        for network in (small.network(), replace(small.network(), image_size=96))
        for config in (training, replace(training, seed=1))
    }
    assert len(names) == 4
