"""What a wheel carries is copied, and where nothing is carried that is said; the wheel itself is in test_wheel.py."""

from __future__ import annotations

import pytest

from msa2net_lib.lessons import shipped
from msa2net_lib.lessons.shipped import EXAMPLE, LESSONS, copy_shipped


@pytest.fixture
def carried(tmp_path, monkeypatch):
    """A package that carries three files."""
    for name in ("notebooks/00.ipynb", "data/splits/a.txt", "data/example_ct/README.md"):
        (tmp_path / "package" / "shipped" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "package" / "shipped" / name).write_text(name)
    monkeypatch.setattr(shipped, "files", lambda name: tmp_path / "package")


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_all_or_the_data_alone(carried, tmp_path):
    written, kept = copy_shipped(LESSONS, tmp_path / "all")
    assert names(tmp_path / "all") == ["data/example_ct/README.md", "data/splits/a.txt", "notebooks/00.ipynb"]
    assert (len(written), kept) == (3, [])
    copy_shipped(EXAMPLE, tmp_path / "data")
    assert names(tmp_path / "data") == ["example_ct/README.md", "splits/a.txt"]


def test_copied_again_only_what_is_gone_comes_back(carried, tmp_path):
    copy_shipped(LESSONS, tmp_path)
    mine, gone, folder = tmp_path / "notebooks" / "00.ipynb", tmp_path / "data" / "splits" / "a.txt", tmp_path / "data"
    mine.write_text("my notes")
    gone.unlink()
    (folder / "example_ct" / "README.md").unlink()
    (folder / "example_ct" / "README.md").mkdir()  # in the way
    written, kept = copy_shipped(LESSONS, tmp_path)
    assert (written, kept) == ([gone], [folder / "example_ct" / "README.md", mine])
    assert mine.read_text() == "my notes"
    assert not list(tmp_path.rglob(".partial-*"))


@pytest.mark.parametrize("part", [LESSONS, EXAMPLE])
def test_a_checkout_has_them_itself(refused, tmp_path, part):
    refused("not in this installation, a checkout's: work in its notebooks/ and data/", copy_shipped, part, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be(carried, refused, tmp_path):
    (tmp_path / "file").write_text("")
    refused("cannot write there", copy_shipped, LESSONS, tmp_path / "file")
