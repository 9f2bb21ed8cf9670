"""docs/architecture.md is true: its layers are import-linter's, its reading core is short, its walks can be walked.

A walk is carried out on a copy of the repository, step by step as the page says, and must touch as many files as the
page counts and no more; then the tests that the page names pass there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

STEP = re.compile(
    r"^(?:New file|In) `(?P<path>[^`]+)`(?:, (?P<where>after|before) `(?P<anchor>[^`]+)`)?[^\n]*:\n\n"
    r"```\w+\n(?P<code>.*?)^```$",
    re.M | re.S,
)


@dataclass(frozen=True)
class Walk:
    """One worked example of the page: its steps, how many files it says they touch, what it says to run."""

    title: str
    steps: list[dict[str, str | None]]
    files: int
    commands: list[str]


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs" / "architecture.md").read_text()


def walks(page: str) -> list[Walk]:
    found = []
    for section in re.split(r"^### ", page, flags=re.M)[1:]:
        title, _, body = section.partition("\n")
        count = re.search(r"\((\d+) files\)", title)
        if count:
            commands = re.findall(r"^Then:\n\n```\n(.*?)^```$", body, re.M | re.S)
            steps = [match.groupdict() for match in STEP.finditer(body)]
            found.append(Walk(title, steps, int(count[1]), [line for text in commands for line in text.splitlines()]))
    return found


def carry_out(walk: Walk, copy: Path) -> set[str]:
    """Do the steps; returns the files that they touched."""
    touched = set()
    for step in walk.steps:
        path, code = copy / str(step["path"]), str(step["code"])
        if step["anchor"] is None:
            assert not path.exists(), path
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".ipynb":  # the page has the program that writes it
                with chdir(copy):
                    exec(code, {})  # our own page's text
            else:
                path.write_text(code)
        else:
            text, anchor = path.read_text(), str(step["anchor"])
            lines = [line for line in text.splitlines(keepends=True) if line.strip() == anchor.strip()]
            assert len(lines) == 1, f"{path}: {len(lines)} lines are {anchor!r}"
            put = lines[0] + code if step["where"] == "after" else code + lines[0]
            path.write_text(text.replace(lines[0], put, 1))
        touched.add(str(step["path"]))
    return touched


def check_sizes(root: Path) -> None:
    """At most 8 modules at the library's root, 400 lines in one, and 20 files in any folder of library and tests."""
    library = root / "msa2net_lib"
    assert len([path for path in library.glob("*.py") if not path.name.startswith("__")]) <= 8
    for path in library.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 400, path
    for part in (library, root / "tests"):
        files = [path for path in part.rglob("*") if path.is_file() and path.suffix != ".pyc"]
        for folder, count in Counter(path.parent for path in files).items():
            assert count <= 20, f"{folder}: {count} files"


def test_every_kind_has_a_walk(page):
    assert [re.findall(r"a (gate|data set|network|lesson)\b", walk.title) for walk in walks(page)] == [
        ["gate"],
        ["data set"],
        ["network"],
        ["lesson"],
    ]


def test_the_walks_can_be_walked(page, root, tmp_path):
    copy = tmp_path / "copy"
    tracked = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=root, capture_output=True, text=True)
    names = tracked.stdout.split("\n") if tracked.returncode == 0 else []
    for name in filter(None, names):
        if (root / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / name, copy / name)
    commands = []
    for walk in walks(page):
        assert len(carry_out(walk, copy)) == walk.files, walk.title
        assert walk.commands, walk.title
        commands += walk.commands
    check_sizes(copy)
    environment = os.environ | {"PYTHONPATH": str(copy), "TQDM_DISABLE": "1"}
    paths, chosen = [], []
    for command in commands:
        words = command.split()
        if words[0] == "pytest":  # all at once: starting takes longer than running
            assert words[-2] == "-k", command
            paths, chosen = paths + words[1:-2], [*chosen, words[-1]]
            continue
        assert words[0] == "python", command
        done = subprocess.run(
            [sys.executable, *words[1:]], cwd=copy, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    run = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", *paths, "-k", " or ".join(chosen)]
    done = subprocess.run(run, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    for name in chosen:  # each of the choices chose something
        assert re.search(rf"{name}.* PASSED|PASSED.*{name}", done.stdout), name


def test_layers_on_the_page_are_those_that_are_held(page, root):
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    (drawn,) = re.findall(r"^```text\n(.*?)^```$", page, re.M | re.S)
    assert [re.split(r"\s{2,}", line.strip())[0] for line in drawn.splitlines()] == layers


def test_the_root_and_every_folder_stay_small(root):
    check_sizes(root)


def test_the_reading_core_is_a_dozen_files_under_2500_lines(page, root):
    (core,) = re.findall(r"^## The reading core\n(.*?)^## ", page, re.M | re.S)
    files = re.findall(r"^\d+\. \[`([\w/]+\.py)`\]", core, re.M)
    assert 10 <= len(files) <= 14
    assert sum(len((root / name).read_text().splitlines()) for name in files) < 2500
