"""The door to the workflow: writes the plan, runs Snakemake on it, names what failed, and leaves a report."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from msa2net_lib.batch.job import DONE, read_job
from msa2net_lib.batch.plan import PLAN_FILE, Job, Plan
from msa2net_lib.batch.report import write_report
from msa2net_lib.batch.work import job_folder
from msa2net_lib.config import PROFILES, require_choice
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.execute import find_checkout
from msa2net_lib.utils.files import writable_folder

SNAKEMAKE_LOG, LOCK = "snakemake.log", ".reproduce.lock"


def profile_plan(
    profile: str,
    *,
    lessons: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    parameters: Mapping[str, Any] | None = None,
    device: str = "auto",
    on_cluster: bool = False,
) -> Plan:
    """The plan of ``workflow/config/<profile>.yaml`` with changes.

    A ``SEED`` among the lessons' parameters is the training's, too. on_cluster: whether a job gets a GPU is the
    profile's to say; else jobs share those of this machine. Raises: `InputError` for an unknown profile, lesson or
    parameter, and without Snakemake.
    """
    workflow = find_workflow()
    import yaml

    require_choice("profile", profile, tuple(PROFILES))
    settings = yaml.safe_load((workflow / "config" / f"{profile}.yaml").read_text(encoding="utf-8"))
    given = dict(parameters or {})
    chosen = seeds or ([given["SEED"]] if "SEED" in given else settings["seeds"])
    changes = {"lessons": lessons, "seeds": chosen, "parameters": given, "device": device}
    if on_cluster:
        changes["on_cluster"] = True
    else:
        changes["gpus"] = _gpus(device)
    return Plan.from_dict(settings | changes)


def _gpus(device: str) -> int:
    """How many CUDA devices jobs may have."""
    if device not in ("auto", "cuda"):
        return 0
    import torch

    return torch.cuda.device_count()


def reproduce(
    plan: Plan,
    output_dir: str | Path,
    *,
    cores: int | None = None,
    cluster: str | Path | None = None,
    dry_run: bool = False,
) -> int:
    """Do the jobs of a plan that are not done yet; returns the number of jobs that are still not done after it.

    Results go to ``<output_dir>/<profile>/``, the report to ``index.html`` there. cores: processor cores to use at the
    same time, all by default; jobs that do not need each other run side by side. cluster: a folder with a Snakemake
    profile, such as ``workflow/profiles/slurm``. dry_run: only say what would be done. A job that fails is named with
    its log and stops only those that need it; the same command again goes on where the last one ended. Errors:
    `InputError` without Snakemake, outside of a checkout, and while another batch works on the same folder.
    """
    workflow = find_workflow()
    if cores is not None and cores < 1:
        raise InputError(f"cores={cores}: give 1 or more")
    if cluster is not None and not Path(cluster).is_dir():
        raise InputError(f"{cluster}: no such folder; name one with a Snakemake profile, as workflow/profiles/slurm")
    folder = writable_folder(Path(output_dir).resolve() / plan.profile)
    try:
        with FileLock(folder / LOCK, timeout=0):
            return _reproduce(plan, folder, _command(workflow, plan, folder, cores, cluster, dry_run), dry_run)
    except Timeout as error:
        raise InputError(f"{folder}: another batch is at work there; wait for it, or name another --output") from error


def find_workflow() -> Path:
    """The folder of the checkout with the Snakefile. Raises: `InputError` without Snakemake or the checkout."""
    if importlib.util.find_spec("snakemake") is None:
        raise InputError("Snakemake is not installed: run pip install -e '.[batch]' in the checkout, or make workbook")
    return find_checkout() / "workflow"


def _reproduce(plan: Plan, folder: Path, command: list[str], dry_run: bool) -> int:
    plan.save(folder)
    log = folder / SNAKEMAKE_LOG
    with open(log, "w", encoding="utf-8") as words:
        status = subprocess.run(command, stderr=None if dry_run else words, check=False).returncode
    if dry_run:
        return status
    undone = [job for job in plan.jobs.values() if not (folder / job_folder(job.name) / DONE).is_file()]
    for line in _named(undone, folder):
        print(line)
    if status and not undone:
        print(f"Snakemake ended with exit code {status}; its words: {os.path.relpath(log)}")
    # The job "report" is for runs by Snakemake alone; here the page also tells what failed, and what was done anew.
    print(f"report: {os.path.relpath(write_report(folder.parent, plan.profile))}")
    return len(undone) or int(status != 0)


def _named(undone: list[Job], folder: Path) -> list[str]:
    """Say of each job that is not done whether it failed, and why, or what it waits for."""
    lines, names = [], {job.name for job in undone}
    for job in undone:
        if job.kind == "report":
            continue  # it is written in any case
        record = read_job(folder / job_folder(job.name))
        if record is not None and record["status"] == "failed":
            lines.append(f"FAILED {job.name}: {record['error']}; log: {os.path.relpath(folder / record['log'])}")
        elif missing := [need for need in job.needs if need in names]:
            lines.append(f"not run: {job.name}, which needs {', '.join(missing)}")
        else:
            lines.append(f"not finished: {job.name}; run the same command again")
    return sorted(lines, key=lambda line: not line.startswith("FAILED"))


def _command(
    workflow: Path, plan: Plan, folder: Path, cores: int | None, cluster: str | Path | None, dry_run: bool
) -> list[str]:
    options: dict[str, Any] = {
        "--snakefile": workflow / "Snakefile",
        "--directory": folder,
        "--configfile": folder / PLAN_FILE,
        "--cores": "all" if cores is None else cores,
    }
    if cluster is None:  # there Snakemake would count the GPUs of all nodes together
        options["--resources"] = f"gpu={plan.gpus}"
    words = [str(word) for option in options.items() for word in option]
    # Its own lock outlives a kill; `LOCK` does not. What it thinks incomplete is asked of the job's record.
    words += ["--keep-going", "--rerun-incomplete", "--nolock", "--rerun-triggers", "mtime", "params"]
    if cluster is not None:
        words += ["--profile", str(Path(cluster).resolve())]
    words += ["--dry-run"] if dry_run else ["--quiet", "all"]
    return [sys.executable, "-m", "snakemake", *words]
