"""docs/speed.md and README say what was recorded."""

from __future__ import annotations

import json
import re

import pytest


@pytest.fixture(scope="module")
def rows(root):
    return json.loads((root / "benchmarks" / "results" / "against.json").read_text())["rows"]


def test_each_recorded_row_stands_on_the_page(root, rows):
    page = (root / "docs" / "speed.md").read_text()
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("|")]
    found = {name: cells for name, *cells in table}
    helps = [row for row in rows if row["name"].endswith("--help")]  # of which the page has the least gain
    least = min(helps, key=lambda row: row["ratio"])
    least = least | {"name": f"`--help`, the least gain of {len(helps)} commands"}
    for row in [*(row for row in rows if row not in helps), least]:
        before, now, ratio, _ = found[row["name"].split(" (mean DSC")[0]]
        assert float(ratio) == row["ratio"]
        for cell, seconds in ((before, row["before_seconds"]), (now, row["now_seconds"])):
            assert float(cell.removesuffix(" s")) == pytest.approx(seconds, rel=0.05, abs=0.005), row["name"]
    (step,) = [row for row in rows if row["name"].startswith("training step of published")]
    (memory,) = [cells for name, cells in found.items() if name.startswith("peak memory")]
    assert memory[:2] == [f"{step[f'{side}_memory_mib']} MiB" for side in ("before", "now")]
    assert memory[2] == f"{step['now_memory_mib'] / step['before_memory_mib']:.0%}".replace("%", " %")


def test_readme_names_the_same_times(root, rows):
    readme = (root / "README.md").read_text()
    (line,) = [line for line in readme.splitlines() if line.startswith("| whole processes")]
    names, seconds, ratios = (cell.strip() for cell in line.split("|")[1:-1])
    order = ("msa2net predict, the shipped", "msa2net predict, 512", "msa2net doctor", "msa2net reproduce", "score")
    rows = [row for row in rows if not row["name"].endswith("--help")]
    chosen = [next(row for row in rows if row["name"].startswith(name)) for name in order]
    assert len(names.split(";")) == len(chosen)
    for text, row in zip(seconds.split(";"), chosen, strict=True):
        assert float(text.strip().removesuffix(" s")) == pytest.approx(row["now_seconds"], rel=0.06)
    for text, row in zip(re.findall(r"\d+(?:\.\d+)?", ratios.split(":")[1]), chosen, strict=True):
        assert float(text) == pytest.approx(row["ratio"], rel=0.05)
