"""Made files: what matches its record stays, everything else is made again."""

from __future__ import annotations

import json

import pytest

from msa2net_lib.data.made import MadeFiles


@pytest.fixture
def open_record(tmp_path):
    def open_it(items, plan=1, **said):
        return MadeFiles(
            tmp_path / "record.json",
            {"seed": plan, "size": (2, 3)},
            items,
            lambda name: {kind: tmp_path / kind / f"{name}.txt" for kind in ("one", "two")},
            **said,
        )

    return open_it


def make(made):
    """Make what is missing; return its names."""
    made.clear()
    names = made.missing
    for name in names:
        for path in made.files(name).values():
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{name} {made.items[name]}")
        made.add(name, {"fact": name.upper()})
    made.save()
    return names


def test_only_what_is_missing_or_altered_is_made_again(open_record, tmp_path, tree):
    items = {"a": 1, "b": 2, "c": 3}
    assert make(open_record(items, synthetic="yes")) == ["a", "b", "c"]
    record = json.loads((tmp_path / "record.json").read_text())
    assert (record["synthetic"], record["made"]["b"]["fact"], record["items"]) == ("yes", "B", items)
    before = tree(tmp_path)
    assert open_record(items, synthetic="yes").is_complete
    (tmp_path / "one" / "a.txt").write_text("altered")
    (tmp_path / "two" / "c.txt").unlink()
    (tmp_path / "one" / ".partial-7-b.txt").write_text("half")
    assert not open_record(items, synthetic="yes").is_complete
    assert make(open_record(items, synthetic="yes")) == ["a", "c"]
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("items", "plan", "made"),
    [({"a": 1}, 1, []), ({"a": 1, "b": 5}, 1, ["b"]), ({"b": 2, "d": 4}, 1, ["d"]), ({"a": 1}, 2, ["a"])],
)
def test_another_plan_keeps_only_what_it_has_in_common(open_record, tmp_path, items, plan, made):
    make(open_record({"a": 1, "b": 2}))
    assert not open_record(items, plan).is_complete
    assert make(open_record(items, plan)) == made
    assert {path.stem for path in (tmp_path / "one").iterdir()} == set(items)
    assert open_record(items, plan).is_complete


def test_what_a_stopped_run_left_unrecorded_goes(open_record, tmp_path):
    stopped = open_record({"a": 1, "b": 2})
    stopped.clear()
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "b.txt").write_text("not recorded")
    assert make(open_record({"a": 1})) == ["a"]
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["a.txt"]


def test_folders_of_something_else_are_refused(open_record, tmp_path, refused):
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "mine.txt").touch()
    refused([tmp_path, "no record.json", "empty folder"], open_record, {"a": 1})
    for content in ("{", "[]", '{"plan": {}, "items": 3, "made": {}}', '{"plan": 1}'):
        (tmp_path / "record.json").write_text(content)
        refused([tmp_path / "record.json", "not a record", "empty folder"], open_record, {"a": 1})
