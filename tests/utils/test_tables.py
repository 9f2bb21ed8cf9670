"""What the library knows as data reads as Python's own values, and each table is somebody's."""

from __future__ import annotations

import pkgutil
from pathlib import Path

import pytest

import msa2net_lib
from msa2net_lib.utils.tables import entry_texts, read_table

LIBRARY = Path(msa2net_lib.__path__[0])
TABLES = sorted(path.stem for path in (LIBRARY / "tables").iterdir())


def kinds(value):
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else ()
    return {type(value)}.union(*map(kinds, inside))


@pytest.mark.parametrize("name", TABLES)
def test_a_table_holds_tuples_and_somebody_reads_it(name):
    assert dict in kinds(read_table(name)) <= {dict, tuple, str, int, float, bool}
    readers = [path for path in LIBRARY.rglob("*.py") if f'read_table("{name}")' in path.read_text()]
    assert len([path for path in readers if path.name != "tables.py"]) == 1


@pytest.mark.parametrize(("name", "key"), [("recipes", ""), ("presets", ""), ("datasets", "description")])
def test_what_help_tells_of_a_table_is_what_stands_in_it(name, key):
    assert entry_texts(name, key) == {entry: found[key] if key else "" for entry, found in read_table(name).items()}
    assert [*entry_texts(name, key)] == [*read_table(name)]


def test_help_reads_tables_as_windows_has_them(monkeypatch):
    unix = entry_texts("datasets", "description")
    read = pkgutil.get_data
    monkeypatch.setattr(pkgutil, "get_data", lambda *where: read(*where).replace(b"\n", b"\r\n"))
    assert entry_texts("datasets", "description") == unix != {}
    assert [*read_table("datasets")] == [*unix]
