"""The discrepancies: each one's evidence runs and shows its difference, and would say so if there were none."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest

from msa2net_lib.analysis.token_layout import share_of_true_neighbors
from msa2net_lib.config import PRESETS, NetworkConfig
from msa2net_lib.errors import InputError
from msa2net_lib.paper import discrepancies as package
from msa2net_lib.paper import reference_implementation as released
from msa2net_lib.paper import tables
from msa2net_lib.paper.consistency import SCORES
from msa2net_lib.paper.discrepancies import (
    DISCREPANCIES,
    data,
    discrepancy,
    discrepancy_table,
    effect_of,
    modules,
    network,
    scoring,
    training,
)
from msa2net_lib.paper.discrepancies.variants import AS_WRITTEN, discrepancy_variants
from msa2net_lib.paper.recorded import recorded_count, recorded_shapes

pytestmark = pytest.mark.slow

KEYS = [one.key for one in DISCREPANCIES]
REQUIRED = {
    "dense-dilated-convolution", "three-or-four-gates", "unused-deepest-level", "deep-layer-defined-twice",
    "scrambled-token-layout", "encoder-name", "attention-heads", "effective-learning-rate", "augmentation-noise",
    "hidden-dropout",
    "repeated-random-state", "selection-on-test", "empty-masks", "hd95-in-voxels", "training-slices",
    "label-numberings", "cubic-overshoot", "isic-specificity", "claims-of-the-text",
}  # fmt: skip


@pytest.fixture(scope="module")
def found(root):
    """What the evidence of every entry found."""
    return {one.key: one.show(root / "data") for one in DISCREPANCIES}


def test_the_differences_that_the_workbook_promises_are_there_once():
    assert set(KEYS) >= REQUIRED
    assert len(set(KEYS)) == len(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_evidence_runs_and_shows_the_difference(found, key):
    evidence = found[key]
    assert evidence.differs is True
    assert len(evidence.table) > 0
    assert any(letter.isdigit() for letter in evidence.says)
    assert "\n" not in evidence.says


@pytest.mark.parametrize("key", KEYS)
def test_entries_say_where(key):
    one = discrepancy(key)
    assert one.paper
    assert one.variant
    assert one.advice.endswith(".")
    if one.part != "tables":
        assert one.file.endswith((".py", ".md", ".txt")), "where the code does it"


def test_numbers_known_from_elsewhere(found):
    """Counts and scores established by reading and running the released code, not by this library."""
    says = {key: evidence.says for key, evidence in found.items()}
    assert "9.4407 M" in says["three-or-four-gates"]
    assert "2.3413 M" in says["three-or-four-gates"]
    assert "0.6055 M" in says["dense-dilated-convolution"]
    assert "36.16 M of 112.77 M" in says["unused-deepest-level"]
    assert "93.66 M" in says["deep-layer-defined-twice"]
    assert "0.041667" in says["effective-learning-rate"]
    assert "2211 slices of 18 cases" in says["training-slices"]
    assert "scored 18 times" in says["selection-on-test"]
    assert "SP 0.9857 at prevalence 0.2134" in says["isic-specificity"]
    assert "447 of 50176 pixels" in says["lost-edge"]
    assert found["label-numberings"].table["DSC against B"].sum() == 2  # left kidney and liver have one id in A and B
    assert found["empty-masks"].table.iloc[0, 0] == 5 / 8


def test_expected_best_agrees_with_drawing(found):
    draws = np.random.default_rng(0).standard_normal((40_000, 18)).max(axis=1).mean()
    assert found["selection-on-test"].table.iloc[-1, 0] == pytest.approx(draws, abs=0.01)


network_small = network._small


def depthwise_shapes(form):
    dilated = "ag_attn.multi.local.dconv.3.weight"
    shapes = recorded_shapes(form)
    return {key: (shape[0], 1, 3, 3) if key.endswith(dilated) else shape for key, shape in shapes.items()}


SAY_NO = {
    "unused-deepest-level": (network, "_small", lambda form: network_small("paper")),
    "deep-layer-defined-twice": (network, "recorded_shapes", lambda form: recorded_shapes("published")),
    "hidden-dropout": (network, "_small", lambda form, **_: network_small(form, position_dropout=0.0)),
    "scrambled-token-layout": (
        network, "share_of_true_neighbors", partial(share_of_true_neighbors, layout="grid"),
    ),
    "dense-dilated-convolution": (modules, "recorded_shapes", depthwise_shapes),
    "encoder-name": (modules, "recorded_count", lambda *_: 1),
    "attention-heads": (modules, "LISTED_HEADS", {2: 1, 1: 1}),
    "effective-learning-rate": (released, "PAPER_BATCH", 24),
    "schedule-length": (released, "DEFAULT_EPOCHS", 700),
    "test-script": (released, "TEST_ARGUMENT", "case"),
    "code-for-tables-2-and-3": (scoring, "recorded_shapes", lambda form: {"decoder_0.ag_attn.proj.weight": (1,)}),
    "initialization": (training, "replace", lambda config, **_: PRESETS["tiny"]),
    "augmentation-noise": (released, "NOISE_SIGMA", 0.005),
    "repeated-random-state": (training._Draws, "__getitem__", lambda self, i: (i % 2, float(i), float(i))),
    "selection-on-test": (released, "SCORING_INTERVAL", 1000),
    "training-slices": (tables, "SYNAPSE_TRAIN_SLICES_PRINTED", 2211),
    "label-numberings": (data, "convert_scheme", lambda label, source, target: label),
    "cubic-overshoot": (data, "resize_image", lambda image, size: image),
    "lost-edge": (data, "resize_labels", lambda labels, size: data.resize_back(labels, size)),
    "label-round-trip": (data, "resize_label", lambda label, size: label),
    "empty-masks": (scoring, "score_volume", lambda *_: np.ones((8, 2))),
    "hd95-in-voxels": (scoring, "hd95", lambda a, b, spacing=None: 3.0),
    "isic-specificity": (
        scoring, "table_2", lambda: tables.table_2().replace(0.9557, 0.9857),
    ),
    "claims-of-the-text": (
        scoring, "claims_table", lambda: pd.DataFrame({"holds": [True], "rounding": [0.0], "says": [""]}),
    ),
    "counting-rule": (scoring, "table_1", lambda: tables.table_1().replace(15.56, 15.40)),
}  # fmt: skip


@pytest.mark.parametrize("key", SAY_NO)
def test_evidence_says_no_where_there_is_no_difference(root, monkeypatch, key):
    monkeypatch.setattr(*SAY_NO[key])
    assert not discrepancy(key).show(root / "data").differs


def test_table_without_and_with_measured_effects():
    table = discrepancy_table()
    assert list(table.index) == KEYS
    variants = {one.measured_as for one in DISCREPANCIES if one.measured_as}
    assert variants < set(discrepancy_variants(NetworkConfig.from_preset("tiny")))
    assert AS_WRITTEN not in variants
    dense = discrepancy("dense-dilated-convolution")
    assert table.loc[dense.key, "effect on the score"] == package.NOT_MEASURED
    effects = pd.DataFrame(
        {"difference": [0.001], "low": [-0.019], "high": [0.021], "seeds": [3]}, index=[dense.measured_as]
    )
    assert effect_of(dense, effects).startswith("+0.0010 DSC (95 % interval -0.019 to +0.021, 3 seeds)")
    assert effect_of(discrepancy("selection-on-test"), effects) == package.NOT_MEASURED
    with pytest.raises(InputError, match="'noise' is unknown: there are"):
        discrepancy("noise")


def test_recorded_counts_leave_out_statistics_and_prefixes():
    assert recorded_count("published") == 112_767_981
    assert recorded_count("released") == 93_660_877
    everything = recorded_count("published", "decoder_3.")
    part = recorded_count("published", "decoder_3.ag_attn.")
    assert recorded_count("published", "decoder_3.", ("decoder_3.ag_attn.",)) == everything - part
    with pytest.raises(InputError, match="use one of published, released"):
        recorded_shapes("paper")


def test_released_rules():
    assert released.effective_rate(0.05, 24) == released.effective_rate(0.05, 16) == 0.05
    assert released.effective_rate(0.05, 20) == pytest.approx(0.041667, abs=1e-6)
    assert released.scored_epochs(700)[0] == 360
    assert released.scored_epochs(50) == [40, 50]  # the last one always
    assert len(released.AUGMENTATIONS) == 10
    assert list(tables.table_2().columns) == list(SCORES)
