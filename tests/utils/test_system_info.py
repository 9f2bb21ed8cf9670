"""What to say where packages are missing: right for a wheel, a checkout, Colab, and a checkout nobody installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from msa2net_lib.utils import system_info
from msa2net_lib.utils.system_info import how_to_install, lacking


@pytest.mark.parametrize(("extra", "chosen"), [("", ""), ("batch", "[batch]"), ("notebooks", "[notebooks]")])
def test_what_to_install_beside_the_library_wherever_it_runs(monkeypatch, extra, chosen):
    monkeypatch.delenv("COLAB_RELEASE_TAG", raising=False)
    assert how_to_install(extra) == f"run pip install 'msa2net-workbook{chosen}'"
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release-colab_1")
    assert how_to_install(extra) == f"run pip install --constraint /content/colab.txt 'msa2net-workbook{chosen}'"
    monkeypatch.setattr(system_info, "DISTRIBUTION", "no-such-distribution")
    assert how_to_install(extra) == f"run pip install -e '.{chosen}' in the checkout"


def test_on_colab_its_own_extra_is_named_which_replaces_nothing_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "captum", None)
    monkeypatch.setenv("COLAB_RELEASE_TAG", "release-colab_1")
    assert lacking("captum").endswith("'msa2net-workbook[colab]'")


def test_where_packages_are_missing_the_advice_is_not():
    code = "import sys, msa2net_lib.utils.system_info as s; print(s.how_to_install(), 'psutil' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.endswith("' False\n")


@pytest.mark.slow
@pytest.mark.parametrize("extra", ["", "test"])
def test_pip_asks_no_index_for_a_library_that_is_there(monkeypatch, extra):
    """Or it would look for a package of this name elsewhere; `tests/test_wheel.py` asks the same of a wheel."""
    monkeypatch.delenv("COLAB_RELEASE_TAG", raising=False)
    what = how_to_install(extra).removeprefix("run pip install ").strip("'")
    command = [sys.executable, "-m", "pip", "install", "--no-index", "--dry-run", what]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "already satisfied: msa2net-workbook" in done.stdout
