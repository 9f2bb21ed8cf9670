"""Dice and HD95 against medpy on whole arrays, both protocols' tables, pixel scores against torchmetrics."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from medpy.metric import binary
from scipy import ndimage
from torchmetrics.functional.classification import (
    binary_accuracy,
    binary_f1_score,
    binary_recall,
    binary_specificity,
)

from msa2net_lib.errors import InputError
from msa2net_lib.metrics import dice, hd95, pixel_scores, score_volume

SHAPES = {2: (40, 53), 3: (17, 24, 29)}
SPACINGS = {2: (0.7, 1.9), 3: (3.0, 0.75, 1.3)}


def random_blobs(rng, shape):
    """Smooth random regions, some of them cut by the array's border."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape), 2)
    return noise > np.quantile(noise, rng.uniform(0.8, 0.97))


def border_boxes(rng, shape):
    """A box that fills a corner of the array, touching as many borders as there are axes."""
    mask = np.zeros(shape, dtype=bool)
    corner = tuple(slice(0, rng.integers(1, n)) if rng.random() < 0.5 else slice(rng.integers(0, n), n) for n in shape)
    mask[corner] = True
    return mask


def one_voxel(rng, shape):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(rng.integers(0, shape))] = True
    return mask


def slab(rng, shape):
    """A slab from border to border along all axes but one, sometimes the whole array."""
    mask = np.zeros(shape, dtype=bool)
    start = int(rng.integers(0, shape[0] // 2))
    mask[start : start + int(rng.integers(1, shape[0] + 1))] = True
    return mask


def near_origin(rng, shape):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(1, 3 + rng.integers(0, 3)) for _ in shape)] = True
    return mask


def near_far_corner(rng, shape):
    return np.flip(near_origin(rng, shape)).copy()


