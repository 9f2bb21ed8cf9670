"""Scores against other libraries on 200 seeded cases each, the degenerate ones included.

Where a library answers otherwise for an empty mask, both answers are asserted: neither side changes unnoticed.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from medpy.metric import binary
from PIL import Image
from scipy import ndimage
from torchmetrics.functional.classification import (
    binary_accuracy,
    binary_f1_score,
    binary_recall,
    binary_specificity,
)

from msa2net_lib.data.images.read import read_mask
from msa2net_lib.metrics import dice, hd95, measure_volume, pixel_scores, score_volume

CASES = 200
SHAPE = (9, 17, 21)
SPACING = (3.0, 0.72, 1.3)


def empty(rng, shape):
    return np.zeros(shape, bool)


def full(rng, shape):
    return np.ones(shape, bool)


def one_voxel(rng, shape):
    mask = np.zeros(shape, bool)
    mask[tuple(rng.integers(0, shape))] = True
    return mask


def corner(rng, shape):
    """A box in a corner of the array: it touches as many borders as there are axes."""
    mask = np.zeros(shape, bool)
    mask[tuple(slice(0, rng.integers(1, n + 1)) for n in shape)] = True
    return np.flip(mask, axis=rng.choice(len(shape), rng.integers(0, len(shape) + 1), replace=False)).copy()


def blobs(rng, shape):
    """Smooth regions, some cut by the border."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape), 1.5)
    return noise > np.quantile(noise, rng.uniform(0.7, 0.97))


def speckle(rng, shape):
    return rng.random(shape) < rng.uniform(0.005, 0.5)


KINDS = (empty, full, one_voxel, corner, blobs, blobs, speckle)


def mask_pairs(seed, shape=SHAPE, kinds=KINDS):
    """200 pairs, every combination of kinds among them."""
    rng = np.random.default_rng(seed)
    for number in range(CASES):
        first, second = divmod(number % len(kinds) ** 2, len(kinds))
        yield kinds[first](rng, shape), kinds[second](rng, shape)


def medpy_dc(pred, target):
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore")
        return float(binary.dc(pred, target))


@pytest.mark.parametrize("shape", [SHAPE, (33, 29)])
def test_dice_and_medpy(shape):
    both_empty = 0
    for pred, target in mask_pairs(0, shape):
        if not pred.any() and not target.any():
            # medpy divides 0 by 0: 1.0 up to NumPy 2.2, nan from 2.3 on. Here 1.0 always.
            both_empty += 1
            assert dice(pred, target) == 1.0
            assert math.isnan(medpy_dc(pred, target)) or medpy_dc(pred, target) == 1.0
        else:
            assert dice(pred, target) == medpy_dc(pred, target)
    assert both_empty >= 4


@pytest.mark.slow
@pytest.mark.parametrize("shape", [SHAPE, (33, 29)])
@pytest.mark.parametrize("spacing", [None, SPACING])
def test_hd95_and_medpy(shape, spacing):
    steps = None if spacing is None else spacing[-len(shape) :]
    one_empty = compared = 0
    for pred, target in mask_pairs(1, shape):
        if not (pred.any() and target.any()):
            # No surface to measure from: nan here, while medpy raises.
            one_empty += 1
            assert math.isnan(hd95(pred, target, steps))
            with pytest.raises(RuntimeError, match="does not contain any binary object"):
                binary.hd95(pred, target, voxelspacing=steps)
            continue
        compared += 1
        expected = binary.hd95(pred, target, voxelspacing=steps)
        if steps is None:
            assert hd95(pred, target) == expected  # square roots of whole numbers: the same to the last bit
        else:
            assert hd95(pred, target, steps) == pytest.approx(expected, rel=1e-12, abs=0)
    assert one_empty >= 50
    assert compared >= 100


