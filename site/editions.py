"""Each lesson as a student's and as an instructor's edition, from the one source: `python site/editions.py FOLDER`.

Student: nothing that answers, and no outputs. Instructor: answers open, and behind each exercise to write the library's
own answer, which its check accepts. Cells that only one edition has are tagged "answer" or "exercise". With --execute
both editions of the lessons named, or of all, are run, too; the status is 1 if a cell raises or an answer is refused.
"""

from __future__ import annotations

import argparse
import copy
import inspect
import os
import re
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

from msa2net_lib.lessons.exercise import Check, checks_of
from msa2net_lib.lessons.registry import LESSONS

ROOT = Path(__file__).resolve().parents[1]
DETAILS = re.compile(r"<details>\s*<summary>(.*?)</summary>(.*?)</details>", re.S)
CHECKED = re.compile(r"^checks\.(\w+)\(my_\w+\)", re.M)
UP = re.compile(r'(\]\(|["\'])\.\./')
ANSWER = re.compile(r"checks\.\w+\(checks\.")
CELL_SECONDS = 1200


def student(notebook: NotebookNode, up: str) -> NotebookNode:
    """Questions and hints stay; answers go, and so does what the cells printed. up: as in `moved`."""
    made = moved(notebook, up)
    made.cells = [cell for cell in made.cells if "answer" not in cell.metadata.get("tags", [])]
    for cell in made.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        else:
            cell.source = DETAILS.sub(_question, cell.source)
    return made


def instructor(notebook: NotebookNode, up: str, checks: dict[str, Check]) -> NotebookNode:
    """Everything open; behind each exercise to write its answer, as text and as a cell that the check accepts."""
    made, cells = moved(notebook, up), []
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


def moved(notebook: NotebookNode, up: str) -> NotebookNode:
    """A copy for another folder than `notebooks/`, its answers tagged. up: the way from there to the checkout."""
    made = copy.deepcopy(notebook)
    for cell in made.cells:
        parameters = "parameters" in cell.metadata.get("tags", [])
        if parameters or cell.cell_type == "markdown":
            cell.source = UP.sub(rf"\1{up}/", cell.source)
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


def editions(lesson: str, up: str) -> dict[str, NotebookNode]:
    """Both, by name."""
    source = nbformat.read(ROOT / "notebooks" / f"{lesson}.ipynb", as_version=4)
    return {"student": student(source, up), "instructor": instructor(source, up, room_checks(lesson))}


def execute(made: NotebookNode, folder: Path) -> str | None:
    """Run an edition in its folder, exercises as they stand; returns what is wrong, in a line, or None.

    No cell may raise, other than one tagged for that. Each answer of the library must be called correct, and nothing
    else: what stands for a student to replace is no answer.
    """
    try:
        NotebookClient(made, timeout=CELL_SECONDS, resources={"metadata": {"path": str(folder)}}).execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        return str(error).strip().splitlines()[-1]
    printed = "".join(o.text for cell in made.cells for o in cell.get("outputs", []) if o.output_type == "stream")
    right = sum(line.endswith(": correct") for line in printed.splitlines())
    answers = sum(bool(ANSWER.match(cell.source)) for cell in made.cells)
    return None if right == answers else f"{right} were called correct, of {answers} answers"


def main(arguments: list[str] | None = None) -> int:
    """Write both editions of every lesson, and run them if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--execute", nargs="*", metavar="LESSON", choices=LESSONS)
    given = parser.parse_args(arguments)
    failed = 0
    for lesson in LESSONS:
        for name, made in editions(lesson, os.path.relpath(ROOT, given.folder / "student")).items():
            (given.folder / name).mkdir(parents=True, exist_ok=True)
            nbformat.write(made, given.folder / name / f"{lesson}.ipynb")
            if given.execute is not None and lesson in (given.execute or LESSONS):
                started = time.monotonic()
                wrong = execute(made, given.folder / name)
                failed += wrong is not None
                print(f"{lesson}, {name}: {wrong or 'ok'}, {time.monotonic() - started:.0f} s", flush=True)
    print(f"{given.folder}/student and {given.folder}/instructor: {len(LESSONS)} lessons each")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
