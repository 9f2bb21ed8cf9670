"""The index page of a batch run: what ran, its headline figures, its numbers."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from msa2net_lib.files import write_text
from msa2net_lib.workbook.lessons import LESSONS, Lesson
from msa2net_lib.workbook.records import read_record

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto }
body { padding: 0 1rem; color: #222 }
h1, h2 { line-height: 1.2 } figure { margin: 1rem 0 } img { max-width: 100%; height: auto }
figcaption { color: #555; font-size: .9rem } table { border-collapse: collapse; font-size: .9rem }
td, th { border-bottom: 1px solid #ddd; padding: .2rem .8rem .2rem 0; text-align: left }
.missing { color: #a33 }
"""


def write_index(output_dir: str | Path, profile: str) -> Path:
    """Write ``<output_dir>/<profile>/index.html`` from the records that are there; returns its path."""
    folder = Path(output_dir) / profile
    sections = [_section(lesson, read_record(output_dir, profile, lesson.name)) for lesson in LESSONS.values()]
    page = (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>MSA²Net workbook: {html.escape(profile)}</title><style>{STYLE}</style></head><body>"
        f"<h1>MSA²Net workbook, profile {html.escape(profile)}</h1>"
        "<p>Scores below come from the data named on each figure. Those on virtual patients and on the "
        "shipped CT show that the machinery works; they say nothing about clinical performance and are not "
        "comparable with the paper's tables.</p>" + "".join(sections) + "</body></html>\n"
    )
    return write_text(folder / "index.html", page)


def _section(lesson: Lesson, record: dict[str, Any] | None) -> str:
    title, name = html.escape(lesson.title), lesson.name
    if record is None:
        return (
            f'<h2>{name[:2]} {title}</h2><p class="missing">Not finished in this run. If it started, '
            f'<a href="{name}/{name}.html">its page</a> shows where it stopped.</p>'
        )
    machine = record["hardware"]
    figures = "".join(
        f'<figure><img src="{name}/{html.escape(figure["file"])}" alt="{html.escape(figure["caption"])}">'
        f"<figcaption>{html.escape(figure['caption'])}</figcaption></figure>"
        for figure in record["figures"]
        if figure["headline"] == "yes"
    )
    rows = "".join(
        f"<tr><td>{html.escape(key)}</td><td>{_shown(number['value'])} {html.escape(number['unit'])}</td>"
        f"<td>{html.escape(number['note'])}</td></tr>"
        for key, number in record["numbers"].items()
    )
    return (
        f'<h2><a href="{name}/{name}.html">{name[:2]} {title}</a></h2><p>{html.escape(lesson.summary)}</p>'
        f"{figures}<table>{rows}</table><p>{record['minutes']} min on "
        f"{html.escape(str(machine['processor']))}, {machine['cores']} cores, accelerator: "
        f"{html.escape(machine['accelerator'])}; peak memory {record['peak_memory_gib']} GiB; "
        f"seed {record['seed']}.</p>"
    )


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else html.escape(str(value))
