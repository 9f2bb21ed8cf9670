"""A batch on a real Slurm: `make test-cluster`, or `python tests/cluster/run.py [CHECK ...]`.

Starts a cluster of this one machine, submits to it what a user submits, stops it, and looks whether anything is left.
Nothing is played: jobs wait in Slurm's queue, run, fail, are cancelled, and lose the process that submitted them.

pytest does not collect it, as it is not named test_*. Exit status: 0 all well, 1 a check failed, 3 no Slurm to be had.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parent))

from node import NoSlurmError, end, family, find_slurm, left, one_node, said, wait_for

ROOT = Path(__file__).resolve().parents[2]
LESSON, OTHER = "00_start_here", "02_fusion"
NO_SLURM = 3
PATIENCE = 1800
"""Seconds that a check waits for work to begin or end: on a busy machine its jobs took ten times as long as alone."""
LOOK_OFTEN = "slurm-init-seconds-before-status-checks: 2\nseconds-between-status-checks: 2\n"
POLLED = "import msa2net_lib.batch.slurm as slurm; slurm.POLL_SECONDS = 2.0\n"


BEGUN: list[psutil.Popen] = []
"""Commands that were started: none outlives its check."""


class Batch:
    """`msa2net reproduce` on the cluster, with results of its own."""

    def __init__(self, home: Path, name: str) -> None:
        self.results, self.profile, self.name = home / name, home / f"profile_{name}", name
        shutil.copytree(ROOT / "workflow" / "profiles" / "slurm", self.profile)
        self.settings = self.profile / "config.yaml"
        self.settings.write_text(self.settings.read_text().replace("latency-wait: 60", "latency-wait: 5") + LOOK_OFTEN)

    def start(self, *options: str) -> psutil.Popen:
        """The command as a process of a group of its own."""
        words = ["reproduce", "--profile", "smoke", "--output", str(self.results), "--cluster", str(self.profile)]
        code = f"{POLLED}import sys\nfrom msa2net_lib.cli.main import main\nsys.exit(main({[*words, *options]!r}))"
        piped = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        BEGUN.append(psutil.Popen([sys.executable, "-c", code], **piped, cwd=ROOT, start_new_session=True))
        return BEGUN[-1]

    def run(self, *options: str) -> tuple[int, str]:
        """The command to its end: its exit code, and what it said."""
        return ended(self.start(*options))

    def record(self, job: str) -> dict:
        """What a job recorded."""
        return json.loads((self.results / "smoke" / "jobs" / job / "record.json").read_text())

    def log(self, job: str) -> str:
        """What a job printed."""
        return (self.results / "smoke" / "jobs" / job / "log.txt").read_text()

    def allow_small_nodes(self) -> None:
        """Do what the refusal says."""
        text = self.settings.read_text()
        assert "  # - cpus_per_task=2\n" in text
        self.settings.write_text(text.replace("  # - cpus_per_task=2\n", "  - cpus_per_task=2\n"))


def ended(process: psutil.Popen) -> tuple[int, str]:
    out, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, out


def is_running(job: str) -> bool:
    """Whether a job of a batch is at work on the node; the executor puts its rule and name into a comment."""
    return f"RUNNING|rule_{job}" in said("squeue", "-h", "-o", "%T|%k")


def jobs_that_ask_for_too_much(home: Path) -> None:
    """The training wants 4 CPUs, the node has 2: refused with what to change. Then it trains and is stopped."""
    batch, wanted = Batch(home, "large"), ("--only", "10_training", "-p", "STEPS=2")
    code, out = batch.run(*wanted)
    assert code == 2, out
    assert re.search(r"config.yaml: no node of partition normal has what a job of train asks for \(4 CPUs", out), out
    assert "put cpus_per_task=2 under default-resources" in out
    assert len(out.strip().splitlines()) == 1, out
    assert not said("squeue", "-h")
    batch.allow_small_nodes()
    process = batch.start(*wanted)
    trained = batch.results / "smoke" / "jobs" / "train-1234" / "done"
    wait_for("the training", lambda: trained.exists() or process.poll() is not None, PATIENCE)
    assert batch.record("train-1234")["numbers"]["steps"] == 2
    process.send_signal(signal.SIGTERM)
    code, out = ended(process)
    assert code == 143, out
    wait_for("an empty queue", lambda: not said("squeue", "-h"), 60)


def a_job_that_fails(home: Path) -> None:
    """A job that fails is named with its log, and the others are done."""
    batch = Batch(home, "fails")
    code, out = batch.run("--only", LESSON, OTHER, "-p", "CHECKPOINT=missing.safetensors")
    assert code == 1, out
    assert f"FAILED lesson-{OTHER}: InputError: missing.safetensors: no such checkpoint" in out, out
    assert batch.record(f"lesson-{LESSON}")["status"] == "done"


def a_queue_and_scancel(home: Path) -> None:
    """While the node is taken, why is said; a job that is cancelled is told; the same command again ends it."""
    (number,) = said("sbatch", "--parsable", "-c", "2", "-o", "/dev/null", "--wrap", f"sleep {PATIENCE}").split()
    batch = Batch(home, "queue")
    process = batch.start("--only", LESSON)
    lines = []
    while not any("waiting in Slurm's queue (Resources): data-virtual" in line for line in lines):
        line = process.stdout.readline()
        assert line, lines
        lines.append(line)
    said("scancel", number)
    wait_for("the lesson's job", lambda: is_running("lesson") or process.poll() is not None, PATIENCE)
    said("scancel", "--name", said("squeue", "-h", "-o", "%j").split()[0])
    code, out = ended(process)
    assert code == 1, out
    assert f"not finished: lesson-{LESSON}; run the same command again" in out, out
    code, out = batch.run("--only", LESSON)
    assert code == 0, out
    assert batch.record("data-virtual")["failed_before"] == 0


def a_killed_leader(home: Path) -> None:
    """The command and its Snakemake are killed while a job runs: the same command again does nothing twice."""
    batch = Batch(home, "killed")
    process = batch.start("--only", LESSON)
    wait_for("the lesson's job", lambda: is_running("lesson") or process.poll() is not None, PATIENCE)
    both = family(process.pid)
    os.killpg(process.pid, signal.SIGKILL)
    psutil.wait_procs(both, timeout=30)
    process.communicate()
    code, out = batch.run("--only", LESSON)
    assert code == 0, out
    assert len(re.findall(rf"^== lesson-{LESSON} \d", batch.log(f"lesson-{LESSON}"), re.M)) == 1, "done twice"
    assert len(re.findall(r"^== data-virtual \d", batch.log("data-virtual"), re.M)) == 1


def a_training_of_two_tasks(home: Path) -> None:
    """The script of docs/training.md, with two tasks on the one node and no GPU."""
    (script,) = re.findall(r"^(#!/bin/bash\n#SBATCH.*?)^```", (ROOT / "docs" / "training.md").read_text(), re.M | re.S)
    run = home / "run"
    there = "from msa2net_lib import open_dataset; open_dataset('virtual', progress=False)"
    subprocess.run([sys.executable, "-c", there], cwd=ROOT, check=True)
    for before, after in (
        ("--nodes=2 --ntasks-per-node=1 --gpus-per-node=4 --cpus-per-task=32", "--ntasks=2 --cpus-per-task=1"),
        ("--nproc-per-node 4", "--nproc-per-node 1"),
        ("data/synapse", str(ROOT / "data" / "virtual" / "prepared")),
        ("--preset published --recipe synapse --pretrained", "--preset tiny --steps 2 --batch-size 5 --device cpu"),
        ("runs/synapse", str(run)),
    ):
        assert before in script, before
        script = script.replace(before, after)
    (home / "two.sh").write_text(script)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    command = ["sbatch", "--wait", "--output", home / "two.log", home / "two.sh"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, f"{done.stderr}{(home / 'two.log').read_text()[-3000:]}"
    record = json.loads((run / "run.json").read_text())
    assert record["processes"] == 2, record


CHECKS = a_job_that_fails, a_queue_and_scancel, a_killed_leader, jobs_that_ask_for_too_much, a_training_of_two_tasks


def main() -> int:
    """Run each check on one cluster; prints a line for each."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the cluster is stopped then, too
    failed = 0
    try:
        find_slurm()
        there = left()
        if set(there.values()) - {"munged"}:  # which Debian's package may have started, and does not answer ours
            raise NoSlurmError(f"a cluster runs here already: {there}")
    except NoSlurmError as error:
        print(error)
        return NO_SLURM
    with tempfile.TemporaryDirectory(prefix="msa2net-cluster-") as temporary:
        home = Path(temporary)
        try:
            with one_node(home, there):
                for check in [check for check in CHECKS if check.__name__ in sys.argv[1:] or not sys.argv[1:]]:
                    began = time.monotonic()
                    try:
                        check(home)
                        told = "ok"
                    except Exception as error:  # the other checks are made all the same
                        told, failed = f"FAILED {type(error).__name__}: {error}", failed + 1
                    end([process for begun in BEGUN if begun.is_running() for process in family(begun.pid)])
                    said("scancel", "--user=root")
                    print(f"{check.__name__.replace('_', ' ')} ({time.monotonic() - began:.0f} s): {told}", flush=True)
                if failed:
                    print((home / "slurmctld.log").read_text()[-3000:])
        except TimeoutError as error:
            print(error, (home / "daemons.log").read_text()[-3000:], sep="\n")
            return NO_SLURM
        if after := left(there):
            print(f"FAILED, still there: {after}")
            return 1
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
