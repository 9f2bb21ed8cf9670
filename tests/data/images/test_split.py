"""Parts by shares and by lists."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msa2net_lib.data.images.split import parse_split, split_ids

IDS = [f"p{number:04d}" for number in range(20)]


def test_isic_shares_make_the_lineages_counts():
    parts = split_ids([f"{number:04d}" for number in range(2594)], (0.7, 0.1, 0.2))
    assert {part: len(ids) for part, ids in parts.items()} == {"train": 1815, "validation": 259, "test": 520}
    assert (parts["train"][-1], parts["validation"][0], parts["test"][0]) == ("1814", "1815", "2074")


@settings(derandomize=True, database=None, deadline=None)
@given(st.integers(1, 400), st.integers(0, 100), st.integers(0, 100))
def test_shares_in_percent_lose_and_double_nothing(count, train, validation):
    """In whole percent the floors are exact integer arithmetic, however 0.29 is stored."""
    train, validation = min(train, 100 - validation), validation
    ids = [f"{number:03d}" for number in range(count)]
    parts = split_ids(ids, (train / 100, validation / 100, (100 - train - validation) / 100))
    assert [*parts["train"], *parts["validation"], *parts["test"]] == ids
    assert len(parts["train"]) == count * train // 100
    assert len(parts["validation"]) == count * validation // 100


def test_lists_are_taken_as_given():
    parts = split_ids(IDS, {"test": ["p0003", "p0001"], "train": ["p0002"]})
    assert parts == {"train": ["p0002"], "validation": [], "test": ["p0003", "p0001"]}


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ((0.7, 0.2, 0.2), "sum to 1"),
        ((0.7, 0.3), "three shares"),
        ((1.2, -0.1, -0.1), "three shares"),
        ((float("nan"), 0.5, 0.5), "three shares"),
        ({"train": ["p0001"], "val": ["p0002"]}, "'val' is no part"),
        ({"train": ["p0001", "q"], "test": ["r"]}, ["q is not among", "2 such"]),
        ({"train": ["p0001"], "test": ["p0001"]}, "p0001 is listed twice"),
        ({"train": []}, "lists no image"),
    ],
)
def test_wrong_splits(refused, split, words):
    refused(words, split_ids, IDS, split)


@pytest.mark.parametrize(
    ("text", "counts"),
    [("test", (0, 0, 20)), ("train", (20, 0, 0)), ("0.5,0.25,0.25", (10, 5, 5)), ("0, 0, 1", (0, 0, 20))],
)
def test_splits_of_the_command_line(text, counts):
    assert tuple(map(len, split_ids(IDS, parse_split(text)).values())) == counts


def test_a_table_s_split(tmp_path, refused):
    table = tmp_path / "split.csv"
    table.write_text("id,part\np0003,test\np0001,train\n")
    assert split_ids(IDS, parse_split(str(table))) == {"train": ["p0001"], "validation": [], "test": ["p0003"]}
    refused(["tset", "no such file"], parse_split, "tset")
    refused(["sum to 1"], lambda: split_ids(IDS, parse_split("0.7,0.2")))
