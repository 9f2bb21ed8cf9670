"""The repository's address, and what names it on every page: the badge, and the cell that installs on Google Colab.

The address stands in ``pyproject.toml``; all else is written from there. ``make address URL=...`` moves it, and
``python -m msa2net_lib.lessons.first_cells`` brings the notebooks up to date.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path

from msa2net_lib.errors import InputError
from msa2net_lib.lessons.execute import find_checkout, notebook_path
from msa2net_lib.lessons.registry import LESSONS
from msa2net_lib.utils.files import read_json, write_text
from msa2net_lib.utils.system_info import COLAB_HAS

GITHUB = "https://github.com/"
PAGES = ("pyproject.toml", "CITATION.cff", "README.md", "docs/*.md", "notebooks/*.ipynb")
"""Where the address stands, in a checkout."""
INSTALL = """\
import sys

if "google.colab" in sys.modules:  # on Colab: fetch the workbook, add what is lacking; elsewhere nothing to do
    import os

    if not os.path.isdir("/content/msa2net-workbook"):
        !git clone --quiet --depth 1 {url} /content/msa2net-workbook
    %cd -q /content/msa2net-workbook/notebooks
    !pip list --format=freeze --exclude msa2net-workbook > {has}
    !pip install --quiet --constraint {has} --editable "..[colab]"
    sys.path.insert(0, "/content/msa2net-workbook")
"""


def repository(checkout: Path) -> str:
    """The address that a checkout's ``pyproject.toml`` names."""
    return tomllib.loads((checkout / "pyproject.toml").read_text("utf-8"))["project"]["urls"]["Repository"]


def badge(url: str, lesson: str) -> str:
    """The badge that opens a lesson of the repository at ``url`` on Colab, in Markdown."""
    page = f"{url.removeprefix(GITHUB)}/blob/main/notebooks/{lesson}.ipynb"
    image = "https://colab.research.google.com/assets/colab-badge.svg"
    return f"[![Open in Colab]({image})](https://colab.research.google.com/github/{page})"


def install_cell(url: str) -> str:
    """The source of the cell that installs the workbook on Colab, the same in all lessons; it may run twice."""
    return INSTALL.format(url=url, has=COLAB_HAS).strip()


def write_first_cells(checkout: Path) -> None:
    """Write the badge and the cell that installs into each lesson's notebook; all else stays as it is."""
    url = repository(checkout)
    for name in LESSONS:
        path = notebook_path(checkout, name)
        notebook = read_json(path)
        title, install = notebook["cells"][:2]
        opened = re.sub(r"\[!\[Open in Colab\][^\n]*", badge(url, name), "".join(title["source"]))
        title["source"], install["source"] = opened.splitlines(True), install_cell(url).splitlines(True)
        write_text(path, json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


def move(checkout: Path, url: str) -> None:
    """Name another address wherever a checkout names its own. Raises: `InputError` for one that is not on GitHub."""
    url = url.strip().removesuffix("/").removesuffix(".git")
    if not re.fullmatch(rf"{GITHUB}[\w-]+/[\w.-]+", url):
        raise InputError(f"URL={url}: give the address of a repository, such as {GITHUB}owner/name")
    old, new = re.escape(repository(checkout).removeprefix(GITHUB)), url.removeprefix(GITHUB)
    for path in [path for pattern in PAGES for path in checkout.glob(pattern)]:
        write_text(path, re.sub(rf"((github|github\.com|gh)/){old}(?![\w-])", rf"\g<1>{new}", path.read_text("utf-8")))


if __name__ == "__main__":
    try:
        for address in sys.argv[1:]:
            move(find_checkout(), address)
        write_first_cells(find_checkout())
    except InputError as error:
        sys.exit(f"msa2net: {error}")
