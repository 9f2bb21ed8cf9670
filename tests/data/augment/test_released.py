"""Augmentation as training uses it: drawn once for a batch, applied in parts, never the same twice, and as before."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from torch.nn import functional as F

from msa2net_lib.data.augment import (
    AUGMENTATIONS,
    INTENDED_NOISE,
    RELEASED_NOISE,
    TRANSFORMS,
    AffineAugmentation,
    ReleasedAugmentation,
    RightAngleAugmentation,
    build_augmentation,
)
from msa2net_lib.errors import InputError
from msa2net_lib.paper import reference_implementation as released

ACTIVE = AUGMENTATIONS[1:]
NOISY = ACTIVE[:-1]
"""Right angles draw from few values, and add no noise."""


def affine_before_draws_were_separate(images, labels, rotation=8.0, scale=0.15, shift=0.05, contrast=0.15, noise=0.02):
    """The arithmetic with which the shipped weights were trained, frozen."""

    def symmetric():
        return 2 * torch.rand(len(images)) - 1

    aspect = images.shape[-2] / images.shape[-1]
    angle = math.radians(rotation) * symmetric()
    size = (1 + scale) ** symmetric()
    cosine, sine = angle.cos() / size, angle.sin() / size
    shift_x, shift_y = 2 * shift * symmetric(), 2 * shift * symmetric()
    rows = [
        torch.stack([cosine, -sine * aspect, shift_x], dim=1),
        torch.stack([sine / aspect, cosine, shift_y], dim=1),
    ]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    warped = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    moved = F.grid_sample(
        labels[:, None].to(images.dtype), grid, mode="nearest", padding_mode="border", align_corners=False
    )
    gain = 1 + contrast * symmetric()[:, None, None, None]
    return warped * gain + noise * torch.randn_like(warped), moved[:, 0].to(labels.dtype)


def batch(count=6, channels=1, height=40, width=56, dtype=torch.int64):
    """Smooth images of about [-1, 1], and labels of four ids."""
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.standard_normal((count, channels, height, width)), (0, 0, 4, 4))
    images = torch.from_numpy(smooth / np.abs(smooth).max()).float()
    return images, torch.bucketize(images[:, 0].contiguous(), torch.tensor([-0.3, 0.0, 0.3])).to(dtype)


def build(name) -> Any:
    augment = build_augmentation(name)
    assert augment is not None
    return augment


def tensors(draws):
    return {field.name: getattr(draws, field.name) for field in dataclasses.fields(draws)}


@pytest.mark.parametrize(("channels", "dtype"), [(1, torch.int64), (3, torch.uint8)])
def test_affine_is_bit_for_bit_what_it_was(channels, dtype):
    images, labels = batch(channels=channels, dtype=dtype)
    for seed in range(3):
        torch.manual_seed(seed)
        expected = affine_before_draws_were_separate(images, labels)
        torch.manual_seed(seed)
        found = AffineAugmentation()(images, labels)
        assert torch.equal(found[0], expected[0])
        assert torch.equal(found[1], expected[1])
        assert found[1].dtype == dtype


def test_affine_moves_image_and_label_together():
    """On an image that is its own label, the warped image thresholded is the warped label, edges apart."""
    y, x = np.mgrid[:64, :80]
    disc = torch.from_numpy(((y - 30) ** 2 + (x - 42) ** 2 <= 18**2).astype(np.int64))
    torch.manual_seed(0)
    augment = AffineAugmentation(contrast=0.0, noise=0.0)
    images, labels = augment(disc.float().repeat(16, 1, 1, 1), disc.repeat(16, 1, 1))
    assert ((images[:, 0] > 0.5).long() != labels).float().mean() < 0.003
    assert len({int(label.sum()) for label in labels}) > 8
    assert labels.unique().tolist() == [0, 1]


def test_affine_repeats_a_label_that_reaches_the_border_like_its_image():
    """A lesion larger than the picture stays one: background moving in would teach the border wrongly."""
    torch.manual_seed(0)
    images, labels = torch.ones(8, 3, 32, 32), torch.ones(8, 32, 32, dtype=torch.int64)
    moved = AffineAugmentation(rotation=20.0, shift=0.2, contrast=0.0, noise=0.0)(images, labels)
    torch.testing.assert_close(moved[0], images)
    assert bool((moved[1] == 1).all())


def test_affine_rotates_without_shearing_a_picture_that_is_not_square():
    """A pure rotation agrees with SciPy's on the same angle."""
    torch.manual_seed(1)
    augment = AffineAugmentation(rotation=20.0, scale=0.0, shift=0.0, contrast=0.0, noise=0.0)
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((60, 90)), 4).astype(np.float32)
    turned, _ = augment(torch.from_numpy(smooth)[None, None], torch.zeros(1, 60, 90, dtype=torch.int64))
    torch.manual_seed(1)
    angle = 20.0 * float(2 * torch.rand(1) - 1)
    candidates = [ndimage.rotate(smooth, sign * angle, reshape=False, order=1) for sign in (1, -1)]
    middle = (slice(15, 45), slice(25, 65))
    gaps = [np.abs(turned[0, 0].numpy()[middle] - c[middle]).max() for c in candidates]
    assert min(gaps) < 1e-3 * np.ptp(smooth)


