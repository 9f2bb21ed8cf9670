"""The site's own tools: links that are followed, pages that ask nobody, editions with and without answers, slides."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import sys

import nbformat
import pytest
from safetensors import safe_open

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
    made = tool("editions").student(lesson(name), "..")
    assert not any(cell.get("outputs") or "answer" in cell.metadata.get("tags", []) for cell in made.cells)
    text = "\n".join(cell.source for cell in made.cells if cell.cell_type == "markdown")
    assert all(summary.startswith("Hint") for summary in re.findall(r"<summary>(.*?)</summary>", text))
    assert not any(cell.source.startswith("reveal(") for cell in made.cells)
    asked = sum(cell.source.count("### Exercise") for cell in lesson(name).cells)
    assert text.count("### Exercise") == asked


@pytest.mark.parametrize("name", LESSONS)
def test_the_students_edition_needs_nothing_of_what_it_lacks(tool, lesson, name):
    """It runs as the lesson does, which tests execute: its cells are the lesson's; those left out define nothing."""
    made = tool("editions").student(lesson(name), "..")
    kept = [cell.source for cell in made.cells if cell.cell_type == "code"]
    code = [cell.source for cell in lesson(name).cells if cell.cell_type == "code"]
    assert [source for source in code if source in kept] == kept
    left_out = [ast.parse(source) for source in code if source not in kept]
    assert all(isinstance(one, ast.Expr) for tree in left_out for one in tree.body)


@pytest.mark.parametrize("name", LESSONS)
def test_the_instructors_edition_has_an_answer_to_each_exercise_to_write(tool, lesson, name):
    made = tool("editions").editions(name, "..")["instructor"]
    text = "\n".join(cell.source for cell in lesson(name).cells if cell.cell_type == "code")
    asked = re.findall(r"checks\.(\w+)\(my_", text)
    answers = "\n".join(cell.source for cell in made.cells if "answer" in cell.metadata.get("tags", []))
    assert re.findall(r"^checks\.(\w+)\(checks\.\1\.answer\);$", answers, re.M) == asked
    assert all("<details>" not in cell.source for cell in made.cells if cell.cell_type == "markdown")


@pytest.mark.parametrize("folder", ["build/answers", "answers", "../beside/the/checkout"])
def test_editions_find_the_data_from_where_they_lie(tool, root, tmp_path, monkeypatch, folder):
    """What a lesson names by a path is the checkout's."""
    tools, checkout = tool("editions"), tmp_path / "checkout"
    monkeypatch.setattr(tools, "ROOT", checkout)
    monkeypatch.setattr(tools, "LESSONS", ("06_skip_gates", "10_training"))
    checkout.mkdir()
    (checkout / "notebooks").symlink_to(root / "notebooks")
    tools.main([str(checkout / folder)])
    for path in (checkout / folder).rglob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        (parameters,) = [cell.source for cell in cells if "parameters" in cell.metadata.get("tags", [])]
        found = [(path.parent / named).resolve() for named in re.findall(r'"(\.\./[^"]+)"', parameters)]
        assert [one.relative_to(checkout).parts[0] for one in found] == ["data", "results", "benchmarks"]


@pytest.mark.slow
def test_both_editions_run_and_the_answers_are_accepted(tool, root, tmp_path, monkeypatch):
    """Of a lesson, in one run: each of the student's cells is one of the instructor's.

    Cells that no edition adds to are executed with the lesson itself, and stay out here but for the setup.
    That run fails as well where an exercise is called correct as it stands; `make test-answers` runs all lessons' both.
    """
    monkeypatch.setenv("MSA2NET_QUICK", "1")
    for shared in ("data", "benchmarks"):
        (tmp_path / shared).symlink_to(root / shared)
    (tmp_path / "instructor").mkdir()
    student, instructor = tool("editions").editions("09_boundary_loss", "..").values()
    sources = [cell.source for cell in instructor.cells if cell.cell_type == "code"]
    kept = [cell.source for cell in student.cells if cell.cell_type == "code"]
    assert [source for source in sources if source in kept] == kept
    instructor.cells = [
        cell
        for cell in instructor.cells
        if {*cell.metadata.get("tags", [])} & {"parameters", "exercise", "answer"}
        or cell.source.startswith("from msa2net_lib.lessons.records")
    ]
    assert sum(bool(tool("editions").ANSWER.match(cell.source)) for cell in instructor.cells) == 3
    assert tool("editions").execute(instructor, tmp_path / "instructor") is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sources", "said"),
    [
        (["1 / 0"], "division by zero"),
        (["print('own: correct')"], "1 were called correct, of 0 answers"),
        (["class checks:\n    f, g = print, 1", "checks.f(checks.g)"], "0 were called correct, of 1 answers"),
    ],
)
def test_a_cell_that_raises_and_an_answer_that_is_refused_are_told(tool, tmp_path, sources, said):
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    assert said in tool("editions").execute(made, tmp_path)


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


def test_the_front_page_gives_the_scores_that_its_gates_were_stored_with(root):
    with safe_open(root / "site" / "live" / "attention_gates.safetensors", "pt") as stored:
        scores = stored.metadata()
    page = (root / "site" / "live" / "src" / "index.html").read_text()
    said = re.findall(r"(0\.\d{3}) with (?:this )?([\w ]+?)(?=,| and|:)", page)
    assert {name: score for score, name in said} == scores


