"""One environment, told four ways: pyproject, constraints, conda's file and the Makefile must agree."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from importlib.metadata import distributions

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def pins(root):
    lines = [line.split("#")[0].strip() for line in (root / "constraints.txt").read_text().splitlines()]
    return {canonicalize_name(r.name): r for r in map(Requirement, filter(None, lines))}


def requirements(project):
    extras = project["optional-dependencies"].values()
    return [Requirement(r) for r in [*project["dependencies"], *(r for extra in extras for r in extra)]]


def test_every_dependency_is_bounded_below_only_and_pinned_within(project, pins):
    for requirement in requirements(project):
        assert [s.operator for s in requirement.specifier] == [">="], requirement
        pin = pins[canonicalize_name(requirement.name)]
        (exact,) = pin.specifier
        assert exact.operator == "=="
        assert requirement.specifier.contains(Version(exact.version)), pin


def test_what_is_installed_admits_the_versions_beside_it(pins):
    """A constraint that another package's own bounds refuse leaves pip without a solution on a new machine."""
    refused, looked_at = [], 0
    for found in distributions():
        for line in found.requires or ():
            requirement = Requirement(line)
            pin = pins.get(canonicalize_name(requirement.name))
            if pin is None or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
                continue
            looked_at += 1
            (exact,) = pin.specifier
            if not requirement.specifier.contains(Version(exact.version), prereleases=True):
                refused.append(f"{found.name} {found.version} needs {requirement}; constraints.txt says {exact}")
    assert looked_at > 100
    assert refused == []


def test_constraints_hold_no_addresses(root):
    text = (root / "constraints.txt").read_text()
    assert not re.search(r"://|\s@\s|--|\blocalhost\b", text)


def test_conda_installs_the_same_extras_under_the_same_constraints(root, project):
    environment = yaml.safe_load((root / "environment.yml").read_text())
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    makefile = (root / "Makefile").read_text()
    assert pip == ["--constraint constraints.txt", "--editable .[notebooks,drive,batch,test]"]
    assert '--constraint constraints.txt --editable ".[notebooks,drive,batch,test]"' in makefile
    extras = {"notebooks", "colab", "drive", "export", "batch", "fast", "benchmarks", "site", "test"}
    assert set(project["optional-dependencies"]) == extras
    tested = yaml.safe_load((root / ".github" / "workflows" / "tests.yml").read_text())["jobs"]["quick"]["strategy"]
    newest = max(int(version.split(".")[1]) for version in tested["matrix"]["python"])
    assert f"python{project['requires-python']},<3.{newest + 1}" in environment["dependencies"]


@pytest.fixture(scope="module")
def colab(root):
    """What Google Colab's image holds: name -> version."""
    lines = (root / "tests" / "reference" / "colab_2026-08-19.txt").read_text().splitlines()
    return {
        canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines) if version
    }


def test_colabs_own_packages_are_never_replaced(project, colab):
    """What Colab has is as new as the library and the extra `colab` ask: its kernel runs with these."""
    wanted = [*map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["colab"]])]
    there = [requirement for requirement in wanted if canonicalize_name(requirement.name) in colab]
    assert {"torch", "timm", "numpy", "psutil", "ipywidgets"} <= {requirement.name for requirement in there}
    for requirement in there:
        assert requirement.specifier.contains(colab[canonicalize_name(requirement.name)]), requirement


def test_colabs_own_list_is_read_with_its_addresses(root, tmp_path):
    """`pip freeze` names by address what came from one: PyTorch, of all packages."""
    (tmp_path / "list.txt").write_text(
        "# a comment\nnumpy==2.1.3\nnvidia-nccl-cu13==2.31.2\nbar-none==1.0.post2\n"
        "torch @ https://download.pytorch.org/whl/cpu/torch-2.11.0%2Bcpu-cp313-cp313-linux_x86_64.whl#sha256=0a-1\n"
        "en-core-web-sm @ https://example.org/x-1/en_core_web_sm-3.8.0-py3-none-any.whl#sha256=1932\n"
        "torchvision==0.26.0+cpu\ngoogle-colab @ file:///colabtools/dist/google-colab-1.0.0.tar.gz\n"
    )
    asked = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "test-colab", f"COLAB={tmp_path}/list.txt"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (read,) = re.findall(r"^sed (?:.*\\\n)*.*$", asked, re.M)
    (tmp_path / "build").mkdir()
    subprocess.run(["bash", "-c", read], cwd=tmp_path, check=True)
    assert (tmp_path / "build" / "colab.txt").read_text().split() == [
        "numpy==2.1.3",
        "bar-none==1.0.post2",
        "torch==2.11.0",
        "en-core-web-sm==3.8.0",
        "torchvision==0.26.0",
    ]


