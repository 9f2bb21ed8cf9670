"""The notebooks keep their bones: tags, literals only, outputs, badge, recording cell, no machine's paths."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
from executed_pages import is_compared
from IPython.display import Code

from msa2net_lib.lessons.first_cells import badge, install_cell, repository
from msa2net_lib.lessons.registry import LESSONS

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))


def read(name):
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def code_cells(name):
    return [cell for cell in read(name).cells if cell.cell_type == "code" and cell.source.strip()]


def test_notebooks_are_the_registered_lessons():
    assert sorted(LESSONS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_one_cell_of_literal_parameters_as_registered(name):
    tagged = [cell for cell in read(name).cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    assigned = {}
    for node in ast.parse(tagged[0].source).body:
        assert isinstance(node, ast.Assign), "the parameters cell holds assignments only"
        assigned[node.targets[0].id] = ast.literal_eval(node.value)  # pyright: ignore[reportAttributeAccessIssue]
    assert tuple(assigned) == LESSONS[name].parameters
    assert assigned["PROFILE"] == "smoke"


@pytest.mark.parametrize("name", NAMES)
def test_committed_with_outputs_and_without_errors(name):
    cells = code_cells(name)
    assert any(cell.outputs for cell in cells)
    assert not [o for cell in cells for o in cell.outputs if o.output_type == "error"]
    compared = [cell for cell in cells if is_compared(cell)]
    assert compared, "nothing for nbval to compare"
    assert all(cell.outputs for cell in compared)


@pytest.mark.parametrize("name", NAMES)
def test_first_and_last_cells(name):
    notebook, title, url = read(name), LESSONS[name].title, repository(NOTEBOOKS.parent)
    assert notebook.cells[0].source.startswith(f"# {name[:2]} · {title}")
    assert badge(url, name) in notebook.cells[0].source
    assert notebook.cells[1].source == install_cell(url)
    assert f'Recorder.start("{name}", globals())' in "".join(cell.source for cell in notebook.cells[2:4])
    assert "record.finish()" in notebook.cells[-1].source


@pytest.mark.parametrize("name", NAMES)
def test_setup_is_folded_and_exercises_say_what_they_cost(name):
    cells = read(name).cells
    for cell in cells:
        if cell.cell_type == "code" and ("google.colab" in cell.source or "Recorder.start(" in cell.source):
            assert cell.metadata.get("jupyter", {}).get("source_hidden") is True
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    headings = re.findall(r"^### Exercise [^\n]*\n(?:\n)?([^\n]*)", text, re.M)
    for line in headings:
        assert re.fullmatch(r"\*Difficulty \d of 5 · importance \d of 5 · \d+ minutes\*", line), line


@pytest.mark.parametrize("name", NAMES)
def test_three_exercises_or_a_start_page(name):
    text = "\n".join(cell.source for cell in read(name).cells if cell.cell_type == "markdown")
    if name != "00_start_here":
        for kind in ("predict", "write", "break"):
            assert re.search(rf"^### Exercise \d+ · {kind}$", text, re.M), kind


@pytest.mark.parametrize("name", NAMES)
def test_guesses_start_empty_and_are_recorded(name):
    """A default would be printed as the reader's own; `record.guess` tells one from the other."""
    source = "\n".join(cell.source for cell in code_cells(name))
    for names, value in re.findall(r"^(guess\w*(?:, guess\w*)*) = ([^#\n]*)", source, re.M):
        assert set(value.replace(" ", "").split(",")) == {"None"}, names
        for guess in names.split(", "):
            assert re.search(rf"record\.guess\([^()]*?\b{guess}\b|, {guess}\)[,)]", source), f"{guess} is not recorded"
    text = "".join(o.get("text", "") for cell in code_cells(name) for o in cell.outputs)
    assert "your guess" not in text, "a committed page has no reader yet"


@pytest.mark.parametrize("name", NAMES)
def test_no_path_of_a_machine(name):
    text = (NOTEBOOKS / f"{name}.ipynb").read_text()
    without_figures = re.sub(r'"image/png": "[^"]*"', "", text)
    assert not re.search(r"(?<![\w.:/])/(home|root|work|tmp|Users|var|opt)/", without_figures)


@pytest.mark.parametrize("name", NAMES)
def test_packages_of_extras_are_imported_only_where_a_cell_has_asked_for_them(name):
    """A page without them runs all that does not need them; what every page needs, IPython, comes with the kernel."""
    project = tomllib.loads((NOTEBOOKS.parent / "pyproject.toml").read_text())["project"]
    core = {re.split("[>=]", line)[0].lower() for line in project["dependencies"]}
    core |= {*map(str.lower, sys.stdlib_module_names), "ipython", "msa2net_lib", *LESSONS[name].needs}
    for cell in code_cells(name):
        if cell.source.startswith("!") or "google.colab" in cell.source:
            continue
        for node in ast.parse(cell.source).body:
            modules = [node.module] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert {str(module).partition(".")[0].lower() for module in modules} <= core


SHOWING = re.compile(r"\breveal\(|\bgetsource\(")


@pytest.mark.parametrize("name", [name for name in NAMES if any(SHOWING.search(c.source) for c in code_cells(name))])
def test_sources_shown_are_todays(name):
    """What a committed page shows as the library's source is the source: nbval does not look at such outputs."""
    cells, namespace = code_cells(name), {}
    for node in [node for cell in cells if "!" not in cell.source for node in ast.parse(cell.source).body]:
        modules = [node.module] if isinstance(node, ast.ImportFrom) else []
        modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if any(str(module).partition(".")[0] in ("msa2net_lib", "inspect", "IPython") for module in modules):
            exec(ast.unparse(node), namespace)  # our own page
    for cell in cells:
        if not SHOWING.search(cell.source):
            continue
        (expression,) = ast.parse(cell.source.rstrip().rstrip(";")).body
        today = eval(ast.unparse(expression), namespace)
        (shown,) = [output.data for output in cell.outputs if "data" in output]
        stored = shown["text/plain"] if isinstance(today, Code) else shown["text/html"]
        assert stored.strip() == today.data.strip(), f"execute the notebook again: {cell.source}"
