"""The rules for members of archives, on lists of them: no archive needed, and every combination of names."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msa2net_lib.data.download.archives import Member, checked
from msa2net_lib.errors import InputError

ARCHIVE = Path("some.zip")


def members(*names, size=1):
    return [Member(name, size, "folder" if name.endswith("/") else "file", None) for name in names]


@pytest.mark.parametrize(
    "names",
    [
        ("a", "b/c", "b/d"),
        ("b/", "b/c", "b/"),
        ("./a", "./", "./b/"),
        ("..a", "a..", "b/...", "x..y/z"),
        ("mit Leerzeichen/Ärzte.txt", "日本/東京"),
        ("a.txt", "a.txt.bak", "A/x", "A/y"),
        ("C/drive.txt", "c.txt"),
    ],
    ids=str,
)
def test_ordinary_names_pass(names):
    passing = members(*names)
    assert list(checked(passing, ARCHIVE)) == passing


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("a.txt", "a.txt"), "'a.txt' is there twice"),
        (("a.txt", "A.TXT"), "'A.TXT' takes the place of 'a.txt'"),
        (("Ä.txt", "A\u0308.txt"), "takes the place of 'Ä.txt'"),
        (("straße", "STRASSE"), "takes the place of 'straße'"),
        (("./a.txt", "a.txt"), "is there twice"),
        (("img/1", "IMG/2"), "'IMG/2' takes the place of 'img'"),
        (("img/", "IMG/"), "takes the place of 'img'"),
        (("a", "a/b"), "'a/b' takes the place of 'a'"),
        (("a/b", "a"), "takes the place of 'a'"),
        (("a/b", "A"), "takes the place of 'a'"),
        (("",), "without a name"),
        ((".",), "without a name"),
    ],
    ids=str,
)
def test_names_that_collide_on_some_disk_are_refused(refused, names, said):
    refused([ARCHIVE, said], lambda: list(checked(members(*names), ARCHIVE)))


def test_an_archive_without_files_is_refused(refused):
    refused([ARCHIVE, "holds no file"], lambda: list(checked([], ARCHIVE)))
    refused([ARCHIVE, "holds no file"], lambda: list(checked(members("a/", "b/"), ARCHIVE)))


def test_room_is_counted_over_all_members(refused):
    assert len(list(checked(members("a", "b", size=500), ARCHIVE, free=1000))) == 2
    seen = []
    with pytest.raises(InputError, match=r"unpacks to 1.5e-06 GB or more, but only 1e-06 GB"):
        seen.extend(checked(members("a", "b", "c", "d", size=500), ARCHIVE, free=1000))
    assert len(seen) == 2  # the third is refused before what lies behind it is read


def passed(*names):
    """Return the members if all of them pass, else none."""
    try:
        return list(checked(members(*names), ARCHIVE))
    except InputError:
        return []


@settings(derandomize=True, deadline=None, database=None, max_examples=200)
@given(st.lists(st.text(alphabet="aAä/.\\: \n\0C", min_size=1, max_size=5), min_size=1, max_size=3))
def test_whatever_passes_stays_within_its_folder(names):
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home, "inside")
        folder.mkdir()
        for member in passed(*names):
            path = (folder / member.name).resolve()
            assert path.is_relative_to(folder.resolve())
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(exist_ok=True) if member.kind == "folder" else path.write_text(member.name)
        assert [path.name for path in Path(home).iterdir()] == ["inside"]
        files = [member.name for member in passed(*names) if member.kind == "file"]
        assert [(folder / name).read_text() for name in files] == files