def test_colabs_extra_is_what_lessons_need_beside_jupyter(project):
    """The same bounds as in `notebooks`, of which Colab has a page and a kernel of its own."""
    notebooks, colab = (set(project["optional-dependencies"][extra]) for extra in ("notebooks", "colab"))
    assert colab < notebooks
    left_out = {Requirement(line).name for line in notebooks - colab}
    assert left_out == {"jupyterlab", "ipykernel", "ipyniivue", "papermill", "nbconvert"}


def test_bounds_below_are_those_that_were_measured(project):
    """Older ones failed: timm 1.0.20 (meta tensors), torch 2.6 (ONNX of the gate), pydicom 3.0.0 (fetches files)."""
    bounds = {r.name: str(r.specifier) for r in requirements(project)}
    measured = {"torch": "2.7", "torchvision": "0.22", "timm": "1.0.21", "onnxscript": "0.7", "pydicom": "3.0.1"}
    for name, version in measured.items():
        assert bounds[name] == f">={version}"


def test_numpy_is_never_held_below_two(project):
    (numpy,) = [r for r in requirements(project) if r.name == "numpy"]
    assert str(numpy.specifier) == ">=2.0"


def test_the_dev_container_installs_as_make_does(root):
    settings = json.loads((root / ".devcontainer" / "devcontainer.json").read_text())
    program, target = settings["postCreateCommand"].split()
    assert program == "make"
    assert re.search(rf"^{target}:", (root / "Makefile").read_text(), re.M)
    interpreter = settings["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"]
    assert interpreter == "${containerWorkspaceFolder}/.venv/bin/python"
    assert settings["image"].rpartition(":")[2] in ("3.11", "3.12", "3.13")


def test_binder_installs_the_tested_set(root, project):
    script = root / ".binder" / "postBuild"
    assert script.stat().st_mode & 0o111, "is not run otherwise"
    assert '--constraint constraints.txt --editable ".[notebooks]"' in script.read_text()
    version = (root / ".binder" / "runtime.txt").read_text().strip().removeprefix("python-")
    assert version in project["requires-python"]


def test_ci_runs_the_readmes_test_command(root):
    assert "make test" in (root / ".ci" / "run").read_text()
    assert "make test" in (root / "README.md").read_text()


def test_workflows_run_what_there_is_to_run(root):
    """Each is YAML, and calls targets of the Makefile, or the script that calls them."""
    targets = re.findall(r"^([\w-]+):", (root / "Makefile").read_text(), re.M)
    for path in (root / ".github" / "workflows").glob("*.yml"):
        jobs = yaml.safe_load(path.read_text())["jobs"].values()
        commands = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
        called = re.findall(r"\bmake ([\w-]+)", "\n".join(commands))
        assert called or ".ci/run" in commands, path.name
        assert set(called) <= set(targets), path.name


def test_ci_runs_each_lesson_in_the_browser_or_with_nbval(root):
    """It leaves to nbval the files without a word that run.py looks for in the outputs."""
    (word,) = re.findall(r"grep -L (\S+) notebooks/\*\.ipynb", (root / ".ci" / "run").read_text())
    assert f'WIDGET = "{word}"' in (root / "tests" / "browser" / "run.py").read_text()
    for notebook in (root / "notebooks").glob("*.ipynb"):
        cells = json.loads(notebook.read_text())["cells"]
        shown = any(word in output.get("data", {}) for cell in cells for output in cell.get("outputs", []))
        assert shown == (word in notebook.read_text()), notebook.name


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "data/README.md"])
def test_links_lead_somewhere_and_nothing_is_left_to_fill_in(root, page):
    text = (root / page).read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("https://"):
            assert ((root / page).parent / target).exists(), target
    assert not re.search(r"\b[A-Z]+_[A-Z_]+\b(?!`)", re.sub(r"`[^`]*`|\]\([^)]*\)", "", text)), "a placeholder"


def test_readme_is_one_screen(root):
    lines = (root / "README.md").read_text().splitlines()
    assert len(lines) <= 65