WORDS = re.compile(r"[\w²']+")
FOLDED = re.compile(r"<details>.*?</details>|\$\$.*?\$\$|https?://\S+", re.S)
BOX = re.compile(r"^### Exercise (\d+) · \w+\n\*Difficulty \d of 5 · importance \d of 5 · (\d+) minutes\*", re.M)
SLACK = 3
"""Minutes by which a sum may differ from what is counted: pages change by a sentence."""


class Counted:
    """The minutes of a lesson, counted as docs/teaching.md says."""

    def __init__(self, notebook):
        self.text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        figures = sum("image/png" in output.get("data", {}) for output in outputs)
        compute = re.search(r"(\d+)(?: min)? \| (?:[1-5] of 5|laptop)", self.text)
        assert compute
        self.read_and_run = len(WORDS.findall(FOLDED.sub("", self.text))) / 200 + 0.3 * figures + int(compute[1])
        self.exercises = {int(number): int(box) for number, box in BOX.findall(self.text)}
        sections = re.findall(r"^## (\d)\. (.*?)(?=^## |\Z)", self.text, re.M | re.S)
        self.sections = {int(number): [int(one[0]) for one in BOX.findall(body)] for number, body in sections}
        """Number of a section -> its exercises."""

    def said(self, section):
        """Reading a section aloud, without its exercises."""
        (part,) = re.findall(rf"^## {section}\. .*?(?=^## |\Z)", self.text, re.M | re.S)
        without = re.sub(r"^### Exercise.*?(?=^### (?!Exercise)|\Z)", "", part, flags=re.M | re.S)
        return len(WORDS.findall(FOLDED.sub("", without))) / 130


@pytest.fixture(scope="module")
def counted(root):
    return {name[:2]: Counted(nbformat.read(root / "notebooks" / f"{name}.ipynb", as_version=4)) for name in LESSONS}


def table(root, first):
    """Rows of the table of docs/teaching.md whose first column is called so; links as their words."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", (root / "docs" / "teaching.md").read_text())
    body = text[text.index(f"| {first} |") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in body]


def parts(words, kind):
    """Lesson and number of each exercise or section that a cell names."""
    found = re.findall(rf"(\d\d), {kind}s? (\d(?:, \d(?!\d))*)", words)
    return [(lesson, int(number)) for lesson, numbers in found for number in numbers.split(", ")]


def test_what_the_teaching_page_names_is_there(counted, root):
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", (root / "docs" / "teaching.md").read_text())
    questions = (root / "site" / "live" / "src" / "index.html").read_text().count("<li><p>")
    assert {int(number) for number in re.findall(r"MASAG live, question (\d)", text)} == {*range(1, questions + 1)}
    for lesson, number in parts(text, "section"):
        assert number in counted[lesson].sections, f"{lesson}, section {number}"
    for lesson, number in parts(text, "exercise"):
        assert number in counted[lesson].exercises, f"{lesson}, exercise {number}"
    for what, read, _, done, _ in table(root, "what"):
        for lesson, number in parts(done, "exercise"):
            sections = [section for other, section in parts(read, "section") if other == lesson]
            there = [one for section in sections for one in counted[lesson].sections[section]]
            assert not read or number in there, f"{what}: exercise {number} stands in another section"


def test_the_class_adds_up_to_90_minutes(counted, root):
    rows = table(root, "what")
    assert sum(int(said) + int(work) for _, _, said, _, work in rows) == 90
    for what, read, said, done, work in rows:
        boxes = sum(counted[lesson].exercises[number] for lesson, number in parts(done, "exercise"))
        assert int(work) == boxes + 6 * done.count("question"), what
        aloud = sum(counted[lesson].said(number) for lesson, number in parts(read, "section"))
        assert 0 <= int(said) - aloud <= SLACK or not read, f"{what}: {aloud:.1f} minutes aloud"


def test_course_and_lab_add_up(tool, counted, lesson, root):
    slides = tool("slides")

    def shown(name):
        made = [s for key in LESSONS if key[:2] in slides.SESSIONS[name][1] for s in slides.slides_of(lesson(key), key)]
        words = sum(len(WORDS.findall(f"{slide.heading} {slide.words}")) for slide in made)
        return words / 130 + sum(bool(slide.figure) for slide in made)

    for title, deck, lessons, run, exercises, discussion, _, home in table(root, "session"):
        named = [counted[number] for number in re.findall(r"\d\d", lessons)]
        left = sum(sum(one.exercises.values()) for one in named)
        left -= sum(
            counted[number].exercises[place] for number, place in parts(home.replace("(the capstone)", ""), "exercise")
        )
        assert int(exercises) == left, title
        assert abs(int(run) - sum(one.read_and_run for one in named)) <= SLACK, title
        assert abs(int(deck) - shown(re.findall(r"`(\w+)\.html`", title)[0])) <= SLACK, title
        assert int(deck) + int(run) + int(exercises) + int(discussion) == 150, title
    for title, deck, lessons, minutes, _, task, _ in table(root, "day"):
        named = [counted[number] for number in re.findall(r"\d\d", lessons)]
        whole = sum(one.read_and_run + sum(one.exercises.values()) for one in named) - 40 * lessons.count("capstone")
        assert abs(int(minutes) - whole) <= SLACK, f"{title}: {whole:.0f} minutes"
        assert abs(int(deck) - shown(re.findall(r"`(\w+)\.html`", title)[0])) <= SLACK, title
        assert int(deck) + int(minutes) + int(task) == 360, title
