"""An item of the paper in one batch: ours below the published rows, or the reason why there is none."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from msa2net_lib.batch.report.found import Batch, Failure, LessonRun, figures, mapping
from msa2net_lib.batch.report.items import COMPARABILITY, MEASURED, NOT_MEASURED, ORIGIN, PUBLISHED, Item
from msa2net_lib.config import PROFILES
from msa2net_lib.data.catalog import DATASETS, list_datasets

BEFORE_TABLES = ("tables", "ablation", "evaluate", "train", "data")
"""Kinds of jobs without which there are no tables."""
_FRACTION = re.compile(r"-?\d+\.\d+(e[+-]?\d+)?")


@dataclass(frozen=True)
class Row:
    """One line of a table on the page: a name, its cells as text, and how far it may be compared."""

    name: str
    cells: list[str]
    origin: str
    honesty: dict[str, str]


@dataclass(frozen=True)
class Picture:
    """A figure that a lesson recorded: which lesson, its entry in the record, and the file."""

    lesson: LessonRun
    path: Path
    caption: str


@dataclass(frozen=True)
class Found:
    """What the page says of an item.

    status: "measured" or "not measured"; reason: of the latter, or empty; failures: what stood in the way.
    published, ours, data, verdict: the four cells of the overview. warnings: what to know before reading the rows.
    """

    item: Item
    status: str
    reason: str
    published: str
    ours: str
    data: str
    verdict: str
    columns: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def look_up(batch: Batch, item: Item) -> Found:
    """Find an item's table and pictures in a batch."""
    if item.published is None:
        return _figure(batch, item)
    pictures = _pictures(batch, item)[0] if item.pictures else []
    table, damage = _table(batch, item)
    reason, failures = "", []
    if table is None:
        reason, failures = _no_table(batch, item, damage)
        table = item.published().assign(**{ORIGIN: PUBLISHED})
    shown = [column for column in table.columns if column not in ("row", *COMPARABILITY)]
    rows = [_row(item, row, shown) for row in table.astype(str).to_dict("records")]
    theirs = [row for row in rows if row.origin == PUBLISHED]
    ours = [row for row in rows if row.origin == MEASURED]
    if not ours and not reason:
        reason = "; ".join(dict.fromkeys(row.honesty["note"] for row in rows if row.origin == NOT_MEASURED)) or (
            "the table of this batch has no row of ours"
        )
    best = _headline_row(item, ours, shown)
    return Found(
        item, MEASURED if ours else NOT_MEASURED, "" if ours else reason,
        _headline(item, theirs[-1], shown) if theirs else "", _headline(item, best, shown) if best else "",
        best.honesty["data"] if best else "", _judged(best.honesty) if best else "",
        [item.label(column) for column in shown], rows, pictures,
        [] if ours else failures, [*_earlier(batch, table), *_of_published(theirs)],
    )  # fmt: skip


def _earlier(batch: Batch, table: pd.DataFrame) -> list[str]:
    """Whether rows of ours are older than this run, whose job for tables did not get that far."""
    undone = [job.name for job in batch.jobs if job.kind == "tables" and job.state != "done"]
    if not undone or MEASURED not in set(table[ORIGIN]):
        return []
    return [f"The job {undone[0]} did not finish in this run: rows of ours are an earlier run's."]


def _of_published(rows: list[Row]) -> list[str]:
    """What is said of all published rows alike: their data and selection."""
    said = dict.fromkeys(
        "; ".join(f"{name}: {row.honesty[name]}" for name in ("data", "selection", "note") if row.honesty[name])
        for row in rows
    )
    return [f"Published rows, {words}." for words in said if words]


def dataset_of(record: dict[str, Any], profile: str) -> str:
    """The data set that a lesson ran on, by the catalog's name; "auto" is its profile's."""
    name = str(mapping(record, "parameters").get("DATASET", ""))
    return PROFILES[profile].dataset if name == "auto" and profile in PROFILES else name


def data_in_words(name: str) -> str:
    """A data set as the catalog describes it."""
    return list_datasets().get(name, name or "not recorded")


def picture(lesson: LessonRun, entry: dict[str, Any]) -> Picture:
    """A recorded figure; its file lies in the lesson's folder, whatever the record says."""
    file = Path(str(entry.get("file", ""))).name
    return Picture(lesson, lesson.folder / file, str(entry.get("caption") or f"{lesson.title}: {file}"))


def _figure(batch: Batch, item: Item) -> Found:
    pictures, reason, failures = _pictures(batch, item)
    published = f"{item.name} of the paper (not copied here)"
    if not pictures:
        return Found(item, NOT_MEASURED, reason, published, "", "", "", failures=failures)
    name = dataset_of(pictures[0].lesson.record, batch.profile)
    if not item.dataset:
        data, verdict = "none", "comparable by eye: a drawing of what is built, not a measurement"
    elif item.dataset == name:
        data, verdict = data_in_words(name), "same data set; by eye, without a tolerance"
    elif item.dataset == "isic":  # a lesson's DATASET is one of scans: the caption says which pictures these are
        synthetic = any("synthetic" in one.caption.lower() for one in pictures)
        data = DATASETS["skin"].description if synthetic else "the pictures that the caption names"
        verdict = "not comparable: other data" if synthetic else "only if they are of ISIC 2018; by eye"
    else:
        data, verdict = data_in_words(name), "not comparable: other data"
    return Found(item, MEASURED, "", published, "a picture, below", data, verdict, pictures=pictures)


