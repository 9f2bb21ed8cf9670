"""What a mean hides: the worst case, where surfaces part, which organs are confused, calibration, time, leaks."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import ndimage

from msa2net_lib.analysis.slice_study import network_input
from msa2net_lib.data.datasets import Case, PreparedDataset
from msa2net_lib.data.resize import resize_image, resize_label
from msa2net_lib.evaluation.table import Evaluation
from msa2net_lib.evaluation.volumes import score_case
from msa2net_lib.inference import predict_logits, predict_volume
from msa2net_lib.metrics.pairs import surface_voxels

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from msa2net_lib.nn.network import MSA2Net

BACKGROUND = "background"
BINS = 10
"""Of equal width, from 0 to 1, for the confidence of `calibration`."""


def worst_case(evaluation: Evaluation) -> pd.Series:
    """The case of the lowest mean DSC under the paper's protocol: its scores by organ, ``name`` is the case's."""
    table = evaluation.case_table("paper", "dsc")
    return table.loc[table.mean(axis=1).idxmin()]


def worst_slice(predicted: NDArray, label: NDArray) -> int:
    """The slice with most wrong pixels in label maps (z, y, x)."""
    return int((predicted != label).sum(axis=(1, 2)).argmax())


def surface_distances(predicted: NDArray, label: NDArray, spacing: Sequence[float] | None) -> NDArray[np.float32]:
    """Distance of each predicted surface voxel to the same organ's true surface, (z, y, x), nan off the surfaces.

    In mm, or in voxels without spacing; infinite where the label lacks the organ. These are the numbers of which HD95
    takes the 95th percentile, in one of its two directions.

    Example:
        >>> label = np.zeros((1, 5, 9), int); label[0, 1:4, 1:4] = 1
        >>> float(np.nanmax(surface_distances(np.roll(label, 2, axis=2), label, (1, 1, 0.5))))
        1.0
    """
    found = np.full(predicted.shape, np.nan, np.float32)
    for organ in np.unique(predicted[predicted > 0]):
        points, true = surface_voxels(predicted == organ), surface_voxels(label == organ)
        away = np.ones(label.shape, bool)
        away[tuple(true.T)] = False
        distance = ndimage.distance_transform_edt(away, sampling=spacing) if len(true) else np.full(label.shape, np.inf)
        found[tuple(points.T)] = np.asarray(distance)[tuple(points.T)]
    return found


def confusion(
    predictions: Mapping[str, NDArray], labels: Mapping[str, NDArray], class_names: Sequence[str]
) -> pd.DataFrame:
    """Share of each true class's voxels (rows) that went to each class (columns), over all cases; rows sum to 1."""
    names, count = [BACKGROUND, *class_names], len(class_names) + 1
    table = np.zeros((count, count))
    for case, label in labels.items():
        pairs = label.astype(np.int64).ravel() * count + predictions[case].ravel()
        table += np.bincount(pairs, minlength=count**2).reshape(count, count)
    with np.errstate(invalid="ignore"):  # of a class that no label has
        return pd.DataFrame(table / table.sum(axis=1, keepdims=True), names, names)


@dataclass(frozen=True)
class Calibration:
    """How often a network is right when it is so sure.

    bins: by confidence, columns ``confidence`` and ``accuracy`` (means) and ``pixels``; error: the expected calibration
    error, the mean gap between the two weighted by pixels.
    """

    bins: pd.DataFrame
    error: float


def calibration(network: MSA2Net, cases: Sequence[Case], count: int = 8) -> Calibration:
    """Confidence (the likeliest class's probability) against accuracy, on pixels that label or network call an organ.

    count: slices of each case, evenly spread; at the network's input size. Background that both agree on is left out:
    it is most of a slice, easy, and would make any network look calibrated.

    Source: Guo et al., "On Calibration of Modern Neural Networks" (2017).
    """
    size, sure, right = network.config.height_width, [], []
    for case in cases:
        chosen = np.linspace(0, len(case.image) - 1, min(count, len(case.image))).round().astype(int)
        images = np.stack([resize_image(case.image[z], size) for z in chosen])
        labels = np.stack([resize_label(case.label[z], size) for z in chosen])
        probabilities = predict_logits(network, network_input(network, images)).softmax(dim=1).cpu().numpy()
        found = probabilities.argmax(axis=1)
        either = (found > 0) | (labels > 0)
        sure.append(probabilities.max(axis=1)[either])
        right.append((found == labels)[either])
    confidence, correct = np.concatenate(sure), np.concatenate(right).astype(float)
    table = pd.DataFrame({"confidence": confidence, "accuracy": correct, "pixels": 1})
    groups = table.groupby(np.minimum((confidence * BINS).astype(int), BINS - 1))
    bins = groups.agg({"confidence": "mean", "accuracy": "mean", "pixels": "sum"})
    error = np.average(abs(bins.confidence - bins.accuracy), weights=bins.pixels)
    return Calibration(bins.reset_index(drop=True), float(error))


def seconds_a_case(network: nn.Module, case: Case) -> dict[str, float]:
    """Seconds to predict and to score one case, on the device at hand."""
    start = time.perf_counter()
    predicted = predict_volume(network, case.image)
    between = time.perf_counter()
    score_case(predicted, case, case.class_names, ("paper",))
    return {"predict": between - start, "score": time.perf_counter() - between}


def shared_slices(dataset: PreparedDataset) -> list[tuple[str, str, int]]:
    """Training slices whose image is one of a test case's, by content, whatever they are called: (slice, case, z).

    An empty list is what a score needs to be one of patients that training has not seen; it does not show that no
    *patient* is in both, whose two scans differ.
    """
    training = {_digest(dataset.load_slice(name)[0]): name for name in dataset.train_ids}
    return [
        (training[digest], name, z)
        for name in dataset.test_cases
        for z, image in enumerate(dataset.load_case(name).image)
        if (digest := _digest(image)) in training and np.ptp(image)
    ]


def _digest(image: NDArray) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(image, np.float32).tobytes()).digest()
