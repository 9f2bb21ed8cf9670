"""What a batch left in its folder: records of lessons and jobs, what failed, on what they ran and what they cost."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from msa2net_lib.batch.plan import Plan
from msa2net_lib.data.catalog import list_datasets
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.registry import LESSONS, RECORD
from msa2net_lib.train_config import PROFILES
from msa2net_lib.utils.files import read_json

REPORT, NOT_RECORDED = "report", "not recorded"
LOG_LINES = 40
"""Last lines of a failed job's log that go on the page."""
LOG_BYTES = 64 * 1024
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Failure:
    """Something that did not work: its name, the error in one line, where its log lies and the end of that log."""

    key: str
    name: str
    kind: str
    error: str
    log: str
    tail: str


@dataclass(frozen=True)
class Job:
    """A batch job. state: "done", "failed", "unfinished" (it left no record) or "not run"; why: of the last."""

    name: str
    state: str
    record: dict[str, Any]
    failure: Failure | None = None
    kind: str = "kind not recorded"
    why: str = ""
    blocked_by: tuple[Failure, ...] = ()

    @property
    def log(self) -> str:
        """Its log, relative to the batch's folder."""
        return str(self.record.get("log") or f"jobs/{self.name}/log.txt")

    @property
    def parameters(self) -> dict[str, Any]:
        """What it was given."""
        return mapping(self.record, "parameters")


@dataclass(frozen=True)
class LessonRun:
    """A lesson of this batch. state: "done", "failed", "unfinished" (it left files and no record) or "not run".

    job: the batch job that ran it or would have, if there is one.
    """

    name: str
    title: str
    summary: str
    state: str
    folder: Path
    record: dict[str, Any]
    failure: Failure | None = None
    job: Job | None = None

    @property
    def number(self) -> str:
        """The two digits that its name begins with."""
        return self.name[:2]

    def files(self, suffix: str) -> list[str]:
        """The names of this kind that its record lists or, for its pages, its own name: those that are there."""
        tables = self.record.get("tables")
        listed = tables if isinstance(tables, list) else []
        names = [f"{self.name}{suffix}"] if suffix in (".html", ".ipynb") else listed
        return [str(name) for name in names if (self.folder / Path(str(name)).name).is_file()]


