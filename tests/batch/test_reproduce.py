"""The workflow itself: real Snakemake and real jobs, whose work is played, killed at random and made to fail."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
import yaml

from msa2net_lib.batch import slurm
from msa2net_lib.batch.plan import JOB_NAME, Plan
from msa2net_lib.batch.reproduce import _command, profile_plan, reproduce
from msa2net_lib.batch.slurm import Room, planned
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.registry import LESSONS
from msa2net_lib.utils.locks import exclusive

pytestmark = pytest.mark.slow

LESSON = "00_start_here"
KEPT = (LESSON, "10_training", "11_evaluation", "12_ablation")
"""The lessons that played batches have: each kind of job, and what needs what, is among them."""
PLAYED = (
    f"""
import os, time
import msa2net_lib.batch.work as batch
from msa2net_lib.batch.plan import Plan
from msa2net_lib.lessons.registry import LESSONS
from msa2net_lib.utils.locks import exclusive

for name in set(LESSONS) - set({KEPT}):
    del LESSONS[name]
"""
    + """
ablation = Plan._ablation
Plan._ablation = lambda plan: ablation(plan)[:1]  # one row of Table 3 is enough

def play(plan, job, checkout):
    if job.name in os.environ.get("PLANTED_FAILURE", "").split():
        raise RuntimeError("planted")
    with open("began.txt", "a") as began:
        began.write(f"{job.name} {time.time()}" + chr(10))
    time.sleep(float(os.environ.get("PLAYED_SECONDS", 0)))
    with open("did.txt", "a") as did:
        did.write(f"{job.name} {time.time()}" + chr(10))
    return {"numbers": {"length of the name": len(job.name), **job.parameters}, "data_sha256": {}}

batch.WORK.update({kind: play for kind in batch.WORK})
"""
)
RUN = """
import json, sys
from msa2net_lib.batch.plan import Plan
from msa2net_lib.batch.reproduce import reproduce
sys.exit(reproduce(Plan(**json.loads(sys.argv[2])), sys.argv[1], cores=2))
"""
FEW = {"lessons": KEPT[:3], "seeds": (1,)}
"""Seven jobs, data before a training before lessons before the report."""
SECONDS = 0.6
"""What a job takes where it matters; a killed run is compared with `whole`, and the report draws how long jobs took."""


def play(home: Path, patch: pytest.MonkeyPatch) -> Path:
    """Every Python that starts from here plays the work of jobs; returns where results go."""
    (home / "site").mkdir()
    (home / "site" / "sitecustomize.py").write_text(PLAYED)
    patch.setenv("PYTHONPATH", str(home / "site"))
    for name in set(LESSONS) - set(KEPT):
        patch.delitem(LESSONS, name)
    ablation = Plan._ablation
    patch.setattr(Plan, "_ablation", lambda plan: ablation(plan)[:1])
    return home / "results"


@pytest.fixture
def played(tmp_path, monkeypatch):
    return play(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Results of `FEW`, done on two cores without a stop; to be looked at, and to go on from in a copy."""
    with pytest.MonkeyPatch.context() as patch:
        results = play(tmp_path_factory.mktemp("whole"), patch)
        patch.setenv("PLAYED_SECONDS", str(SECONDS))
        assert reproduce(Plan(**FEW), results, cores=2) == 0
    return results


def start(results: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", RUN, str(results), json.dumps(FEW)]
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, **piped, start_new_session=True, preexec_fn=heard)


