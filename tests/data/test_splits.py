"""The split and the validation cases, against the files that ship and against arithmetic."""

from __future__ import annotations

import pytest

from msa2net_lib.data import splits
from msa2net_lib.data.datasets import PreparedDataset, validation_cases


@pytest.fixture(scope="module")
def lists(root):
    return {p.stem: p.read_text().split() for p in (root / "data" / "splits").glob("synapse_*.txt")}


def test_lists_that_ship_are_the_library_s(lists):
    assert lists["synapse_train"] == list(splits.SYNAPSE_TRAIN_CASES)
    assert lists["synapse_test"] == list(splits.SYNAPSE_TEST_CASES)
    assert lists["synapse_train_15"] == list(splits.SYNAPSE_TRAIN_15)
    assert lists["synapse_validation"] == list(splits.SYNAPSE_VALIDATION_CASES)


def test_parts_are_disjoint_and_whole(lists):
    train, test = set(lists["synapse_train"]), set(lists["synapse_test"])
    rest, validation = set(lists["synapse_train_15"]), set(lists["synapse_validation"])
    assert (len(train), len(test), len(rest), len(validation)) == (18, 12, 15, 3)
    assert not train & test
    assert not validation & (rest | test)
    assert rest | validation == train
    # In the order of the published list.
    assert lists["synapse_train_15"] == [case for case in lists["synapse_train"] if case not in validation]


def test_slices():
    """2211 in all, as counted in the published data; 356 of them to validate on."""
    assert sum(splits.SYNAPSE_SLICES.values()) == 2211
    assert tuple(splits.SYNAPSE_SLICES) == splits.SYNAPSE_TRAIN_CASES
    assert sum(splits.SYNAPSE_SLICES[case] for case in splits.SYNAPSE_TRAIN_15) == 2211 - 90 - 117 - 149


def test_the_rule_gives_the_list_that_ships():
    """3rd, 9th and 15th of the cases ordered by length: third longest and third shortest are among them."""
    chosen = splits.choose_validation(splits.SYNAPSE_SLICES)
    assert tuple(chosen) == splits.SYNAPSE_VALIDATION_CASES
    longer = [sum(other > splits.SYNAPSE_SLICES[case] for other in splits.SYNAPSE_SLICES.values()) for case in chosen]
    assert longer == [15, 9, 3]


def test_the_rule_does_not_depend_on_the_order(refused):
    lengths = {f"case{n}": 50 + n % 3 for n in range(10)}
    backwards = dict(reversed(lengths.items()))
    assert splits.choose_validation(lengths) == splits.choose_validation(backwards) == ["case6", "case5"]
    refused("too few", splits.choose_validation, {"a": 1, "b": 2})


def test_validation_cases_of_any_data(tmp_path):
    slices = [f"case{case}_slice{z:03d}" for case, n in splits.SYNAPSE_SLICES.items() for z in range(n)]
    dataset = PreparedDataset(tmp_path, slices, ["case0008"], {})
    assert validation_cases(dataset) == ["case0039", "case0005", "case0009"]
    own = PreparedDataset(tmp_path, [f"liver_{n}_slice{z:03d}" for n in range(4) for z in range(5 - n)], [], {})
    assert validation_cases(own) == ["liver_1"]


def test_validation_cases_that_were_named(tmp_path):
    """Those named when the data were prepared come before the rule; an empty list names none."""
    slices = [f"liver_{n}_slice{z:03d}" for n in range(4) for z in range(5 - n)]
    for named, expected in ((["liver_3", "liver_0"], ["liver_3", "liver_0"]), ([], ["liver_1"])):
        own = PreparedDataset(tmp_path, slices, [], {"organs": {"liver": 1}, "validation": named})
        assert validation_cases(own) == expected
    # Only a dataset.json of our own is believed.
    others = PreparedDataset(tmp_path, slices, [], {"validation": ["liver_3"]})
    assert validation_cases(others) == ["liver_1"]
