"""The names that users rely on exist, and importing the package loads nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

import msa2net_lib


@pytest.mark.parametrize("name", msa2net_lib.__all__)
def test_public_name_is_there_and_documented(name):
    assert getattr(msa2net_lib, name).__doc__


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'MSA3Net'"):
        msa2net_lib.MSA3Net  # noqa: B018


def test_importing_the_package_is_light():
    code = "import sys, msa2net_lib; print(sorted({'torch', 'timm', 'numpy', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_version_is_the_projects(root):
    import tomllib

    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert project["version"] == msa2net_lib.__version__
