"""A lesson's room bears its name, holds study, plots, checks and widget alone, and knows no other room."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import msa2net_lib.lessons
from msa2net_lib.lessons.registry import LESSONS

HOME = Path(msa2net_lib.lessons.__file__).parent
WITHOUT = {"00_start_here"}
ROOMS = {f"l{name}" for name in LESSONS if name not in WITHOUT}
FILES = {"__init__", "study", "plots", "checks", "widget"}
SECOND_IDEAS = {"capstone", "cards", "claims", "closer_look", "layout_plots", "shuffled_study", "skips"}
"""Of rooms whose study or plots would be above 400 lines with them."""


def test_rooms_are_the_lessons():
    assert {path.parent.name for path in HOME.glob("*/__init__.py")} == ROOMS


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_holds_its_files_and_imports_no_other(room):
    for path in (HOME / room).glob("*.py"):
        assert path.stem in FILES | SECOND_IDEAS
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            others = {part for name in names for part in name.split(".")} & ROOMS
            assert others <= {room}, f"{path.name} imports from {others}"
