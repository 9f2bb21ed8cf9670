"""Every table and figure of the paper: what it holds, and what a batch has beside it, or why it has nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from msa2net_lib.batch.report.records import Batch, Failure, LessonRun, data_in_words, dataset_of, figures
from msa2net_lib.data.catalog import DATASETS
from msa2net_lib.paper import tables
from msa2net_lib.paper.ablation.rows import published_rows
from msa2net_lib.paper.reproduced.lines import in_words, read_lines
from msa2net_lib.paper.reproduced.rows import COMPARABILITY, MEASURED, NOT_MEASURED, PUBLISHED
from msa2net_lib.utils.tables import read_table

BEFORE_TABLES = ("tables", "ablation", "evaluate", "train", "data")
"""Kinds of jobs without which there are no tables."""
_FRACTION = re.compile(r"-?\d+\.\d+(e[+-]?\d+)?")
LABELS = {
    "parameters_m": "parameters (M)", "flops_g": "FLOPs (G)", "dsc": "DSC", "hd95": "HD95",
    "se": "SE", "sp": "SP", "acc": "ACC", "masag": "MASAG", "lka": "LKA", "dae_former": "DAE-Former",
}  # fmt: skip
"""What the columns are called on the page; others are their own name."""


@dataclass(frozen=True)
class Item:
    """One table or figure of the paper.

    holds: what it shows, in our words. lesson: two digits of the lesson that reproduces it; figures: names that the
    lesson may record them by, the first found is shown. headline: columns that stand for the table in the overview;
    stands: which reproduced row does. decimals: of reproduced numbers; printed: decimals the paper prints, by column of
    scores; percent: whether DSC is in percent. dataset: the catalog's name of the data it was made from, empty if from
    none; needs: what a comparable one takes.
    """

    key: str
    title: str
    kind: Literal["table", "figure"]
    holds: str
    lesson: str
    dataset: str
    needs: str
    figures: tuple[str, ...] = ()
    headline: tuple[str, ...] = ()
    stands: Literal["first", "last"] = "first"
    decimals: int = 2
    printed: dict[str, int] = field(default_factory=dict)
    percent: bool = False

    @property
    def published(self) -> Callable[[], pd.DataFrame] | None:
        """What gives the printed numbers, a row each; None of a figure."""
        return _PUBLISHED.get(self.key)

    @property
    def name(self) -> str:
        """Table 1, Figure A."""
        return self.title.partition(":")[0]

    def label(self, column: str) -> str:
        """What a column is called on the page."""
        return LABELS.get(column, column.replace("_", " ")) + (" (%)" if self.percent and column == "dsc" else "")


ITEMS = tuple(Item(key, **fields) for key, fields in read_table("paper_items").items())
_PUBLISHED: dict[str, Callable[[], pd.DataFrame]] = {
    "table_1": tables.table_1,
    "table_2": tables.table_2,
    "table_3": published_rows,
    "table_a": tables.table_a_rows,
}


@dataclass(frozen=True)
class Row:
    """One line of a table on the page: a name, its cells as text, and how far it may be compared."""

    name: str
    cells: list[str]
    origin: str
    said: dict[str, str]


@dataclass(frozen=True)
class RecordedFigure:
    """A figure that a lesson recorded: which lesson, the file, and its caption."""

    lesson: LessonRun
    path: Path
    caption: str


@dataclass(frozen=True)
class Found:
    """What the page says of an item.

    status: "measured" or "not measured"; reason: of the latter, or empty; failures: what stood in the way.
    published, reproduced, data, comparability: the four cells of the overview. warnings: what to know before the rows.
    lines: of Tables 1 and 2, each row beside its reproduction (`lines.in_words`); lines_damage: why not, where
    the file is there.
    """

    item: Item
    status: str
    reason: str
    published: str
    reproduced: str
    data: str
    comparability: str
    columns: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    figures: list[RecordedFigure] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    lines: pd.DataFrame | None = None
    lines_damage: str = ""

    @property
    def is_comparable(self) -> bool | None:
        """Whether a reproduced number may be compared with the printed one; None where only eyes can compare."""
        if self.item.kind == "figure":
            return None if self.status == MEASURED and "by eye" in self.comparability else False
        judged = [row.said["comparability"] for row in self.rows if row.origin == MEASURED]
        return any(words.startswith(("comparable", "reproduced")) for words in judged)


def look_up(batch: Batch, item: Item) -> Found:
    """Find an item's table and figures in a batch."""
    if item.published is None:
        return _figure(batch, item)
    drawn = _figures_of(batch, item)[0] if item.figures else []
    table, damage = _table(batch, item)
    reason, failures = "", []
    if table is None:
        reason, failures = _no_table(batch, item, damage)
        table = item.published().rename_axis("row").reset_index().assign(origin=PUBLISHED)
    shown = [column for column in table.columns if column not in ("row", *COMPARABILITY)]
    rows = [_row(item, row, shown) for row in table.astype(str).to_dict("records")]
    theirs = [row for row in rows if row.origin == PUBLISHED]
    measured = [row for row in rows if row.origin == MEASURED]
    if not measured and not reason:
        reason = "; ".join(dict.fromkeys(row.said["note"] for row in rows if row.origin == NOT_MEASURED)) or (
            "the table of this batch has no reproduced row"
        )
    best = _headline_row(item, measured, shown)
    lines, lines_damage = _lines(batch, item)
    return Found(
        item, MEASURED if measured else NOT_MEASURED, "" if measured else reason,
        _headline(item, theirs[-1], shown) if theirs else "", _headline(item, best, shown) if best else "",
        best.said["data"] if best else "", _judged(best.said) if best else "",
        [item.label(column) for column in shown], rows, drawn,
        [] if measured else failures, [*_earlier(batch, table), *_of_published(theirs)],
        lines, lines_damage,
    )  # fmt: skip


