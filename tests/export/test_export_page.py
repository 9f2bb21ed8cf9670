"""What docs/export.md prints is what benchmarks/export.py measured, for the gates that there are."""

from __future__ import annotations

import json

import pytest

from msa2net_lib.export.compare import percent
from msa2net_lib.nn.gates import GATES


@pytest.fixture(scope="module")
def record(root):
    return json.loads((root / "benchmarks" / "results" / "export.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(root):
    return (root / "docs" / "export.md").read_text(encoding="utf-8")


def told(row):
    difference = f"{row['largest_difference']:.1e}" if row["largest_difference"] else "0"
    return f"{row['file_mb']:.1f} MB | {row['seconds']:.0f} s | {difference} | {percent(row['equal_argmax'])}"


def test_the_record_has_every_network_and_gate_in_both_formats(record):
    names = ["shipped", "published", "released", "paper in float16", *(f"tiny with {gate}" for gate in GATES)]
    expected = {(name, format) for name in [*names, "tiny without skips"] for format in ("onnx", "pt2")}
    assert {(row["name"], row["format"]) for row in record["rows"]} == expected
    assert all(row["largest_difference"] < 1e-4 for row in record["rows"])


def test_the_table_is_the_record(record, page):
    for row in record["rows"]:
        if not row["name"].startswith("tiny "):
            assert told(row) in page, row["name"]
    assert f"each of the {len(GATES)} gates and without skips" in page
    for format, label in (("onnx", "ONNX"), ("pt2", "pt2")):
        small = [row for row in record["rows"] if row["name"].startswith("tiny ") and row["format"] == format]
        sizes, seconds = ([row[key] for row in small] for key in ("file_mb", "seconds"))
        cells = f"{label} | {min(sizes):.1f} to {max(sizes):.1f} MB | {min(seconds):.0f} to {max(seconds):.0f} s | "
        worst = max(small, key=lambda row: row["largest_difference"])
        assert cells + told(worst).split(" | ")[2] in page


def test_a_hundred_percent_is_all():
    told = {1.0: "100 %", 0.9999960140306122: "99.999 %", 0.5: "50 %", 0.0: "0 %"}
    assert {share: percent(share) for share in told} == told


def test_the_machine_is_named(record, page):
    for words in (record["date"], record["hardware"]["processor"], record["versions"]["torch"], record["onnxruntime"]):
        assert str(words) in page
