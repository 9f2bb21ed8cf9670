"""What a Slurm site answers: whether jobs fit its nodes, how to ask for their state, and why they wait."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msa2net_lib.errors import InputError
from msa2net_lib.utils.names import listed

SETTINGS = "config.yaml"
"""The file of a Snakemake profile."""
POLL_SECONDS = 30.0
UNTOLD = ("None", "")
"""Reasons that are none: the scheduler has not looked at the job yet."""


@dataclass(frozen=True)
class Room:
    """What a job asks for, or a node of a partition has: CPUs, memory in MB, minutes (None for any number), GPUs."""

    cpus: int
    memory: int
    minutes: float | None
    gpus: int

    def holds(self, job: Room) -> bool:
        """Whether a job fits."""
        in_time = self.minutes is None or job.minutes is None or job.minutes <= self.minutes
        return job.cpus <= self.cpus and job.memory <= self.memory and job.gpus <= self.gpus and in_time

    def __str__(self) -> str:
        gpus = f", {self.gpus} GPU" if self.gpus else ""
        minutes = "any time" if self.minutes is None else f"{self.minutes:g} minutes"
        return f"{self.cpus} CPUs, {self.memory} MB{gpus}, {minutes}"


def slurm_settings(profile: Path) -> dict[str, Any] | None:
    """The settings of a Snakemake profile that submits to Slurm, None for another. Raises: `InputError`."""
    import yaml

    path = profile / SETTINGS
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        executor = settings["executor"]
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        why = f"no settings of Snakemake with an executor ({type(error).__name__})"
        raise InputError(f"{path}: {why}; see workflow/profiles/slurm") from error
    return settings if executor == "slurm" else None


def status_options(settings: Mapping[str, Any]) -> list[str]:
    """Options for Snakemake to ask ``squeue`` for the state of jobs where the site keeps no accounts.

    Else its executor would ask ``sacct`` for ever, for the jobs ended long ago. What the profile sets holds.
    """
    if "slurm-status-command" in settings:
        return []
    answer = _ask("sacct", "--noheader", "--allocations", "--format", "JobIdRaw", "--starttime", "now")
    return [] if answer is not None else ["--slurm-status-command", "squeue"]


def planned(command: Sequence[str]) -> str:
    """What Snakemake would do, as it says in a dry run, where jobs would have this machine's cores at most, or one."""
    unbound = [] if "--cores" in command else ["--cores", "1024"]
    done = subprocess.run([*command, *unbound, "--dry-run"], capture_output=True, text=True)
    return done.stdout + done.stderr


def check_room(plan: str, settings: Mapping[str, Any], profile: Path) -> None:
    """Compare what jobs ask for with what nodes have: one that fits none would wait for ever, and nothing says why.

    plan: from `planned`. Raises: `InputError` with what to change, and without Slurm.
    """
    kinds, usual = _nodes(), str(_defaults(settings).get("slurm_partition") or "")
    chosen_later = "slurm-partition-config" in settings or bool(os.environ.get("SNAKEMAKE_SLURM_PARTITIONS"))
    for rule, (job, wanted) in _requests(plan).items():
        if chosen_later and not (wanted or usual):
            continue
        partition, nodes = _nodes_of(kinds, wanted or usual)
        if nodes and not any(node.holds(job) for node in nodes):
            most = Room(
                max(node.cpus for node in nodes),
                max(node.memory for node in nodes),
                None if any(node.minutes is None for node in nodes) else max(node.minutes or 0 for node in nodes),
                max(node.gpus for node in nodes),
            )
            raise InputError(
                f"{profile / SETTINGS}: no node of partition {partition} has what a job of {rule} asks for ({job}; "
                f"the most there is {most}): {_advice(rule, job, most)}, or name another slurm_partition"
            )


def _advice(rule: str, job: Room, most: Room) -> str:
    changes = {"mem_mb": most.memory} if job.memory > most.memory else {}
    if most.minutes is not None and (job.minutes or 0) > most.minutes:
        changes["runtime"] = int(most.minutes)
    told = [f"cpus_per_task={most.cpus} under default-resources"] if job.cpus > most.cpus else []
    told += [f"{rule}:{name}={value} under set-resources" for name, value in changes.items()]
    return f"put {' and '.join(told)}" if told else "have it computed without so many GPUs at once"


