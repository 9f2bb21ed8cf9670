"""Which weights are kept: the score agrees with `evaluate`, validation cases leave the training data, ties stay."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from small_run import CONFIG, PLAIN, SMALL, Slices

from msa2net_lib.checkpoints import SHIPPED_TINY, load_network
from msa2net_lib.data.catalog import open_dataset
from msa2net_lib.data.datasets import Case, PreparedDataset
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.data.skin.prepare import prepare_skin
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.images import evaluate_images
from msa2net_lib.inference import predict_logits, predict_volume
from msa2net_lib.metrics import dice
from msa2net_lib.nn.network import MSA2Net
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training import selection, train
from msa2net_lib.training.selection import (
    Best,
    ImageScore,
    VolumeScore,
    arrange_selection,
)

SIZE = (128, 128)


@pytest.fixture(scope="module")
def virtual(root):
    dataset = open_dataset("virtual", root / "data")
    assert isinstance(dataset, PreparedDataset)
    return dataset


def config(**fields):
    return TrainConfig(**(CONFIG.to_dict() | fields))


class Held:
    """Two cases of two slices; the first has class 1 only, the second 1 and 2."""

    test_cases = ("first", "second")
    class_names = ORGANS

    def load_case(self, name):
        label = np.zeros((2, 8, 8), np.uint8)
        label[:, :4] = 1
        if name == "second":
            label[:, 6:] = 2
        return Case(name, np.zeros(label.shape, np.float32), label, None)


def test_mean_over_organs_leaves_out_what_no_label_has(monkeypatch):
    def ones_above(network, images, batch_size):
        return np.stack([np.repeat([1, 1, 1, 1, 0, 0, 0, 2], 8).reshape(8, 8).astype(np.uint8)] * len(images))

    monkeypatch.setattr(selection, "predict_classes", ones_above)
    network = load_network(SHIPPED_TINY)
    score = VolumeScore(Held(), (8, 8))
    assert score(network) == pytest.approx((1 + 2 / 3) / 2)
    assert score.by_class == pytest.approx({ORGANS[0]: 1.0, ORGANS[1]: 2 / 3})


def test_an_images_score_is_that_of_its_evaluation(tmp_path):
    dataset = prepare_skin(tmp_path, count=4, size=64, workers=1, progress=False)
    network = MSA2Net(dataclasses.replace(SMALL, num_classes=2))
    expected = evaluate_images(network, dataset, split="train", progress=False).scores.loc["pooled", "dsc"]
    assert ImageScore(dataset, "train", batch_size=1)(network) == pytest.approx(expected)


@dataclass
class FewSlices:
    """The first of the held-out patients, some slices of it."""

    case: Case
    test_cases: tuple[str, ...] = ("first",)
    class_names: tuple[str, ...] = ORGANS

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


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
def test_a_bf16_run_is_validated_as_it_is_saved(tmp_path, monkeypatch, channels):
    """Accelerate leaves its mixed precision in the network; a score of it would be of other logits than the file's."""
    images = torch.randn(3, channels, 64, 64, generator=torch.Generator().manual_seed(1))
    seen = []

    def score(network):
        seen.append(predict_logits(network, images))
        return len(seen)

    monkeypatch.setattr("msa2net_lib.training.run.arrange_selection", lambda data, config, size: (data, score))
    run_config = config(selection="validation", steps=3, validate_every=1, precision="bf16")
    result = train(PLAIN, run_config, Slices(), tmp_path, device="cpu", progress=False)
    saved = load_network(result.best)
    torch.testing.assert_close(seen[-1], predict_logits(saved, images), rtol=0, atol=1e-5)
    mixed = predict_logits(saved, images, precision="bf16")
    assert (mixed - seen[-1]).abs().max() > 1e-3
    record = json.loads((tmp_path / "run.json").read_text())
    assert (record["mixed_precision"], record["validation_precision"]) == ("bf16", "fp32")


@pytest.mark.slow
def test_the_best_is_kept_beside_the_last(tmp_path, monkeypatch):
    """Scores rise and fall; the file holds the network of the best, and a restart remembers it."""
    scores = iter([0.2, 0.9, 0.3])
    seen = []

    def score(network):
        seen.append({key: value.clone() for key, value in network.state_dict().items()})
        return next(scores)

    monkeypatch.setattr("msa2net_lib.training.run.arrange_selection", lambda data, config, size: (data, score))
    run_config = config(selection="validation", steps=9, validate_every=1)
    result = train(PLAIN, run_config, Slices(), tmp_path, device="cpu", progress=False)
    assert result.best == tmp_path / "best_on_validation.safetensors"
    assert result.best_score == 0.9
    kept = load_network(result.best).state_dict()
    assert all((value == seen[1][key]).all() for key, value in kept.items())
    assert [row["step"] for row in result.history if "validation_dsc" in row] == [3, 6, 9]
    again = train(PLAIN, run_config, Slices(), tmp_path, device="cpu", progress=False)
    assert again.best_score == 0.9