def volume_pairs():
    """100 pairs of label maps of three classes, each class as in `mask_pairs`; later classes cover earlier ones."""
    rng = np.random.default_rng(2)
    for number in range(CASES // 2):
        pair = np.zeros((2, *SHAPE), np.uint8)
        for label in (1, 2, 3):
            for volume, kind in zip(pair, divmod((number + 11 * label) % len(KINDS) ** 2, len(KINDS)), strict=True):
                if KINDS[kind] is not full or label == 1:  # a later class that fills all would hide the others
                    volume[KINDS[kind](rng, SHAPE)] = label
        yield pair


@pytest.mark.slow
def test_volumes_and_medpy():
    """Whole arrays by medpy under both protocols; the table of empty organs is ours, for medpy has no answer."""
    seen = {"both": 0, "pred": 0, "target": 0, "neither": 0}
    diagonal = math.hypot(*np.multiply(SHAPE, SPACING))
    for pred, target in volume_pairs():
        paper = score_volume(pred, target, 4)
        strict = score_volume(pred, target, 4, "strict", SPACING)
        for label in (1, 2, 3):
            pair = pred == label, target == label
            there = pair[0].any(), pair[1].any()
            if all(there):
                seen["both"] += 1
                expected = [binary.dc(*pair), binary.hd95(*pair)]
                assert paper[label - 1].tolist() == expected
                in_mm = [expected[0], binary.hd95(*pair, voxelspacing=SPACING)]
                np.testing.assert_allclose(strict[label - 1], in_mm, rtol=1e-12)
                continue
            kind = "pred" if there[0] else "target" if there[1] else "neither"
            seen[kind] += 1
            assert paper[label - 1].tolist() == [float(kind == "pred"), 0.0]
            wanted = [math.nan, math.nan] if kind == "neither" else [0.0, diagonal]
            np.testing.assert_allclose(strict[label - 1], wanted, rtol=1e-12)
            with pytest.raises(RuntimeError):
                binary.hd95(*pair)
    assert min(seen.values()) >= 15, seen


@pytest.mark.slow
def test_both_units_of_both_protocols_are_measured_once():
    for number, (pred, target) in enumerate(volume_pairs()):
        if number % 10:
            continue
        measures = measure_volume(pred, target, 4, SPACING, workers=2)
        np.testing.assert_array_equal(measures.scored("paper", "voxels"), score_volume(pred, target, 4))
        np.testing.assert_array_equal(measures.scored("strict", "mm"), score_volume(pred, target, 4, "strict", SPACING))
        # The other unit of each: the same table, measured in voxels of 1 mm or in mm.
        ones = score_volume(pred, target, 4, "strict", (1.0, 1.0, 1.0))
        np.testing.assert_allclose(measures.scored("strict", "voxels"), ones, rtol=1e-12)
        mm = measures.scored("paper", "mm")
        both = measures.in_pred & measures.in_target
        np.testing.assert_array_equal(mm[both], measures.scored("strict", "mm")[both])
        np.testing.assert_array_equal(mm[~both], measures.scored("paper", "voxels")[~both])


# ---- pictures ---------------------------------------------------------------------------------------------

PIXELS = (23, 31)
POOLED = {"dsc": binary_f1_score, "se": binary_recall, "sp": binary_specificity, "acc": binary_accuracy}


def image_sets():
    """200 sets of one to five pictures, degenerate masks among them, also whole sets of them."""
    rng = np.random.default_rng(3)
    for number in range(CASES):
        kinds = (empty, full, one_voxel) if number % 5 == 0 else KINDS
        chosen = rng.integers(0, len(kinds), (int(rng.integers(1, 6)), 2))
        yield [[kinds[kind](rng, PIXELS) for kind in column] for column in chosen.T]


def test_pooled_scores_and_torchmetrics():
    undefined = {"dsc": 0, "se": 0, "sp": 0}
    for preds, targets in image_sets():
        scores = pixel_scores(preds, targets)
        p, t = (torch.from_numpy(np.stack(masks)).int() for masks in (preds, targets))
        theirs = {name: float(function(p, t)) for name, function in POOLED.items()}
        both_empty = not (p.any() or t.any())
        # A score without a denominator: torchmetrics says 0, here Dice of empty masks is 1 and the others are nan.
        for name, is_undefined, ours in (
            ("dsc", both_empty, 1.0),
            ("se", not t.any(), math.nan),
            ("sp", bool(t.all()), math.nan),
        ):
            if is_undefined:
                undefined[name] += 1
                assert theirs.pop(name) == 0.0
                np.testing.assert_equal(scores[name], ours)
        for name, expected in theirs.items():
            assert scores[name] == pytest.approx(expected, abs=1e-6), name  # theirs are float32
    assert min(undefined.values()) >= 1, undefined


def test_per_image_scores_and_the_official_challenge_package():
    """`isic_challenge_scoring.segmentation.SegmentationScore` makes these means for the challenge's tasks."""
    from isic_challenge_scoring import metrics as official
    from isic_challenge_scoring.confusion import create_binary_confusion_matrix

    theirs_by_name = {
        "dsc": official.binary_dice,
        "se": official.binary_sensitivity,
        "sp": official.binary_specificity,
        "acc": official.binary_accuracy,
    }
    undefined = {"se": 0, "sp": 0}
    for preds, targets in image_sets():
        scores = pixel_scores(preds, targets, "per_image")
        pairs = zip(preds, targets, strict=True)
        matrices = [create_binary_confusion_matrix(target, pred) for pred, target in pairs]
        for name, score in theirs_by_name.items():
            each = np.array([score(matrix) for matrix in matrices], float)
            # Without a lesion pixel they give sensitivity 1 ("a freebie"), without background specificity 1. Here such
            # a picture has none and does not count in the mean. Dice of two empty masks is 1 on both sides.
            without = {"se": [not t.any() for t in targets], "sp": [bool(t.all()) for t in targets]}.get(name)
            if without is not None:
                undefined[name] += sum(without)
                assert (each[without] == 1.0).all()
                each = each[~np.array(without)]
            expected = each.mean() if each.size else math.nan
            assert scores[name] == pytest.approx(expected, abs=1e-12, nan_ok=True), name
    assert min(undefined.values()) >= 10, undefined


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # in their own code, of pandas 3
def test_means_over_pictures_are_the_challenges_macro_average(tmp_path):
    """Their whole way, from image files of 0 and 255, on pictures that have lesion and background."""
    from isic_challenge_scoring.segmentation import SegmentationScore

    rng = np.random.default_rng(4)
    masks = {"truth": [blobs(rng, PIXELS) for _ in range(12)], "prediction": [blobs(rng, PIXELS) for _ in range(12)]}
    for folder, pictures in masks.items():
        (tmp_path / folder).mkdir()
        for number, mask in enumerate(pictures):
            path = tmp_path / folder / f"ISIC_{number:07d}_segmentation.png"
            Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(path)
    average = SegmentationScore.from_dir(tmp_path / "truth", tmp_path / "prediction").macro_average
    scores = pixel_scores(masks["prediction"], masks["truth"], "per_image")
    names = {"dsc": "dice", "se": "sensitivity", "sp": "specificity", "acc": "accuracy"}
    assert scores == pytest.approx({name: average[theirs] for name, theirs in names.items()}, abs=1e-12)


@pytest.mark.filterwarnings("ignore:The inplace keyword")
@pytest.mark.parametrize("value", [126, 127, 128, 129, 255])
def test_the_challenge_package_takes_values_above_128_as_lesion(tmp_path, value):
    """With ``--threshold 128`` masks are read as they are there; 127 is one gray value off."""
    from isic_challenge_scoring.segmentation import SegmentationScore

    mask = np.zeros((8, 8), np.uint8)
    mask[2:5, 2:5] = value
    for folder in ("truth", "prediction"):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "ISIC_0000000_segmentation.png"
        Image.fromarray(mask if folder == "truth" else np.where(mask, 255, 0).astype(np.uint8)).save(path)
    average = SegmentationScore.from_dir(tmp_path / "truth", tmp_path / "prediction").macro_average
    read = read_mask(tmp_path / "truth" / "ISIC_0000000_segmentation.png", threshold=128)
    assert average["accuracy"] == (read == (mask > 0)).mean()
    assert read.any() == (value > 128)