@pytest.mark.parametrize("name", ACTIVE)
@pytest.mark.parametrize(("channels", "dtype"), [(1, torch.int64), (3, torch.uint8)])
def test_parts_of_a_batch_are_what_the_whole_batch_would_be(name, channels, dtype):
    augment = build(name)
    images, labels = batch(12, channels, dtype=dtype)
    untouched = images.clone(), labels.clone()
    torch.manual_seed(5)
    whole = augment(images, labels)
    torch.manual_seed(5)
    draws = augment.draw(12, tuple(images.shape[1:]))
    assert len(draws) == 12
    for rows in (slice(0, 5), slice(5, 12)):
        part = augment.apply(images[rows], labels[rows], draws[rows])
        assert torch.equal(part[0], whole[0][rows])
        assert torch.equal(part[1], whole[1][rows])
    assert torch.equal(images, untouched[0])
    assert torch.equal(labels, untouched[1])
    assert (whole[0].dtype, whole[1].dtype, whole[0].shape) == (torch.float32, dtype, images.shape)


@pytest.mark.parametrize("name", ACTIVE)
def test_what_comes_out_is_finite_and_no_new_label_appears(name):
    images, labels = batch(40, dtype=torch.uint8)
    labels = labels * 2 + 1  # 1, 3, 5, 7: an interpolated id would be seen
    for seed in range(4):
        torch.manual_seed(seed)
        found, moved = build(name)(images, labels)
        assert bool(found.isfinite().all())
        assert set(moved.unique().tolist()) <= {0, 1, 3, 5, 7}


@pytest.mark.parametrize("name", NOISY)
def test_no_two_samples_draw_alike_in_a_batch_in_later_steps_or_epochs(name):
    """Twenty steps of twenty samples, seeded step by step as training does, two epochs of ten: none repeats."""
    augment, seen = build(name), []
    for step in range(20):
        torch.manual_seed(1234 + step)
        values = tensors(augment.draw(20, (1, 4, 4)))
        flat = torch.cat([value.reshape(20, -1).double() for value in values.values()], dim=1)
        seen += [row.numpy().tobytes() for row in flat]
        for field in set(values) & {"angle", "size", "rotation", "shear", "sigma", "noise_seed", "noise"}:
            assert len(values[field].reshape(20, -1).unique(dim=0)) == 20
    assert len(set(seen)) == 400


@pytest.mark.parametrize("name", NOISY)
def test_half_precision_images_are_computed_in_single(name):
    images, labels = batch(20)
    torch.manual_seed(3)
    draws = build(name).draw(20, (1, 40, 56))
    augment = dataclasses.replace(build(name), noise=0.0)
    half, moved = augment.apply(images.half(), labels, draws)
    whole, expected = augment.apply(images.half().float(), labels, draws)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), whole, rtol=0, atol=4e-3)
    assert torch.equal(moved, expected)