@dataclass(frozen=True)
class Batch:
    """All that was found in ``<output_dir>/<profile>``."""

    folder: Path
    profile: str
    lessons: list[LessonRun]
    jobs: list[Job] = field(default_factory=list)

    @property
    def failures(self) -> list[Failure]:
        """Failed jobs, then failed lessons that no failed job speaks of."""
        found = [one.failure for one in (*self.jobs, *self.lessons) if one.failure]
        return list({failure.key: failure for failure in found}.values())

    def lesson(self, number: str) -> LessonRun | None:
        """Look a lesson up by its two digits."""
        return next((lesson for lesson in self.lessons if lesson.number == number), None)

    def records(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Name and record of everything that ran, lessons first."""
        yield from ((lesson.name, lesson.record) for lesson in self.lessons if lesson.record)
        yield from ((job.name, job.record) for job in self.jobs if job.record)


def find(output_dir: str | Path, profile: str) -> Batch:
    """Read whatever records lie in ``<output_dir>/<profile>``; what is missing or damaged is told, never raised.

    Lessons come in reading order, jobs by name. The job that writes the report is left out: the page would
    differ from itself when written again.
    """
    folder = Path(output_dir) / profile
    jobs = _with_plan(folder, [_job(folder, path) for path in _folders(folder / "jobs")])
    jobs = [job for job in jobs if job.kind != REPORT and job.name != REPORT]
    there = {path.name for path in _folders(folder) if re.match(r"\d\d_", path.name)}
    lessons = [_lesson(folder, name, jobs) for name in sorted({*LESSONS, *there})]
    return Batch(folder, profile, lessons, jobs)


def read_inside(folder: Path, name: Any) -> str | None:
    """Text at the end of a file that a record names, or None if it is not there or not below ``folder``."""
    path = folder / str(name)
    if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        return None
    with open(path, "rb") as handle:
        handle.seek(max(0, path.stat().st_size - LOG_BYTES))
        return handle.read().decode("utf-8", "replace")


def mapping(record: dict[str, Any], key: str) -> dict[str, Any]:
    """A record's entry that should be names with values, empty if it is anything else."""
    return record[key] if isinstance(record.get(key), dict) else {}


def figures(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries of a record's figures."""
    listed = record.get("figures")
    return [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []


def tail(text: str, lines: int = LOG_LINES) -> str:
    """The last lines of a log, without colors and without the states that a progress bar has left behind."""
    plain = (_ESCAPES.sub("", line.rstrip().rpartition("\r")[2]) for line in text.split("\n"))
    return "\n".join(deque((line for line in plain if line), lines))


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _read(path: Path) -> tuple[dict[str, Any], str | None]:
    """A record and None, or nothing and what is wrong with the file."""
    if not path.is_file():
        return {}, None
    try:
        record = read_json(path)
    except (OSError, ValueError) as error:
        return {}, f"{path.parent.name}/{path.name} cannot be read ({type(error).__name__}): run it again"
    if not isinstance(record, dict):
        return {}, f"{path.parent.name}/{path.name} holds no record: run it again"
    return record, None


def _job(folder: Path, path: Path) -> Job:
    record, damage = _read(path / RECORD)
    name, kind = path.name, str(record.get("kind", "kind not recorded"))
    if not record and not damage:
        return Job(name, "unfinished", {})
    if damage or record.get("status") != "done":
        log = Job(name, "failed", record).log
        text = read_inside(folder, log)
        error = damage or str(record.get("error") or f"ended with the status {record.get('status')!r} and no error")
        ending = tail(text) if text is not None else "The log is not there."
        return Job(name, "failed", record, Failure(f"job-{name}", name, kind, error, log, ending), kind)
    return Job(name, "done", record, None, kind)


def _with_plan(folder: Path, jobs: list[Job]) -> list[Job]:
    """The jobs by name, with those of the plan that never began, and what each of these waits for."""
    found = {job.name: job for job in jobs}
    try:
        planned = Plan.load(folder).jobs
    except (InputError, TypeError, AttributeError):  # without a plan, or with one of another version
        return jobs
    failures: dict[str, dict[str, Failure]] = {}
    for name, plan in planned.items():  # each comes after those that it needs
        job = found.get(name)
        if job and job.failure:
            failures[name] = {name: job.failure}
            continue
        behind = {key: failure for need in plan.needs for key, failure in failures.get(need, {}).items()}
        if job is None or job.state == "unfinished":
            failures[name] = behind
            why = f"it needs {', '.join(behind)}, which failed" if behind else "the batch did not come to it"
            state = "not run" if job is None else job.state
            found[name] = Job(name, state, {}, None, plan.kind, why, tuple(behind.values()))
    return [found[name] for name in sorted(found)]


def _lesson(folder: Path, name: str, jobs: list[Job]) -> LessonRun:
    record, damage = _read(folder / name / RECORD)
    known = LESSONS.get(name)
    title = known.title if known else str(record.get("title", name[3:].replace("_", " ")))
    job = next((job for job in jobs if job.kind == "lesson" and name in job.name), None)
    failure = job.failure if job else None
    if failure is None and not record:
        failure = _notebook_failure(folder, name, damage)
    if failure:
        state = "failed"
    elif record:
        state = "done"
    else:
        state = "unfinished" if (folder / name).is_dir() and not (job and job.state == "not run") else "not run"
    return LessonRun(name, title, known.summary if known else "", state, folder / name, record, failure, job)


def _notebook_failure(folder: Path, name: str, damage: str | None) -> Failure | None:
    """What an executed notebook says of the error it stopped at."""
    log = f"{name}/{name}.ipynb"
    notebook, _ = _read(folder / log)
    for cell in reversed(notebook.get("cells", [])):
        for output in cell.get("outputs", []):
            if output.get("output_type") == "error":
                error = f"{output.get('ename', 'error')}: {output.get('evalue', '')}".splitlines()[0]
                ending = tail("\n".join(output.get("traceback", [])))
                return Failure(f"lesson-{name}", name, "lesson", error, log, ending)
    return Failure(f"lesson-{name}", name, "lesson", damage, f"{name}/{RECORD}", "") if damage else None


def dataset_of(record: dict[str, Any], profile: str) -> str:
    """The data set that a lesson ran on, by the catalog's name; "auto" is its profile's."""
    name = str(mapping(record, "parameters").get("DATASET", ""))
    return PROFILES[profile].dataset if name == "auto" and profile in PROFILES else name


def data_in_words(name: str) -> str:
    """A data set as the catalog describes it."""
    return list_datasets().get(name, name or NOT_RECORDED)


def facts(batch: Batch) -> dict[str, list[str]]:
    """What was run, on what: profile, outcome, data, seeds, commits and machines, each in one or more answers."""
    seeds = dict.fromkeys(str(seed) for _, record in batch.records() for seed in _seeds(record))
    commits = _values(batch, lambda record: record.get("commit"))
    data = _values(
        batch, lambda record: mapping(record, "parameters").get("DATASET") and dataset_of(record, batch.profile)
    )
    profile = batch.profile
    if known := PROFILES.get(profile):
        profile = f"{profile}: network {known.preset}, recipe {known.recipe}, data set {known.dataset}"
    return {
        "profile": [profile],
        "lessons": [_outcome(lesson.state for lesson in batch.lessons)],
        "batch jobs": [_outcome(job.state for job in batch.jobs) or "none recorded"],
        "data of the lessons": [f"{name}: {data_in_words(name)}" for name in data] or [NOT_RECORDED],
        "seeds": [", ".join(seeds) or NOT_RECORDED],
        "commit of the workbook": _with_names(commits) or [NOT_RECORDED],
        "machine": _with_names(machines(batch)) or [NOT_RECORDED],
    }


def versions(batch: Batch) -> dict[str, list[str]]:
    """Every package, with all versions that were used."""
    packages = dict.fromkeys(package for _, record in batch.records() for package in mapping(record, "versions"))
    return {
        package: _with_names(_values(batch, lambda record, name=package: mapping(record, "versions").get(name)))
        for package in packages
    }


def checksums(batch: Batch) -> list[tuple[str, str, str]]:
    """File, SHA-256 and who used it; a name with two sums, such as weights of two runs, has two lines."""
    users: dict[tuple[str, str], list[str]] = {}
    for name, record in batch.records():
        for file, digest in mapping(record, "data_sha256").items():
            users.setdefault((str(file), str(digest)), []).append(name)
    return [(file, digest, ", ".join(names)) for (file, digest), names in sorted(users.items())]


def machines(batch: Batch) -> dict[str, list[str]]:
    """Every machine in words, and what ran on it."""

    def in_words(record: dict[str, Any]) -> str:
        names = ("processor", "cores", "memory_gib", "accelerator")
        told = {name: mapping(record, "hardware").get(name, NOT_RECORDED) for name in names}
        return "{processor}, {cores} cores, {memory_gib} GiB, accelerator: {accelerator}".format(**told)

    return _values(batch, lambda record: in_words(record) if mapping(record, "hardware") else None)


def _outcome(states: Iterable[str]) -> str:
    counts = Counter(states)
    return ", ".join(
        f"{counts[state]} {state}" for state in ("done", "failed", "unfinished", "not run") if counts[state]
    )


def _seeds(record: dict[str, Any]) -> list[Any]:
    """The seed of a record, or all those of a job that trained with several."""
    several = mapping(record, "parameters").get("seeds")
    every = several if isinstance(several, list) else [record.get("seed")]
    return [seed for seed in every if seed not in (None, "")]


def _values(batch: Batch, of: Callable[[dict[str, Any]], Any]) -> dict[str, list[str]]:
    """Every value in the records, as text, with the names of the records that have it."""
    found: dict[str, list[str]] = {}
    for name, record in batch.records():
        if (value := of(record)) not in (None, ""):
            found.setdefault(str(value), []).append(name)
    return found


def _with_names(found: dict[str, list[str]]) -> list[str]:
    """The values; which records they are of is said only where they differ."""
    if len(found) < 2:
        return list(found)
    return [f"{value} ({', '.join(names)})" for value, names in found.items()]


@dataclass(frozen=True)
class Spent:
    """What one job or lesson took; None where its record does not tell."""

    name: str
    kind: str
    state: str
    minutes: float | None
    memory_gib: float | None


def spent(batch: Batch) -> list[Spent]:
    """Every job, and every lesson that ran without one, so that nothing is counted twice."""
    in_jobs = {lesson.name for lesson in batch.lessons if lesson.job and lesson.job.state != "not run"}
    ran = [(job.name, job.kind, job.state, job.record) for job in batch.jobs]
    ran += [(one.name, "lesson", one.state, one.record) for one in batch.lessons if one.name not in in_jobs]
    return [
        Spent(name, kind, state, number(record.get("minutes")), number(record.get("peak_memory_gib")))
        for name, kind, state, record in ran
        if state != "not run"
    ]


def side_by_side(batch: Batch) -> str:
    """How many jobs ran at once on average: their minutes over the minutes in which any ran."""
    told = [(_started(job.record), number(job.record.get("minutes"))) for job in batch.jobs]
    intervals = sorted((at, at + 60 * minutes) for at, minutes in told if at is not None and minutes is not None)
    busy, reached = 0.0, 0.0
    for start, end in intervals:
        busy += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    if busy <= 0:
        return f"{NOT_RECORDED}: nothing says when it started and how long it took"
    worked = sum(end - start for start, end in intervals)
    return (
        f"{worked / busy:.1f} jobs at once on average: {in_words(worked / 60)} of work in {in_words(busy / 60)} "
        "on the clock, pauses between runs not counted"
    )


def in_words(minutes: float | None) -> str:
    """Minutes with a digit, hours above ninety of them."""
    if minutes is None:
        return NOT_RECORDED
    if minutes < 0.05:
        return f"{60 * minutes:.0f} s"
    return f"{minutes:.1f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def number(value: Any) -> float | None:
    """A number as it is; anything else is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _started(record: dict[str, Any]) -> float | None:
    """When a job started, in seconds."""
    try:
        return datetime.fromisoformat(str(record.get("started"))).timestamp()
    except ValueError:
        return None
