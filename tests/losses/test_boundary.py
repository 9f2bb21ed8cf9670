"""The loss against recorded numbers, against a plain loop, and against its own definition by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from msa2net_lib.errors import InputError
from msa2net_lib.losses import (
    BoundaryDoUBalancedCrossEntropyLoss,
    BoundaryDoULoss,
    boundary_alpha,
    build_loss,
)

REFERENCE = Path(__file__).parents[1] / "reference" / "published" / "boundary_dou_loss.npz"


@pytest.fixture(scope="module")
def recorded():
    with np.load(REFERENCE) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def loop_alpha(target, label):
    """Count boundary and size one sample at a time, with SciPy's erosion by a cross."""
    boundary = size = 0
    for image in target.numpy():
        inside = image == label
        core = ndimage.binary_erosion(inside, ndimage.generate_binary_structure(2, 1), border_value=0)
        boundary += int((inside & ~core).sum())
        size += int(inside.sum())
    return min(2 * (1 - (boundary + 1e-5) / (size + 1e-5)) - 1, 0.8)


def loop_loss(logits, target, skip_absent=False):
    """The loss as it is written down: one class after the other, one sample after the other."""
    num_classes = logits.shape[1]
    total = torch.zeros((), dtype=logits.dtype)
    for label in range(num_classes):
        if skip_absent and not (target == label).any():
            total = total + 1
            continue
        z = y = i = torch.zeros((), dtype=logits.dtype)
        for sample in range(len(logits)):
            p = torch.softmax(logits[sample], dim=0)[label]
            t = (target[sample] == label).to(logits.dtype)
            z, y, i = z + (p * p).sum(), y + (t * t).sum(), i + (p * t).sum()
        alpha = loop_alpha(target, label)
        total = total + (z + y - 2 * i + 1e-5) / (z + y - (1 + alpha) * i + 1e-5)
    return total / num_classes


def gradient(loss, logits, target):
    logits = logits.detach().clone().requires_grad_()
    return torch.autograd.grad(loss(logits, target), logits)[0]


def blobs(seed, labels, shape=(3, 21, 26)):
    """Return a target of smooth random regions with the given class numbers."""
    noise = np.random.default_rng(seed).standard_normal((len(labels), *shape))
    smooth = ndimage.gaussian_filter(noise, (0, 0, 2, 2))
    return torch.from_numpy(np.asarray(labels)[smooth.argmax(0)])


def test_equals_the_released_code_in_value_and_gradient(recorded):
    loss = BoundaryDoULoss(9)
    value = loss(recorded["logits"], recorded["target"])
    assert value.item() == pytest.approx(recorded["loss"].item(), abs=1e-6)
    expected = recorded["grad"]
    found = gradient(loss, recorded["logits"], recorded["target"])
    # The gradient's entries are tiny: 1e-5 absolute would accept zeros.
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_near_perfect_prediction_agrees_with_the_released_code_and_keeps_its_digits(recorded):
    target = recorded["target"]
    logits = 12.0 * F.one_hot(target, 9).movedim(-1, 1)
    value = BoundaryDoULoss(9)(logits.float(), target).item()
    assert value == pytest.approx(recorded["loss_near_perfect"].item(), abs=1e-6)
    # In float32 the written formula has lost half of this number; ours has not.
    exact = loop_loss(logits.double(), target).item()
    assert value == pytest.approx(exact, rel=2e-3)
    assert abs(recorded["loss_near_perfect"].item() - exact) > 0.5 * exact


@pytest.mark.parametrize(
    ("seed", "labels", "num_classes"),
    [(0, (0, 1), 2), (1, (0, 1, 2, 3), 4), (2, (0, 2, 4), 6), (3, (1, 2), 4), (4, (3,), 5), (5, range(9), 9)],
)
def test_equals_the_plain_loop(seed, labels, num_classes):
    target = blobs(seed, list(labels))
    torch.manual_seed(seed)
    logits = 3 * torch.randn(3, num_classes, 21, 26, dtype=torch.float64)
    loss = BoundaryDoULoss(num_classes)
    torch.testing.assert_close(loss(logits, target), loop_loss(logits, target), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        gradient(loss, logits, target), gradient(loop_loss, logits, target), rtol=1e-9, atol=1e-14
    )


