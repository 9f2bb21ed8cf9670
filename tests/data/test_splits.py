"""The split and the validation cases, against the files that ship and against arithmetic."""

from __future__ import annotations

import pandas as pd
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


# ---- tables -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mark", "encoding"), [(",", "utf-8"), (";", "utf-8-sig"), ("\t", "utf-8")])
def test_a_table_of_parts(tmp_path, mark, encoding):
    rows = [
        ("Part", "id", "age"),
        ("train", "b", "4"),
        ("Test", "a b", "5"),
        ("validation", "c", ""),
        ("test", "d", ""),
    ]
    (tmp_path / "split.csv").write_text("\n".join(mark.join(row) for row in rows), encoding=encoding)
    found = splits.read_split(tmp_path / "split.csv")
    assert found == {"train": ["b"], "validation": ["c"], "test": ["a b", "d"]}


@pytest.mark.parametrize("shares", [(0.7, 0.1, 0.2), (0.5, 0.25, 0.25), (0, 0, 1)])
def test_a_patient_is_in_one_part(tmp_path, shares):
    frame = pd.DataFrame({"id": [f"i{n:03d}" for n in range(200)], "patient": [f"p{n * n % 37}" for n in range(200)]})
    frame.to_csv(tmp_path / "patients.csv", index=False)
    found = splits.read_split(tmp_path / "patients.csv", shares)
    part = {name: part for part, names in found.items() for name in names}
    assert sorted(part) == frame["id"].tolist()
    assert frame.assign(part=frame["id"].map(part)).groupby("patient")["part"].nunique().max() == 1
    largest = frame["patient"].value_counts().max()
    for name, share in zip(splits.PARTS, shares, strict=True):
        assert abs(len(found[name]) - share * 200) <= largest


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line of columns"),
        ("a\nb\n", "line of columns"),
        ("id\na\n", "line of columns"),
        ("id,part\na,train\nb,dev\n", "b is in part 'dev'"),
        ("id,part\na,train\nb,\n", "b is in part ''"),
        ("id,part\na,train\na,test\n", "lists a twice"),
        ("id,part\n../a,train\n", "separator"),
        ("id,patient,part\na,1,train\nb,2,test\nc,1,test\n", "patient 1 is in train and in test"),
    ],
)
def test_tables_that_are_none(tmp_path, refused, text, words):
    (tmp_path / "split.csv").write_text(text)
    refused([tmp_path / "split.csv", words], splits.read_split, tmp_path / "split.csv")


def test_files_that_are_no_table(tmp_path, refused):
    refused([tmp_path / "none.csv", "no such file"], splits.read_split, tmp_path / "none.csv")
    (tmp_path / "split.csv").write_text("id,part\nü,train\n", encoding="utf-16")
    refused([tmp_path / "split.csv", "UTF-8"], splits.read_split, tmp_path / "split.csv")


@pytest.mark.parametrize("text", ["id,part\n" + "a" * 200_000 + ",train\n", 'id,part\n"' + "a" * 200_000])
def test_a_table_that_the_reader_gives_up_on(tmp_path, refused, text):
    (tmp_path / "split.csv").write_text(text)
    refused([tmp_path / "split.csv", "is no table"], splits.read_split, tmp_path / "split.csv")


@pytest.mark.parametrize("row", ["c,", "c", "c, "])
def test_an_id_without_a_patient_is_not_put_to_the_others_without(tmp_path, refused, row):
    (tmp_path / "split.csv").write_text(f"id,patient\na,1\nb,2\n{row}\n")
    refused("c has no patient", splits.read_split, tmp_path / "split.csv")
