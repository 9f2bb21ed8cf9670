"""The linear probe: what it can read is what lies in one cell of the cases it was trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from msa2net_lib.data.resize import resize_label
from msa2net_lib.lessons.cohort import held_out_cohort
from msa2net_lib.lessons.l02_fusion.study import PROBED, cohort_features, linear_probe, probe_table

CASES = ("a", "a", "b", "b", "c", "c")


@pytest.fixture(scope="module")
def labels():
    rng = np.random.default_rng(0)
    return rng.choice([0, 1, 2], (6, 12, 12), p=[0.8, 0.15, 0.05]).astype(np.uint8)


def one_hot(labels):
    return torch.nn.functional.one_hot(torch.from_numpy(labels).long(), 3).float().permute(0, 3, 1, 2)


def test_features_that_name_the_organ_are_read_perfectly(labels):
    table = linear_probe(7 * one_hot(labels) - 3, labels, CASES)
    assert list(table.index) == ["a", "b", "c"]
    assert (table.to_numpy() == 1).all()


def test_noise_tells_nothing(labels):
    noise = torch.randn(6, 4, 12, 12, generator=torch.Generator().manual_seed(1))
    assert (linear_probe(noise, labels, CASES).Dice < 0.3).all()


def test_a_neighbors_cell_does_not_help(labels):
    moved = np.roll(labels, 1, axis=2)
    assert (linear_probe(one_hot(moved), labels, CASES).Dice < 0.4).all()


def test_what_is_true_of_other_cases_only_fails_on_the_one_left_out(labels):
    features = one_hot(labels)
    features[4:] = features[4:, [1, 2, 0]]
    table = linear_probe(features, labels, CASES)
    assert table.Dice["c"] < 0.3


@pytest.fixture(scope="module")
def cohort(other_dataset, other_study):
    """Six slices of three classes, taken for two cases."""
    found = held_out_cohort(other_study.network, other_dataset, every=1)
    return replace(found, cases=tuple("ab"[z % 2] for z in found.slices))


def test_what_is_probed_is_what_goes_in_and_out_of_the_gates(cohort):
    maps = cohort_features(cohort)
    assert list(maps) == cohort.levels
    for level, found in maps.items():
        assert tuple(found) == PROBED
        with torch.inference_mode():
            torch.testing.assert_close(cohort.gate(level)(found["X"], found["G"]), found["Y"])
        assert len(found["Y"]) == len(cohort.slices)


def test_the_table_has_the_probe_of_every_level_map_and_case(cohort):
    table = probe_table(cohort).sort_index()
    assert {*table.index} == {(level, name, case) for level in cohort.levels for name in PROBED for case in "ab"}
    level = cohort.levels[-1]
    features = cohort_features(cohort)[level]["G"]
    labels = np.stack([resize_label(label, (features.shape[2], features.shape[3])) for label in cohort.labels])
    assert np.array_equal(table.loc[level, "G"], linear_probe(features, labels, cohort.cases))
