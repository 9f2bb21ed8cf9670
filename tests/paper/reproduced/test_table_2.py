"""Table 2's reproduced rows, against torchmetrics on the pixels themselves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torchmetrics.functional.classification import binary_accuracy, binary_f1_score, binary_recall, binary_specificity

from msa2net_lib.config import NetworkConfig
from msa2net_lib.errors import InputError
from msa2net_lib.metrics import pixel_scores
from msa2net_lib.paper.reproduced.runs import ReproducedRun
from msa2net_lib.paper.reproduced.table_2 import reproduced_table_2
from msa2net_lib.paper.tables import table_2

NETWORK = NetworkConfig.from_preset("tiny", num_classes=2)
SECOND_OPINION = {
    "dsc": binary_f1_score, "se": binary_recall, "sp": binary_specificity, "acc": binary_accuracy,
}  # fmt: skip


@pytest.fixture(scope="module")
def masks():
    """Predictions and targets of six pictures, (6, 20, 30), with 2 to 80 % lesion."""
    rng = np.random.default_rng(3)
    targets = rng.random((6, 20, 30)) < np.array([0.02, 0.1, 0.2, 0.4, 0.6, 0.8])[:, None, None]
    return targets ^ (rng.random(targets.shape) < 0.1), targets


@pytest.fixture(scope="module")
def run(masks):
    rows = {}
    for number, (found, true) in enumerate(zip(*masks, strict=True)):
        counts = {"tp": (found & true).sum(), "fp": (found & ~true).sum(), "fn": (~found & true).sum()}
        counts["tn"] = found.size - sum(counts.values())
        rows[f"p{number}"] = pixel_scores([found], [true]) | {"lesion_share": true.mean()} | counts
    return ReproducedRun("tiny", NETWORK, "skin", pd.DataFrame.from_dict(rows, orient="index"))


@pytest.mark.parametrize("score", list(SECOND_OPINION))
def test_both_rows_agree_with_torchmetrics(run, masks, score):
    found, true = (torch.from_numpy(array.astype(int)) for array in masks)
    table = reproduced_table_2([run])
    pooled = float(SECOND_OPINION[score](found.flatten(), true.flatten()))
    per_image = np.mean([float(SECOND_OPINION[score](f, t)) for f, t in zip(found, true, strict=True)])
    assert table.loc["reproduced: tiny, pooled", score] == pytest.approx(pooled, abs=5.1e-5)
    assert table.loc["reproduced: tiny, per image", score] == pytest.approx(per_image, abs=5.1e-5)


def test_rows_say_how_they_are_averaged_on_what_and_that_they_do_not_compare(run):
    table = reproduced_table_2([run])
    rows = table[table["origin"] == "measured"]
    assert list(rows["comparability"].unique()) == ["not comparable: synthetic skin images"]
    assert list(rows["data"].unique()) == ["6 synthetic skin images"]
    assert [note.split(";")[0] for note in rows["note"]] == ["all pixels pooled", "mean over images"]
    assert (rows["dsc_low"] < rows["dsc"]).all()
    assert (rows["dsc"] < rows["dsc_high"]).all()


def test_published_rows_come_first_and_the_comparable_one_is_not_measured(run):
    table, published = reproduced_table_2([run]), table_2()
    pd.testing.assert_frame_equal(table.iloc[: len(published), :4], published, check_names=False, check_dtype=False)
    assert table.iloc[-1]["origin"] == "not measured"
    assert "download" in table.iloc[-1]["note"]
    assert table.iloc[-1][["dsc", "se", "sp", "acc"]].isna().all()


def test_scores_without_counts_are_refused(run):
    with pytest.raises(InputError, match="without tp"):
        ReproducedRun("tiny", NETWORK, "skin", run.scores.drop(columns="tp"))
