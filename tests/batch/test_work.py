"""What jobs of a batch run really do: trainings of other settings in one place, scores of each selection, tables."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from small_run import SMALL

from msa2net_lib.batch import work as batch_work
from msa2net_lib.batch.job import run_job
from msa2net_lib.batch.places import make_room, open_scans, scores_file, training_folder
from msa2net_lib.batch.plan import Job, Plan
from msa2net_lib.batch.work import work
from msa2net_lib.checkpoints import SHIPPED_TINY
from msa2net_lib.config import PRESETS
from msa2net_lib.data.datasets import Case
from msa2net_lib.paper.ablation.runs import ablation_plan

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    (tmp_path / "smoke").mkdir()
    monkeypatch.chdir(tmp_path / "smoke")


@pytest.fixture
def small_preset(monkeypatch):
    """What the profile trains, small."""
    monkeypatch.setitem(PRESETS, "tiny", SMALL)


def every_fourth_slice(case: Case) -> Case:
    return replace(case, image=case.image[::4], label=case.label[::4])


def record(name: str) -> dict:
    return json.loads(Path("jobs", name, "record.json").read_text(encoding="utf-8"))


def test_a_training_of_other_settings_is_set_aside_and_made_anew(root, other_dataset, small_preset):
    def train(seed: int, steps: int) -> Plan:
        given = {"STEPS": steps, "BATCH_SIZE": 2, "DATASET": str(other_dataset.root)}
        plan = Plan(seeds=(seed,), parameters=given)
        assert run_job(plan, plan.jobs[plan.main_training], root) == 0, record(plan.main_training)
        return plan

    train(1, steps=1)
    first = record("train-1")
    train(1, steps=2)
    assert (first["numbers"]["steps"], record("train-1")["numbers"]["steps"]) == (1, 2)
    assert Path("10_training/run_before_1/weights.safetensors").is_file()
    plan = train(2, steps=1)
    assert training_folder(plan, 2) == Path("10_training/run")
    assert not Path("jobs/train-1/record.json").exists(), "its weights are no longer where its record says"
    assert not Path("jobs/train-1/done").exists()
    assert Path("10_training/run_before_2/weights.safetensors").is_file()


def test_a_network_has_the_classes_of_the_data_it_is_trained_on(root, other_dataset, small_preset):
    """Three of one's own here, where a preset has Synapse's eight."""
    plan = Plan(seeds=(1,), parameters={"STEPS": 1, "BATCH_SIZE": 2, "DATASET": str(other_dataset.root)})
    for name in ("train-1", "evaluate-1"):
        assert run_job(plan, plan.jobs[name], root) == 0, record(name)
    assert record("train-1")["network"]["num_classes"] == 4


def test_a_training_goes_on_where_it_was_unless_its_job_was_deleted():
    job, folder = Job("train-1", "train"), Path("10_training/run")
    make_room(folder, job, "digest")
    folder.mkdir(parents=True)
    (folder / "state.pt").touch()
    make_room(folder, job, "digest")
    assert (folder / "state.pt").exists()
    Path("jobs/train-1/of_run.txt").unlink()
    make_room(folder, job, "digest")
    assert not folder.exists()
    folder.mkdir()
    make_room(folder, job, "digest of other data")
    assert not folder.exists()


def test_every_selection_that_a_training_kept_is_scored_and_in_the_tables(root, monkeypatch):
    plan = Plan(seeds=(1,), parameters={"SELECTION": "validation"})
    folder = training_folder(plan, 1)
    folder.mkdir(parents=True)
    for name in ("weights", "best_on_validation"):
        (folder / f"{name}.safetensors").write_bytes(SHIPPED_TINY.read_bytes())
    shipped = json.loads(SHIPPED_TINY.with_suffix(".json").read_text(encoding="utf-8"))
    (folder / "run.json").write_text(json.dumps(shipped))
    whole = open_scans(plan, "virtual", root)
    one_case = replace(whole, test_cases=whole.test_cases[:1])
    load_case = type(whole).load_case
    monkeypatch.setattr(type(whole), "load_case", lambda *asked: every_fourth_slice(load_case(*asked)))
    monkeypatch.setattr(batch_work, "open_scans", lambda *_: one_case)
    found = work(plan, plan.jobs["evaluate-1"], root)
    assert [name for name in found["numbers"] if "DSC" in name] == [
        "mean DSC, last step",
        "mean DSC, best on validation",
    ]
    assert found["numbers"]["mean DSC, last step"] == found["numbers"]["mean DSC, best on validation"] > 0.8
    assert {"scores_last.csv", "scores_validation.csv"} <= set(found["data_sha256"])
    assert not scores_file(1, "test").exists()

    ablation = ablation_plan("smoke")
    monkeypatch.setattr(batch_work, "ablation_runs", lambda *_: (ablation, None))
    work(plan, plan.jobs["tables"], root)
    measured = pd.read_csv("tables/table_1.csv").query("origin == 'measured'")
    assert list(measured.selection) == ["last step", "best on validation"]
    table = pd.read_csv("tables/table_3.csv")
    assert (table.origin == "measured").sum() == 6, "the longer measurement stands there too"
