"""The wheel, installed into an environment of its own away from any checkout, runs commands and lessons.

The environment shares third-party packages with the one that runs the tests, so that nothing is fetched; what it does
not share is this library, whose only copy there is the wheel's.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import nibabel
import pytest

from msa2net_lib.data.catalog import open_dataset

pytestmark = pytest.mark.slow

RUN_LESSON = """
import sys
import papermill
import msa2net_lib
assert {site!r} in msa2net_lib.__file__, msa2net_lib.__file__
name, parameters = sys.argv[1], __import__("json").loads(sys.argv[2])
papermill.execute_notebook(f"{{name}}.ipynb", "done.ipynb", parameters=parameters, progress_bar=False)
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

    def lesson(self, name: str, **parameters: object) -> dict:
        self.run("-c", RUN_LESSON.format(site=str(self.site)), name, json.dumps(parameters))
        return json.loads((self.notebooks.parent / "results" / "smoke" / name / "record.json").read_text())


@pytest.fixture(scope="module")
def installed(root: Path, tmp_path_factory) -> Installed:
    home = tmp_path_factory.mktemp("wheel")
    source = home / "source"
    shutil.copytree(root / "msa2net_lib", source / "msa2net_lib", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(root / name, source / name)
    build = [sys.executable, "-c", "import setuptools.build_meta as b; b.build_wheel('..')"]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    shutil.rmtree(source)
    (wheel,) = home.glob("*.whl")
    shutil.copytree(root / "notebooks", home / "notebooks", ignore=shutil.ignore_patterns(".*"))
    shutil.copytree(root / "benchmarks" / "results", home / "benchmarks" / "results")
    for name in ("virtual", "patient2"):  # is at hand or made once for all tests; a reader's first lesson makes it
        open_dataset(name, root / "data", progress=False)
    for name in ("example_ct", "splits", "virtual", "patient2"):
        shutil.copytree(root / "data" / name, home / "data" / name)
    return Installed(home, wheel)


def test_doctor_and_predict(installed, root, tmp_path):
    assert "example_ct" in installed.run("-m", "msa2net_lib", "doctor", "--data", "../data")
    scan = nibabel.load(root / "data" / "example_ct" / "img" / "img0001.nii.gz")
    nibabel.save(scan.slicer[:, :, 90:94], tmp_path / "four_slices.nii.gz")
    installed.run(
        "-m", "msa2net_lib", "predict", str(tmp_path / "four_slices.nii.gz"), "--output", str(tmp_path / "out")
    )
    assert list((tmp_path / "out").glob("*.nii.gz"))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("10_training", {"STEPS": 2, "SCORED": "shipped"}),
        ("15_integration", {"STEPS": 1, "SEEDS": 1, "IMAGE_SIZE": 32}),
    ],
)
def test_lessons_that_once_looked_for_their_checkout(installed, name, parameters):
    assert installed.lesson(name, **parameters)["lesson"] == name
