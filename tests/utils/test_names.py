"""Ids that lists and manifests bring: none leads out of its folder, and none stands for two files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from msa2net_lib.errors import InputError
from msa2net_lib.utils.names import LONGEST, check_id, check_ids, id_path, listed

BAD = {
    "above": "../case0005_slice000",
    "far above": "a/../../b",
    "absolute": "/etc/hostname",
    "a folder": "more/case0005",
    "Windows": "..\\case0005",
    "a drive": "C:\\case0005",
    "dots": "..",
    "here": ".",
    "hidden": ".partial-1-case",
    "a zero": "case\0",
    "a bell": "case\a",
    "a new line": "case0005\ncase0006",
    "a line separator": "case\u2028",
    "no UTF-8": os.fsdecode(b"case\xff"),
    "nothing": "",
    "blanks": "  ",
    "too long": "a" * (LONGEST + 1),
    "too long in bytes": "ü" * (LONGEST // 2 + 1),
    "a number": 5,
    "a list": ["case0005"],
}
GOOD = ("case0005_slice000", "ISIC_0000000", "Müller, Anna (2)", "a..b", "患者\u3000七", "x" * LONGEST, "-1", "a:b")


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_a_file_s_name(kind, refused):
    message = refused(["lists/train.txt: id ", "rename its files and entries"], check_id, BAD[kind], "lists/train.txt")
    assert len(message) < 200
    assert message.isprintable()
    with pytest.raises(InputError):
        id_path("data", BAD[kind], ".npz")


@pytest.mark.parametrize("name", GOOD)
def test_what_people_call_their_files(name, tmp_path):
    path = id_path(tmp_path, name, ".npz")
    path.with_name(f".partial-1234567-{path.name}").write_bytes(b"")  # as files are called while they are written
    assert path == tmp_path / f"{name}.npz"
    assert path.parent == tmp_path


def test_an_id_is_listed_once(refused):
    assert check_ids(iter(GOOD), "list") == [*GOOD]
    refused(["list: lists b twice"], check_ids, ["a", "b", "c", "b"], Path("list"))


def test_the_first_of_many_are_named_and_the_rest_counted():
    assert [listed(names) for names in ([], ["a"], [1, 2, 3, 4])] == ["", "a", "1, 2, 3, 4"]
    assert listed("abcdef") == "a, b, c, d and 2 more"
    assert listed(["x", "y", "z"], 2) == "x, y and 1 more"
