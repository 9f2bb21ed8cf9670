"""The discrepancies: each one's evidence runs and shows its difference, and would say so if there were none."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from functools import partial

import numpy as np
import pandas as pd
import pytest

from msa2net_lib.analysis.token_layout import share_of_true_neighbors
from msa2net_lib.config import PRESETS, LevelConfig, NetworkConfig
from msa2net_lib.errors import InputError
from msa2net_lib.paper import discrepancies as package
from msa2net_lib.paper import reference_implementation as released
from msa2net_lib.paper import tables
from msa2net_lib.paper.consistency import SCORES, share_table
from msa2net_lib.paper.discrepancies import (
    ABOUT,
    DISCREPANCIES,
    IMPORTANCE,
    data,
    discrepancy,
    discrepancy_table,
    effect_of,
    modules,
    network,
    rivals,
    scoring,
    shipped,
    training,
)
from msa2net_lib.paper.discrepancies.variants import AS_WRITTEN, discrepancy_variants
from msa2net_lib.paper.recorded import recorded_count, recorded_shapes
from msa2net_lib.train_config import CHOICES, TrainConfig

pytestmark = pytest.mark.slow

KEYS = [one.key for one in DISCREPANCIES]
REQUIRED = {
    "dense-dilated-convolution", "three-or-four-gates", "unused-deepest-level", "deep-layer-defined-twice",
    "scrambled-token-layout", "encoder-name", "attention-heads", "effective-learning-rate", "augmentation-noise",
    "hidden-dropout",
    "repeated-random-state", "selection-on-test", "empty-masks", "hd95-in-voxels", "training-slices",
    "label-numberings", "cubic-overshoot", "isic-specificity", "claims-of-the-text",
    "figure-1-depths", "figure-1-gate", "noise-before-the-resize", "contrast-about-zero", "unread-options",
    "readme-against-requirements", "test-command", "saved-spacing", "readme-figures", "gate-share",
    "merit-not-in-table-1", "aorta-second-best", "test-slices", "compute-columns", "dead-parameters",
    "rivals-scored-on-test", "isic-rows-not-pooled", "transunet-row-of-table-2", "one-split-two-test-sets",
}  # fmt: skip


@pytest.fixture(scope="module")
def found(root):
    """What the evidence of every entry found."""
    return {one.key: one.show(root / "data") for one in DISCREPANCIES}


def test_the_differences_that_the_workbook_promises_are_there_once():
    assert set(KEYS) >= REQUIRED
    assert len(set(KEYS)) == len(KEYS) == 53
    order = [(list(ABOUT).index(one.about), one.importance) for one in DISCREPANCIES]
    assert order == sorted(order)
    assert {one.importance for one in DISCREPANCIES} == set(IMPORTANCE)
    assert {one.about for one in DISCREPANCIES} == set(ABOUT)


@pytest.mark.parametrize("key", KEYS)
def test_variants_name_options_and_values_that_exist(key):
    """A renamed option or value must not leave an entry behind."""
    classes = {one.__name__: one for one in (TrainConfig, NetworkConfig, LevelConfig)}
    for name, options in re.findall(r"(\w+)\((.*)\)", discrepancy(key).variant):
        for option, values in re.findall(r"(\w+)=(.*?)(?=, \w+=|$)", options) if name in classes else ():
            assert option in {field.name for field in fields(classes[name])}
            if option in CHOICES and "..." not in values:
                assert {value.strip().strip('"') for value in values.split("|")} <= set(CHOICES[option])


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
    assert "2, 2, 5, 2 blocks" in says["figure-1-depths"]
    assert "leaves 1.108 at 224" in says["noise-before-the-resize"]
    assert "11 of 27 options" in says["unread-options"]
    assert "2 suit the pins and the code (3.9, 3.10)" in says["readme-against-requirements"]
    assert "3.1% of those that run" in says["gate-share"]
    assert "number 2 by DSC and 2 by HD95" in says["merit-not-in-table-1"]
    assert "2D D-LKA Net, number 3" in says["aorta-second-best"]
    assert "are 1568; less the printed 2212, 1567" in says["test-slices"]
    assert "8 are fvcore's count in training mode to 0.1 %, 3 that in evaluation" in says["compute-columns"]
    assert "by +9.21 M and +2.22 M" in says["compute-columns"]
    assert "5 of 9 systems" in says["dead-parameters"]
    assert "4 of 8 score the test cases" in says["rivals-scored-on-test"]
    assert "2 of 8 rows can be pooled scores (UCTransNet, DermoSegDiff)" in says["isic-rows-not-pooled"]
    assert "a DSC of 0.8699, not 0.8499" in says["transunet-row-of-table-2"]
    assert "largest-margins by 0.03" in says["claims-of-the-text"]
    assert found["label-numberings"].table["DSC against B"].sum() == 2  # left kidney and liver have one id in A and B
    assert found["empty-masks"].table.iloc[0, 0] == 5 / 8


def test_counts_of_the_other_systems_are_those_recorded_with_their_arrays(root):
    """`table_1_counts` ships what tests/reference holds of each system."""
    counts, sizes = tables.table_1_counts(), dict.fromkeys(tables.table_1().index)
    for path in (root / "tests/reference/baselines").glob("*/*.json"):
        recorded = json.loads(path.read_text())
        if "fvcore_G" in recorded:
            row = counts[counts.parameters == recorded["total_parameters"]].iloc[0]
            assert row.never_gradient == recorded["never_gradient_parameters"]
            assert (row.fvcore_train_g, row.fvcore_eval_g) == (
                recorded["fvcore_G"]["train"],
                recorded["fvcore_G"]["eval"],
            )
            sizes[row.name] = recorded["total_parameters"]
    assert [name for name, size in sizes.items() if size is None] == [tables.OWN]
    assert counts.parameters[tables.OWN] == recorded_count("published")


def test_shares_of_table_2_are_the_intervals_found_by_hand():
    """Intervals computed beside the original code, to four digits."""
    found = share_table(tables.table_2())
    for name, low, high, dsc_low, dsc_high in (
        ("U-Net", 0.3255, 0.3278, 0.9058, 0.9063), ("AttU-Net", 0.4087, 0.4104, 0.9192, 0.9194),
        ("TransUNet", 0.1860, 0.1879, 0.8536, 0.8546), ("FAT-Net", 0.2003, 0.2037, 0.8964, 0.8977),
        ("UCTransNet", 0.2128, 0.2142, 0.8836, 0.8841), ("DermoSegDiff", 0.2124, 0.2143, 0.9002, 0.9008),
    ):  # fmt: skip
        assert found.loc[name, ["low", "high", "dsc_low", "dsc_high"]].to_numpy(float) == pytest.approx(
            (low, high, dsc_low, dsc_high), abs=1e-4
        )
    assert found.high[tables.OWN] < 0
    assert np.isnan(found.dsc_low[tables.OWN])


def test_expected_best_agrees_with_drawing(found):
    draws = np.random.default_rng(0).standard_normal((40_000, 18)).max(axis=1).mean()
    assert found["selection-on-test"].table.iloc[-1, 0] == pytest.approx(draws, abs=0.01)


network_small = network._small


def depthwise_shapes(form):
    dilated = "ag_attn.multi.local.dconv.3.weight"
    shapes = recorded_shapes(form)
    return {key: (shape[0], 1, 3, 3) if key.endswith(dilated) else shape for key, shape in shapes.items()}


def two_blocks_a_stage():
    return {f"backbone.backbone.stages.{stage}.blocks.{block}.w": (1,) for stage in range(4) for block in range(2)}


scoring_claims = scoring.claims_table
POOLED = ["UCTransNet", "DermoSegDiff"]
ALL_RUN = {"": 400, "decoder_3.": 0, "backbone.conv.": 0, "decoder_3.ag_attn.": 0}
"""Parameters of a network without anything unused, by prefix; 10 for every other one."""
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
    "claims-of-the-text": (scoring, "claims_table", lambda: scoring_claims().assign(holds=True)),
    "figure-1-depths": (modules, "recorded_shapes", lambda form: two_blocks_a_stage()),
    "figure-1-gate": (modules, "recorded_shapes", lambda form: {}),
    "noise-before-the-resize": (training, "resize_image", lambda image, size: image),
    "contrast-about-zero": (training.ReleasedAugmentation, "_change", lambda *_: None),
    "unread-options": (released, "TRAIN_OPTIONS", {"seed": True}),
    "readme-against-requirements": (released, "PYTHONS", ((3, 7), (3, 7), (4, 0))),
    "test-command": (released, "TEST_COMMAND", {"output_dir": "b", "weights_fpath": "c"}),
    "saved-spacing": (shipped, "patient", lambda folder, number: (None, np.full((2, 2, 2), 5), (1.0, 1.0, 1.0))),
    "readme-figures": (released, "PICTURES", {"Figure 1": ("MSA2Net.pdf", "MSA2Net.pdf")}),
    "gate-share": (shipped, "recorded_count", lambda form, prefix="", without=(): ALL_RUN.get(prefix, 10)),
    "merit-not-in-table-1": (rivals, "MERIT", pd.Series({"dsc": 84.0, "hd95": 14.0}, name="MERIT")),
    "aorta-second-best": (rivals, "TEXT_AORTA", 0.74),
    "test-slices": (tables, "SYNAPSE_TRAIN_SLICES_PRINTED", 2211),
    "compute-columns": (rivals, "table_1_counts", lambda: tables.table_1_counts().assign(fvcore_train_g=1.0)),
    "dead-parameters": (rivals, "table_1_counts", lambda: tables.table_1_counts().assign(never_gradient=0)),
    "rivals-scored-on-test": (rivals, "OWN_RECIPES", {}),
    "isic-rows-not-pooled": (rivals, "table_2", lambda: tables.table_2().loc[[*POOLED, tables.OWN]]),
    "transunet-row-of-table-2": (rivals, "table_2_elsewhere", lambda: tables.table_2_elsewhere().assign(dsc=0.5)),
    "one-split-two-test-sets": (
        rivals, "table_2_elsewhere", lambda: tables.table_2().loc[POOLED].reset_index().assign(source="notebook"),
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
    assert effect_of(dense, effects).startswith("+0.0010 DSC (95 % interval -0.019 to +0.021 by paired t, 3 seeds)")
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
