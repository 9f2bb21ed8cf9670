"""HD95 by the conventions that are about, each against the library that follows it, and rules for missed organs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from medpy.metric import binary
from monai.metrics import compute_hausdorff_distance
from scipy import ndimage

from msa2net_lib.evaluation.conventions import RULES, convention_table, hd95_per_direction
from msa2net_lib.metrics import score_volume


def labels(seed):
    """Two label volumes of three organs, ragged and shifted, one of them missed by the first."""
    rng = np.random.default_rng(seed)
    true = np.digitize(ndimage.gaussian_filter(rng.standard_normal((8, 24, 24)), 3), [-0.05, 0.0, 0.05])
    pred = np.where(rng.random(true.shape) < 0.02, 1, np.roll(true, 2, axis=2))
    return np.where(pred == 3, 0, pred), true


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("spacing", [None, (3.0, 1.0, 0.7)])
def test_per_direction_is_monais(seed, spacing):
    pred, true = labels(seed)
    masks = [torch.from_numpy(volume == 1)[None, None].float() for volume in (pred, true)]
    monai = compute_hausdorff_distance(*masks, include_background=True, percentile=95, spacing=spacing)
    assert hd95_per_direction(pred == 1, true == 1, spacing) == pytest.approx(float(monai), rel=1e-5)
    assert hd95_per_direction(pred == 1, true == 1) >= binary.hd95(pred == 1, true == 1)
    assert np.isnan(hd95_per_direction(np.zeros((3, 3)), np.eye(3)))


def test_rules_of_a_mean_differ_as_their_libraries_do():
    cases = [labels(seed) for seed in range(2)]
    table = convention_table(cases, 4)
    paper = np.stack([score_volume(pred, true, 4)[:, 1] for pred, true in cases])
    strict = np.stack([score_volume(pred, true, 4, "strict", (1.0, 1.0, 1.0))[:, 1] for pred, true in cases])
    found = [binary.hd95(pred == index, true == index) for pred, true in cases for index in (1, 2)]
    assert list(table.index) == list(RULES)
    assert table.hd95["pooled, missed is 0"] == pytest.approx(paper.mean())
    assert table.hd95["pooled, missed is the diagonal"] == pytest.approx(strict.mean())
    assert table.hd95["pooled, missed left out"] == pytest.approx(np.mean(found))
    directed = [hd95_per_direction(pred == index, true == index) for pred, true in cases for index in (1, 2)]
    assert table.hd95["per direction, missed left out"] == pytest.approx(np.mean(directed))
    assert (table.missed == 2).all()
    assert table.organs.tolist() == [6, 4, 6, 4, 4]


def test_the_page_prints_what_was_recorded(root):
    record = json.loads((root / "benchmarks/results/conventions.json").read_text(encoding="utf-8"))
    page = (root / "docs/conventions.md").read_text(encoding="utf-8")
    for name, table in record["tables"].items():
        shown = page.split(f"<!-- {name} -->\n")[1].split(f"\n<!-- end {name} -->")[0]
        lines = [table["columns"], ["---"] * len(table["columns"]), *table["rows"]]
        assert shown == "\n".join(f"| {' | '.join(line)} |" for line in lines), name
    assert not any(
        "not measured" in cell for table in record["tables"].values() for row in table["rows"] for cell in row
    )
    missing = [name for name, version in record["versions"].items() if version == "not installed"]
    assert not missing, missing


def test_the_workbooks_rows_of_the_record_are_still_so(root):
    """The library's own functions on the same pairs; the other columns need packages that tests do not bring."""
    table = json.loads((root / "benchmarks/results/conventions.json").read_text(encoding="utf-8"))["tables"]["hd95"]
    mask = np.zeros((64, 64), np.uint8)
    mask[20:40, 20:40] = 1
    stray = np.roll(mask, 3, axis=1)
    stray[2:5, 2:5] = 1
    row = next(row for row in table["rows"] if "stray" in row[0])
    assert row[1] == f"{score_volume(stray, mask, 2)[0, 1]:.3f}"
    assert row[table["columns"].index("MONAI")] == f"{hd95_per_direction(stray, mask):.3f}"