KINDS = {
    "blobs": (random_blobs, random_blobs),
    "border": (border_boxes, border_boxes),
    "one voxel": (one_voxel, one_voxel),
    "one voxel against blobs": (one_voxel, random_blobs),
    "slabs": (slab, slab),
    "far apart": (near_origin, near_far_corner),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("anisotropic", [False, True])
def test_pairs_equal_medpy_on_whole_arrays(kind, ndim, anisotropic):
    rng = np.random.default_rng([len(kind), ndim, anisotropic])
    spacing = SPACINGS[ndim] if anisotropic else None
    for _ in range(6):
        pred, target = (make(rng, SHAPES[ndim]) for make in KINDS[kind])
        assert dice(pred, target) == binary.dc(pred, target)
        assert hd95(pred, target, spacing) == pytest.approx(
            binary.hd95(pred, target, voxelspacing=spacing), rel=1e-12, abs=0
        )


@pytest.mark.parametrize("spacing", [None, (3.0, 0.72, 0.72), (0.7, 40.0, 0.7), (1e-3, 1.0, 1e3)])
def test_hd95_is_medpys_where_surfaces_touch_and_where_they_are_far(spacing):
    """The 95th percentile among neighbors, beyond them, and between the two, on voxels of any shape."""
    rng = np.random.default_rng(0)
    for shift in (0, 1, 3, 5, 9, 20):
        pred, target = np.zeros((2, 12, 40, 30), bool)
        pred[3:9, 5:15, 8:20] = rng.random((6, 10, 12)) > 0.02
        target[3:9, 5 + shift : 15 + shift, 8:20] = True
        pred[0, 0, 0] = shift % 2
        assert hd95(pred, target, spacing) == pytest.approx(binary.hd95(pred, target, spacing), rel=1e-12)


@pytest.mark.parametrize("spacing", [None, (3.0, 0.72, 0.72), (0.4, 9.0, 1.3)])
@pytest.mark.parametrize("shape", [(30, 50, 40), (90, 110)])
def test_hd95_is_medpys_for_a_prediction_that_is_everywhere(shape, spacing):
    """Far surfaces of thousands of voxels, in both directions: what is judged in blocks decides nothing wrongly."""
    rng, spacing = np.random.default_rng(len(shape)), None if spacing is None else spacing[: len(shape)]
    for share in (0.002, 0.02, 0.3):
        pred, target = rng.random(shape) < share, np.zeros(shape, bool)
        corner = [int(rng.integers(0, side // 2)) for side in shape]
        target[tuple(slice(start, start + 9) for start in corner)] = True
        for pair in ((pred, target), (target, pred)):
            assert hd95(*pair, spacing) == pytest.approx(binary.hd95(*pair, spacing), rel=1e-12, abs=0)


def test_full_arrays_have_their_surface_at_the_border():
    full, dot = np.ones((9, 9), dtype=bool), np.zeros((9, 9), dtype=bool)
    dot[4, 4] = True
    assert hd95(full, dot) == binary.hd95(full, dot) > 4


def test_far_apart_by_hand():
    pred, target = np.zeros((2, 12, 12, 12), dtype=np.uint8)
    pred[1, 2, 3] = target[7, 10, 3] = 1
    assert dice(pred, target) == 0.0
    assert hd95(pred, target) == 10.0
    assert hd95(pred, target, (0.5, 2.0, 9.0)) == pytest.approx(math.hypot(3, 16))


@pytest.mark.parametrize("convert", [torch.from_numpy, lambda m: m.astype(np.float32), lambda m: 255 * m])
def test_tensors_floats_and_bytes_are_masks_too(convert):
    rng = np.random.default_rng(5)
    pred, target = (random_blobs(rng, SHAPES[2]).astype(np.uint8) for _ in range(2))
    assert dice(convert(pred), convert(target)) == binary.dc(pred, target)
    assert hd95(convert(pred), convert(target)) == binary.hd95(pred, target)


def test_bfloat16_tensors_are_read():
    mask = torch.eye(4)
    assert dice(mask.bfloat16(), mask) == 1.0


def test_empty_masks_agree():
    empty, some = np.zeros((5, 6), dtype=bool), np.eye(5, 6, dtype=bool)
    assert dice(empty, empty) == 1.0
    assert dice(some, empty) == dice(empty, some) == 0.0
    assert dice(some, some) == 1.0
    assert score_volume(empty, empty, 2).tolist() == [[0.0, 0.0]]


def test_hd95_of_an_empty_mask_is_nan():
    empty, some = np.zeros((5, 6), dtype=bool), np.eye(5, 6, dtype=bool)
    assert all(math.isnan(hd95(*pair)) for pair in [(empty, empty), (empty, some), (some, empty)])


def label_pair(seed=0, shape=(14, 40, 44), num_classes=5):
    """Return two label volumes with some of the classes 1..num_classes-1 each."""
    rng = np.random.default_rng(seed)
    pred, target = np.zeros((2, *shape), dtype=np.uint8)
    for label in range(1, num_classes):
        for volume in (pred, target):
            volume[random_blobs(rng, shape)] = label
    return pred, target


@pytest.mark.parametrize(("protocol", "spacing", "used"), [
    ("paper", None, None),
    ("paper", (2.5, 0.7, 0.9), None),
    ("strict", (2.5, 0.7, 0.9), (2.5, 0.7, 0.9)),
])  # fmt: skip
@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_volume_equals_medpy_class_by_class(protocol, spacing, used, dtype):
    pred, target = label_pair()
    scores = score_volume(pred.astype(dtype), torch.from_numpy(target), 5, protocol, spacing)
    assert scores.shape == (4, 2)
    assert scores.dtype == np.float64
    for label, row in enumerate(scores, start=1):
        pair = pred == label, target == label
        assert row == pytest.approx([binary.dc(*pair), binary.hd95(*pair, voxelspacing=used)], rel=1e-12)


def test_slices_are_scored_too():
    pred, target = label_pair(1)
    rows = score_volume(pred[7], target[7], 5, "strict", (0.7, 0.9))
    assert rows[0, 1] == pytest.approx(hd95(pred[7] == 1, target[7] == 1, (0.7, 0.9)))


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        ("paper", [(1.0, 0.0), (0.0, 0.0), (0.0, 0.0), (1.0, 0.0)]),
        ("strict", [(0.0, 130.0), (0.0, 130.0), (math.nan, math.nan), (1.0, 0.0)]),
    ],
)
def test_table_of_empty_masks(protocol, expected):
    pred, target = np.zeros((2, 3, 40, 60), dtype=np.uint8)
    pred[0, 3:5, 3:5] = 1  # prediction only
    target[1, 9:12, 9] = 2  # target only; class 3 is nowhere
    pred[2, 30:34, 30] = target[2, 30:34, 30] = 4
    spacing = (10.0, 1.0, 2.0)  # the outer box measures 30 x 40 x 120 mm
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = score_volume(pred, target, 5, protocol, spacing)
    np.testing.assert_allclose(scores, expected, rtol=1e-12)


def test_identical_volumes_are_perfect():
    target = label_pair(2)[1]
    assert score_volume(target, target, 5).tolist() == [[1.0, 0.0]] * 4


LABELS = np.zeros((3, 4, 5), dtype=np.uint8)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((LABELS, LABELS, 3, "loose"), "protocol: unknown 'loose'; choose one of paper, strict"),
        ((LABELS, LABELS[:2], 3), "pred: shape (3, 4, 5) differs from target's (2, 4, 5)"),
        ((LABELS + 3, LABELS, 3), "pred: label 3 is outside 0..2"),
        ((LABELS, LABELS.astype(int) - 1, 3), "target: label -1 is outside 0..2"),
        ((LABELS.astype(np.float32), LABELS, 3), "pred: expected integer labels, got float32"),
        ((LABELS[:0], LABELS[:0], 3), "pred: shape (0, 4, 5) holds no volume"),
        ((LABELS, LABELS, 1), "num_classes: got 1;"),
        ((LABELS, LABELS, 2.5), "num_classes: got 2.5;"),
        ((LABELS, LABELS, 3, "strict"), "spacing: protocol 'strict' measures in mm"),
        ((LABELS, LABELS, 3, "strict", (1.0, 1.0)), "spacing: got (1.0, 1.0); give 3 positive"),
        ((LABELS, LABELS, 3, "strict", (1.0, 0.0, 1.0)), "spacing: got (1.0, 0.0, 1.0)"),
        ((LABELS, LABELS, 3, "strict", (1.0, math.nan, 1.0)), "spacing: got (1.0, nan, 1.0)"),
        ((LABELS, LABELS, 3, "strict", (1.0, math.inf, 1.0)), "spacing: got (1.0, inf, 1.0)"),
        ((LABELS, LABELS, 3, "paper", (1.0, -1.0, 1.0)), "spacing: got (1.0, -1.0, 1.0)"),
        ((LABELS, LABELS, 3, "strict", 1.0), "spacing: got 1.0"),
    ],
)
def test_wrong_volume_input_is_told_in_one_line(arguments, words):
    with pytest.raises(InputError) as caught:
        score_volume(*arguments)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_probabilities_that_are_no_numbers_are_no_mask(value):
    """No comparison with a threshold would find them: a plausible score of an emptier mask."""
    pred = np.array([[0.9, value], [0.2, 0.1]], np.float32)
    for preds, threshold in (([pred], 0.5), ([np.ones((2, 2))], value)):
        with pytest.raises(InputError, match="preds: values that are not finite"):
            pixel_scores(preds, [np.ones((2, 2), bool)], threshold=threshold)


