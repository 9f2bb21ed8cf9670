"""NumPy's values become Python's own; what JSON cannot hold, or what is made to trouble a reader, is one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from msa2net_lib.utils.plain import MOST_LETTERS, parse_json, to_plain


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("affine"), "affine"),
        (np.array([1, 2], np.uint8), [1, 2]),
        ({"rates": (np.float64(0.1), np.int8(-1))}, {"rates": (0.1, -1)}),
        (Path("a/b.pth"), "a/b.pth"),
        (None, None),
    ],
)
def test_values_become_pythons_own(value, expected, tmp_path):
    """They are equal, of the same types, and go through JSON and torch's weights-only reader."""
    plain = to_plain(value, "it")
    assert repr(plain) == repr(expected)
    assert json.loads(json.dumps(plain)) == (expected if not isinstance(expected, dict) else {"rates": [0.1, -1]})
    torch.save(plain, tmp_path / "state.pt")
    assert torch.load(tmp_path / "state.pt", weights_only=True) == expected


HOLDS_ITSELF: dict = {}
HOLDS_ITSELF["state"] = HOLDS_ITSELF


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (float("nan"), "it=nan: give a finite number"),
        ({"rate": np.float32("inf")}, "it['rate']=inf: give a finite number"),
        (2**70, "it: a whole number of 71 bits"),
        ([1, {2, 3}], "it[1]: is of type set"),
        (torch.zeros(1), "it: is of type Tensor"),
        (1 + 2j, "it: is of type complex"),
        (b"text", "it: is of type bytes"),
        ({3: 1}, "it: has the key 3; give text"),
        (HOLDS_ITSELF, "is nested more than 20 deep, or holds itself"),
    ],
)
def test_anything_else_is_one_line(value, words, refused):
    assert refused(words, to_plain, value, "it").startswith("it")


LONG = '"' + "x" * MOST_LETTERS + '"'
DEEP = ["[" * 100_000, '{"a":' * 30 + "1" + "}" * 30]


@pytest.mark.parametrize("text", ["{", "[NaN]", '{"a": -Infinity}', *DEEP, "9" * 5000, "1e999", LONG], ids=range(8))
def test_json_that_is_none_or_too_much(text, refused):
    assert refused("the config", parse_json, text, "the config").startswith("the config")


def test_json_as_others_write_it():
    assert parse_json('{"a": [1, 2.5, null, true, "\\u00e9"]}', "it") == {"a": [1, 2.5, None, True, "é"]}