def heard() -> None:
    """Signals that a shell's background job or nohup leaves ignored are heard again."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def page(results: Path) -> str:
    """The report without the times in it, nor the bars that show them."""
    text = (results / "smoke" / "index.html").read_text(encoding="utf-8")
    text = re.sub('<span class="bar"[^>]*></span>', "", text)
    return re.sub(r"\d+(\.\d+)? (min|GiB|s|jobs)\b|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\dZ?)?", "…", text)


def noted(results: Path, name: str) -> list[tuple[str, float]]:
    """What played jobs left: (job, moment), in order."""
    path = results / "smoke" / name
    words = (line.split() for line in path.read_text().splitlines()) if path.is_file() else ()
    return [(job, float(moment)) for job, moment in words]


def names(noted_jobs: list[tuple[str, float]]) -> list[str]:
    return [name for name, _ in noted_jobs]


def most_at_once(results: Path) -> int:
    """The most played jobs that were at work at the same moment."""
    began, did = (noted(results, name) for name in ("began.txt", "did.txt"))
    moments = sorted([(at, 1) for _, at in began] + [(at, -1) for _, at in did])
    return max(sum(change for _, change in moments[: index + 1]) for index in range(len(moments)))


def test_killed_at_random_moments_it_ends_the_same_and_does_nothing_twice(whole, played, monkeypatch, capfd):
    """Each kill waits for a job to begin, the third, first or second of its start, and hits while it is at work."""
    monkeypatch.setenv("PLAYED_SECONDS", str(SECONDS))
    plan = Plan(**FEW)
    jobs = set(plan.jobs)
    assert sorted(names(noted(whole, "did.txt"))) == sorted(jobs)
    moments = random.Random(0)
    for number in (3, 1, 2):
        process, before = start(played), len(noted(played, "began.txt"))
        while len(noted(played, "began.txt")) < before + number:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.02)
        time.sleep(moments.uniform(0, SECONDS + 0.05))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    undone = jobs - {path.parent.name for path in (played / "smoke" / "jobs").glob("*/done")}
    assert 0 < len(undone) < len(jobs), "the kills met nothing that was under way"
    assert reproduce(plan, played, cores=2) == 0
    logs = {path.parent.name: path.read_text() for path in (played / "smoke" / "jobs").glob("*/log.txt")}
    assert all(len(re.findall(r"^== \S+ done$", log, re.M)) == 1 for log in logs.values())
    begun, did = names(noted(played, "began.txt")), names(noted(played, "did.txt"))
    assert len(begun) > len(jobs), "no job was interrupted"
    # A job that had done its work and not yet its record does it again; nothing else is done twice.
    assert set(did) == jobs
    recorded = {name: len(re.findall(rf"^== {name} \d", log, re.M)) for name, log in logs.items()}
    assert all(did.count(name) <= recorded[name] for name in did)
    assert page(played) == page(whole)
    capfd.readouterr()
    assert reproduce(plan, played, cores=2) == 0
    assert ": running" not in capfd.readouterr().out


def test_jobs_run_side_by_side_where_two_cores_are_allowed(whole):
    assert most_at_once(whole) == 2


def test_what_changes_is_done_anew_down_to_the_report(whole, played, capfd):
    shutil.copytree(whole, played)

    def ran(**changes) -> set[str]:
        capfd.readouterr()
        assert reproduce(Plan(ablation_seeds=1, **changes), played, cores=2) == 0
        return set(re.findall(r"^(\S+): running$", capfd.readouterr().out, re.M))

    grown = set(Plan(seeds=(1,), ablation_seeds=1).jobs)
    assert ran(seeds=(1,)) == grown - set(Plan(**FEW).jobs) | {"report"}
    assert ran(seeds=(1, 2)) == {"train-2", "evaluate-2", "tables", "report"}
    assert ran(seeds=(1, 2), parameters={"SKIN_STEPS": 5}) == {"lesson-11_evaluation", "report"}
    shutil.rmtree(played / "smoke" / "jobs" / "data-patient2")  # done anew, and found to be the same
    (played / "smoke" / "index.html").unlink()
    assert ran(seeds=(1, 2), parameters={"SKIN_STEPS": 5}) == {"data-patient2"}
    assert (played / "smoke" / "index.html").is_file()


def test_one_failed_job_is_named_and_does_not_stop_the_others(played, monkeypatch, capfd):
    plan = Plan(**FEW)
    monkeypatch.setenv("PLANTED_FAILURE", "train-1")
    monkeypatch.setenv("PLAYED_SECONDS", str(SECONDS))
    assert reproduce(plan, played, cores=1) == 4  # lessons 10 and 11 and the report need it
    assert most_at_once(played) == 1, "one core is allowed, and two jobs need nothing"
    monkeypatch.delenv("PLAYED_SECONDS")
    out = capfd.readouterr().out
    (named,) = [line for line in out.splitlines() if line.startswith("FAILED")]
    words, _, log = named.partition("; log: ")
    assert words == "FAILED train-1: RuntimeError: planted"
    assert Path(log).resolve() == (played / "smoke" / "jobs" / "train-1" / "log.txt").resolve(), "cannot be opened"
    assert "not run: lesson-10_training, which needs train-1" in out
    assert "Traceback" in (played / "smoke" / "jobs" / "train-1" / "log.txt").read_text()
    assert "planted" in (played / "smoke" / "index.html").read_text(encoding="utf-8")
    done = {path.parent.name for path in (played / "smoke" / "jobs").glob("*/done")}
    assert set(plan.jobs) - done == {"train-1", "lesson-10_training", "lesson-11_evaluation", "report"}

    monkeypatch.delenv("PLANTED_FAILURE")
    assert reproduce(plan, played, cores=2) == 0
    assert capfd.readouterr().out.count(": running") == 4


PAGES = {
    LESSON: """
