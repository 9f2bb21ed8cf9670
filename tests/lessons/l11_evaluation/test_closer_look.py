"""A closer look: distances against medpy, confusion by counting, calibration of networks that are known, leaks."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from medpy.metric import binary
from torch import nn

from msa2net_lib.data.datasets import Case
from msa2net_lib.evaluation.table import Evaluation
from msa2net_lib.lessons.l11_evaluation import closer_look, plots

ORGANS = ("liver", "spleen")


def label_maps(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two boxes, and the same moved and cut."""
    rng, label = np.random.default_rng(seed), np.zeros((6, 24, 30), np.uint8)
    label[1:5, 4:12, 5:14], label[2:5, 14:20, 18:26] = 1, 2
    return np.roll(label, rng.integers(1, 4, 2).tolist(), axis=(1, 2)), label


@pytest.mark.parametrize("spacing", [None, (3.0, 0.8, 1.2), (1.0, 1.0, 1.0)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_surface_distances_are_medpys(spacing, seed):
    predicted, label = label_maps(seed)
    found = closer_look.surface_distances(predicted, label, spacing)
    for organ in (1, 2):
        ours = found[(predicted == organ) & ~np.isnan(found)]
        theirs = binary.__surface_distances(predicted == organ, label == organ, spacing)
        np.testing.assert_allclose(np.sort(ours), np.sort(theirs), rtol=1e-6)
    assert np.isnan(found[predicted == 0]).all()


def test_an_invented_organ_is_infinitely_far():
    predicted, label = label_maps(0)
    found = closer_look.surface_distances(predicted, np.where(label == 2, 0, label), None)
    assert np.isinf(found[(predicted == 2) & ~np.isnan(found)]).all()


def test_confusion_counts_voxels_row_by_row():
    label = np.array([0, 0, 1, 1, 1, 2], np.uint8)
    table = closer_look.confusion({"a": np.array([0, 1, 1, 2, 0, 2], np.uint8)}, {"a": label}, (*ORGANS, "aorta"))
    assert table.loc["background"].tolist() == [0.5, 0.5, 0, 0]
    assert table.loc["liver"].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])
    assert table.loc["spleen"].tolist() == [0, 0, 1, 0]
    assert table.loc["aorta"].isna().all()
    twice = closer_look.confusion({"a": label, "b": label}, {"a": label, "b": label}, ORGANS)
    np.testing.assert_array_equal(twice, np.eye(3))


class Sure(nn.Module):
    """Says liver everywhere with the same probability."""

    def __init__(self, probability: float):
        super().__init__()
        rest = (1 - probability) / 2
        self.logits = nn.Parameter(torch.tensor([rest, probability, rest]).log())
        self.config = SimpleNamespace(height_width=(32, 32))

    def forward(self, images):
        return self.logits[None, :, None, None].expand(len(images), -1, 32, 32)


@pytest.mark.parametrize(("probability", "right"), [(0.75, 24), (0.9, 16), (0.5, 32)])
def test_calibration_of_a_network_that_is_known(probability, right):
    """It is right in ``right`` of 32 rows, and as sure as it says."""
    label = np.zeros((3, 32, 32), np.uint8)
    label[:, :right] = 1
    case = Case("a", np.zeros((3, 32, 32), np.float32), label, None, ORGANS)
    found = closer_look.calibration(Sure(probability), [case], count=3)  # pyright: ignore[reportArgumentType]
    assert found.bins.accuracy.tolist() == pytest.approx([right / 32])
    assert found.bins.confidence.tolist() == pytest.approx([probability])
    assert found.bins.pixels.tolist() == [3 * 32 * 32]
    assert found.error == pytest.approx(abs(probability - right / 32), abs=1e-6)
    texts = [ax.get_title() for ax in plots.plot_calibration(found, "made up").axes]
    assert f"error {found.error:.3f}" in texts[0]


def test_the_worst_case_and_its_worst_slice():
    rows = [("paper", case, organ, dsc, 1.0) for case, scores in {"a": (0.9, 0.8), "b": (0.9, 0.1)}.items()
            for organ, dsc in zip(ORGANS, scores, strict=True)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["protocol", "case", "organ", "dsc", "hd95"])
    worst = closer_look.worst_case(Evaluation(table, {}))
    assert (worst.name, worst.idxmin(), worst.mean()) == ("b", "spleen", 0.5)
    predicted, label = np.zeros((2, 4, 5, 5), np.uint8)
    predicted[2] = 1
    assert closer_look.worst_slice(predicted, label) == 2


@pytest.mark.parametrize("shared", [[], [("train_7", "a", 1)]])
def test_a_scan_under_two_ids_is_found_by_content(shared):
    images = np.random.default_rng(0).random((3, 8, 8), dtype=np.float32)
    dataset = SimpleNamespace(
        train_ids=["train_7", "train_8"],
        test_cases=["a"],
        load_slice=lambda name: (images[1] if shared and name == "train_7" else images[0] + 1, None),
        load_case=lambda name: SimpleNamespace(image=np.concatenate([images, np.zeros((1, 8, 8), np.float32)])),
    )
    assert closer_look.shared_slices(dataset) == shared  # pyright: ignore[reportArgumentType]


def test_figures_show_the_numbers():
    predicted, label = label_maps(1)
    case = Case("a", np.full(label.shape, 0.5, np.float32), label, (3.0, 1.0, 1.0), ORGANS)
    distances = closer_look.surface_distances(predicted, label, case.spacing)
    figure = plots.plot_surface_distances(case, predicted, distances, 3, "made up", limit=4.0)
    drawn = figure.axes[2].images[-1].get_array()
    np.testing.assert_allclose(np.ma.filled(drawn, np.nan), np.minimum(distances[3], 4.0))
    assert "mm" in figure.axes[3].get_ylabel()
    table = closer_look.confusion({"a": predicted}, {"a": label}, ORGANS)
    texts = [text.get_text() for text in plots.plot_confusion(table, "made up").axes[0].texts]
    assert f"{100 * table.loc['liver', 'liver']:.1f}" in texts


def test_seconds_are_those_of_both_steps(monkeypatch):
    times = iter([10.0, 12.0, 15.0])
    monkeypatch.setattr(closer_look.time, "perf_counter", lambda: next(times))
    monkeypatch.setattr(closer_look, "predict_volume", lambda network, image: image)
    monkeypatch.setattr(closer_look, "score_case", lambda *_: [])
    case = Case("a", np.zeros((1, 8, 8), np.float32), np.zeros((1, 8, 8), np.uint8), None, ORGANS)
    assert closer_look.seconds_a_case(nn.Identity(), case) == {"predict": 2.0, "score": 3.0}
