"""The site's own tools: links that are followed, pages that ask nobody, editions with and without answers, slides."""

from __future__ import annotations

import importlib.util
import json
import re
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from msa2net_lib.lessons.first_cells import repository
from msa2net_lib.lessons.registry import LESSONS


@pytest.fixture(scope="module")
def tool(root):
    """Load one of the scripts in site/ by its name."""

    def load(name):
        spec = importlib.util.spec_from_file_location(f"site_{name}", root / "site" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def lesson(root):
    return lambda name: nbformat.read(root / "notebooks" / f"{name}.ipynb", as_version=4)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('<a href="other.html#there">x</a><img src="data:,"><a href="https://example.org">x</a>', None),
        ('<a href="none.html">x</a>', "none.html is not there"),
        ('<a href="other.html#nowhere">x</a>', "other.html#nowhere has no such anchor"),
        ('<a href="#nowhere">x</a>', "#nowhere has no such anchor"),
        ('<img src="https://example.org/x.png">', "<img> asks for https://example.org/x.png"),
        ('<script src="//example.org/x.js"></script>', "<script> asks for //example.org/x.js"),
        ('<link rel="stylesheet" href="https://example.org/x.css">', "<link> asks for"),
        ('<script src="none.js"></script>', "none.js is not there"),
    ],
)
def test_links_are_followed_and_no_server_is_asked(tool, tmp_path, body, said):
    (tmp_path / "page.html").write_text(body)
    (tmp_path / "other.html").write_text('<p id="there">')
    found = tool("check_links").faults(tmp_path)
    assert len(found) == (said is not None)
    assert said is None or f"page.html: {said}" in found[0]


@pytest.mark.parametrize(
    "style", ["@import url(https://example.org/x.css)", "p { background: url('//example.org/x') }"]
)
def test_a_style_asks_nobody_either(tool, tmp_path, style):
    (tmp_path / "x.css").write_text(style)
    assert tool("check_links").faults(tmp_path) == ["x.css: asks another server"]


def test_links_to_what_is_no_page_lead_to_the_repository(tool, root):
    mend = tool("conf").mend
    text = "[a](../README.md) [b](../msa2net_lib/nn/masag.py) [c](../benchmarks) [d](https://x.org) ![e](overlays.png)"
    place = repository(root)
    assert mend(text, root / "docs") == (
        f"[a](../README.md) [b]({place}/blob/main/msa2net_lib/nn/masag.py) [c]({place}/tree/main/benchmarks) "
        "[d](https://x.org) ![e](overlays.png)"
    )
    badge = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://x.org)"
    assert mend(badge, root) == "[Open in Colab](https://x.org)"


def test_npm_packages_are_named_by_the_public_registry_or_not_at_all(root):
    lock = json.loads((root / "site" / "package-lock.json").read_text())
    addresses = {package.get("resolved", "") for package in lock["packages"].values()}
    assert [address for address in addresses if address and not address.startswith("https://registry.npmjs.org/")] == []
    asked = json.loads((root / "site" / "package.json").read_text())["devDependencies"]
    assert {lock["packages"][f"node_modules/{name}"]["version"] for name in asked} == set(asked.values())


@pytest.mark.parametrize("name", LESSONS)
def test_the_students_edition_answers_nothing(tool, lesson, name):
    made = tool("editions").student(lesson(name))
    assert not any(cell.get("outputs") or "answer" in cell.metadata.get("tags", []) for cell in made.cells)
    text = "\n".join(cell.source for cell in made.cells if cell.cell_type == "markdown")
    assert all(summary.startswith("Hint") for summary in re.findall(r"<summary>(.*?)</summary>", text))
    assert not any(cell.source.startswith("reveal(") for cell in made.cells)
    asked = sum(cell.source.count("### Exercise") for cell in lesson(name).cells)
    assert text.count("### Exercise") == asked


@pytest.mark.parametrize("name", LESSONS)
def test_the_instructors_edition_has_an_answer_to_each_exercise_to_write(tool, lesson, name):
    tools = tool("editions")
    made = tools.instructor(lesson(name), tools.room_checks(name))
    asked = [cell for cell in made.cells if "exercise" in cell.metadata.get("tags", [])]
    given = [cell for cell in made.cells if re.match(r"checks\.\w+\(checks\.", cell.source)]
    assert len(given) >= len(asked)
    assert all("<details>" not in cell.source for cell in made.cells if cell.cell_type == "markdown")


@pytest.mark.slow
@pytest.mark.parametrize("edition", ["student", "instructor"])
def test_both_editions_run_and_the_answers_are_accepted(tool, lesson, root, tmp_path, edition):
    tools, name = tool("editions"), "03_selection"
    checks = tools.room_checks(name)
    made = tools.student(lesson(name)) if edition == "student" else tools.instructor(lesson(name), checks)
    place = tmp_path / "build" / edition
    place.mkdir(parents=True)
    for shared in ("data", "benchmarks", "msa2net_lib", "docs"):
        (tmp_path / shared).symlink_to(root / shared)
    NotebookClient(made, timeout=600, resources={"metadata": {"path": str(place)}}).execute()
    printed = "".join(o.text for cell in made.cells for o in cell.get("outputs", []) if o.output_type == "stream")
    right = [line for line in printed.splitlines() if line.endswith(": correct")]
    answers = [cell for cell in made.cells if re.match(r"checks\.\w+\(checks\.", cell.source)]
    assert len(right) == len(answers)
    assert (edition == "instructor") == bool(answers)


def test_every_session_has_slides_with_words_and_figures(tool, lesson, root):
    slides = tool("slides")
    page = (root / "docs" / "teaching.md").read_text()
    for name, (title, numbers) in slides.SESSIONS.items():
        assert f"`{name}.html`" in page
        made = [s for key in LESSONS if key[:2] in numbers for s in slides.slides_of(lesson(key), key)]
        assert len(made) >= 5, name
        assert sum(bool(slide.figure) for slide in made) >= 3, name
        assert sum(bool(slide.words) for slide in made) >= 0.8 * len(made), name
        assert "http" not in re.sub(r"data:[^\"]*", "", slides.deck(title, made[:1]))
