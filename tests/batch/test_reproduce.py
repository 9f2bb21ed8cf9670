"""The workflow itself: real Snakemake and real jobs, whose work is played, killed at random and made to fail."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from msa2net_lib.batch.plan import Plan
from msa2net_lib.batch.reproduce import SNAKEFILE, profile_plan, reproduce
from msa2net_lib.errors import InputError

LESSON = "00_start_here"
PLAYED = """
import os, time
import msa2net_lib.batch.work as batch

def play(plan, job):
    if job.name in os.environ.get("PLANTED_FAILURE", "").split():
        raise RuntimeError("planted")
    time.sleep(0.3)
    with open("did.txt", "a") as did:
        did.write(job.name + chr(10))
    return {"numbers": {"length of the name": len(job.name)}, "data_sha256": {}}

batch.WORK.update({kind: play for kind in batch.WORK if kind != "report"})
"""
RUN = """
import sys
from msa2net_lib.batch.plan import Plan
from msa2net_lib.batch.reproduce import reproduce
sys.exit(reproduce(Plan(seeds=(1, 2), lessons={lessons}), sys.argv[1], cores=2))
"""


@pytest.fixture
def played(tmp_path, monkeypatch):
    """Every Python that starts from here plays the work of jobs."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(PLAYED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    return tmp_path / "results"


def start(results: Path, lessons: tuple[str, ...] = ()) -> subprocess.Popen:
    command = [sys.executable, "-c", RUN.format(lessons=lessons), str(results)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def finish(process: subprocess.Popen) -> str:
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0, out
    return out


def page(results: Path) -> str:
    """The report without the times in it."""
    text = (results / "smoke" / "index.html").read_text(encoding="utf-8")
    return re.sub(r"\d+(\.\d+)? (min|GiB|s|jobs)\b|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\dZ?)?", "…", text)


def test_killed_at_ten_random_moments_it_ends_the_same_and_does_nothing_twice(played, tmp_path):
    whole = finish(start(tmp_path / "whole"))
    assert whole.count(": running") == len(Plan(seeds=(1, 2)).jobs)
    moments = random.Random(0)
    kills = 0
    while kills < 10:
        process = start(played)
        time.sleep(moments.uniform(1.5, 6.0))
        if process.poll() is not None:
            break
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        kills += 1
    finish(start(played))
    assert kills == 10, f"it ended after {kills} kills: the moments are too late to test anything"
    did = (played / "smoke" / "did.txt").read_text().split()
    logs = [path.read_text() for path in sorted((played / "smoke" / "jobs").glob("*/log.txt"))]
    assert all(len(re.findall(r"^== \S+ done$", log, re.M)) == 1 for log in logs)
    assert sorted(set(did)) == sorted(set(Plan(seeds=(1, 2)).jobs) - {"report"})
    assert page(played) == page(tmp_path / "whole")
    nothing = finish(start(played))
    assert ": running" not in nothing


def test_one_failed_job_is_named_and_does_not_stop_the_others(played, monkeypatch, capfd):
    plan = Plan(seeds=(1, 2))
    monkeypatch.setenv("PLANTED_FAILURE", "train-2")
    assert reproduce(plan, played, cores=2) == 4  # evaluate-2, the tables and the report need it
    out = capfd.readouterr().out
    (named,) = [line for line in out.splitlines() if line.startswith("FAILED")]
    assert named == "FAILED train-2: RuntimeError: planted; log: smoke/jobs/train-2/log.txt"
    assert "not run: evaluate-2, which needs train-2" in out
    assert "Traceback" in (played / "smoke" / "jobs" / "train-2" / "log.txt").read_text()
    assert "planted" in (played / "smoke" / "index.html").read_text(encoding="utf-8")
    done = {path.parent.name for path in (played / "smoke" / "jobs").glob("*/done")}
    assert set(plan.jobs) - done == {"train-2", "evaluate-2", "tables", "report"}

    monkeypatch.delenv("PLANTED_FAILURE")
    assert reproduce(plan, played, cores=2) == 0
    assert capfd.readouterr().out.count(": running") == 4


def test_a_real_lesson_and_a_real_failure(tmp_path, capfd):
    """Nothing played: a lesson that runs, and one whose checkpoint is not there."""
    parameters = {"CHECKPOINT": "missing.safetensors"}
    plan = profile_plan("smoke", lessons=[LESSON, "02_fusion"], parameters=parameters, device="cpu")
    assert reproduce(plan, tmp_path, cores=2) == 2  # the lesson, and the report as a job
    out = capfd.readouterr().out
    assert "FAILED lesson-02_fusion: InputError: missing.safetensors: no such checkpoint" in out
    assert f"lesson-{LESSON}: done" in out
    folder = tmp_path / "smoke"
    record = json.loads((folder / "jobs" / f"lesson-{LESSON}" / "record.json").read_text())
    assert record["peak_memory_gib"] > 0
    assert record["numbers"]
    assert (folder / LESSON / f"{LESSON}.html").is_file()
    assert "no such checkpoint" in (folder / "index.html").read_text(encoding="utf-8")


def test_two_batches_do_not_share_a_folder(tmp_path):
    from filelock import FileLock

    (tmp_path / "smoke").mkdir()
    with FileLock(tmp_path / "smoke" / ".reproduce.lock"), pytest.raises(InputError, match="another batch is at work"):
        reproduce(Plan(lessons=(LESSON,)), tmp_path)


@pytest.mark.parametrize(
    ("options", "fragment"), [({"cores": 0}, "cores=0: give 1"), ({"cluster": "nowhere"}, "nowhere: no such folder")]
)
def test_what_is_refused(tmp_path, options, fragment):
    with pytest.raises(InputError, match=fragment):
        reproduce(Plan(lessons=(LESSON,)), tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_profiles_and_changes():
    plan = profile_plan("paper", seeds=[5], device="cpu")
    assert (plan.profile, plan.seeds, plan.gpus, plan.dataset) == ("paper", (5,), 0, "synapse")
    assert profile_plan("smoke", parameters={"SEED": 7}, device="cpu").seeds == (7,)
    assert profile_plan("paper", on_cluster=True).gpus == 1
    with pytest.raises(InputError, match="profile='papers' is unknown"):
        profile_plan("papers")


def test_a_cluster_gets_the_same_jobs(root, tmp_path):
    """A dry run with the Slurm profile, as a user types it; no cluster was at hand to run it on."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", SNAKEFILE, "--directory", tmp_path / "paper"]
    command += ["--configfile", root / "workflow" / "config" / "paper.yaml", "--dry-run"]
    command += ["--profile", root / "workflow" / "profiles" / "slurm"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    settings = yaml.safe_load((root / "workflow" / "config" / "paper.yaml").read_text())
    jobs = Plan.from_dict(settings).jobs
    for name in jobs:
        assert f"jobs/{name}/done" in done.stdout + done.stderr
    assert re.search(rf"^total\s+{len(jobs)}$", done.stdout + done.stderr, re.M)
    assert "gpu=1" in done.stdout + done.stderr
