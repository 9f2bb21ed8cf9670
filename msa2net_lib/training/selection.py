"""Which weights are kept beside the last step's: the best on data that a config names, or none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from msa2net_lib.baselines.spec import config_of
from msa2net_lib.data.datasets import Case, PreparedDataset, TrainingData, ValidationCases, validation_cases
from msa2net_lib.data.images.dataset import ImageDataset
from msa2net_lib.data.resize import normalize, resize_back, resize_images
from msa2net_lib.errors import InputError
from msa2net_lib.inference import predict_classes
from msa2net_lib.metrics import dice, pixel_counts, scores_of_counts
from msa2net_lib.train_config import TrainConfig

Score = Callable[[nn.Module], float]
"""Gives a network a score, the higher the better."""


def arrange_selection(
    dataset: TrainingData, config: TrainConfig, size: tuple[int, int]
) -> tuple[TrainingData, Score | None]:
    """Return what is left to train on, and what scores a network for ``config.selection`` (None for "last").

    For "validation" some training cases of scans are set aside (`data.datasets.validation_cases`); prepared images
    have validation images anyway. For "test" nothing is set aside: the reported cases choose. Raises: `InputError`
    for data that have none.
    """
    if config.selection == "last":
        return dataset, None
    if isinstance(dataset, PreparedDataset):
        if config.selection == "validation":
            rest, held_out = dataset.hold_out(validation_cases(dataset))
            return rest, VolumeScore(held_out, size)
        if not dataset.test_cases:
            raise InputError(f"{dataset.root}: selection='test' needs test cases; use 'validation' or 'last'")
        return dataset, VolumeScore(dataset, size)
    if isinstance(dataset, ImageDataset) and dataset.ids[config.selection]:
        return dataset, ImageScore(dataset, config.selection)
    raise InputError(f"{dataset.root}: has nothing for selection={config.selection!r}; use selection='last'")


class VolumeScore:
    """Mean DSC of whole volumes by the released protocol: over organs, of the mean over the cases that have the organ.

    The cases are read and resized once. Predictions go through argmax and nearest zoom back, as in
    `inference.predict_volume`; they are scored at the volumes' own size.
    """

    def __init__(self, cases: PreparedDataset | ValidationCases, size: tuple[int, int], batch_size: int = 16) -> None:
        self._cases, self._size, self._batch_size = cases, size, batch_size
        self._read: list[tuple[NDArray[np.float32], NDArray[np.uint8]]] = []
        self.by_class: dict[str, float] = {}
        """The last score by class, of those that a case has."""

    def __call__(self, network: nn.Module) -> float:
        """Return the score, 0 to 1; nan if no organ is in any case."""
        if not self._read:
            self._read = [_resized(self._cases.load_case(name), self._size) for name in self._cases.test_cases]
        scores = [self._case_scores(network, images, label) for images, label in self._read]
        means = pd.DataFrame(scores, columns=list(self._cases.class_names)).mean()  # nan is left out of both
        self.by_class = {str(name): float(score) for name, score in means.dropna().items()}
        return float(means.mean())

    def _case_scores(self, network: nn.Module, images: NDArray, label: NDArray[np.uint8]) -> list[float]:
        """Dice of classes 1 to K - 1; nan where the label has none of a class."""
        classes = predict_classes(network, torch.from_numpy(images)[:, None], self._batch_size)
        found = resize_back(classes, (label.shape[1], label.shape[2]))
        there = set(np.unique(label))
        numbers = range(1, config_of(network).num_classes)
        return [dice(found == number, label == number) if number in there else np.nan for number in numbers]


class ImageScore:
    """Dice of a part's images, all pixels pooled, at the prepared size; `evaluation.images.evaluate_images` agrees."""

    def __init__(self, dataset: ImageDataset, split: str, batch_size: int = 16) -> None:
        self._dataset, self._ids, self._batch_size = dataset, dataset.ids[split], batch_size

    def __call__(self, network: nn.Module) -> float:
        """Return the score, 0 to 1."""
        counts = []
        for start in range(0, len(self._ids), self._batch_size):
            names = self._ids[start : start + self._batch_size]
            images = [self._dataset.training_sample(name, config_of(network).height_width)[0] for name in names]
            classes = predict_classes(network, torch.from_numpy(np.stack(images)), self._batch_size)
            for name, found in zip(names, classes, strict=True):
                mask = self._dataset.load(name).mask
                counts.append(pixel_counts(resize_back(found, (mask.shape[0], mask.shape[1])), mask))
        return scores_of_counts(np.array(counts))["dsc"]


@dataclass
class Best:
    """The best score so far and the step that reached it; step 0 before the first."""

    score: float = float("-inf")
    step: int = 0

    def improves(self, score: float, step: int) -> bool:
        """Take over a score if it is better; the first of equal ones stays."""
        if not score > self.score:
            return False
        self.score, self.step = score, step
        return True


def _resized(case: Case, size: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    return normalize(resize_images(case.image, size)), case.label
