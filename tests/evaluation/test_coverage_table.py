"""The coverage of intervals that the docs and lesson 11 state is that of the record."""

from __future__ import annotations

import nbformat
import pytest

from msa2net_lib.utils.files import read_json


@pytest.fixture(scope="module")
def rows(root):
    return read_json(root / "benchmarks" / "results" / "coverage.json")["rows"]


def cells(rows):
    """(interval, over) -> the percentages of its line, in the order normal or areas, DSC-like, HD95-like."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        found.setdefault((row["interval"], row["over"]), []).append(f"{100 * row['held']:.1f}")
    return found


def lines_of(text):
    parts = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "|" in line]
    return {(line[0].split(", lesions")[0], line[1]): line[2:] for line in parts if len(line) == 5}


def test_the_docs_have_every_row(root, rows):
    stated = lines_of((root / "docs" / "evaluate.md").read_text(encoding="utf-8"))
    for key, shares in cells(rows).items():
        assert [cell for cell in stated[key] if cell != "–"] == shares


def test_the_lesson_has_its_rows(root, rows):
    (text,) = [
        cell.source
        for cell in nbformat.read(root / "notebooks" / "11_evaluation.ipynb", as_version=4).cells
        if "benchmarks/coverage.py" in cell.source
    ]
    expected = cells(rows)
    stated = {key: line for key, line in lines_of(text).items() if key in expected}
    assert len(stated) == 7
    assert all(expected[key] == line for key, line in stated.items())


def test_students_t_holds_what_it_says_and_the_control_does_not(rows):
    for row in rows:
        if row["scores"] == "normal" and "Student's t" in row["interval"]:
            assert 0.93 < row["held"] < 0.98, row
        if row["over"] == "4 cases" and "percentile" in row["interval"]:
            assert row["held"] < 0.83