@pytest.mark.parametrize("function", [dice, hd95])
@pytest.mark.parametrize(
    ("pred", "target", "words"),
    [
        (np.ones((2, 3)), np.ones((3, 2)), "pred: shape (2, 3) differs"),
        (np.full((2, 3), 0.4), np.ones((2, 3)), "pred: floats other than 0 and 1"),
        (np.ones((2, 3)), np.full((2, 3), math.nan), "target: floats other than 0 and 1"),
        (np.ones((2, 3)), np.full((2, 3), "x"), "target: got dtype <U1"),
        (1, 1, "pred: got dtype int64 and shape ()"),
    ],
)
def test_wrong_masks_are_told_in_one_line(function, pred, target, words):
    with pytest.raises(InputError) as caught:
        function(pred, target)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_hd95_checks_spacing_even_for_empty_masks():
    with pytest.raises(InputError, match="spacing"):
        hd95(np.zeros((3, 3)), np.zeros((3, 3)), (1.0, 1.0, 1.0))


def lesions(seed, count=6, shape=(31, 37)):
    """Return probabilities and targets, (count, H, W), lesions of very different sizes."""
    rng = np.random.default_rng(seed)
    targets = np.stack([random_blobs(rng, shape) for _ in range(count)])
    targets[0, :20] |= True
    return np.clip(0.6 * targets + 0.5 * rng.random(targets.shape), 0, 1), targets


