"""The names that users rely on exist, and importing the package loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

import msa2net_lib


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'MSA3Net'"):
        msa2net_lib.MSA3Net  # noqa: B018


def test_importing_the_package_is_light():
    code = (
        "import sys; before = set(sys.modules); import msa2net_lib; after = set(sys.modules) - before\n"
        "print(sorted(n for n in after if n.startswith('msa2net_lib')), {'torch', 'timm', 'numpy'} & after)\n"
        "msa2net_lib.list_datasets(), msa2net_lib.list_networks(), msa2net_lib.list_presets(), msa2net_lib.PROFILES\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['msa2net_lib'] set()", "False"]


def test_dir_shows_public_names_only():
    assert dir(msa2net_lib) == sorted(msa2net_lib.__all__)


def test_no_module_of_the_library_imports_the_root_package(root):
    """The root knows where all names live; a module that imported it would close a circle."""
    for path in sorted((root / "msa2net_lib").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text if "from msa2net_lib import" in text else "")):
            if isinstance(node, ast.ImportFrom) and node.module == "msa2net_lib":
                assert not {alias.name for alias in node.names} & {*msa2net_lib.__all__, "__version__"}, path


def test_version_is_the_projects(root):
    import tomllib

    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert project["version"] == msa2net_lib.__version__
