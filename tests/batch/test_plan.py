"""The jobs of a batch run follow from its settings: each once, after what it needs, done anew only if it changed."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import yaml

from msa2net_lib.batch.plan import Plan
from msa2net_lib.data.catalog import DATASETS
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.registry import LESSONS, OF_PROFILE
from msa2net_lib.train_config import PROFILES


def names(plan, kind):
    return [job.name for job in plan.jobs.values() if job.kind == kind]


def test_a_whole_run_trains_scores_and_runs_every_lesson():
    plan = Plan(seeds=(1, 2), ablation_seeds=3)
    assert names(plan, "train") == ["train-1", "train-2"]
    assert names(plan, "evaluate") == ["evaluate-1", "evaluate-2"]
    assert len(names(plan, "ablation")) == 6
    assert names(plan, "lesson") == [f"lesson-{name}" for name in LESSONS]
    assert list(plan.jobs)[-1] == "report"
    assert plan.jobs["report"].needs == tuple(plan.jobs)[:-1]


def test_every_job_comes_after_those_it_needs():
    before: set[str] = set()
    for job in Plan(seeds=(1, 2)).jobs.values():
        assert set(job.needs) <= before
        before.add(job.name)


def test_lessons_wait_for_the_network_they_look_at():
    plan = Plan()
    looking = {job.name for job in plan.jobs.values() if plan.main_training in job.needs and job.kind == "lesson"}
    declared = {f"lesson-{name}" for name, lesson in LESSONS.items() if "CHECKPOINT" in lesson.parameters}
    assert looking == declared | {"lesson-10_training"}
    named = Plan(parameters={"CHECKPOINT": "mine.safetensors"})
    assert plan.main_training not in named.jobs["lesson-02_fusion"].needs


def test_lesson_10_goes_on_with_the_training_that_was_done_for_it():
    plan = Plan(seeds=(7,), parameters={"STEPS": 5})
    lesson, training = plan.jobs["lesson-10_training"].parameters, plan.jobs["train-7"].parameters
    assert (lesson["SEED"], lesson["RESUME"], lesson["STEPS"]) == (7, True, 5)
    assert (training["seed"], training["STEPS"]) == (7, 5)


def test_lesson_12_finds_its_runs():
    plan = Plan(seeds=(7, 9), ablation_seeds=2)
    lesson = plan.jobs["lesson-12_ablation"]
    assert {need for need in lesson.needs if need.startswith("ablation-")} == set(names(plan, "ablation"))
    assert (lesson.parameters["SEED"], lesson.parameters["SEEDS"]) == (7, 2)
    assert {tuple(job.parameters["seeds"]) for job in plan.jobs.values() if job.kind == "ablation"} == {(7, 8)}


def test_runs_of_an_ablation_that_take_long_are_a_job_each():
    plan = Plan("gpu", seeds=(7,), ablation_seeds=2)
    found = {(job.parameters["row"], *job.parameters["seeds"]) for job in plan.jobs.values() if job.kind == "ablation"}
    assert len(names(plan, "ablation")) == len(found) == 6 * 2
    assert {seed for _, seed in found} == {7, 8}


def test_some_lessons_alone_train_nothing_that_they_do_not_show():
    jobs = Plan(lessons=("02_fusion", "00_start_here")).jobs
    assert [name for name in jobs if not name.startswith("data-")] == [
        "lesson-00_start_here",
        "lesson-02_fusion",
        "report",
    ]
    assert "train-1234" in Plan(lessons=("10_training",)).jobs
    assert "tables" not in Plan(lessons=("10_training",)).jobs


def test_a_job_is_another_as_soon_as_what_it_rests_on_is():
    keys = {name: job.key for name, job in Plan().jobs.items()}
    again = {name: job.key for name, job in Plan.from_dict(json.loads(json.dumps({}))).jobs.items()}
    assert again == keys
    longer = Plan(parameters={"BATCH_SIZE": 9}).jobs
    changed = {name for name, job in longer.items() if keys[name] != job.key}
    on_the_network = {name for name, job in longer.items() if "train-1234" in job.needs}
    assert changed == {"train-1234", *on_the_network, "tables", "report"}
    assert {"evaluate-1234", "lesson-02_fusion", "lesson-10_training"} <= on_the_network
    more = Plan(seeds=(1234, 7)).jobs
    assert {name for name, job in more.items() if keys.get(name, job.key) != job.key} == {"tables", "report"}


def test_lessons_wait_for_the_data_that_they_open_and_no_other():
    jobs = Plan(profile="paper", seeds=(1,)).jobs
    assert jobs["lesson-00_start_here"].needs == ("data-virtual",)
    assert jobs["lesson-01_data"].needs == ("data-virtual", "data-patient2")
    assert set(jobs["lesson-11_evaluation"].needs) == {"data-synapse", "data-virtual", "data-patient2", "train-1"}
    assert list(Plan(profile="gpu", lessons=("00_start_here",)).jobs) == [
        "data-virtual",
        "lesson-00_start_here",
        "report",
    ]


@pytest.mark.parametrize("name", LESSONS)
def test_what_a_lesson_says_that_it_opens_is_what_its_page_opens(root, name):
    cells = json.loads((root / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    code = "".join("".join(cell["source"]) + "\n" for cell in cells if cell["cell_type"] == "code")
    opened = set(re.findall(r"open_dataset\(([\w.\"]+),", code))
    named = {OF_PROFILE if argument in ("dataset_name", "plan.dataset") else argument.strip('"') for argument in opened}
    named -= {name for name, entry in DATASETS.items() if entry.kind == "images"}  # made by the lesson
    assert named == set(LESSONS[name].data)


def test_saved_and_read_back(tmp_path):
    plan = Plan(profile="gpu", seeds=(1, 2), parameters={"STEPS": 3}, gpus=2)
    plan.save(tmp_path)
    assert Plan.load(tmp_path) == plan
    with pytest.raises(InputError, match="no plan of a batch run"):
        Plan.load(tmp_path / "elsewhere")


@pytest.mark.parametrize("profile", PROFILES)
def test_the_profiles_settings_are_plans(root, profile):
    settings = yaml.safe_load((root / "workflow" / "config" / f"{profile}.yaml").read_text())
    assert Plan.from_dict(settings).profile == profile


@pytest.mark.parametrize(
    ("settings", "fragment"),
    [
        ({"seed": [1]}, "seed: not a setting of a batch run"),
        ({"seeds": []}, "give one or more whole numbers"),
        ({"seeds": ["1"]}, "give a whole number"),
        ({"seeds": [1, 2, 1]}, "one is there twice"),
        ({"ablation_seeds": 0}, "ablation_seeds=0: give a whole number of 1 or more"),
        ({"parameters": {"STEP": 3}}, "STEP is no parameter"),
        ({"lessons": ["10_trainig"]}, "did you mean 10_training?"),
        ({"profile": "smokey"}, "did you mean smoke?"),
    ],
)
def test_mistakes_are_told_before_anything_runs(settings, fragment):
    with pytest.raises(InputError) as caught:
        Plan.from_dict(settings)
    assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["false", "False", False])
def test_text_of_a_command_line_is_no_yes(text):
    """``snakemake --config on_cluster=false`` gives the letters."""
    assert Plan.from_dict({"on_cluster": text}).on_cluster is False
    assert Plan.from_dict({"on_cluster": "true"}).on_cluster is True


@pytest.mark.parametrize(
    ("setting", "value"),
    [("on_cluster", "no"), ("gpus", "2"), ("gpus", -1), ("ablation_seeds", 0), ("ablation_seeds", 1.5),
     ("seeds", (2**70,)), ("seeds", (1.0,)), ("seeds", 5), ("seeds", ()), ("lessons", "10_training"), ("device", "gpu"),
     ("data_dir", 3), ("profile", ["smoke"]), ("parameters", [1])],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(refused, setting, value):
    refused(f"{setting}=", Plan, **{setting: value})


def test_numbers_of_numpy_become_pythons_own(tmp_path):
    plan = Plan(seeds=tuple(np.arange(2)), ablation_seeds=np.int64(1), parameters={"STEPS": np.int32(3)})
    plan.save(tmp_path)
    assert Plan.load(tmp_path) == plan == Plan(seeds=(0, 1), ablation_seeds=1, parameters={"STEPS": 3})


def test_rows_of_the_tables_are_trained_with_every_seed_where_they_stand():
    jobs = Plan(profile="paper", seeds=(1, 2), networks=("swin_unet", "unet", "msa2net_published")).jobs
    rows = {name: job.parameters for name, job in jobs.items() if job.kind == "network"}
    assert list(rows) == [
        f"network-{table}-{name}-{seed}"
        for table, name in (("1", "swin_unet"), ("2", "swin_unet"), ("2", "unet"), ("2", "msa2net_published"))
        for seed in (1, 2)
    ], "the main training is MSA²Net's row of Table 1"
    for name, given in rows.items():
        scans = name.startswith("network-1")
        assert (given["dataset"], given["recipe"]) == (("synapse", "synapse") if scans else ("isic", "isic"))
        assert (given["image_size"], given["changes"], given["pretrained"]) == (224, {}, True)
    assert {*rows} <= {*jobs["tables"].needs} & {*jobs["lesson-11_evaluation"].needs}
    assert "networks-all" not in jobs


def test_smoke_tries_every_network_and_trains_a_few_shortly():
    plan = Plan(networks=("swin_unet", "msa2net_tiny", "unet"))
    assert names(plan, "networks") == ["networks-all"]
    assert names(plan, "network") == [
        "network-1-swin_unet-1234", "network-1-msa2net_tiny-1234", "network-2-unet-1234",
    ]  # fmt: skip
    given = plan.jobs["network-1-swin_unet-1234"].parameters
    assert (given["image_size"], given["changes"]) == (64, {"steps": 30})
    assert names(Plan(), "network") == names(Plan(), "networks") == []
    few = Plan(lessons=("11_evaluation",), networks=("unet",))
    assert names(few, "network") == ["network-2-unet-1234"]
    assert "networks-all" not in few.jobs


@pytest.mark.parametrize(
    ("networks", "fragment"),
    [
        (("swin_unett",), "networks='swin_unett' is unknown: use one of 'msa2net'"),
        (("unet_nitr",), "networks='unet_nitr' is unknown"),
        ("swin_unet", "give a list"),
    ],
)
def test_a_network_that_stands_in_no_table_is_told(networks, fragment):
    with pytest.raises(InputError) as caught:
        Plan(networks=networks)
    assert fragment in str(caught.value)
