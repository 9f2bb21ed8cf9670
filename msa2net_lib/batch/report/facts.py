"""What was run, on what: data, seeds, commit, versions and checksums, gathered from all records of a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from msa2net_lib.batch.report.cost import machines
from msa2net_lib.batch.report.found import Batch, mapping
from msa2net_lib.batch.report.measured import data_in_words, dataset_of
from msa2net_lib.config import PROFILES

NOTHING = "not recorded"


@dataclass(frozen=True)
class Fact:
    """One line of the section: what, and one or more answers."""

    name: str
    answers: list[str]


def facts(batch: Batch) -> list[Fact]:
    """Profile, outcome, data, seeds, commits and machines, each as words."""
    seeds = _values(batch, lambda record: record.get("seed"))
    commits = _values(batch, lambda record: record.get("commit"))
    data = _values(
        batch, lambda record: mapping(record, "parameters").get("DATASET") and dataset_of(record, batch.profile)
    )
    return [
        Fact("profile", [_profile(batch.profile)]),
        Fact("lessons", [_outcome(lesson.state for lesson in batch.lessons)]),
        Fact("batch jobs", [_outcome(job.state for job in batch.jobs)] if batch.jobs else ["none recorded"]),
        Fact("data of the lessons", [f"{name}: {data_in_words(name)}" for name in data] or [NOTHING]),
        Fact("seeds", [", ".join(seeds)] if seeds else [NOTHING]),
        Fact("commit of the workbook", _with_names(commits) or [NOTHING]),
        Fact("machine", _with_names(machines(batch)) or [NOTHING]),
    ]


def versions(batch: Batch) -> list[Fact]:
    """Every package, with all versions that were used."""
    packages: dict[str, dict[str, list[str]]] = {}
    for name, record in batch.records():
        for package, version in mapping(record, "versions").items():
            packages.setdefault(package, {}).setdefault(str(version), []).append(name)
    return [Fact(package, _with_names(found)) for package, found in packages.items()]


def checksums(batch: Batch) -> list[tuple[str, str, str]]:
    """File, SHA-256 and who used it; a name with two sums, such as weights of two runs, has two lines."""
    users: dict[tuple[str, str], list[str]] = {}
    for name, record in batch.records():
        for file, digest in mapping(record, "data_sha256").items():
            users.setdefault((str(file), str(digest)), []).append(name)
    return [(file, digest, ", ".join(names)) for (file, digest), names in sorted(users.items())]


def _profile(name: str) -> str:
    if name not in PROFILES:
        return name
    profile = PROFILES[name]
    return f"{name}: network {profile.preset}, recipe {profile.recipe}, data set {profile.dataset}"


def _outcome(states: Iterable[str]) -> str:
    counts = Counter(states)
    return ", ".join(
        f"{counts[state]} {state}" for state in ("done", "failed", "unfinished", "not run") if counts[state]
    )


def _values(batch: Batch, of: Any) -> dict[str, list[str]]:
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
