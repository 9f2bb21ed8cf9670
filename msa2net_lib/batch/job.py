"""One job of a batch run: done at most once, its output in a log, and a record of what it was and cost."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from filelock import FileLock

from msa2net_lib.batch.gpus import one_gpu
from msa2net_lib.batch.places import job_folder
from msa2net_lib.batch.plan import MAY_FAIL, Job, Plan
from msa2net_lib.batch.work import LessonFailedError, Outcome, work
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.registry import RECORD
from msa2net_lib.utils.files import read_json, write_text
from msa2net_lib.utils.interrupts import Stopped, stoppable
from msa2net_lib.utils.system_info import commit, hardware, peak_memory_gib, versions

DONE, LOG, LOCK = "done", "log.txt", ".lock"


def main(arguments: Sequence[str]) -> int:
    """Do the named job of the plan in the working folder, with the checkout's data; returns the exit code."""
    if len(arguments) not in (1, 2):
        print("usage: python -m msa2net_lib.batch JOB [CHECKOUT]", file=sys.stderr)
        return 2
    try:
        plan = Plan.load(Path())
        if arguments[0] not in plan.jobs:
            raise InputError(f"job {arguments[0]!r} is not in the plan: there are {', '.join(plan.jobs)}")
        with stoppable():  # a batch system sends SIGTERM first: a training saves where it is
            return run_job(plan, plan.jobs[arguments[0]], *map(Path, arguments[1:]))
    except InputError as error:
        print(f"msa2net: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        return 128 + (stop.number if isinstance(stop, Stopped) else signal.SIGINT)


def run_job(plan: Plan, job: Job, checkout: Path | None = None) -> int:
    """Do a job unless its record says that it is done; returns 0, or 1 where it failed and others need what it makes.

    It is done if its record has its key and was made from what the jobs before it have found now: one of these that
    was done anew and found the same changes nothing. Only one process does it: a second one waits, and finds it done.
    What it prints goes to ``log.txt``, a line on its beginning and end to the caller's own output.
    """
    folder = job_folder(job.name)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / LOCK):
        record, found = read_job(folder), {name: result_of(job_folder(name)) for name in job.needs}
        if record is None or not is_done(record, job, found):
            record = _do(partial(work, plan, job, checkout), plan, job, folder, found)
        goes_on = record["status"] == "done" or job.kind in MAY_FAIL
        if goes_on:
            mark_done(folder, job)
        return int(not goes_on)


def is_done(record: Mapping[str, Any], job: Job, found: Mapping[str, str | None]) -> bool:
    """Whether a record is that of this job, ended well, and made from these results of the jobs that it needs."""
    return (record["status"], record["key"], record.get("made_from")) == ("done", job.key, found)


def result_of(folder: Path) -> str | None:
    """Sixteen letters for what a job found: its numbers and the checksums of its files; None before it is done."""
    record = read_job(folder)
    if record is None or record["status"] != "done":
        return None
    found = json.dumps([record["key"], record["numbers"], record["data_sha256"]], sort_keys=True)
    return hashlib.sha256(found.encode()).hexdigest()[:16]


def read_job(folder: Path) -> dict[str, Any] | None:
    """Read a job's record, None before its first end, and where it is damaged: then the job is done anew."""
    try:
        record = read_json(folder / RECORD)
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and {"status", "key"} <= record.keys() else None


def is_marked(folder: Path, job: Job) -> bool:
    """Whether a folder says that this job is done: the file that Snakemake looks for, and a record with its key."""
    record = read_job(folder) or {}
    return (folder / DONE).is_file() and (record.get("status"), record.get("key")) == ("done", job.key)


def forget_others(plan: Plan) -> None:
    """Remove the file that Snakemake looks for where it is not of this plan's job; the record stays as it is."""
    for job in plan.jobs.values():
        if not is_marked(job_folder(job.name), job):
            (job_folder(job.name) / DONE).unlink(missing_ok=True)


def mark_done(folder: Path, job: Job) -> None:
    """Leave the file that Snakemake looks for, as old as the record, so that what was made from it stays up to date.

    Where a job before it was done anew with the same result, it is as young as that one: Snakemake need not ask again.
    """
    before = (job_folder(name) / DONE for name in job.needs)
    stamp = max(path.stat().st_mtime_ns for path in (folder / RECORD, *before) if path.is_file())
    write_text(folder / DONE, job.key + "\n")
    os.utime(folder / DONE, ns=(stamp, stamp))


def _do(
    doing: Callable[[], Outcome], plan: Plan, job: Job, folder: Path, found: Mapping[str, str | None]
) -> dict[str, Any]:
    started, clock = datetime.now(UTC), time.perf_counter()
    print(f"{job.name}: running", flush=True)
    record = _about(job, folder) | {"started": f"{started:%Y-%m-%dT%H:%M:%SZ}", "made_from": dict(found)}
    with _logged(folder / LOG, f"{job.name} {started:%Y-%m-%d %H:%M:%S} UTC") as log:
        try:
            with one_gpu(plan):
                record |= {"status": "done"} | doing()
        except Exception as failure:
            traceback.print_exc(file=log)
            record |= {"status": "failed", "error": _one_line(failure)}
        minutes = (time.perf_counter() - clock) / 60
        record |= {"minutes": round(minutes, 2), "peak_memory_gib": round(peak_memory_gib(children=True), 2)}
        write_text(folder / RECORD, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
        print(f"== {job.name} {record['status']}", file=log, flush=True)
    said = f"failed: {record['error']}; log: {record['log']}" if "error" in record else "done"
    print(f"{job.name}: {said} ({minutes:.1f} min)", flush=True)
    return record


def _about(job: Job, folder: Path) -> dict[str, Any]:
    """What is known before the work: afterwards nothing should come between it and the record."""
    before = read_job(folder) or {}
    return {
        "job": job.name,
        "kind": job.kind,
        "key": job.key,
        "parameters": dict(job.parameters),
        "seed": job.parameters.get("seed", job.parameters.get("SEED")),
        "versions": versions(),
        "hardware": hardware(),
        "commit": commit(),
        "log": (folder / LOG).as_posix(),
        "failed_before": before.get("failed_before", 0) + (before.get("status") == "failed"),
        "numbers": {},
        "data_sha256": {},
    }


def _one_line(error: Exception) -> str:
    """Say what went wrong: our own words as they are, others' with their kind."""
    words = " ".join(str(error).split())
    return words if isinstance(error, InputError | LessonFailedError) else f"{type(error).__name__}: {words}"


@contextmanager
def _logged(path: Path, title: str) -> Iterator[TextIO]:
    """Send what this process and its children print to the end of a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    with open(path, "a", encoding="utf-8") as log:
        log.write(f"== {title}\n")
        log.flush()
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            yield log
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, saved in zip((1, 2), kept, strict=True):
                os.dup2(saved, number)
                os.close(saved)