def _defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The default resources of a profile, which may be written as a list of NAME=VALUE or by name.

    What is neither, Snakemake refuses in its own words.
    """
    given = settings.get("default-resources") or {}
    if isinstance(given, Mapping):
        return dict(given)
    lines = given if isinstance(given, list) else [given]
    return {name: value for name, _, value in (str(line).partition("=") for line in lines)}


def _requests(plan: str) -> dict[str, tuple[Room, str]]:
    """The most that a job of each rule asks for, and the partition if it names one, out of what a dry run prints."""
    found: dict[str, tuple[Room, str]] = {}
    for rule, body in re.findall(r"^rule (\w+):\n((?:    .*\n|\n(?=    ))*)", plan, re.M):
        resources = "".join(re.findall(r"^    resources: (.*)$", body, re.M))
        told = dict(re.findall(r"(\w+)=(\d+)", resources))
        partition = re.search(r"slurm_partition=(\S+?)(, |$)", resources)
        threads = re.search(r"^    threads: (\d+)$", body, re.M)
        cpus = int(told.get("cpus_per_task") or (threads[1] if threads else 1))
        minutes = float(told["runtime"]) if "runtime" in told else None
        room = Room(cpus, int(told.get("mem_mb", 0)), minutes, int(told.get("gpu", 0)))
        found[rule] = room, partition[1] if partition else ""
    return found


def _nodes() -> list[list[str]]:
    """What ``sinfo`` says of each kind of node. Raises: `InputError` without Slurm."""
    answer = _ask("sinfo", "--exact", "--noheader", "--format", "%P|%c|%m|%l|%G")
    if answer is None:
        raise InputError("Slurm does not answer (sinfo): give the command where jobs are submitted from")
    return [line.split("|") for line in answer.splitlines() if line.count("|") == 4]


def _nodes_of(kinds: Sequence[Sequence[str]], wanted: str) -> tuple[str, list[Room]]:
    """A partition's name, the default one's if none is wanted, and its kinds of nodes; of several, all of theirs.

    Raises: `InputError` for a partition that is not there.
    """
    known = {row[0].rstrip("*") for row in kinds}
    name = wanted or next((row[0].rstrip("*") for row in kinds if row[0].endswith("*")), "")
    names = name.split(",") if name else []
    if missing := [one for one in names if one not in known]:
        raise InputError(f"slurm_partition={missing[0]}: no such partition; there are {', '.join(sorted(known))}")
    return name, [
        Room(int(cpus.rstrip("+")), int(memory.rstrip("+")), _minutes(limit), _gpus(gres))
        for partition, cpus, memory, limit, gres in kinds
        if partition.rstrip("*") in names
    ]


def _minutes(limit: str) -> float | None:
    """Slurm's time, [days-]hours:minutes:seconds or minutes:seconds, in minutes; None without a limit."""
    days, _, clock = limit.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdigit() for part in parts):
        return None
    seconds = sum(int(part) * unit for part, unit in zip(reversed(parts), (1, 60, 3600), strict=False))
    return int(days or 0) * 1440 + seconds / 60


def _gpus(gres: str) -> int:
    """How many GPUs generic resources name, such as ``gpu:a100:4(S:0-1)``."""
    named = [part.partition("(")[0].split(":") for part in gres.split(",")]
    return sum(int(words[-1]) if words[-1].isdigit() else 1 for words in named if words[0] == "gpu")


@contextmanager
def told_queue(prefix: str, seconds: float | None = None) -> Iterator[None]:
    """Say, as long as the block runs, which jobs wait in Slurm's queue and why, whenever that changes.

    prefix: how the names of the jobs begin, up to an underscore.
    """
    ended = threading.Event()

    def tell() -> None:
        before: list[str] = []
        while not ended.wait(POLL_SECONDS if seconds is None else seconds):
            lines = waiting(_ask("squeue", "--noheader", "--states", "PENDING", "--format", "%j|%r|%k") or "", prefix)
            if lines != before:
                print(*lines, sep="\n", end="\n" if lines else "", flush=True)
                before = lines

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def waiting(answer: str, prefix: str) -> list[str]:
    """A line for each reason for which jobs wait, out of squeue's answer (name, reason and comment)."""
    by_reason: dict[str, list[str]] = {}
    for line in answer.splitlines():
        name, reason, comment = [*line.split("|", 2), "", ""][:3]
        if name.startswith(f"{prefix}_") and reason not in UNTOLD:
            job = re.sub("_wildcards_", "-", comment.removeprefix("rule_"))
            by_reason.setdefault(reason, []).append(job)
    return [
        f"waiting in Slurm's queue ({reason}): {listed(sorted(jobs), 3)}" for reason, jobs in sorted(by_reason.items())
    ]


def _ask(*command: str) -> str | None:
    """What one of Slurm's commands prints; None where it is not there, fails or does not answer."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