import os
record.number("shipped scans", len(os.listdir(DATA_DIR + "/example_ct/img")), "files")
record.finish().name
""",
    "02_fusion": """
from msa2net_lib.lessons.networks import find_network
find_network(record.folder.parent, CHECKPOINT)
""",
}
"""Lessons cut down to a cell, which follows their own cell of parameters."""


def test_a_real_notebook_and_a_real_failure(root, tmp_path, monkeypatch, capfd):
    """Nothing played: a page that runs, and one whose checkpoint is not there."""
    checkout = tmp_path / "checkout"
    shutil.copytree(root / "workflow", checkout / "workflow")
    (checkout / "data").symlink_to(root / "data")
    (checkout / "notebooks").mkdir()
    for name, page in PAGES.items():
        lesson = nbformat.read(root / "notebooks" / f"{name}.ipynb", 4)
        (settings,) = (cell for cell in lesson.cells if "parameters" in cell.metadata.get("tags", ()))
        begin = f"from msa2net_lib.lessons.records import Recorder\nrecord = Recorder.start('{name}', globals())"
        lesson.cells = [settings, nbformat.v4.new_code_cell(begin + page)]
        nbformat.write(lesson, checkout / "notebooks" / f"{name}.ipynb")
    monkeypatch.chdir(checkout)
    parameters = {"CHECKPOINT": "missing.safetensors"}
    plan = profile_plan("smoke", lessons=[LESSON, "02_fusion"], parameters=parameters, device="cpu")
    assert reproduce(plan, tmp_path, cores=2) == 2  # the lesson, and the report as a job
    out = capfd.readouterr().out
    assert "FAILED lesson-02_fusion: InputError: missing.safetensors: no such checkpoint" in out
    assert f"lesson-{LESSON}: done" in out
    folder = tmp_path / "smoke"
    record = json.loads((folder / "jobs" / f"lesson-{LESSON}" / "record.json").read_text())
    assert record["peak_memory_gib"] > 0
    assert record["numbers"]["shipped scans"]["value"] == len(list((root / "data" / "example_ct" / "img").iterdir()))
    assert (folder / LESSON / f"{LESSON}.html").is_file()
    assert "no such checkpoint" in (folder / "index.html").read_text(encoding="utf-8")


def started(results: Path, process: subprocess.Popen) -> None:
    """Wait until a job of a batch is under way."""
    while not noted(results, "began.txt"):
        assert process.poll() is None, "it ended before a job began"
        time.sleep(0.05)


def test_asked_to_end_it_ends_its_jobs(played, monkeypatch):
    """The signal goes to the leader alone, as a batch system sends it; each of the others raises the same."""
    monkeypatch.setenv("PLAYED_SECONDS", "60")
    process = start(played)
    started(played, process)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=50)
    assert process.returncode != 0
    assert not [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert not list((played / "smoke" / "jobs").glob("*/record.json")), "a job that was stopped has not ended"
    assert not noted(played, "did.txt")


def test_killed_alone_its_leader_leaves_no_room_for_a_second_batch(played, monkeypatch):
    monkeypatch.setenv("PLAYED_SECONDS", "1")
    process = start(played)
    started(played, process)
    (snakemake,) = psutil.Process(process.pid).children()
    process.kill()
    process.wait()  # its pipe is Snakemake's as well
    with pytest.raises(InputError, match=rf"another batch is at work there \(process {snakemake.pid}\)"):
        reproduce(Plan(lessons=(LESSON,)), played)
    snakemake.send_signal(signal.SIGINT)
    psutil.wait_procs([snakemake], timeout=50)
    with exclusive(played, lock=played / "smoke" / ".reproduce.lock"):
        process.communicate()


def test_a_copy_without_hidden_files_is_not_taken_for_done(whole, played, capfd):
    """What Snakemake knows of parameters lies in such files."""
    shutil.copytree(whole, played, ignore=shutil.ignore_patterns(".*"))
    longer = Plan(lessons=("10_training",), seeds=(1,), parameters={"STEPS": 6})
    assert reproduce(longer, played, cores=2) == 0
    again = set(re.findall(r"^(\S+): running$", capfd.readouterr().out, re.M))
    assert again == {"train-1", "lesson-10_training", "report"}
    for job in longer.jobs.values():
        assert json.loads((played / "smoke" / "jobs" / job.name / "record.json").read_text())["key"] == job.key


def test_a_checkout_may_lie_under_any_name(root, played, tmp_path, monkeypatch):
    checkout = tmp_path / "it's a copy" / 'two words "and" {braces}' / "semi;colon & $HOME"
    shutil.copytree(root / "workflow", checkout / "workflow")
    (checkout / "notebooks").mkdir()
    shutil.copy(root / "notebooks" / f"{LESSON}.ipynb", checkout / "notebooks")
    monkeypatch.chdir(checkout)
    plan = profile_plan("smoke", lessons=[LESSON], device="cpu")
    assert reproduce(plan, "results", cores=2) == 0
    assert names(noted(checkout / "results", "did.txt")) == ["data-virtual", f"lesson-{LESSON}", "report"]


def test_where_no_job_has_a_record_snakemakes_last_words_are_shown(root, played, tmp_path, monkeypatch, capfd):
    for folder in ("workflow", "notebooks"):
        (tmp_path / folder).mkdir()
    (tmp_path / "notebooks" / f"{LESSON}.ipynb").write_text("{}")
    (tmp_path / "workflow" / "Snakefile").write_text("rule all:\n    input:\n        'nowhere.txt',\n")
    monkeypatch.chdir(tmp_path)
    assert reproduce(Plan(lessons=(LESSON,)), tmp_path, cores=2) == 3
    out = capfd.readouterr().out
    assert "its last words, all in smoke/snakemake.log:" in out
    assert "nowhere.txt" in out


def test_no_value_reaches_a_shell(root, played, tmp_path):
    """Refused where the plan is made, through Snakemake alone too; the file would be there if a shell had read it."""
    marker = tmp_path / "marker"
    values = [f"virtual; touch {marker}", f"$(touch {marker})", f"virtual\ntouch {marker}"]
    for value in values:
        with pytest.raises(InputError, match="DATASET="):
            Plan(lessons=(LESSON,), parameters={"DATASET": value})
    for name, value in (("device", f"cpu; touch {marker}"), ("seeds", (f"1; touch {marker}",)), ("lessons", values)):
        with pytest.raises(InputError):
            Plan(**{name: value})
    settings = tmp_path / "config.yaml"
    settings.write_text(yaml.safe_dump({"lessons": [LESSON], "parameters": {"DATASET": values[0]}}))
    command = [sys.executable, "-m", "snakemake", "--snakefile", root / "workflow" / "Snakefile", "--cores", "1"]
    command += ["--directory", tmp_path / "results", "--configfile", settings]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "DATASET=" in done.stderr
    assert not marker.exists()
    assert all(re.fullmatch(JOB_NAME, job) for job in Plan(seeds=(1,)).jobs)


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
    """A dry run with the Slurm profile, as a user types it; `make test-cluster` runs one on a real Slurm."""
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        root / "workflow" / "Snakefile",
        "--directory",
        tmp_path / "paper",
    ]
    command += ["--configfile", root / "workflow" / "config" / "paper.yaml", "--dry-run"]
    command += ["--profile", root / "workflow" / "profiles" / "slurm"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    settings = yaml.safe_load((root / "workflow" / "config" / "paper.yaml").read_text())
    jobs = Plan.from_dict(settings).jobs
    for name in jobs:
        assert f"jobs/{name}/done" in done.stdout + done.stderr
    assert re.search(rf"^total\s+{len(jobs) + 1}$", done.stdout + done.stderr, re.M)
    assert "gpu=1" in done.stdout + done.stderr


def test_what_jobs_ask_for_does_not_depend_on_the_machine_that_submits(root, tmp_path):
    """A plain dry run has them ask for one core, and a job that fits no node would wait for ever."""
    plan, workflow = profile_plan("smoke", lessons=["10_training"], on_cluster=True), root / "workflow"
    plan.save(tmp_path)
    for cores, train in ((None, 4), (2, 2)):
        asked = slurm._requests(planned(_command(workflow, plan, tmp_path, cores, workflow / "profiles" / "slurm")))
        assert (asked["train"][0].cpus, asked["data"][0].cpus) == (train, 1)
        assert asked["train"] == (Room(train, 4000, 1440, 0), "")
