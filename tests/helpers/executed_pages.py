"""For the browser run: who checks what, what a lesson printed beside the committed page, the one fault not ours."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

import nbformat

COMPARED = "nbval-check-output"
"""The tag of a cell whose output is compared; nbval also takes a comment, in capitals and with underscores."""
NOT_COMPARED = ("image/png", "image/jpeg", "application/vnd.jupyter.widget-view+json")
KNOWN_FAULT = "SystemError: AST constructor recursion depth mismatch"
"""CPython 3.11's compiler raises it now and then in an innocent cell; why is not known."""


def unclaimed(names: Sequence[str], shared: Path | None) -> Iterator[str]:
    """Those that no other process has begun; each is this one's from the moment that it is asked for.

    shared: a folder for the claims; None where there is no other process.
    """
    for name in names:
        if shared is not None:
            try:
                (shared / name).touch(exist_ok=False)
            except FileExistsError:
                continue
        yield name


def printed_otherwise(committed: nbformat.NotebookNode, executed: str) -> str | None:
    """Compare what the cells marked for nbval print, as `nbval --nbval-lax` does; returns the first difference.

    Pictures and widgets are not compared. executed: the notebook in JSON, as JupyterLab would save it.
    """
    fresh = nbformat.reads(executed, as_version=4)
    if [cell.source for cell in committed.cells] != [cell.source for cell in fresh.cells]:
        return "its cells are not the committed ones"
    for number, (before, after) in enumerate(zip(committed.cells, fresh.cells, strict=True)):
        if before.cell_type == "code" and is_compared(before):
            expected, found = _words(before.outputs), _words(after.outputs)
            for kind in sorted(expected | found):
                if (said := _difference(expected.get(kind, []), found.get(kind, []))) is not None:
                    return f"cell {number}, {kind}: {said}"
    return None


def is_compared(cell: nbformat.NotebookNode) -> bool:
    """Whether nbval compares what a code cell prints: by its tag, or by a comment on its first line."""
    return COMPARED in cell.metadata.get("tags", []) or COMPARED.upper().replace("-", "_") in cell.source


def is_known_fault(error: str | None, version: Sequence[int] = sys.version_info) -> bool:
    """Whether a lesson failed by `KNOWN_FAULT` and nothing else; `error` begins with it, after where it was seen."""
    where, _, what = (error or "").partition(": ")
    return tuple(version[:2]) == (3, 11) and where.startswith("error ") and what.startswith(KNOWN_FAULT)


def _difference(expected: Sequence[str], found: Sequence[str]) -> str | None:
    """The first line that differs."""
    lines = [[line for text in texts for line in text.split("\n")] for texts in (expected, found)]
    for before, after in zip_longest(*lines, fillvalue="nothing"):
        if before != after:
            return f"prints {after!r}, the committed page has {before!r}"
    return None if len(expected) == len(found) else f"comes {len(found)} times, on the committed page {len(expected)}"


def _words(outputs: Sequence[nbformat.NotebookNode]) -> dict[str, list[str]]:
    """Texts by kind, in order: a stream in one piece, however it arrived, and data but for pictures and widgets."""
    words: dict[str, list[str]] = {}
    for output in outputs:
        if output.output_type == "stream":
            words[output.name] = ["".join([*words.get(output.name, []), output.text])]
        for kind, value in output.get("data", {}).items():
            if kind not in NOT_COMPARED:
                words.setdefault(kind, []).append(value)
    return words