SECOND_OPINIONS = {
    "dsc": binary_f1_score,
    "se": binary_recall,
    "sp": binary_specificity,
    "acc": binary_accuracy,
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("average", "multidim"), [("pooled", "global"), ("per_image", "samplewise")])
def test_pixel_scores_equal_torchmetrics(seed, average, multidim):
    probabilities, targets = lesions(seed)
    preds = probabilities > 0.5
    scores = pixel_scores(preds, targets, average)
    assert list(scores) == ["dsc", "se", "sp", "acc"]
    p, t = torch.from_numpy(preds).int(), torch.from_numpy(targets).int()
    for name, second_opinion in SECOND_OPINIONS.items():
        expected = second_opinion(p, t, multidim_average=multidim).double().mean().item()
        assert scores[name] == pytest.approx(expected, abs=1e-6)
    # A threshold, a list and tensors change nothing.
    assert pixel_scores(list(torch.from_numpy(probabilities)), list(t), average, threshold=0.5) == scores


def test_pooled_and_per_image_differ():
    _, targets = lesions(0)
    preds = np.zeros_like(targets)
    preds[0] = targets[0]  # the largest lesion perfect, all others missed
    assert pixel_scores(preds, targets, "per_image")["se"] == pytest.approx(1 / 6)
    assert pixel_scores(preds, targets, "pooled")["se"] == pytest.approx(targets[0].sum() / targets.sum())


@pytest.mark.parametrize("seed", range(20))
def test_pooled_accuracy_follows_from_sensitivity_specificity_and_prevalence(seed):
    rng = np.random.default_rng(seed)
    shapes = [tuple(rng.integers(5, 40, 2)) for _ in range(5)]  # images of different sizes
    targets = [rng.random(shape) < rng.uniform(0.05, 0.6) for shape in shapes]
    preds = [target ^ (rng.random(target.shape) < rng.uniform(0, 0.5)) for target in targets]
    scores = pixel_scores(preds, targets)
    p = sum(t.sum() for t in targets) / sum(t.size for t in targets)
    assert scores["acc"] == pytest.approx(p * scores["se"] + (1 - p) * scores["sp"], abs=1e-12)


def test_empty_denominators_are_as_documented():
    none, every, some = np.zeros((4, 4)), np.ones((4, 4)), np.eye(4)
    for average in ("pooled", "per_image"):
        scores = pixel_scores([none], [none], average)
        assert scores["dsc"] == scores["sp"] == scores["acc"] == 1.0
        assert math.isnan(scores["se"])
        assert math.isnan(pixel_scores([every], [every], average)["sp"])
    # The image without a lesion counts for Dice (1.0), not for sensitivity.
    scores = pixel_scores([none, none], [none, some], "per_image")
    assert (scores["dsc"], scores["se"], scores["acc"]) == (0.5, 0.0, 0.875)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([], []), "preds: 0 images against 0"),
        ((np.zeros((2, 4, 4)), np.zeros((3, 4, 4))), "preds: 2 images against 3"),
        ((np.zeros((1, 4, 4)), np.zeros((1, 4, 5))), "pred: shape (4, 4) differs"),
        ((np.zeros((4, 4)), np.zeros((4, 4))), "preds: an image of shape (4,)"),
        ((np.zeros((1, 0, 4)), np.zeros((1, 0, 4))), "preds: an image of shape (0, 4)"),
        ((np.full((1, 4, 4), 0.7), np.zeros((1, 4, 4))), "pred: floats other than 0 and 1"),
        (
            (np.zeros((1, 4, 4)), np.zeros((1, 4, 4)), "mean"),
            "unknown 'mean'; choose one of pooled, per_image",
        ),
    ],
)
def test_wrong_images_are_told_in_one_line(arguments, words):
    with pytest.raises(InputError) as caught:
        pixel_scores(*arguments)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