def _pictures(batch: Batch, item: Item) -> tuple[list[Picture], str, list[Failure]]:
    """The pictures that the item's lesson recorded, or why there is none and what failed."""
    lesson = batch.lesson(item.lesson)
    if lesson is None or lesson.state != "done":
        return [], *_why_not(item, lesson)
    named = {Path(str(entry.get("file", ""))).stem: entry for entry in figures(lesson.record)}
    for name in item.pictures:
        entries = [named[stem] for stem in named if stem == name or stem.startswith(f"{name}_")]
        found = [picture(lesson, entry) for entry in entries]
        there = [one for one in found if one.path.is_file()]
        if there:
            return there, "", []
        if found:
            return [], f"lesson {lesson.name} recorded {found[0].path.name}, and the file is not there", []
    return [], f"lesson {lesson.name} ran and recorded no picture named {item.key}", []


def _why_not(item: Item, lesson: LessonRun | None) -> tuple[str, list[Failure]]:
    if lesson is None:
        return "the workbook has no lesson for it", []
    if lesson.failure:
        return f"lesson {lesson.name} failed: {lesson.failure.error}", [lesson.failure]
    if lesson.state == "unfinished":
        return f"lesson {lesson.name} started and did not finish", []
    why, behind = (lesson.job.why, lesson.job.blocked_by) if lesson.job else ("", ())
    return f"lesson {lesson.name} was not run in this batch" + (f": {why}" if why else ""), list(behind)


def _table(batch: Batch, item: Item) -> tuple[pd.DataFrame | None, str | None]:
    """The batch's table with the lesson's rows that it lacks, else the lesson's own, else one without rows of ours.

    None, and what is wrong with the file, if there is no table.
    """
    lesson, damage, without, measured = batch.lesson(item.lesson), None, None, None
    places = [batch.folder / "tables" / f"{item.key}.csv"]
    if lesson and lesson.state == "done" and f"{item.key}.csv" in lesson.files(".csv"):
        places.append(lesson.folder / f"{item.key}.csv")
    for path in filter(Path.is_file, places):
        try:
            table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
        except (OSError, ValueError) as error:
            damage = f"{path.parent.name}/{path.name} cannot be read ({type(error).__name__})"
            continue
        if ORIGIN in table.columns and len(table):
            table = table.rename(columns={table.columns[0]: "row"})
            if MEASURED in set(table[ORIGIN]):
                measured = table if measured is None else _with_rows_of(measured, table, item)
            without = table if without is None else without
        elif path == places[0]:  # a lesson may keep a table of its own form by this name
            damage = f"tables/{path.name} has no rows with a column {ORIGIN!r}"
    return (without, damage) if measured is None else (measured, None)


def _with_rows_of(table: pd.DataFrame, other: pd.DataFrame, item: Item) -> pd.DataFrame:
    """Add the measured rows of another table unless the same scores, chosen alike, stand there: the same network's."""
    same = [name for name in (*item.headline, "data", "selection") if name in table and name in other]
    known = set(table.loc[table[ORIGIN] == MEASURED, same].itertuples(index=False, name=None))
    new = np.array([row not in known for row in other[same].itertuples(index=False, name=None)])
    rows: Any = other[(other[ORIGIN] == MEASURED) & new]
    return pd.concat([table, rows], ignore_index=True).fillna("")


def _no_table(batch: Batch, item: Item, damage: str | None) -> tuple[str, list[Failure]]:
    if damage:
        return f"{damage}: make it again", []
    failed = [job.failure for job in batch.jobs if job.failure and job.kind in BEFORE_TABLES]
    lesson = batch.lesson(item.lesson)
    if lesson is None or lesson.state != "done":
        reason, more = _why_not(item, lesson)
    else:
        reason, more = f"lesson {lesson.name} left none of this form", []
    failed += [one for one in more if one not in failed]
    return f"this batch has no tables/{item.key}.csv, and {reason}", failed


def _row(item: Item, row: dict[str, Any], shown: list[str]) -> Row:
    honesty = {name: "" if row.get(name) in (None, "nan") else str(row[name]) for name in COMPARABILITY}
    cells = [_cell(item, column, str(row[column]), honesty[ORIGIN]) for column in shown]
    return Row(str(row["row"]), cells, honesty[ORIGIN] or PUBLISHED, honesty)


def _cell(item: Item, column: str, value: str, origin: str) -> str:
    """A published number with the digits printed, ours rounded; an empty cell of ours is "not measured"."""
    if value in ("True", "False"):
        return "yes" if value == "True" else "no"
    if value in ("", "nan"):
        return "–" if origin == PUBLISHED else NOT_MEASURED
    if origin == PUBLISHED:
        missing = item.printed.get(column, 0) - len(value.partition(".")[2])
        number = re.fullmatch(r"-?\d+(\.\d+)?", value)
        return value + ("" if "." in value else ".") + "0" * missing if number and missing > 0 else value
    return f"{float(value):.{item.decimals}f}" if _FRACTION.fullmatch(value) else value


def _headline_row(item: Item, ours: list[Row], shown: list[str]) -> Row | None:
    """The row of ours that has most of the headline's numbers; of several the first, or the last."""
    if not ours:
        return None
    places = [shown.index(column) for column in item.headline if column in shown]

    def count(row: Row) -> int:
        return sum(row.cells[place] not in (NOT_MEASURED, "–") for place in places)

    return max(ours if item.ours == "first" else ours[::-1], key=count)


def _headline(item: Item, row: Row, shown: list[str]) -> str:
    cells = [(item.label(column), row.cells[shown.index(column)]) for column in item.headline if column in shown]
    return f"{row.name}: " + ", ".join(f"{label} {cell}" for label, cell in cells)


def _judged(honesty: dict[str, str]) -> str:
    selection = f"selection: {honesty['selection']}" if honesty["selection"] else ""
    return "; ".join(part for part in (honesty["verdict"], honesty["note"], selection) if part)
