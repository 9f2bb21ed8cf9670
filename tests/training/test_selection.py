"""Which weights are kept: the score agrees with `evaluate`, validation cases leave the training data, ties stay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from small_run import CONFIG, SMALL, Slices

from msa2net_lib.checkpoints import SHIPPED_TINY, load_network
from msa2net_lib.data.catalog import open_dataset
from msa2net_lib.data.datasets import Case, PreparedDataset
from msa2net_lib.errors import InputError
from msa2net_lib.inference import predict_volume
from msa2net_lib.metrics import dice
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training import train
from msa2net_lib.training.selection import (
    Best,
    VolumeScore,
    arrange_selection,
    dice_by_class,
    mean_over_organs,
)

SIZE = (128, 128)


@pytest.fixture(scope="module")
def virtual(root):
    dataset = open_dataset("virtual", root / "data")
    assert isinstance(dataset, PreparedDataset)
    return dataset


def config(**fields):
    return TrainConfig(**(CONFIG.to_dict() | fields))


def test_dice_by_class_is_dice():
    rng = np.random.default_rng(0)
    label, predicted = rng.integers(0, 4, (2, 3, 9, 8)).astype(np.uint8)
    label[label == 2] = 0
    scores = dice_by_class(predicted, label, 4)
    assert np.isnan(scores[1])
    for index in (1, 3):
        assert scores[index - 1] == pytest.approx(dice(predicted == index, label == index))


def test_mean_over_organs_leaves_out_what_no_label_has():
    nan = float("nan")
    assert mean_over_organs([np.array([0.5, nan, nan]), np.array([0.7, 0.2, nan])]) == pytest.approx((0.6 + 0.2) / 2)
    assert np.isnan(mean_over_organs([np.array([nan])]))


@dataclass
class FewSlices:
    """The first of the held-out patients, some slices of it."""

    case: Case
    test_cases: tuple[str, ...] = ("first",)

    def load_case(self, name):
        return self.case


def test_a_volumes_score_is_that_of_its_prediction(virtual):
    case = virtual.load_case(virtual.test_cases[0])
    few = Case(case.name, case.image[10:15], case.label[10:15], case.spacing)
    network = load_network(SHIPPED_TINY)
    predicted = predict_volume(network, few.image)
    there = [index for index in range(1, 9) if (few.label == index).any()]
    expected = np.mean([dice(predicted == index, few.label == index) for index in there])
    score = VolumeScore(FewSlices(few), SIZE, batch_size=2)
    assert score(network.train()) == pytest.approx(expected, abs=1e-3)
    assert network.training  # it is the training's own network


def test_validation_takes_cases_out_of_training_and_test_does_not(virtual):
    rest, score = arrange_selection(virtual, config(selection="validation"), SIZE)
    held_out = {name for name in virtual.train_ids if name not in set(rest.train_ids)}
    assert held_out
    assert score is not None
    assert rest.digest() != virtual.digest()
    everything, score = arrange_selection(virtual, config(selection="test"), SIZE)
    assert everything.train_ids == virtual.train_ids
    assert score is not None
    assert arrange_selection(virtual, CONFIG, SIZE) == (virtual, None)


def test_data_that_have_nothing_to_select_by_are_refused():
    with pytest.raises(InputError, match="in memory: has nothing for selection='validation'; use selection='last'"):
        train(SMALL, config(selection="validation"), Slices(), device="cpu", progress=False)


def test_the_first_of_equal_scores_stays_and_nan_is_none():
    best = Best()
    assert [best.improves(score, step) for step, score in enumerate([float("nan"), 0.5, 0.5, 0.4, 0.6])] == [
        False,
        True,
        False,
        False,
        True,
    ]
    assert (best.score, best.step) == (0.6, 4)


def test_the_best_is_kept_beside_the_last(tmp_path, monkeypatch):
    """Scores rise and fall; the file holds the network of the best, and a restart remembers it."""
    scores = iter([0.2, 0.9, 0.3])
    seen = []

    def score(network):
        seen.append({key: value.clone() for key, value in network.state_dict().items()})
        return next(scores)

    monkeypatch.setattr("msa2net_lib.training.run.arrange_selection", lambda data, config, size: (data, score))
    run_config = config(selection="validation", steps=9, validate_every=1)
    result = train(SMALL, run_config, Slices(), tmp_path, device="cpu", progress=False)
    assert result.best == tmp_path / "best_on_validation.safetensors"
    assert result.best_score == 0.9
    kept = load_network(result.best).state_dict()
    assert all((value == seen[1][key]).all() for key, value in kept.items())
    assert [row["step"] for row in result.history if "validation_dsc" in row] == [3, 6, 9]
    again = train(SMALL, run_config, Slices(), tmp_path, device="cpu", progress=False)
    assert again.best_score == 0.9
