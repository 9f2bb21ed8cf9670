"""The page itself: what was found, put into the template and written as one file, figures included."""

from __future__ import annotations

import base64
import math
import re
from dataclasses import dataclass
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from PIL import Image

from msa2net_lib.batch.report import records
from msa2net_lib.batch.report.items import ITEMS, look_up, recorded_figure
from msa2net_lib.batch.report.records import Batch, LessonRun, figures, find, mapping, number
from msa2net_lib.paper.claims import claims
from msa2net_lib.paper.discrepancies import COMMIT, REPOSITORY, discrepancy_table
from msa2net_lib.paper.reproduced.rows import MEASURED
from msa2net_lib.utils.files import write_text

EFFECT = "effect on the score"
AUDIT = "16"
"""The lesson that runs the evidence of the discrepancies."""
# What may stand in no HTML page: control characters other than white space, and halves of characters.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


WIDEST = 1200
"""Pixels: wider figures are scaled down to this."""


@dataclass(frozen=True)
class Embedded:
    """A figure in the page: its data URI, width and height in pixels."""

    uri: str
    width: int
    height: int


def write_report(output_dir: str | Path, profile: str, *, title: str | None = None) -> Path:
    """Write ``<output_dir>/<profile>/index.html`` from whatever records lie there; returns its path.

    One file that needs no other: figures are in it, and nothing is fetched. Links to executed notebooks, logs and
    tables are relative. What is missing or damaged is named on the page, so that it never fails for that; the same
    records give the same bytes. Raises: `InputError` if the page cannot be written.
    """
    batch = find(output_dir, profile)
    return write_text(batch.folder / "index.html", render(batch, title or f"MSA²Net workbook: {profile}"))


def render(batch: Batch, title: str) -> str:
    """The page as text."""
    items = [look_up(batch, item) for item in ITEMS]
    shown = {one.path: (f"item-{found.item.key}", found.item.name) for found in items for one in found.figures}
    spent = records.spent(batch)
    page = _template().render(
        title=title,
        batch=batch,
        ids=_ids(batch),
        logs=_logs(batch),
        numbers=_numbers,
        facts=records.facts(batch),
        versions=records.versions(batch),
        checksums=records.checksums(batch),
        items=items,
        measured=[found.item.name for found in items if found.status == MEASURED],
        comparable=[found.item.name for found in items if found.is_comparable],
        by_eye=[found.item.name for found in items if found.is_comparable is None],
        claims=_claims(),
        discrepancies=_discrepancies(batch),
        audit=batch.lesson(AUDIT),
        source=f"code: {REPOSITORY}, commit {COMMIT}",
        spent=spent,
        total=sum(row.minutes or 0 for row in spent),
        longest=max((row.minutes or 0 for row in spent), default=0),
        peak=max((row.memory_gib or 0 for row in spent), default=0),
        side_by_side=records.side_by_side(batch),
        machines=records.machines(batch),
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
    environment.filters |= {"minutes": records.in_words, "href": partial(quote, safe="/#"), "embed": embed}
    return environment.get_template("page.html.j2")


_claims = cache(claims)  # they rest on printed numbers alone, and one counts a whole network


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


def _view(lesson: LessonRun, shown: dict[Path, tuple[str, str]], profile: str) -> dict[str, Any]:
    """A lesson on the page: its figures to show, those shown by an item above, its numbers and links."""
    headlines = [recorded_figure(lesson, entry) for entry in figures(lesson.record) if entry.get("headline") == "yes"]
    pages = {".html": "the executed page", ".ipynb": "the executed notebook"}
    links = [(f"{lesson.name}/{name}", words) for suffix, words in pages.items() for name in lesson.files(suffix)]
    return {
        "run": lesson,
        "figures": [one for one in headlines if one.path not in shown],
        "above": list(dict.fromkeys(shown[one.path] for one in headlines if one.path in shown)),
        "numbers": _numbers(lesson.record),
        "spent": _spent(lesson.record, profile),
        "links": links + [(f"{lesson.name}/{name}", name) for name in lesson.files(".csv")],
    }


def _spent(record: dict[str, Any], profile: str) -> str:
    """What a lesson took, on what and with which seed, in one line; empty without a record."""
    if not record:
        return ""
    memory = number(record.get("peak_memory_gib"))
    told = [
        records.in_words(number(record.get("minutes"))),
        "peak memory not recorded" if memory is None else f"peak memory {memory:.2f} GiB",
        f"seed {record.get('seed', records.NOT_RECORDED)}",
        f"data: {records.dataset_of(record, profile) or records.NOT_RECORDED}",
    ]
    return ", ".join(told)


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


def embed(path: Path) -> Embedded | str:
    """A figure's file as a data URI, or in one line why it cannot be shown; same file, same URI."""
    try:
        content = path.read_bytes()
        with Image.open(BytesIO(content)) as image:
            image.load()
            kind = str(image.format)
            if image.width > WIDEST:
                image = image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGBA")
                image = image.resize(
                    (WIDEST, max(1, round(image.height * WIDEST / image.width))), Image.Resampling.LANCZOS
                )
                content, kind = _png(image), "PNG"
            elif kind not in ("PNG", "JPEG"):
                content, kind = _png(image.convert("RGBA")), "PNG"
    except FileNotFoundError:
        return f"the figure {path.name} is not there"
    # Pillow has many kinds of exception for damaged files, SyntaxError among them.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"the figure {path.name} cannot be read ({type(error).__name__})"
    uri = f"data:image/{kind.lower()};base64,{base64.b64encode(content).decode()}"
    return Embedded(uri, image.width, image.height)


def _png(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def commands(profile: str, lesson: str) -> list[tuple[str, str, str]]:
    """How a reader makes the page anew: purpose, command and note; this page's profile first, a lesson as example."""
    reproduce, own = ".venv/bin/msa2net reproduce", f"--profile {profile}"
    notes = {
        "smoke": "laptop CPU, shipped data",
        "gpu": "one GPU, shipped data",
        "paper": "the paper's schedule; needs Synapse in data/synapse, which you bring: msa2net prepare synapse --help",
    }
    profiles = [
        (f"The profile {name}", f"{reproduce} --profile {name} --output results", notes[name])
        for name in sorted(notes, key=lambda name: name != profile)
    ]
    return [
        ("Install, and run the profile smoke", "make workbook", "in a clone of the workbook"),
        *profiles,
        (
            "Go on after an interruption or a failed job", f"{reproduce} {own} --output results",
            "the same command again: what is done is not run twice",
        ),
        (
            "One lesson", f"{reproduce} {own} --output results --only {lesson}",
            "with -p NAME=VALUE for a parameter of it",
        ),
        ("See first what would be done", f"{reproduce} {own} --dry-run", ""),
        (
            "On a cluster", f"{reproduce} {own} --output results --cluster workflow/profiles/slurm",
            "each job through Slurm; name your account and partition in workflow/profiles/slurm/config.yaml first",
        ),
        (
            "The same by Snakemake itself",
            f".venv/bin/snakemake --snakefile workflow/Snakefile --configfile workflow/config/{profile}.yaml "
            f"--directory results/{profile} --cores 2 --keep-going --rerun-incomplete",
            "on a cluster with --profile workflow/profiles/slurm instead of the options behind the folder",
        ),
    ]  # fmt: skip
