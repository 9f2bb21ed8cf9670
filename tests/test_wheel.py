"""The wheel, installed into an environment of its own away from any checkout, runs commands and lessons.

The environment shares third-party packages with the one that runs the tests, so that nothing is fetched; what it does
not share is this library, whose only copy there is the wheel's.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import nbformat
import nibabel
import pytest

from msa2net_lib.data.catalog import open_dataset

pytestmark = pytest.mark.slow

RUN_LESSON = """
import sys
import papermill
import msa2net_lib
assert {site!r} in msa2net_lib.__file__, msa2net_lib.__file__
parameters = __import__("json").loads(sys.argv[1])
papermill.execute_notebook("page.ipynb", "done.ipynb", parameters=parameters, progress_bar=False)
"""


class Installed:
    """An environment with the wheel in it, and a folder that holds what a reader downloads beside it."""

    def __init__(self, home: Path, wheel: Path) -> None:
        venv.create(home / "env", with_pip=False)
        self.python = home / "env" / "bin" / "python"
        (self.site,) = (home / "env" / "lib").glob("python*/site-packages")
        with zipfile.ZipFile(wheel) as archive:  # what pip does to a pure wheel, without asking an index
            archive.extractall(self.site)
        # Folders only: the path file of an editable installation, which leads to the checkout, is not followed.
        shared = [folder for folder in sys.path if folder.endswith("site-packages")]
        (self.site / "shared.pth").write_text("\n".join(shared) + "\n")
        self.notebooks = home / "notebooks"

    def run(self, *arguments: str, cwd: Path | None = None) -> str:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [str(self.python), *arguments],
            capture_output=True,
            text=True,
            cwd=cwd or self.notebooks,
            env=environment | {"TQDM_DISABLE": "1", "MPLBACKEND": "agg"},
            check=False,
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def lesson(self, name: str, without: tuple[str, ...], **parameters: object) -> dict:
        """Run a lesson but for its cells that have such words in them; returns its record."""
        page = nbformat.read(self.notebooks / f"{name}.ipynb", 4)
        count = len(page.cells)
        page.cells = [cell for cell in page.cells if not any(word in cell.source for word in without)]
        assert len(page.cells) == count - len(without), "each word names one cell"
        nbformat.write(page, self.notebooks / "page.ipynb")
        self.run("-c", RUN_LESSON.format(site=str(self.site)), json.dumps(parameters))
        return json.loads((self.notebooks.parent / "results" / "smoke" / name / "record.json").read_text())


@pytest.fixture(scope="module")
def installed(root: Path, tmp_path_factory) -> Installed:
    home = tmp_path_factory.mktemp("wheel")
    source = home / "source"
    shutil.copytree(root / "msa2net_lib", source / "msa2net_lib", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("notebooks", "benchmarks/results", "data/example_ct", "data/splits", "docs", "workflow"):
        shutil.copytree(root / name, source / name, ignore=shutil.ignore_patterns(".*"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "data/README.md"):
        shutil.copyfile(root / name, source / name)
    build = [sys.executable, "-c", "import setuptools.build_meta as b; b.build_wheel('..')"]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    shutil.rmtree(source)
    (wheel,) = home.glob("*.whl")
    found = Installed(home, wheel)
    (home / "mine").mkdir()
    said = found.run("-m", "msa2net_lib", "lessons", "..", cwd=home / "mine")
    assert "begin with: jupyter lab ../notebooks/00_start_here.ipynb" in said
    open_dataset("patient2", root / "data", progress=False)  # at hand or made once for all tests
    shutil.copytree(root / "data" / "patient2", home / "data" / "patient2")
    return found


def test_it_carries_what_lessons_need(installed, root, tmp_path):
    """The same files as the checkout's; and what a reader changed is not overwritten."""
    home = installed.notebooks.parent
    data = ("data/README.md", "data/example_ct/*/*", "data/splits/*", "benchmarks/results/*.json")
    workflow = ("workflow/Snakefile", "workflow/config/*", "workflow/profiles/*/*")
    for pattern in ("notebooks/*.ipynb", "docs/*.md", *data, *workflow):
        names = {path.relative_to(root) for path in root.glob(pattern)}
        assert names
        assert names == {path.relative_to(home) for path in home.glob(pattern)}
        assert all((home / name).read_bytes() == (root / name).read_bytes() for name in names)
    note, gone = tmp_path / "data" / "splits" / "synapse_test.txt", tmp_path / "data" / "example_ct" / "README.md"
    installed.run("-m", "msa2net_lib", "data", "example", cwd=tmp_path)
    assert gone.is_file()
    assert not (tmp_path / "notebooks").exists()
    note.write_text("case0001")
    gone.unlink()
    said = installed.run("-m", "msa2net_lib", "data", "example", cwd=tmp_path).splitlines()
    assert said == [
        "data: 1 files written",
        f"data/splits/{note.name}: kept, it differs from what ships; rename it to get that",
    ]
    assert (note.read_text(), gone.is_file()) == ("case0001", True)


def test_links_of_lessons_lead_somewhere_there_too(installed):
    looked_at = 0
    for notebook in installed.notebooks.glob("*.ipynb"):
        told = ["".join(cell["source"]) for cell in json.loads(notebook.read_text())["cells"]]
        for target in re.findall(r"\]\(([\w./-]+)[#)]", "\n".join(told)):
            looked_at += 1
            assert (installed.notebooks / target).is_file(), (notebook.name, target)
    assert looked_at > 18


def test_everything_is_reproduced_there_too(installed):
    plan = ("--profile", "gpu", "--only", "10_training", "--dry-run")
    installed.run("-m", "msa2net_lib", "reproduce", *plan, cwd=installed.notebooks.parent)
    assert "10_training" in (installed.notebooks.parent / "results" / "gpu" / "plan.json").read_text()


def test_pip_adds_an_extra_to_it_without_looking_for_it_elsewhere(installed):
    """As messages advise: `how_to_install`."""
    said = installed.run("-m", "pip", "install", "--no-index", "--dry-run", "msa2net-workbook[notebooks,batch]")
    assert f"already satisfied: msa2net-workbook[batch,notebooks] in {installed.site}" in said


def test_doctor_and_predict(installed, root, tmp_path):
    assert "example_ct" in installed.run("-m", "msa2net_lib", "doctor", "--data", "../data")
    scan = nibabel.load(root / "data" / "example_ct" / "img" / "img0001.nii.gz")
    nibabel.save(scan.slicer[:, :, 90:94], tmp_path / "four_slices.nii.gz")
    installed.run(
        "-m", "msa2net_lib", "predict", str(tmp_path / "four_slices.nii.gz"), "--output", str(tmp_path / "out")
    )
    assert list((tmp_path / "out").glob("*.nii.gz"))


@pytest.mark.parametrize(
    ("name", "without", "parameters"),
    [
        ("10_training", (), {"STEPS": 2}),
        ("15_integration", ("export_module(skip", "exact = {name"), {"STEPS": 1, "SEEDS": 1, "IMAGE_SIZE": 32}),
    ],
)
def test_lessons_that_look_for_what_it_carries(installed, other_dataset, name, without, parameters):
    """On a few slices of another data set: what is looked for is the measurements, not the data.

    What lesson 15 exports takes a third of its time, and looks for nothing: it is left out here.
    """
    assert installed.lesson(name, without, DATASET=str(other_dataset.root), **parameters)["lesson"] == name
