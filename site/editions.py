"""Each lesson as a student's and as an instructor's edition, from the one source: `python site/editions.py FOLDER`.

Student: nothing that answers, and no outputs. Instructor: answers open, and behind each exercise to write the library's
own answer, which its check accepts. Cells that only one edition has are tagged "answer" or "exercise".
"""

from __future__ import annotations

import copy
import inspect
import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from msa2net_lib.lessons.exercise import Check, checks_of
from msa2net_lib.lessons.registry import LESSONS

ROOT = Path(__file__).resolve().parents[1]
DETAILS = re.compile(r"<details>\s*<summary>(.*?)</summary>(.*?)</details>", re.S)
CHECKED = re.compile(r"^checks\.(\w+)\(my_\w+\)", re.M)
UP = re.compile(r'(\]\(|["\'])\.\./')


def student(notebook: NotebookNode) -> NotebookNode:
    """Questions and hints stay; answers go, and so does what the cells printed."""
    made = deeper(notebook)
    made.cells = [cell for cell in made.cells if "answer" not in cell.metadata.get("tags", [])]
    for cell in made.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        else:
            cell.source = DETAILS.sub(_question, cell.source)
    return made


def instructor(notebook: NotebookNode, checks: dict[str, Check]) -> NotebookNode:
    """Everything open; behind each exercise to write its answer, as text and as a cell that the check accepts."""
    made, cells = deeper(notebook), []
    for cell in made.cells:
        cells.append(cell)
        if cell.cell_type == "markdown":
            cell.source = cell.source.replace("<details>", "<details open>")
            continue
        for name in CHECKED.findall(cell.source):
            if name in checks:
                cell.metadata.tags = [*cell.metadata.get("tags", []), "exercise"]
                source = _source(checks[name].answer)
                tag = {"tags": ["answer"]}
                cells.append(
                    new_markdown_cell(f"**Answer**, from the library:\n\n```python\n{source}\n```", metadata=tag)
                )
                cells.append(new_code_cell(f"checks.{name}(checks.{name}.answer);", metadata=copy.deepcopy(tag)))
    made.cells = cells
    return made


def deeper(notebook: NotebookNode) -> NotebookNode:
    """A copy for a folder one deeper than `notebooks/`, its answers tagged."""
    made = copy.deepcopy(notebook)
    for cell in made.cells:
        parameters = "parameters" in cell.metadata.get("tags", [])
        if parameters or cell.cell_type == "markdown":
            cell.source = UP.sub(r"\1../../", cell.source)
        if cell.cell_type == "code" and cell.source.startswith("reveal("):
            cell.metadata.tags = [*cell.metadata.get("tags", []), "answer"]
    return made


def _source(answer: Any) -> str:
    """The answer's source, or the name of what is not written in Python."""
    try:
        return inspect.cleandoc(inspect.getsource(answer))
    except TypeError:
        return getattr(answer, "__name__", repr(answer))


def _question(match: re.Match[str]) -> str:
    """What a student sees of something folded: hints as they are, of a question the question."""
    if match[1].startswith("Hint"):
        return match[0]
    return f"*{match[1]}*" if match[1].rstrip().endswith("?") else ""


def room_checks(lesson: str) -> dict[str, Check]:
    """The checks of a lesson's room, by name."""
    room = f"msa2net_lib.lessons.l{lesson}"
    home = Path(import_module(room).__path__[0]) if (ROOT / room.replace(".", "/")).is_dir() else None
    return checks_of(import_module(f"{room}.checks")) if home and (home / "checks.py").is_file() else {}


def main(folder: Path) -> None:
    """Write both editions of every lesson."""
    for lesson in LESSONS:
        source = nbformat.read(ROOT / "notebooks" / f"{lesson}.ipynb", as_version=4)
        for edition, made in (("student", student(source)), ("instructor", instructor(source, room_checks(lesson)))):
            (folder / edition).mkdir(parents=True, exist_ok=True)
            nbformat.write(made, folder / edition / f"{lesson}.ipynb")
    print(f"{folder}/student and {folder}/instructor: {len(LESSONS)} lessons each")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