@pytest.mark.parametrize("name", ACTIVE)
def test_the_same_seed_draws_the_same(name):
    augment = build(name)
    first, second = (tensors((torch.manual_seed(7), augment.draw(5, (1, 8, 8)))[1]) for _ in range(2))
    assert all(torch.equal(first[field], second[field]) for field in first)
    assert all(value.device.type == "cpu" and len(value) == 5 for value in first.values())


def test_a_seed_gives_its_noise_whatever_else_is_in_the_batch():
    augment = ReleasedAugmentation()
    images, labels = torch.zeros(4, 1, 16, 16), torch.zeros(4, 16, 16, dtype=torch.int64)
    torch.manual_seed(0)
    draws = augment.draw(4, (1, 16, 16)).only("additive Gaussian noise")
    together = augment.apply(images, labels, draws)[0]
    torch.manual_seed(99)
    for row in range(4):
        alone = augment.apply(images[:1], labels[:1], draws[row : row + 1])[0]
        assert torch.equal(alone[0], together[row])
    assert len(together.reshape(4, -1).unique(dim=0)) == 4


def test_zero_to_four_transforms_and_each_transform_are_equally_likely():
    """Chi-square on 10 000 samples with a fixed seed; and each transform is as often first as last."""
    torch.manual_seed(0)
    order = ReleasedAugmentation().draw(10_000, (1, 8, 8)).order
    counts = (order >= 0).sum(dim=1)
    assert stats.chisquare(np.bincount(counts, minlength=5)).pvalue > 0.01
    assert len(np.bincount(counts)) == 5
    for position in range(4):
        there = order[:, position][order[:, position] >= 0].numpy()
        assert stats.chisquare(np.bincount(there, minlength=10)).pvalue > 0.01
    assert all(len(set(row)) == len(row) for row in ([n for n in row if n >= 0] for row in order.tolist()))
    # Nothing comes after the end.
    assert bool(((order[:, 1:] < 0) | (order[:, :-1] >= 0)).all())


def test_strengths_fill_their_ranges_and_no_more():
    torch.manual_seed(0)
    draws = ReleasedAugmentation().draw(4000, (3, 8, 8))
    ranges = {"contrast": (0.5, 1.5), "scale": (0.5, 2), "rotation": (-40, 40), "shear": (-16, 16)}
    ranges |= {"sigma": (0.008, 0.03), "translation": (-0.2, 0.2)}
    for name, (low, high) in ranges.items():
        columns = getattr(draws, name).reshape(4000, -1)
        for column in columns.unbind(dim=1):
            assert stats.kstest(column.numpy(), stats.uniform(low, high - low).cdf).pvalue > 0.01, name
    assert stats.kstest(draws.moves.flatten().numpy(), "norm").pvalue > 0.01
    assert stats.chisquare(np.bincount(draws.nodes.flatten(), minlength=5)[2:]).pvalue > 0.01
    one_factor = (draws.contrast == draws.contrast[:, :1]).all(dim=1)
    assert stats.binomtest(int(one_factor.sum()), 4000, 0.5).pvalue > 0.01
    assert abs(float(torch.corrcoef(draws.scale.T)[0, 1])) < 0.05


def test_a_chosen_flip_acts_half_the_time():
    torch.manual_seed(0)
    draws = ReleasedAugmentation().draw(4000, (1, 8, 8))
    for number in (0, 1):
        chosen, acting = ((order == number).any(dim=1) for order in (draws.order, draws.acting()))
        assert not bool((acting & ~chosen).any())
        assert stats.binomtest(int(acting.sum()), int(chosen.sum()), 0.5).pvalue > 0.01


def test_the_policy_is_the_one_that_the_audit_read():
    assert tuple(released.AUGMENTATIONS) == TRANSFORMS
    assert released.NOISE_SIGMA == RELEASED_NOISE == 255 * INTENDED_NOISE
    torch.manual_seed(0)
    assert ReleasedAugmentation().draw(200, (1, 8, 8)).order.shape == (200, released.MOST_OPERATIONS)


