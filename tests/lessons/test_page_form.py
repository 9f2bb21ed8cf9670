"""The form of the lessons: header, exercises, recap card, figures that fit the page; of the course also more."""

from __future__ import annotations

import math
import re
import struct
from base64 import b64decode
from pathlib import Path

import nbformat
import pytest

from msa2net_lib.lessons.registry import LESSONS

ROOT = Path(__file__).resolve().parents[2]
COURSE = [name for name in LESSONS if name < "11"]
"""Lessons 00 to 10: their first screen is the idea and its picture, and three exercises are written."""
HEADER = re.compile(
    r"\| read \| exercise \| compute \| difficulty \| know before \| in the paper \|\n\|(?:---\|){6}\n"
    r"\| (\d+) min \| (none|\d+ min) \| (\d+) min \| ([1-5]) of 5 \| (nothing|\d\d(?:, \d\d)*) \| [^|\n]+ \|\n"
)
EXERCISE = re.compile(
    r"^### Exercise (\d+) · (\w+)\n\*Difficulty \d of 5 · importance (\d) of 5 · (\d+) minutes\*", re.M
)
SYMBOLS = re.compile(r"^\*\*Symbols\*\* \(\[glossary\]\(\.\./docs/glossary\.md\)\): (.+)$", re.M)
COLUMN = 930, 640
"""Pixels of a page's column and view."""


def cells_of(name):
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells


def prose(cells):
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def figures(cells):
    """Every PNG that the page shows, in bytes."""
    outputs = [output for cell in cells if cell.cell_type == "code" for output in cell.outputs]
    return [b64decode(output.data["image/png"]) for output in outputs if "image/png" in output.get("data", {})]


def minutes(name):
    """Minutes to read, to exercise and to compute as the header has them, and those of the core path."""
    cells = cells_of(name)
    found = HEADER.search(cells[0].source)
    assert found, f"{name}: no header of the common form"
    read, exercise, compute = (int(value.removesuffix(" min").replace("none", "0")) for value in found.groups()[:3])
    core = sum(int(box) for _, _, importance, box in EXERCISE.findall(prose(cells)) if int(importance) >= 4)
    return read, exercise, compute, read + compute + core


@pytest.mark.parametrize("name", LESSONS)
def test_the_header_says_what_the_page_costs(name):
    cells = cells_of(name)
    read, exercise, compute, _ = minutes(name)
    shown = re.sub(r"<details>.*?</details>|https?://\S+", "", prose(cells), flags=re.S)
    words = len(re.findall(r"[\w²']+", shown))
    assert read == math.ceil(words / 200 + 0.3 * len(figures(cells)))
    assert exercise == sum(int(box) for *_, box in EXERCISE.findall(prose(cells)))
    assert compute >= 1
    before = re.findall(r"\d\d", HEADER.search(cells[0].source)[5])  # pyright: ignore[reportOptionalSubscript]
    assert all(number < name[:2] for number in before)
    assert "**After this page you can**" in cells[0].source
    assert "\n**The idea.** " in cells[0].source


@pytest.mark.parametrize("name", COURSE)
def test_the_first_screen_is_the_idea_and_its_picture(name):
    cells = cells_of(name)
    setup = next(i for i, cell in enumerate(cells) if "Recorder.start(" in cell.source)
    assert all(cell.metadata.get("jupyter", {}).get("source_hidden") for cell in cells[1 : setup + 1])
    assert figures(cells[setup + 1 : setup + 4])


@pytest.mark.parametrize("name", LESSONS)
def test_what_answers_a_guess_is_hidden_until_the_cell_runs(name):
    """JupyterLab opens a hidden output when its cell is run."""
    for cell in cells_of(name):
        if cell.cell_type == "code" and "record.guess(" in cell.source:
            assert cell.metadata.get("jupyter", {}).get("outputs_hidden"), cell.source


@pytest.mark.parametrize("name", LESSONS)
def test_exercises_are_numbered_and_of_the_course_three_are_written(name):
    text = prose(cells_of(name))
    found = EXERCISE.findall(text)
    assert [int(number) for number, *_ in found] == [*range(1, len(found) + 1)]
    assert text.count("### Exercise ") == len(found)
    kinds = [kind for _, kind, *_ in found]
    if name != "00_start_here":
        assert kinds.count("write") >= (3 if name in COURSE else 1)
        assert {"predict", "break"} <= set(kinds)


@pytest.mark.parametrize("name", LESSONS)
def test_no_figure_is_larger_than_the_page(name):
    sizes = [struct.unpack(">IIBB", png[16:26]) for png in figures(cells_of(name))]
    assert all(width <= COLUMN[0] and height <= COLUMN[1] for width, height, *_ in sizes), sizes
    assert all(color == 3 for *_, color in sizes), "a palette: run lessons.execute, whose tidy() makes figures small"
    text = [
        str(output.get("data", {}).get("text/plain", ""))
        for cell in cells_of(name)
        for output in cell.get("outputs", [])
    ]
    assert not [line for line in text if line.startswith("VBox(")]


@pytest.mark.parametrize("name", LESSONS)
def test_a_recap_card_whose_symbols_are_in_the_glossary(name):
    text = prose(cells_of(name))
    card = text[text.index("**Recap card**") :]
    assert card.count("<details>") >= 3
    (symbols,) = SYMBOLS.findall(text)
    rows = glossary()
    for symbol in re.findall(r"\$([^$]+)\$", symbols):
        assert symbol in rows, f"{symbol} is not in docs/glossary.md"
        assert rows[symbol] == name[:2], f"{symbol}: the card of {name[:2]} has it, the glossary says {rows[symbol]}"


def glossary():
    """Symbol, or word where there is none -> the lesson in which it appears first."""
    lines = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    rows = [row for row in cells if re.fullmatch(r"\d\d", row[-1])]
    keys = [symbol.strip("$") for row in rows for symbol in (row[0].split(", ") if row[0] else [row[1]])]
    assert len(keys) == len(set(keys)), "a symbol stands twice in the glossary"
    return {symbol.strip("$"): row[-1] for row in rows for symbol in (row[0].split(", ") if row[0] else [row[1]])}


def test_the_core_path_adds_up():
    """Lesson 00 has a table of the core path, whose minutes are those of the pages; about two and a half hours."""
    text = prose(cells_of("00_start_here"))
    rows = re.findall(r"^\| \[(\d\d)\]\(([\w]+)\.ipynb\) \| [^|]+ \| (\d+) \|$", text, re.M)
    assert [number for number, *_ in rows] == ["00", "02", "03", "04", "05", "06", "10"]
    assert {name: int(stated) for _, name, stated in rows} == {name: minutes(name)[3] for _, name, _ in rows}
    total = sum(int(stated) for *_, stated in rows)
    assert f"**{total} minutes**" in text
    assert 120 <= total <= 180
