"""The linear probe: what it can read is what lies in one cell of the cases it was trained on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from msa2net_lib.lessons.l02_fusion.study import linear_probe

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