def _lines(batch: Batch, item: Item) -> tuple[pd.DataFrame | None, str]:
    """Each published row beside its reproduction: the batch's, else the lesson's; None and "" where neither is."""
    lesson, name = batch.lesson(item.lesson), f"{item.key}_rows.csv"
    places = [batch.folder / "tables" / name, *([lesson.folder / name] if lesson else [])]
    for path in filter(Path.is_file, places):
        try:
            return in_words(read_lines(path)), ""
        except (OSError, ValueError, KeyError, TypeError) as error:
            return None, f"{path.parent.name}/{name} cannot be read ({type(error).__name__}): make it again"
    return None, ""


def _earlier(batch: Batch, table: pd.DataFrame) -> list[str]:
    """Whether reproduced rows are older than this run, whose job for tables did not get that far."""
    undone = [job.name for job in batch.jobs if job.kind == "tables" and job.state != "done"]
    if not undone or MEASURED not in set(table["origin"]):
        return []
    return [f"The job {undone[0]} did not finish in this run: reproduced rows are an earlier run's."]


def _of_published(rows: list[Row]) -> list[str]:
    """What is said of all published rows alike: their data and selection."""
    said = dict.fromkeys(
        "; ".join(f"{name}: {row.said[name]}" for name in ("data", "selection", "note") if row.said[name])
        for row in rows
    )
    return [f"Published rows, {words}." for words in said if words]


def recorded_figure(lesson: LessonRun, entry: dict[str, Any]) -> RecordedFigure:
    """A recorded figure; its file lies in the lesson's folder, whatever the record says."""
    file = Path(str(entry.get("file", ""))).name
    return RecordedFigure(lesson, lesson.folder / file, str(entry.get("caption") or f"{lesson.title}: {file}"))


def _figure(batch: Batch, item: Item) -> Found:
    drawn, reason, failures = _figures_of(batch, item)
    published = f"{item.name} of the paper (not copied here)"
    if not drawn:
        return Found(item, NOT_MEASURED, reason, published, "", "", "", failures=failures)
    name = dataset_of(drawn[0].lesson.record, batch.profile)
    if not item.dataset:
        data, compared = "none", "comparable by eye: a drawing of what is built, not a measurement"
    elif item.dataset == name:
        data, compared = data_in_words(name), "same data set; by eye, without a tolerance"
    elif item.dataset == "isic":  # a lesson's DATASET is one of scans: the caption says which images these are
        synthetic = any("synthetic" in one.caption.lower() for one in drawn)
        data = DATASETS["skin"].description if synthetic else "the images that the caption names"
        compared = "not comparable: other data" if synthetic else "only if they are of ISIC 2018; by eye"
    else:
        data, compared = data_in_words(name), "not comparable: other data"
    return Found(item, MEASURED, "", published, "a figure, below", data, compared, figures=drawn)


