"""What a batch cost: minutes and memory of every job and lesson, the machines, and how much ran side by side."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from msa2net_lib.batch.report.found import Batch


@dataclass(frozen=True)
class Spent:
    """What one job or lesson took; None where its record does not tell."""

    name: str
    kind: str
    state: str
    minutes: float | None
    memory_gib: float | None
    share: int
    """Percent of the longest one's minutes, for a bar."""


def spent(batch: Batch) -> list[Spent]:
    """Every job, and every lesson that ran without one, so that nothing is counted twice."""
    in_jobs = {lesson.name for lesson in batch.lessons if lesson.job and lesson.job.state != "not run"}
    ran = [(job.name, job.kind, job.state, job.record) for job in batch.jobs if job.state != "not run"]
    ran += [
        (lesson.name, "lesson", lesson.state, lesson.record)
        for lesson in batch.lessons
        if lesson.state != "not run" and lesson.name not in in_jobs
    ]
    longest = max((number(record.get("minutes")) or 0 for *_, record in ran), default=0)
    return [
        Spent(
            name,
            kind,
            state,
            minutes := number(record.get("minutes")),
            number(record.get("peak_memory_gib")),
            round(100 * (minutes or 0) / longest) if longest else 0,
        )
        for name, kind, state, record in ran
    ]


def total_minutes(rows: Iterable[Spent]) -> float:
    """Sum of all minutes that are known."""
    return sum(row.minutes or 0 for row in rows)


def side_by_side(batch: Batch) -> str:
    """How many jobs ran at once on average: their minutes over the minutes in which any ran."""
    told = [(_time(job.record, "started"), _end(job.record)) for job in batch.jobs]
    intervals = sorted((start, end) for start, end in told if start is not None and end is not None)
    if not intervals:
        return "not recorded: nothing says when it started"
    busy, reached = 0.0, intervals[0][0]
    for start, end in intervals:
        busy += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    worked = sum(end - start for start, end in intervals)
    if busy <= 0:
        return "not told: all times are the same"
    return (
        f"{worked / busy:.1f} jobs at once on average: {in_words(worked / 60)} of work in {in_words(busy / 60)} "
        "on the clock, pauses between runs not counted"
    )


def machines(batch: Batch) -> dict[str, list[str]]:
    """Every machine in words, and what ran on it."""
    found: dict[str, list[str]] = {}
    for name, record in batch.records():
        if isinstance(record.get("hardware"), dict):
            found.setdefault(machine_in_words(record["hardware"]), []).append(name)
    return found


def machine_in_words(hardware: dict[str, Any]) -> str:
    """Processor, cores, memory, accelerator in one line."""
    told = {name: hardware.get(name, "not recorded") for name in ("processor", "cores", "memory_gib", "accelerator")}
    return "{processor}, {cores} cores, {memory_gib} GiB, accelerator: {accelerator}".format(**told)


def in_words(minutes: float | None) -> str:
    """Minutes with a digit, hours above ninety of them."""
    if minutes is None:
        return "not recorded"
    if minutes < 0.05:
        return f"{60 * minutes:.0f} s"
    return f"{minutes:.1f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def number(value: Any) -> float | None:
    """A number as it is; anything else is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _end(record: dict[str, Any]) -> float | None:
    """When a job ended: as recorded, else its minutes after it started."""
    if (ended := _time(record, "ended")) is not None:
        return ended
    started, minutes = _time(record, "started"), number(record.get("minutes"))
    return None if started is None or minutes is None else started + 60 * minutes


def _time(record: dict[str, Any], key: str) -> float | None:
    """A moment in seconds, from seconds or from a date and time as ISO 8601 writes it (UTC if it names no zone)."""
    value = record.get(key)
    if not isinstance(value, str):
        return number(value)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
