"""The door to the workflow: writes the plan, runs Snakemake on it, names what failed, and leaves a report."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, TextIO

import psutil

from msa2net_lib.batch.job import is_marked, read_job
from msa2net_lib.batch.places import job_folder
from msa2net_lib.batch.plan import PLAN_FILE, Job, Plan
from msa2net_lib.batch.slurm import check_room, planned, slurm_settings, status_options, told_queue
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.execute import find_checkout
from msa2net_lib.train_config import PROFILES
from msa2net_lib.utils.files import writable_folder
from msa2net_lib.utils.interrupts import Stopped, stoppable
from msa2net_lib.utils.locks import exclusive
from msa2net_lib.utils.plain import require_choice
from msa2net_lib.utils.system_info import how_to_install

SNAKEMAKE_LOG, LOCK = "snakemake.log", ".reproduce.lock"
QUIET = ("host", "progress", "rules", "reason")
"""What Snakemake keeps to itself; "all" would be its errors, too."""
LAST_WORDS = 15
"""Lines of Snakemake's log that are shown where no job says what went wrong."""


def profile_plan(
    profile: str,
    *,
    lessons: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    networks: Sequence[str] | None = None,
    parameters: Mapping[str, Any] | None = None,
    device: str = "auto",
    on_cluster: bool = False,
) -> Plan:
    """The plan of ``workflow/config/<profile>.yaml`` with changes.

    A ``SEED`` among the lessons' parameters is the training's, too. networks: of Tables 1 and 2, instead of the
    profile's own, which go with all lessons only. on_cluster: whether a job gets a GPU is the
    profile's to say; else jobs share those of this machine. Raises: `InputError` for an unknown profile, lesson or
    parameter, and without Snakemake.
    """
    workflow = find_workflow()
    import yaml

    require_choice("profile", profile, tuple(PROFILES))
    settings = yaml.safe_load((workflow / "config" / f"{profile}.yaml").read_text(encoding="utf-8"))
    given = dict(parameters or {})
    if isinstance(given.get("DATASET"), str | Path) and (own := Path(given["DATASET"]).expanduser()).is_dir():
        given["DATASET"] = str(own.resolve())  # jobs and lessons run in other folders
    chosen = seeds or ([given["SEED"]] if "SEED" in given else settings["seeds"])
    rows = networks if networks is not None else () if lessons else settings.get("networks", ())
    changes = {"lessons": lessons, "seeds": chosen, "networks": rows, "parameters": given, "device": device}
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
    `InputError` without Snakemake, outside of a checkout, while another batch works on the same folder, and on Slurm
    where a job asks for more than any node has.
    """
    workflow = find_workflow()
    if cores is not None and cores < 1:
        raise InputError(f"cores={cores}: give 1 or more")
    if cluster is not None and not Path(cluster).is_dir():
        raise InputError(f"{cluster}: no such folder; name one with a Snakemake profile, as workflow/profiles/slurm")
    slurm = None if cluster is None else slurm_settings(Path(cluster))
    folder = writable_folder(Path(output_dir).resolve() / plan.profile)
    busy = f"another batch is at work there{_snakemake_in(folder)}; wait for it, or name another --output"
    with stoppable(), exclusive(folder, lock=folder / LOCK, busy=busy) as claim, ExitStack() as stack:
        command = _command(workflow, plan, folder, cores, cluster)
        if slurm is not None and cluster is not None and not dry_run:
            plan.save(folder)
            check_room(planned(command), slurm, Path(cluster))
            prefix = f"msa2net-{os.getpid()}"
            command += ["--slurm-jobname-prefix", prefix, *status_options(slurm)]
            stack.enter_context(told_queue(prefix))
        return _reproduce(plan, folder, command + (["--dry-run"] if dry_run else ["--quiet", *QUIET]), dry_run, claim)


def _snakemake_in(folder: Path) -> str:
    """The process that works in a folder, which outlives a `msa2net reproduce` that was killed."""
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "snakemake" in words and str(folder) in words:
            return f" (process {process.pid})"
    return ""


def find_workflow() -> Path:
    """The folder with the Snakefile, in a checkout or where the lessons were copied to.

    Raises: `InputError` without Snakemake or the folder.
    """
    if importlib.util.find_spec("snakemake") is None:
        raise InputError(f"Snakemake is not installed: {how_to_install('batch')}")
    workflow = find_checkout() / "workflow"
    if not (workflow / "Snakefile").is_file():
        raise InputError(
            f"{workflow}: no Snakefile there; run from a checkout, or from what msa2net lessons DIR filled"
        )
    return workflow


def _reproduce(plan: Plan, folder: Path, command: list[str], dry_run: bool, claim: int | None) -> int:
    plan.save(folder)
    log = folder / SNAKEMAKE_LOG
    with open(log, "w", encoding="utf-8") as words:
        status = _run(command, None if dry_run else words, claim)
    if dry_run:
        return status
    undone = [job for job in plan.jobs.values() if not is_marked(folder / job_folder(job.name), job)]
    for line in _named(undone, folder):
        print(line)
    if status and not any(_failed(folder, job) for job in undone):
        said = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        print(f"Snakemake ended with exit code {status}; its last words, all in {os.path.relpath(log)}:")
        print(*(f"  {line}" for line in said[-LAST_WORDS:]), sep="\n")
    from msa2net_lib.batch.report import write_report  # loads pandas, for which the jobs need not wait

    # The job "report" is for runs by Snakemake alone; here the page also tells what failed, and what was done anew.
    print(f"report: {os.path.relpath(write_report(folder.parent, plan.profile))}")
    return len(undone) or int(status != 0)


def _run(command: list[str], words: TextIO | None, claim: int | None) -> int:
    """Run Snakemake to its end, or to the one that a signal asks for; returns its exit code.

    It holds the claim on the folder, too: if this process is killed at once, no second batch begins beside it.
    """
    with subprocess.Popen(command, stderr=words, pass_fds=() if claim is None else (claim,)) as snakemake:
        try:
            return snakemake.wait()
        except KeyboardInterrupt as stop:
            _stop(snakemake.pid, told=not isinstance(stop, Stopped) or (stop.number == signal.SIGINT and _in_front()))
            raise


def _stop(pid: int, told: bool) -> None:
    """Have Snakemake and its jobs come to their end, and wait for it; a second signal ends them at once.

    told: the terminal has sent them Ctrl-C as well, and twice would be at once. Snakemake gives up on Ctrl-C only.
    """
    with suppress(psutil.NoSuchProcess):
        snakemake = psutil.Process(pid)
        family = [snakemake, *snakemake.children(recursive=True)]
        jobs = [process for process in family if _is_job(process)]
        try:
            ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            for process in [] if told else (snakemake, *jobs):
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGINT if process == snakemake and not ignored else signal.SIGTERM)
            psutil.wait_procs([snakemake, *jobs])
        finally:
            for process in family:  # kernels of lessons, and all if asked twice
                with suppress(psutil.NoSuchProcess):
                    process.kill()


def _is_job(process: psutil.Process) -> bool:
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return words[1:3] == ["-m", "msa2net_lib.batch"]


def _in_front() -> bool:
    """Whether a terminal sends Ctrl-C to this process and all that it started."""
    try:
        terminal = os.open(os.ctermid(), os.O_RDONLY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    finally:
        os.close(terminal)


def _failed(folder: Path, job: Job) -> bool:
    return (read_job(folder / job_folder(job.name)) or {}).get("status") == "failed"


def _named(undone: list[Job], folder: Path) -> list[str]:
    """Say of each job that is not done whether it failed, and why, or what it waits for."""
    lines, names = [], {job.name for job in undone}
    for job in undone:
        if job.kind == "report":
            continue  # it is written in any case
        record = read_job(folder / job_folder(job.name))
        if record is not None and _failed(folder, job):
            lines.append(f"FAILED {job.name}: {record['error']}; log: {os.path.relpath(folder / record['log'])}")
        elif missing := [need for need in job.needs if need in names]:
            lines.append(f"not run: {job.name}, which needs {', '.join(missing)}")
        else:
            lines.append(f"not finished: {job.name}; run the same command again")
    return sorted(lines, key=lambda line: not line.startswith("FAILED"))


def _command(workflow: Path, plan: Plan, folder: Path, cores: int | None, cluster: str | Path | None) -> list[str]:
    options: dict[str, Any] = {
        "--snakefile": workflow / "Snakefile",
        "--directory": folder,
        "--configfile": folder / PLAN_FILE,
    }
    if cluster is None:  # there Snakemake would count the GPUs of all nodes together
        options["--resources"] = f"gpu={plan.gpus}"
    if cores is not None or cluster is None:  # the cores of the machine that submits bound no job
        options["--cores"] = "all" if cores is None else cores
    words = [str(word) for option in options.items() for word in option]
    # Its own lock outlives a kill; `LOCK` does not. What it thinks incomplete is asked of the job's record.
    words += ["--keep-going", "--rerun-incomplete", "--nolock", "--rerun-triggers", "mtime", "params"]
    if cluster is not None:
        words += ["--profile", str(Path(cluster).resolve())]
    return [sys.executable, "-m", "snakemake", *words]