def test_samples_that_drew_nothing_are_exactly_what_they_were():
    images, labels = batch(60)
    torch.manual_seed(2)
    augment = ReleasedAugmentation()
    draws = augment.draw(60, (1, 40, 56))
    found, moved = augment.apply(images, labels, draws)
    still = (draws.acting() < 0).all(dim=1)
    assert 5 < int(still.sum()) < 40
    assert torch.equal(found[still], images[still])
    assert torch.equal(moved[still], labels[still])
    # A blur of one pixel at 512 is none to speak of at 40.
    blurred = torch.tensor([draws.names(row) == ["Gaussian blur"] for row in range(60)])
    changed = (found != images).flatten(1).any(dim=1)
    assert torch.equal(changed | blurred, ~still)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_names_build_what_they_say(name):
    noise = {"released": 1.275, "released_strong_noise": 1.275, "released_small_noise": 0.005}
    augment: Any = build_augmentation(name)
    if name == "none":
        assert augment is None
    elif name == "affine":
        assert augment == AffineAugmentation()
    elif name == "right_angles":
        assert augment == RightAngleAugmentation()
    else:
        assert augment.noise == pytest.approx(noise[name], rel=1e-12)
        assert augment.noise_side == (512 if name == "released" else None)


@pytest.mark.parametrize(("height", "width"), [(224, 224), (64, 96), (512, 512)])
def test_released_noise_is_made_at_512_and_resized_as_scipy_does(height, width):
    """Of the standard deviation 1.275, 1.108 is left at 224 x 224; the stronger recipe keeps all of it there."""
    images, labels = torch.zeros(3, 1, height, width), torch.zeros(3, height, width, dtype=torch.int64)
    torch.manual_seed(0)
    draws = build("released").draw(3, (1, height, width)).only("additive Gaussian noise")
    (found, _), (strong, _) = (build(name).apply(images, labels, draws) for name in ACTIVE[1:3])
    fields = [
        torch.randn(512, 512, generator=torch.Generator().manual_seed(seed)) for seed in draws.noise_seed.tolist()
    ]
    expected = [1.275 * ndimage.zoom(field.numpy(), (height / 512, width / 512), order=3) for field in fields]
    # Images are twice [0, 1], less 1: so is the noise.
    np.testing.assert_allclose(found[:, 0].numpy() / 2, expected, atol=1e-3)
    if height == 224:
        inside = found[..., :-1, :-1] / 2
        assert float(inside.std()) == pytest.approx(1.108, rel=0.01)
        assert float(strong.std()) / 2 == pytest.approx(1.15 * float(inside.std()), rel=0.01)


@pytest.mark.parametrize(
    ("wrong", "fragments"),
    [
        (lambda: build_augmentation("imgaug"), ("imgaug", *AUGMENTATIONS)),
        (lambda: ReleasedAugmentation().draw(1, (1, 8, 8)).only("zoom"), ("zoom", *TRANSFORMS)),
        (lambda: ReleasedAugmentation().draw(1, (1, 8, 8)).only("shear", angle=3.0), ("angle", "shear", "rotation")),
    ],
)
def test_unknown_names_are_answered_with_the_choices(wrong, fragments):
    with pytest.raises(InputError) as caught:
        wrong()
    assert "\n" not in str(caught.value)
    assert all(fragment in str(caught.value) for fragment in fragments)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: compares the two kinds of device")
@pytest.mark.parametrize("name", NOISY)
def test_a_gpu_computes_what_the_cpu_does(name):
    """Bilinear values to rounding; labels but for ties; noise of one seed is another there, so it is left out."""
    augment = dataclasses.replace(build(name), noise=0.0)
    images, labels = batch(24)
    torch.manual_seed(0)
    draws = augment.draw(24, (1, 40, 56))
    on_cpu = augment.apply(images, labels, draws)
    on_gpu = [values.cpu() for values in augment.apply(images.cuda(), labels.cuda(), draws)]
    torch.testing.assert_close(on_gpu[0], on_cpu[0], rtol=1e-3, atol=1e-3)
    assert (on_gpu[1] != on_cpu[1]).float().mean() < 1e-3
