"""The manifest: what it keeps, what it refuses, and two writers at once."""

from __future__ import annotations

import datetime
import hashlib
import json
import threading

import pytest

from msa2net_lib.data.download.manifest import Entry, difference, read_manifest, record


def entry(content: bytes, source="https://example.org/a.zip") -> Entry:
    return Entry(len(content), hashlib.sha256(content).hexdigest(), source, "2026-01-31")


def test_entry_describes_a_file(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"content")
    made = Entry.of(tmp_path / "a.zip", "https://example.org/a.zip")
    assert made.size == 7
    assert made.sha256 == hashlib.sha256(b"content").hexdigest()
    assert abs(datetime.date.fromisoformat(made.verified) - datetime.date.today()) <= datetime.timedelta(days=1)


def test_it_is_plain_json_sorted_by_name(tmp_path):
    manifest = tmp_path / "new folder" / "manifest.json"
    record(manifest, "ö.zip", entry(b"2"))
    record(manifest, "a.zip", entry(b"1"))
    content = json.loads(manifest.read_text(encoding="utf-8"))
    assert list(content) == ["a.zip", "ö.zip"]
    assert set(content["a.zip"]) == {"size", "sha256", "source", "verified"}
    assert read_manifest(manifest) == {"a.zip": entry(b"1"), "ö.zip": entry(b"2")}


def test_no_manifest_is_an_empty_one(tmp_path):
    assert read_manifest(tmp_path / "none.json") == {}


def test_an_entry_is_never_replaced(tmp_path, refused):
    record(tmp_path / "m", "a.zip", entry(b"1"))
    record(tmp_path / "m", "a.zip", entry(b"1", source="https://elsewhere.org/a.zip"))
    assert read_manifest(tmp_path / "m")["a.zip"].source == "https://example.org/a.zip"
    refused(["a.zip", entry(b"1").sha256, entry(b"2").sha256], record, tmp_path / "m", "a.zip", entry(b"2"))
    assert read_manifest(tmp_path / "m") == {"a.zip": entry(b"1")}


def test_difference_names_both_values(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(b"content")
    assert difference(path, entry(b"content"), "m.json") == ""
    assert difference(path, entry(b"contents"), "m.json") == "has 7 bytes, but m.json says 8"
    line = difference(path, entry(b"c0ntent"), "m.json")
    assert entry(b"content").sha256 in line
    assert entry(b"c0ntent").sha256 in line


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "3",
        '{"a.zip": 3}',
        '{"a.zip": {}}',
        '{"a.zip": {"size": "7", "sha256": "0", "source": "", "verified": ""}}',
        '{"a.zip": {"size": 7, "sha256": "abc", "source": "", "verified": ""}}',
        b"\xff\xfe",
    ],
)
def test_damaged_manifest_is_refused(tmp_path, refused, content):
    (tmp_path / "m.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    refused([tmp_path / "m.json", "restore"], read_manifest, tmp_path / "m.json")


def test_writers_at_once_lose_no_entry(tmp_path):
    manifest = tmp_path / "m.json"
    names = [f"{i}.zip" for i in range(12)]
    threads = [threading.Thread(target=record, args=(manifest, name, entry(name.encode()))) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(read_manifest(manifest)) == sorted(names)
