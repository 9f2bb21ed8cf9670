"""The cell that installs on Colab, played: what it asks of git and pip; and the address, which stands where it may."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import types

import pytest
from IPython.core.interactiveshell import InteractiveShell

from msa2net_lib.errors import InputError
from msa2net_lib.lessons.first_cells import PAGES, install_cell, move, repository, write_first_cells
from msa2net_lib.lessons.registry import LESSONS

ELSEWHERE = "https://github.com/some-one/the.workbook"
PLAYED = """#!{python}
import os, sys
with open("{log}", "a") as log:
    print("{name}", *sys.argv[1:], file=log)
if "clone" in sys.argv:
    os.makedirs(sys.argv[-1] + "/notebooks")
if "list" in sys.argv:
    print("numpy==2.1.3")
"""


@pytest.fixture
def colab(tmp_path, monkeypatch):
    """A kernel that takes itself for Colab's; returns what runs the cell there, and what git and pip were asked."""
    log = tmp_path / "log.txt"
    (tmp_path / "bin").mkdir()
    for name in ("git", "pip"):
        (tmp_path / "bin" / name).write_text(PLAYED.format(python=sys.executable, log=log, name=name))
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    cell = install_cell("https://example.org/here").replace("/content", str(tmp_path))

    def run() -> list[str]:
        log.write_text("")
        InteractiveShell.instance().run_cell(cell).raise_error()
        return log.read_text().splitlines()

    yield run
    InteractiveShell.clear_instance()


def test_it_freezes_what_is_there_and_adds_the_rest_and_may_run_twice(colab, tmp_path):
    home = str(tmp_path / "msa2net-workbook")
    clone, *rest = colab()
    assert clone == f"git clone --quiet --depth 1 https://example.org/here {home}"
    assert rest == [
        "pip list --format=freeze --exclude msa2net-workbook",
        f"pip install --quiet --constraint {tmp_path}/colab.txt --editable ..[colab]",
    ]
    assert (tmp_path / "colab.txt").read_text() == "numpy==2.1.3\n"
    assert sys.path[0] == home
    sys.path.insert(0, "something else")
    assert colab() == rest, "the checkout that is there is kept"
    assert sys.path[0] == home
    assert os.path.samefile(".", f"{home}/notebooks")


def test_elsewhere_it_does_nothing(colab, monkeypatch):
    monkeypatch.delitem(sys.modules, "google.colab")
    before = [*sys.path], os.getcwd()
    assert colab() == []
    assert ([*sys.path], os.getcwd()) == before


@pytest.fixture(scope="module")
def moved(root, tmp_path_factory):
    """A copy of the pages with the address in it, after it was moved."""
    copy = tmp_path_factory.mktemp("moved")
    for path in [path for pattern in PAGES for path in root.glob(pattern)]:
        (copy / path.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy / path.relative_to(root))
    move(copy, f"{ELSEWHERE}.git/")
    write_first_cells(copy)
    return copy


def test_an_address_is_moved_wherever_it_stands(moved, root):
    old = repository(root).removeprefix("https://github.com/")
    assert repository(moved) == ELSEWHERE
    for path in moved.rglob("*.*"):
        assert not re.search(rf"(github|github\.com|gh)/{old}", path.read_text("utf-8")), path
    for page in ("CITATION.cff", "README.md", "docs/reproduce_table_1.md"):
        assert ELSEWHERE in (moved / page).read_text("utf-8"), page
    for name in LESSONS:
        title, install = json.loads((moved / "notebooks" / f"{name}.ipynb").read_text("utf-8"))["cells"][:2]
        assert f"/github/some-one/the.workbook/blob/main/notebooks/{name}.ipynb)" in "".join(title["source"])
        assert "".join(install["source"]) == install_cell(ELSEWHERE)


def test_moved_back_the_pages_are_as_they_were(moved, root, tmp_path):
    copy = shutil.copytree(moved, tmp_path / "back")
    move(copy, repository(root))
    write_first_cells(copy)
    for path in copy.rglob("*.*"):
        assert path.read_bytes() == (root / path.relative_to(copy)).read_bytes(), f"{path.name}: run first_cells"


def test_it_stands_nowhere_else(root):
    tracked = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("no checkout of git's: its files cannot be told from others")
    owner = repository(root).rpartition("/")[0].removeprefix("https://").encode()
    pages = {path for pattern in PAGES for path in root.glob(pattern)}
    strays = [
        name
        for name in tracked.stdout.splitlines()
        if (root / name).is_file() and root / name not in pages and owner in (root / name).read_bytes()
    ]
    assert not strays, "name it from pyproject.toml, or add the page to PAGES"


@pytest.mark.parametrize(
    "url", ["https://gitlab.com/a/b", "github.com/a/b", "https://github.com/a", "https://github.com/a/b c"]
)
def test_what_is_no_address_is_refused_before_anything_is_written(root, url):
    with pytest.raises(InputError, match="give the address of a repository, such as"):
        move(root, url)
