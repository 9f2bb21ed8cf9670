"""What a lesson leaves behind: its numbers with units, figures, tables, and where they come from."""

from __future__ import annotations

import ast
import json
import math
import os
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, MutableMapping, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, TypeGuard
from weakref import WeakKeyDictionary

import pandas as pd
from matplotlib.figure import Figure

from msa2net_lib.errors import InputError
from msa2net_lib.lessons.registry import QUICK, RECORD, Lesson, check_parameters, lesson_by_name
from msa2net_lib.utils.files import atomic_path, read_json, sha256, write_text
from msa2net_lib.utils.garbage import collect_after_this_cell
from msa2net_lib.utils.locks import hold
from msa2net_lib.utils.system_info import commit, hardware, lacking, library_version, peak_memory_gib, versions

DPI = 100
LOCK = ".lesson.lock"
BUSY = "another kernel or run is at work on this lesson; end it, or set OUTPUT_DIR to another folder"
INJECTED = "# Parameters"
"""How the cell begins that papermill adds."""


class Recorder:
    """Collects a lesson's results and writes them to ``OUTPUT_DIR/<profile>/<lesson>/``.

    Make it first thing in the setup cell, ``record = Recorder.start("10_training", globals())``: it checks
    the parameters before anything runs, and keeps other kernels and runs out of the folder until `finish`, or until
    this process ends. Raises: `InputError` where one is at work there.
    """

    def __init__(self, lesson: Lesson, parameters: dict[str, Any]):
        self.lesson = lesson
        self.parameters = check_parameters(lesson, parameters)
        self.folder = Path(self.parameters["OUTPUT_DIR"]) / self.parameters["PROFILE"] / lesson.name
        self.numbers: dict[str, dict[str, Any]] = {}
        self.guesses: dict[str, dict[str, Any]] = {}
        self.figures: list[dict[str, str]] = []
        self.tables: list[str] = []
        self.data: dict[str, str] = {}
        self._started = time.perf_counter()
        self._claim = hold(self.folder, self.folder / LOCK, BUSY)

    @classmethod
    def start(cls, name: str, namespace: MutableMapping[str, Any]) -> Recorder:
        """Take the parameters out of a notebook's ``globals()``, and check them.

        What the cell of parameters assigns, and the one that papermill adds below it, has to be declared: a misspelt
        ``STEPZ`` would be passed over otherwise. What runs later is the lesson's own, so that a page may run again.
        Checked values go back into the notebook. In a quick run (`registry.QUICK`) the lesson's ``quick`` parameters
        take the place of the notebook's, and the page says so.
        """
        collect_after_this_cell()
        import matplotlib.pyplot as plt

        plt.switch_backend(plt.get_backend())  # loads it: from the next cell on a page shows figures, whoever made them

        lesson = lesson_by_name(name)
        if os.environ.get(QUICK) == "1" and lesson.quick:
            namespace.update(lesson.quick)
            print("quick run:", ", ".join(f"{key} = {value!r}" for key, value in lesson.quick.items()))
        if missing := [key for key in lesson.parameters if key not in namespace]:
            raise InputError(f"{', '.join(missing)}: not set; run the cell of parameters above first")
        given = {*lesson.parameters, *_assigned(namespace.get("In", ()))}
        if lacks := lacking(*lesson.needs):
            raise InputError(f"lesson {name} {lacks}")
        record = cls(lesson, {key: namespace[key] for key in namespace if key in given})
        namespace.update(record.parameters)
        if not Path(record.parameters["DATA_DIR"]).is_dir():
            where = f"no such folder, seen from {Path.cwd()}"
            advice = "run the page in its own folder (papermill --cwd notebooks), or name another"
            raise InputError(f"DATA_DIR={record.parameters['DATA_DIR']!r}: {where}; {advice}")
        return record

    def lacks(self, *packages: str) -> bool:
        """Whether a section has to be left out for want of packages, which the page then says."""
        if lacks := lacking(*packages):
            print(f"left out: this part {lacks}")
        return bool(lacks)

    def number(self, name: str, value: float | int | None, unit: str, note: str = "") -> None:
        """Record one number with its unit; None or nan is stored as "not measured"."""
        missing = value is None or (isinstance(value, float) and math.isnan(value))
        self.numbers[name] = {"value": "not measured" if missing else value, "unit": unit, "note": note}

    def guess(self, name: str, guess: Any, result: Any) -> None:
        """Keep a prediction and print it beside what came out; None, the default, is no guess."""
        given = "no guess" if guess is None else f"your guess {_in_words(guess)}"
        print(f"{name}: {_in_words(result)}; {given}")
        self.guesses[name.strip()] = {"guess": None if guess is None else _in_words(guess), "result": _in_words(result)}

    def figure(self, figure: Figure, name: str, caption: str, headline: bool = False) -> Figure:
        """Save a figure as PNG, which a page then shows, too.

        ``caption`` is also its alternative text; headlines go on the index page.
        """
        drawn = BytesIO()
        figure.savefig(drawn, format="png", dpi=DPI, bbox_inches="tight")
        with atomic_path(self.folder / f"{name}.png") as temporary:
            temporary.write_bytes(drawn.getvalue())
        _show_as_saved(figure, drawn.getvalue())
        entry = {"file": f"{name}.png", "caption": caption, "headline": "yes" if headline else "no"}
        self.figures = [f for f in self.figures if f["file"] != entry["file"]] + [entry]
        return figure

    def table(self, table: pd.DataFrame, name: str) -> pd.DataFrame:
        """Save a table as CSV."""
        with atomic_path(self.folder / f"{name}.csv") as temporary:
            table.to_csv(temporary)
        self.tables = [*dict.fromkeys([*self.tables, f"{name}.csv"])]
        return table

    def used(self, paths: Iterable[str | Path]) -> None:
        """Note the SHA-256 of files that the results rest on."""
        self.data |= {Path(path).name: sha256(path) for path in paths}

    def finish(self) -> Path:
        """Write ``record.json``; the last cell of every notebook calls this."""
        record = {
            "lesson": self.lesson.name,
            "title": self.lesson.title,
            "profile": self.parameters["PROFILE"],
            "parameters": self.parameters,
            "seed": self.parameters["SEED"],
            "numbers": self.numbers,
            "guesses": self.guesses,
            "figures": self.figures,
            "tables": self.tables,
            "data_sha256": self.data,
            "versions": {"msa2net_lib": library_version()} | versions(),
            "hardware": hardware(),
            "commit": commit(),
            "minutes": round((time.perf_counter() - self._started) / 60, 2),
            "peak_memory_gib": round(peak_memory_gib(), 2),
        }
        written = write_text(self.folder / RECORD, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
        self._claim.release()
        return written


class _Saved:
    """What Jupyter shows of a figure: the first time the file, if nothing changed since, else what it draws itself.

    To draw a page's figures a second time took a tenth of the page's time. Later times are drawn, as not every change
    to a figure is noticed: an axis' label does not tell it.
    """

    def __init__(self, otherwise: Callable[[Figure], Any]):
        self.otherwise = otherwise
        self.files: WeakKeyDictionary[Figure, bytes] = WeakKeyDictionary()

    def __call__(self, figure: Figure) -> Any:
        file = self.files.pop(figure, None)
        return self.otherwise(figure) if file is None or figure.stale else b64encode(file).decode()


def _show_as_saved(figure: Figure, file: bytes) -> None:
    """Have the page show this file for the figure, if what it would draw is the same: PNG of this size, cut tightly."""
    jupyter = sys.modules.get("IPython")
    if jupyter is None or (shell := jupyter.get_ipython()) is None or figure.dpi != DPI:
        return
    formatter = shell.display_formatter.formatters["image/png"]
    shown = formatter.type_printers.get(Figure)
    if isinstance(shown, partial) and shown.func is jupyter.core.pylabtools.print_figure:
        if {"bbox_inches": "tight"} | shown.keywords != {"bbox_inches": "tight", "fmt": "png", "base64": True}:
            return  # as the reader wants it
        formatter.for_type(Figure, shown := _Saved(shown))
    if isinstance(shown, _Saved):
        shown.files[figure], figure.stale = file, False


def _in_words(value: Any) -> str:
    """A guess or a result as printed: several joined, an empty list as none."""
    return (", ".join(map(str, value)) or "none") if isinstance(value, list | tuple | set) else str(value)


def _assigned(cells: Sequence[str]) -> set[str]:
    """Names that the last cell of parameters assigns, by the kernel's own list of cells, and papermill's below it."""
    names: set[str] = set()
    for source in cells:
        try:
            body = ast.parse(source).body
        except (SyntaxError, ValueError):  # a shell line, or a reader's slip: no cell of parameters
            continue
        if not all(isinstance(node, ast.Assign) for node in body):
            continue
        targets = {name.id for node in body for name in ast.walk(node) if _is_target(name)}
        if source.lstrip().startswith(INJECTED):
            names |= targets
        elif "PROFILE" in targets:
            names = targets
    return names


def _is_target(node: ast.AST) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def read_record(output_dir: str | Path, profile: str, lesson: str) -> dict[str, Any] | None:
    """Read back what a lesson recorded, or None if it has not run."""
    path = Path(output_dir) / profile / lesson / RECORD
    return read_json(path) if path.is_file() else None
