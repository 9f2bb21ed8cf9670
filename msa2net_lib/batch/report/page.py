"""The page itself: what was found, put into the template and written as one file."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from msa2net_lib.batch.report import cost, facts
from msa2net_lib.batch.report.found import Batch, LessonRun, figures, find, mapping
from msa2net_lib.batch.report.how_to import commands
from msa2net_lib.batch.report.items import ITEMS, MEASURED
from msa2net_lib.batch.report.measured import Picture, dataset_of, look_up, picture
from msa2net_lib.batch.report.pictures import embed
from msa2net_lib.paper.claims import Claim, claims
from msa2net_lib.utils.files import write_text

EFFECT = "effect on the score"
AUDIT = "16"
"""The lesson that runs the evidence of the discrepancies."""
# What may stand in no HTML page: control characters other than white space, and halves of characters.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True)
class LessonView:
    """A lesson on the page: its pictures to show, those shown elsewhere by item, its numbers and links."""

    run: LessonRun
    pictures: list[Picture]
    elsewhere: list[tuple[str, str]]
    numbers: list[tuple[str, str, str]]
    spent: str
    links: list[tuple[str, str]]


def write_report(output_dir: str | Path, profile: str, *, title: str | None = None) -> Path:
    """Write ``<output_dir>/<profile>/index.html`` from whatever records lie there; returns its path.

    One file that needs no other: pictures are in it, and nothing is fetched. Links to executed notebooks, logs and
    tables are relative. What is missing or damaged is named on the page, so that it never fails for that; the same
    records give the same bytes. Raises: `InputError` if the page cannot be written.
    """
    batch = find(output_dir, profile)
    return write_text(batch.folder / "index.html", render(batch, title or f"MSA²Net workbook: {profile}"))


def render(batch: Batch, title: str) -> str:
    """The page as text."""
    from msa2net_lib.lessons.l16_paper_audit.widget import (
        source_line,  # loads torch: not on import
    )

    items = [look_up(batch, item) for item in ITEMS]
    shown = {one.path: (f"item-{found.item.key}", found.item.name) for found in items for one in found.pictures}
    rows = cost.spent(batch)
    page = _template().render(
        title=title,
        batch=batch,
        ids=_ids(batch),
        logs=_logs(batch),
        numbers=_numbers,
        facts=facts.facts(batch),
        versions=facts.versions(batch),
        checksums=facts.checksums(batch),
        items=items,
        measured=sum(found.status == MEASURED for found in items),
        claims=_claims(),
        discrepancies=_discrepancies(batch),
        audit=batch.lesson(AUDIT),
        source=source_line(),
        spent=rows,
        total=cost.total_minutes(rows),
        peak=max((row.memory_gib or 0 for row in rows), default=0),
        side_by_side=cost.side_by_side(batch),
        machines=cost.machines(batch),
        lessons=[_view(lesson, shown, batch.profile) for lesson in batch.lessons],
        commands=commands(batch.profile, "11_evaluation"),
    )
    return _UNPRINTABLE.sub("\ufffd", page)


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"minutes": cost.in_words, "href": partial(quote, safe="/#"), "embed": embed}
    return environment.get_template("page.html.j2")


@cache
def _claims() -> tuple[Claim, ...]:
    """They rest on printed numbers alone, and one counts a whole network."""
    return claims()


def _ids(batch: Batch) -> dict[str, str]:
    """Anchors of lessons and failures: letters, digits and hyphens, each once."""
    keys = [*(lesson.name for lesson in batch.lessons), *(f"failed-{failure.key}" for failure in batch.failures)]
    ids: dict[str, str] = {}
    for key in keys:
        plain = "run-" + re.sub(r"[^A-Za-z0-9_-]", "-", key)
        ids[key] = plain if plain not in ids.values() else f"{plain}-{len(ids)}"
    return ids


def _logs(batch: Batch) -> set[str]:
    """The logs that are there, of all that the page names."""
    named = {job.log for job in batch.jobs} | {failure.log for failure in batch.failures}
    return {log for log in named if (batch.folder / log).is_file()}


def _discrepancies(batch: Batch) -> dict[str, list[dict[str, Any]]]:
    """Discrepancies by part, with the effects that the audit of this batch measured, if it ran."""
    from msa2net_lib.paper.discrepancies import discrepancy_table

    table = discrepancy_table()
    audit = batch.lesson(AUDIT)
    if audit and audit.state == "done" and "discrepancies.csv" in audit.files(".csv"):
        table[EFFECT] = _effects(audit.folder / "discrepancies.csv").reindex(table.index).fillna(table[EFFECT])
    parts: dict[str, list[dict[str, Any]]] = {}
    for one in table.reset_index().to_dict("records"):
        parts.setdefault(str(one["part"]), []).append({str(name): text for name, text in one.items()})
    return parts


def _effects(path: Path) -> pd.Series:
    """The effects column that the audit recorded; empty if the file is damaged."""
    try:
        return pd.Series(pd.read_csv(path, index_col="key", dtype=str)[EFFECT])
    except (OSError, ValueError, KeyError):
        return pd.Series(dtype=str)


def _view(lesson: LessonRun, shown: dict[Path, tuple[str, str]], profile: str) -> LessonView:
    headlines = [picture(lesson, entry) for entry in figures(lesson.record) if entry.get("headline") == "yes"]
    elsewhere = [shown[one.path] for one in headlines if one.path in shown]
    links = [(f"{lesson.name}/{name}", words) for suffix, words in _PAGES.items() for name in lesson.files(suffix)]
    links += [(f"{lesson.name}/{name}", name) for name in lesson.files(".csv")]
    return LessonView(
        lesson,
        [one for one in headlines if one.path not in shown],
        list(dict.fromkeys(elsewhere)),
        _numbers(lesson.record),
        _spent(lesson.record, profile),
        links,
    )


def _spent(record: dict[str, Any], profile: str) -> str:
    """What a lesson took, on what and with which seed, in one line; empty without a record."""
    if not record:
        return ""
    memory = cost.number(record.get("peak_memory_gib"))
    told = [
        cost.in_words(cost.number(record.get("minutes"))),
        "peak memory not recorded" if memory is None else f"peak memory {memory:.2f} GiB",
        f"seed {record.get('seed', 'not recorded')}",
        f"data: {dataset_of(record, profile) or 'not recorded'}",
    ]
    return ", ".join(told)


_PAGES = {".html": "the executed page", ".ipynb": "the executed notebook"}


def _numbers(record: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Name, value with unit, and note of every number in a record."""
    return [(str(name), *_number(value)) for name, value in mapping(record, "numbers").items()]


def _number(recorded: Any) -> tuple[str, str]:
    """A recorded number with its unit, four digits of it, and its note."""
    if not isinstance(recorded, dict):
        return _digits(recorded), ""
    value = _digits(recorded.get("value"))
    unit = f" {recorded['unit']}" if recorded.get("unit") and value != "not measured" else ""
    return value + unit, str(recorded.get("note", ""))


def _digits(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "not measured"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10_000:
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
