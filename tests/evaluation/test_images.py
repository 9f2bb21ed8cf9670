"""Scores of images against counts made by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from msa2net_lib.data.images.prepare import prepare_images
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.images import COUNTS, evaluate_images
from msa2net_lib.evaluation.mask_rules import MaskRule

SIZE = (32, 64)


class Thresholder(torch.nn.Module):
    """Stands in for a network: lesion is where the red channel is above 0.5."""

    def __init__(self, height_width=SIZE, num_classes=2):
        super().__init__()
        self.config = SimpleNamespace(height_width=height_width, num_classes=num_classes)
        self.offset = torch.nn.Parameter(torch.zeros(1))
        self.modes = []

    def forward(self, batch):
        assert tuple(batch.shape[1:]) == (3, *self.config.height_width)
        self.modes.append((self.training, len(batch)))
        red = batch[:, 0] + self.offset
        return torch.stack([-red, red], dim=1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Ten noisy pictures at their own size; masks that red follows except in some rows."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(2)
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    for number in range(10):
        mask = np.zeros(SIZE, bool)
        mask[4 : 8 + 2 * number, 10:40] = True
        image = rng.integers(60, 90, (*SIZE, 3))
        image[..., 0] = np.where(mask, 200, 50)
        image[6:9, :20, 0] = 200 - image[6:9, :20, 0] + 50
        image[0, 0] = 0  # fixes the range that pictures are stretched to
        image[0, 1] = 255
        Image.fromarray(image.astype(np.uint8)).save(root / "images" / f"p{number}.png")
        Image.fromarray(mask).save(root / "masks" / f"p{number}.png")
    folders = root / "images", root / "masks"
    return prepare_images(*folders, root / "out", split=(0.4, 0.1, 0.5), size=SIZE, workers=1, progress=False)


def by_hand(dataset, ids):
    """Counts (tp, fp, fn, tn), one row a picture, of the threshold on the prepared red channel."""
    rows = []
    for name in ids:
        picture = dataset.load(name)
        found, true = picture.image[..., 0] > 0.5, picture.mask > 0
        rows.append([(found & true).sum(), (found & ~true).sum(), (~found & true).sum(), (~found & ~true).sum()])
    return np.array(rows, dtype=float)


def scores_of(tp, fp, fn, tn):
    return {"dsc": 2 * tp / (2 * tp + fp + fn), "se": tp / (tp + fn), "sp": tn / (tn + fp), "acc": (tp + tn) / 2048}


def test_scores_against_counts(dataset):
    network = Thresholder()
    result = evaluate_images(network, dataset, batch_size=2, progress=False)
    assert result.split == "test"
    assert list(result.predictions) == list(result.by_image.index) == dataset.test_ids
    counts = by_hand(dataset, dataset.test_ids)
    rows = [scores_of(*row) for row in counts]
    for name, row in zip(dataset.test_ids, rows, strict=True):
        assert dict(result.by_image.loc[name, ["dsc", "se", "sp", "acc"]]) == pytest.approx(row)
        assert result.by_image.loc[name, "lesion_share"] == pytest.approx(dataset.load(name).mask.mean())
        assert 0.3 < row["dsc"] < 0.99
    pooled = scores_of(*counts.sum(axis=0))
    pooled["acc"] /= len(rows)
    assert dict(result.scores.loc["pooled"]) == pytest.approx(pooled)
    means = {score: np.mean([row[score] for row in rows]) for score in pooled}
    assert dict(result.scores.loc["per_image"]) == pytest.approx(means)
    # What the paper's Table 2 breaks: ACC is the mean of SE and SP, weighted by prevalence.
    p = result.prevalence
    assert p == pytest.approx(dataset.manifest["prevalence"]["test"]["prepared"], abs=1e-6)
    assert pooled["acc"] == pytest.approx(p * pooled["se"] + (1 - p) * pooled["sp"])


def test_batches_and_modes(dataset):
    network = Thresholder().train()
    evaluate_images(network, dataset, batch_size=2, progress=False)
    assert network.modes == [(False, 2), (False, 2), (False, 1)]
    assert network.training
    network.eval()
    evaluate_images(network, dataset, split="train", progress=False)
    assert not network.training
    assert network.modes[-1] == (False, 4)


def test_network_of_another_size_is_scored_at_the_prepared_size(dataset):
    result = evaluate_images(Thresholder((16, 32)), dataset, progress=False)
    assert all(mask.shape == SIZE for mask in result.predictions.values())
    assert 0.3 < result.scores.loc["pooled", "dsc"] < 1


def test_rule_reaches_the_masks(dataset):
    """A threshold above every value finds nothing; one below every value finds all."""
    none = evaluate_images(Thresholder(), dataset, progress=False, rule=MaskRule(3.0, "logit"))
    assert none.scores.loc["pooled", "se"] == 0
    every = evaluate_images(Thresholder(), dataset, progress=False, rule=MaskRule(-3.0, "logit"))
    assert every.scores.loc["pooled", "sp"] == 0
    assert every.rule.describe() == "logit above -3; nothing opened or filled"
    opened = evaluate_images(Thresholder(), dataset, progress=False, rule=MaskRule(post_processing="dlka"))
    plain = evaluate_images(Thresholder(), dataset, progress=False)
    for name, mask in plain.predictions.items():
        expected = ndimage.binary_fill_holes(ndimage.binary_opening(mask, np.ones((6, 6))), np.ones((6, 6)))
        np.testing.assert_array_equal(opened.predictions[name], expected)
    assert any((opened.predictions[name] != mask).any() for name, mask in plain.predictions.items())


def test_fast_optimized_and_mixed_precision(dataset, monkeypatch):
    made = []
    monkeypatch.setattr(
        "msa2net_lib.evaluation.images.optimized",
        lambda network, precision: made.append((network, precision)) or network,
    )
    network = Thresholder()
    fast = evaluate_images(network, dataset, progress=False, fast=True, precision="bf16")
    assert made == [(network, "bf16")]
    assert fast.scores.loc["pooled", "dsc"] > 0.3


@pytest.fixture(scope="module")
def reduced(dataset, tmp_path_factory):
    """The same pictures, prepared at half their size."""
    folders = dataset.root.parent / "images", dataset.root.parent / "masks"
    options = {"split": (0.4, 0.1, 0.5), "size": (16, 32), "workers": 1, "progress": False}
    return prepare_images(*folders, tmp_path_factory.mktemp("reduced") / "out", **options)


def test_at_the_pictures_own_size(dataset, reduced):
    masks = dataset.root.parent / "masks"
    network = Thresholder((16, 32))
    result = evaluate_images(network, reduced, progress=False, masks=masks)
    prepared = evaluate_images(network, reduced, progress=False)
    assert (result.size, prepared.size) == ("original", "prepared")
    for name in reduced.test_ids:
        assert result.predictions[name].shape == SIZE
        target = np.asarray(Image.open(masks / f"{name}.png")) > 0
        expected = ndimage.zoom(prepared.predictions[name], 2, order=0)
        np.testing.assert_array_equal(result.predictions[name], expected)
        counts = result.by_image.loc[name, list(COUNTS)].astype(int).tolist()
        both = int((expected.astype(bool) & target).sum())
        assert counts[0] == both
        assert sum(counts) == target.size
        assert counts[0] + counts[2] == target.sum()
    assert result.prevalence == pytest.approx(np.mean([np.asarray(Image.open(masks / f"{name}.png")).astype(bool).mean()
                                                       for name in reduced.test_ids]))  # fmt: skip


def test_masks_of_other_pictures_are_refused(reduced, tmp_path):
    with pytest.raises(InputError, match="no such mask; name the folder"):
        evaluate_images(Thresholder((16, 32)), reduced, progress=False, masks=tmp_path)
    for name in reduced.test_ids:
        Image.new("1", SIZE[::-1]).save(tmp_path / f"{name}.png")
    with pytest.raises(InputError, match="is not the mask that p5 was prepared with"):
        evaluate_images(Thresholder((16, 32)), reduced, progress=False, masks=tmp_path)


def test_predictions_are_kept_and_written_as_asked(dataset, tmp_path):
    kept = evaluate_images(Thresholder(), dataset, progress=False)
    result = evaluate_images(Thresholder(), dataset, progress=False, keep_predictions=False, predictions_dir=tmp_path)
    assert result.predictions == {}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{name}.png" for name in dataset.test_ids)
    for name, mask in kept.predictions.items():
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / f"{name}.png")), 255 * mask)


@pytest.mark.parametrize("average", ["pooled", "per_image"])
def test_interval_over_pictures(dataset, average):
    result = evaluate_images(Thresholder(), dataset, progress=False)
    low, high = result.interval(average, "dsc", 0.9)
    assert low < result.scores.loc[average, "dsc"] < high
    counts = by_hand(dataset, dataset.test_ids)
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(3000):
        rows = counts[rng.integers(0, len(counts), len(counts))]
        each = [scores_of(*row)["dsc"] for row in (rows if average == "per_image" else [rows.sum(axis=0)])]
        drawn.append(np.mean(each))
    assert (low, high) == pytest.approx(tuple(np.percentile(drawn, [5, 95])), abs=0.02)
    with pytest.raises(InputError, match="average='median', column='dsc': choose among pooled"):
        result.interval("median")


def test_what_is_refused(dataset):
    for words, options in (("dev", {"split": "dev"}), ("9 classes", {"network": Thresholder(num_classes=9)})):
        with pytest.raises(InputError, match=words):
            evaluate_images(**{"network": Thresholder(), "dataset": dataset, "progress": False, **options})


def test_empty_part(dataset, tmp_path):
    folders = dataset.root.parent / "images", dataset.root.parent / "masks"
    options = {"split": (1, 0, 0), "size": SIZE, "workers": 1, "progress": False}
    untested = prepare_images(*folders, tmp_path / "out", **options)
    with pytest.raises(InputError, match="no image for test"):
        evaluate_images(Thresholder(), untested, progress=False)