def test_object_at_the_image_border_has_boundary_there():
    target = torch.zeros(1, 16, 16, dtype=torch.long)
    target[:, :10, :10] = 1
    alpha = boundary_alpha(F.one_hot(target, 2).movedim(-1, 1).double())
    assert alpha[1].item() == pytest.approx(2 * (1 - 36 / 100) - 1, abs=1e-6)
    assert alpha[0].item() == pytest.approx(loop_alpha(target, 0), abs=1e-12)
    torch.manual_seed(0)
    logits = torch.randn(1, 2, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(BoundaryDoULoss(2)(logits, target), loop_loss(logits, target))


@pytest.mark.parametrize(
    ("side", "expected"),
    [(0, -1.0), (1, -1.0), (2, -1.0), (3, 2 / 9 - 1), (10, 0.28), (30, 2 * (1 - 116 / 900) - 1), (60, 0.8)],
)
def test_alpha_of_a_square_by_hand(side, expected):
    one_hot = torch.zeros(2, 1, 64, 64, dtype=torch.bool)
    one_hot[1, 0, 2 : 2 + side, 2 : 2 + side] = True
    alpha = boundary_alpha(one_hot)
    assert alpha.shape == (1,)
    assert alpha.dtype == torch.float32
    assert alpha.item() == pytest.approx(expected, abs=1e-5)


def test_alpha_counts_over_the_whole_batch():
    one_hot = torch.zeros(2, 1, 32, 32)
    one_hot[0, 0, :20, :20] = 1  # 76 boundary pixels of 400
    one_hot[1, 0, 5, 5] = 1  # 1 of 1
    assert boundary_alpha(one_hot).item() == pytest.approx(2 * (1 - 77 / 401) - 1, abs=1e-5)


def test_absent_classes_cost_exactly_one_whatever_is_predicted():
    target = torch.zeros(2, 8, 8, dtype=torch.long)
    alpha = loop_alpha(target, 0)
    for wrong in (-40.0, 0.0, 5.0, 40.0):
        logits = torch.zeros(2, 3, 8, 8, dtype=torch.float64)
        logits[:, 1] = wrong
        p = logits.softmax(1)[:, 0]
        z, y, i = p.square().sum(), p.numel(), p.sum()
        background = (z + y - 2 * i + 1e-5) / (z + y - (1 + alpha) * i + 1e-5)
        absent = 3 * BoundaryDoULoss(3)(logits, target) - background
        assert absent.item() == pytest.approx(2.0, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_absent_class_has_no_gradient_of_its_own(dtype):
    target = blobs(7, [0, 2])  # classes 1 and 3 are absent
    torch.manual_seed(7)
    logits = torch.randn(3, 4, 21, 26, dtype=dtype)
    found = gradient(BoundaryDoULoss(4), logits, target)
    present_only = gradient(lambda a, b: loop_loss(a, b, skip_absent=True), logits, target)
    assert found.abs().max() > 0
    torch.testing.assert_close(found, present_only, rtol=0, atol=1e-5 * present_only.abs().max().item())


def test_gradcheck_in_float64():
    target = blobs(3, [0, 1, 2], shape=(2, 5, 4))
    logits = torch.randn(2, 4, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(lambda a: BoundaryDoULoss(4)(a, target), logits.requires_grad_())


def test_perfect_prediction_is_near_zero_and_the_opposite_near_one():
    target = blobs(1, [0, 1, 2])
    perfect = 50.0 * F.one_hot(target, 3).movedim(-1, 1).float()
    assert 0 <= BoundaryDoULoss(3)(perfect, target).item() < 1e-6
    assert BoundaryDoULoss(3)(perfect.roll(1, dims=1), target).item() > 0.999


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast_accumulate_in_float32(dtype):
    target = blobs(2, [0, 1, 2], shape=(2, 300, 300))
    torch.manual_seed(2)
    logits = torch.randn(2, 3, 300, 300).to(dtype)
    wide = logits.float()
    for loss in (BoundaryDoULoss(3), BoundaryDoUBalancedCrossEntropyLoss(3)):
        expected = loss(wide, target)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = loss(logits, target)
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_any_integer_target_gives_the_same_loss(dtype, recorded):
    for name in ("boundary_dou", "boundary_dou+balanced_cross_entropy"):
        loss = build_loss(name, 9)
        expected = loss(recorded["logits"], recorded["target"])
        assert torch.equal(loss(recorded["logits"], recorded["target"].to(dtype)), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_same_on_a_gpu(recorded):
    loss = BoundaryDoULoss(9)
    value = loss(recorded["logits"].cuda(), recorded["target"].cuda())
    assert value.item() == pytest.approx(recorded["loss"].item(), abs=1e-5)


def test_sum_with_balanced_cross_entropy(recorded):
    """The weighted mean written out: each pixel counts 1 / sqrt(pixels of its class)."""
    logits, target = recorded["logits"], recorded["target"]
    labels, counts = target.unique(return_counts=True)
    share = dict(zip(labels.tolist(), (1 / counts.sqrt()).tolist(), strict=True))
    weights = torch.tensor([share[label] for label in target.flatten().tolist()])
    surprise = -logits.log_softmax(1).gather(1, target[:, None]).flatten()
    expected = recorded["loss"] + (weights * surprise).sum() / weights.sum()
    loss = BoundaryDoUBalancedCrossEntropyLoss(9)(logits, target)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)


def test_balance_ignores_absent_classes():
    logits = torch.randn(1, 4, 6, 6)
    loss = BoundaryDoUBalancedCrossEntropyLoss(4)(logits, torch.zeros(1, 6, 6, dtype=torch.long))
    assert torch.isfinite(loss)


def test_build_loss_knows_both_names_and_lists_them():
    assert type(build_loss("boundary_dou", 3)) is BoundaryDoULoss
    assert type(build_loss("boundary_dou+balanced_cross_entropy", 3)) is BoundaryDoUBalancedCrossEntropyLoss
    with pytest.raises(InputError, match=r"'dice'.*boundary_dou, boundary_dou\+balanced_cross_entropy"):
        build_loss("dice", 3)


def a_target(*values):
    target = torch.zeros(2, 5, 6, dtype=torch.long)
    target.view(-1)[: len(values)] = torch.tensor(values, dtype=torch.long)
    return target


@pytest.mark.parametrize(
    ("logits", "target", "words"),
    [
        (torch.zeros(2, 3, 5, 6), a_target(3, 255), "target: values outside 0..2: 3, 255;"),
        (torch.zeros(2, 3, 5, 6), a_target(-1), "target: values outside 0..2: -1;"),
        (torch.zeros(2, 3, 5, 6), a_target(*range(3, 10)), "3, 4, 5, 6, 7, ...;"),
        (
            torch.zeros(2, 3, 5, 6),
            a_target().float(),
            "target: expected integer class numbers, got torch.float32",
        ),
        (
            torch.zeros(2, 3, 5, 6),
            a_target().bool(),
            "target: expected integer class numbers, got torch.bool",
        ),
        (torch.zeros(2, 4, 5, 6), a_target(), "logits: expected shape (B, 3, H, W), got (2, 4, 5, 6)"),
        (torch.zeros(3, 5, 6), a_target(), "logits: expected shape (B, 3, H, W), got (3, 5, 6)"),
        (torch.zeros(2, 3, 5, 6).long(), a_target(), "logits: expected floating-point"),
        (torch.zeros(2, 3, 6, 5), a_target(), "target: got shape (2, 5, 6)"),
        (torch.zeros(2, 3, 5, 6), a_target().unsqueeze(1), "target: got shape (2, 1, 5, 6)"),
        (torch.zeros(0, 3, 5, 6), a_target()[:0], "target: shape (0, 5, 6) holds no pixel"),
    ],
)
@pytest.mark.parametrize("name", ["boundary_dou", "boundary_dou+balanced_cross_entropy"])
def test_wrong_input_is_told_in_one_line(name, logits, target, words):
    with pytest.raises(InputError) as caught:
        build_loss(name, 3)(logits, target)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("num_classes", [1, 0, 2.0, "9", None])
def test_wrong_number_of_classes(num_classes):
    with pytest.raises(InputError, match="num_classes"):
        BoundaryDoULoss(num_classes)


def test_alpha_refuses_class_numbers():
    with pytest.raises(InputError, match="one_hot"):
        boundary_alpha(torch.zeros(2, 5, 6, dtype=torch.long))
