"""A job is done once, by one process, and leaves a record and a log whatever happens."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from msa2net_lib.batch import job as batch_job
from msa2net_lib.batch.job import main, run_job
from msa2net_lib.batch.plan import Plan
from msa2net_lib.errors import InputError

PLAN = Plan(lessons=("00_start_here",))
JOB = PLAN.jobs["lesson-00_start_here"]


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Stand in for the work; returns what was done."""
    done: list[str] = []

    def work(plan, job, checkout):
        done.append(job.name)
        subprocess.run([sys.executable, "-c", "print('said by a child')"], check=True)
        return {"numbers": {"answer": 42}, "data_sha256": {"x": "0" * 64}}

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(batch_job, "work", work)
    return done


def record():
    with open(f"jobs/{JOB.name}/record.json", encoding="utf-8") as handle:
        return json.load(handle)


def test_done_once_with_a_record_and_a_log(calls, capfd):
    assert run_job(PLAN, JOB) == 0
    first = record()
    assert run_job(PLAN, JOB) == 0
    assert calls == [JOB.name]
    assert record() == first
    wanted = {"parameters", "seed", "versions", "hardware", "data_sha256", "commit", "minutes", "peak_memory_gib"}
    assert wanted <= set(first)
    assert (first["status"], first["numbers"], first["kind"]) == ("done", {"answer": 42}, "lesson")
    with open(first["log"], encoding="utf-8") as log:
        assert "said by a child" in log.read()
    out = capfd.readouterr().out
    assert out.splitlines() == [f"{JOB.name}: running", f"{JOB.name}: done ({first['minutes']:.1f} min)"]


def test_a_lost_mark_is_set_again_as_old_as_the_record(calls):
    run_job(PLAN, JOB)
    folder = f"jobs/{JOB.name}"
    os.utime(f"{folder}/record.json", (1e9, 1e9))
    os.remove(f"{folder}/done")
    run_job(PLAN, JOB)
    assert os.stat(f"{folder}/done").st_mtime == 1e9
    assert len(calls) == 1


def test_other_parameters_are_another_job(calls):
    run_job(PLAN, JOB)
    other = Plan(lessons=("00_start_here",), parameters={"SEED": 5})
    run_job(other, other.jobs[JOB.name])
    assert len(calls) == 2


def finds(monkeypatch, **numbers):
    """Let jobs find these numbers; returns the names of those that were done."""
    done: list[str] = []

    def work(plan, job, checkout):
        done.append(job.name)
        return {"numbers": numbers, "data_sha256": {}}

    monkeypatch.setattr(batch_job, "work", work)
    return done


@pytest.mark.parametrize(("found_again", "is_redone"), [({"dsc": 0.8}, False), ({"dsc": 0.7}, True)])
def test_a_job_is_done_anew_if_what_it_was_made_from_has_changed(calls, monkeypatch, found_again, is_redone):
    data = PLAN.jobs["data-virtual"]
    finds(monkeypatch, dsc=0.8)
    assert run_job(PLAN, data) == run_job(PLAN, JOB) == 0
    shutil.rmtree(f"jobs/{data.name}")  # as a user does who wants it done anew
    finds(monkeypatch, **found_again)
    run_job(PLAN, data)
    done = finds(monkeypatch, dsc=0.8)
    run_job(PLAN, JOB)
    assert done == [JOB.name] * is_redone
    times = [os.stat(f"jobs/{job.name}/done").st_mtime_ns for job in (data, JOB)]
    assert times[0] <= times[1], "Snakemake would ask for it each time"


def test_a_failure_is_recorded_and_tried_again(calls, monkeypatch, capfd):
    works = batch_job.work

    def fail(plan, job, checkout):
        raise ValueError("no such\nluck")

    monkeypatch.setattr(batch_job, "work", fail)
    assert run_job(PLAN, JOB) == 1
    failed = record()
    assert (failed["status"], failed["error"]) == ("failed", "ValueError: no such luck")
    assert not os.path.exists(f"jobs/{JOB.name}/done")
    assert f"{JOB.name}: failed: ValueError: no such luck; log: jobs/{JOB.name}/log.txt" in capfd.readouterr().out
    with open(failed["log"], encoding="utf-8") as log:
        assert "Traceback" in log.read()
    monkeypatch.setattr(batch_job, "work", works)
    assert run_job(PLAN, JOB) == 0
    assert (record()["status"], record()["failed_before"]) == ("done", 1)


def test_our_own_words_stand_alone(calls, monkeypatch):
    def refuse(plan, job, checkout):
        raise InputError("x: wrong; do y")

    monkeypatch.setattr(batch_job, "work", refuse)
    run_job(PLAN, JOB)
    assert record()["error"] == "x: wrong; do y"


def test_ctrl_c_leaves_no_record(calls, monkeypatch):
    def stop(plan, job, checkout):
        raise KeyboardInterrupt

    monkeypatch.setattr(batch_job, "work", stop)
    PLAN.save(Path())
    assert main([JOB.name]) == 130
    assert not Path("jobs", JOB.name, "record.json").exists()


def test_two_at_once_do_it_once(calls):
    threads = [threading.Thread(target=run_job, args=(PLAN, JOB)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1


def test_what_the_command_refuses(calls, capsys):
    assert main([]) == 2
    assert main(["lesson-00_start_here"]) == 2
    assert "no plan of a batch run" in capsys.readouterr().err
    PLAN.save(Path())
    assert main(["lesson-99"]) == 2
    assert "job 'lesson-99' is not in the plan" in capsys.readouterr().err