def _figures_of(batch: Batch, item: Item) -> tuple[list[RecordedFigure], str, list[Failure]]:
    """The figures that the item's lesson recorded, or why there is none and what failed."""
    lesson = batch.lesson(item.lesson)
    if lesson is None or lesson.state != "done":
        return [], *_why_not(item, lesson)
    named = {Path(str(entry.get("file", ""))).stem: entry for entry in figures(lesson.record)}
    for name in item.figures:
        entries = [named[stem] for stem in named if stem == name or stem.startswith(f"{name}_")]
        found = [recorded_figure(lesson, entry) for entry in entries]
        there = [one for one in found if one.path.is_file()]
        if there:
            return there, "", []
        if found:
            return [], f"lesson {lesson.name} recorded {found[0].path.name}, and the file is not there", []
    return [], f"lesson {lesson.name} ran and recorded no figure named {item.key}", []


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
    """The batch's table with the lesson's rows that it lacks, else the lesson's own, else one without such rows.

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
        if "origin" in table.columns and len(table):
            table = table.rename(columns={table.columns[0]: "row"})
            if MEASURED in set(table["origin"]):
                measured = table if measured is None else _with_rows_of(measured, table, item)
            without = table if without is None else without
        elif path == places[0]:  # a lesson may keep a table of its own form by this name
            damage = f"tables/{path.name} has no rows with a column 'origin'"
    return (without, damage) if measured is None else (measured, None)


def _with_rows_of(table: pd.DataFrame, other: pd.DataFrame, item: Item) -> pd.DataFrame:
    """Add the measured rows of another table unless the same scores, chosen alike, stand there: the same network's."""
    same = [name for name in (*item.headline, "data", "selection") if name in table and name in other]
    known = set(table.loc[table["origin"] == MEASURED, same].itertuples(index=False, name=None))
    new = np.array([row not in known for row in other[same].itertuples(index=False, name=None)])
    rows: Any = other[(other["origin"] == MEASURED) & new]
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
    said = {name: "" if row.get(name) in (None, "nan") else str(row[name]) for name in COMPARABILITY}
    cells = [_cell(item, column, str(row[column]), said["origin"]) for column in shown]
    return Row(str(row["row"]), cells, said["origin"] or PUBLISHED, said)


def _cell(item: Item, column: str, value: str, origin: str) -> str:
    """A published number with the digits printed, a reproduced one rounded; where it lacks one "not measured"."""
    if value in ("True", "False"):
        return "yes" if value == "True" else "no"
    if value in ("", "nan"):
        return "–" if origin == PUBLISHED else NOT_MEASURED
    if origin == PUBLISHED:
        missing = item.printed.get(column, 0) - len(value.partition(".")[2])
        number = re.fullmatch(r"-?\d+(\.\d+)?", value)
        return value + ("" if "." in value else ".") + "0" * missing if number and missing > 0 else value
    return f"{float(value):.{item.decimals}f}" if _FRACTION.fullmatch(value) else value


def _headline_row(item: Item, rows: list[Row], shown: list[str]) -> Row | None:
    """The reproduced row that has most of the headline's numbers; of several the first, or the last."""
    if not rows:
        return None
    places = [shown.index(column) for column in item.headline if column in shown]

    def count(row: Row) -> int:
        return sum(row.cells[place] not in (NOT_MEASURED, "–") for place in places)

    return max(rows if item.stands == "first" else rows[::-1], key=count)


def _headline(item: Item, row: Row, shown: list[str]) -> str:
    cells = [(item.label(column), row.cells[shown.index(column)]) for column in item.headline if column in shown]
    return f"{row.name}: " + ", ".join(f"{label} {cell}" for label, cell in cells)


def _judged(said: dict[str, str]) -> str:
    selection = f"selection: {said['selection']}" if said["selection"] else ""
    return "; ".join(part for part in (said["comparability"], said["note"], selection) if part)
