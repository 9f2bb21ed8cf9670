"""Each transform of the released policy against scikit-image, SciPy or arithmetic, alone and composed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.interpolate import RegularGridInterpolator
from skimage.transform import AffineTransform, PiecewiseAffineTransform

from msa2net_lib.data.augment import INTENDED_NOISE, RELEASED_NOISE, TRANSFORMS, ReleasedAugmentation
from msa2net_lib.data.augment.grid import sampling_grid

HEIGHT, WIDTH = 48, 70
AUGMENT = ReleasedAugmentation()
STRENGTHS = {
    "rotation": {"rotation": 33.0},
    "shear": {"shear": 14.0},
    "scaling": {"scale": (0.73, 1.61)},
    "translation": {"translation": (0.13, -0.18)},
    "vertical flip": {},
    "horizontal flip": {},
}


def smooth_image(channels=1):
    """Smooth values in [0, 1], (1, c, h, w)."""
    field = ndimage.gaussian_filter(np.random.default_rng(3).standard_normal((channels, HEIGHT, WIDTH)), (0, 3, 3))
    return ((field - field.min()) / np.ptp(field))[None].astype(np.float32)


def chosen(*names, seed=0, channels=1, **strengths):
    torch.manual_seed(seed)
    return AUGMENT.draw(1, (channels, HEIGHT, WIDTH)).only(*names, **strengths)


def apply(unit, draws, label=None, augment=AUGMENT):
    """Augment an image in [0, 1]; returns it in [0, 1], and its label."""
    images = torch.from_numpy(2 * unit - 1)
    labels = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.int64) if label is None else torch.from_numpy(label)[None]
    found, moved = augment.apply(images, labels, draws)
    return (found.numpy() + 1) / 2, moved[0].numpy()


def forward_map(name):
    """Where a transform moves a pixel (x, y), by scikit-image, about the middle of the picture."""
    middle = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
    shear = np.deg2rad(14.0)
    moves = {
        "rotation": AffineTransform(rotation=np.deg2rad(33.0)),
        # Both axes by one angle, along y first, as imgaug does it.
        "shear": AffineTransform(np.array([[1, 0, 0], [np.tan(shear), 1, 0], [0, 0, 1]]))
        + AffineTransform(shear=shear),
        "scaling": AffineTransform(scale=(0.73, 1.61)),
        "translation": AffineTransform(translation=(0.13 * WIDTH, -0.18 * HEIGHT)),
        "vertical flip": AffineTransform(scale=(1, -1)),
        "horizontal flip": AffineTransform(scale=(-1, 1)),
    }
    return AffineTransform(translation=-middle) + moves[name] + AffineTransform(translation=middle)


def warped(image, forward, order):
    """Pull ``image`` (h, w) through a forward map of (x, y) pixels; zero from outside."""
    inverse = np.linalg.inv(forward.params)
    swap = [1, 0]
    matrix, offset = inverse[:2, :2][np.ix_(swap, swap)], inverse[:2, 2][swap]
    return ndimage.affine_transform(image, matrix, offset, order=order, mode="grid-constant", cval=0)


@pytest.mark.parametrize("name", STRENGTHS)
def test_one_affine_transform_is_scikit_images(name):
    unit = smooth_image()
    label = (unit[0, 0] * 8.99).astype(np.int64)
    found, moved = apply(unit, chosen(name, **STRENGTHS[name]), label)
    np.testing.assert_allclose(found[0, 0], warped(unit[0, 0], forward_map(name), 1), atol=2e-4)
    # Where a pixel lies halfway between two, rounding decides.
    assert (moved != warped(label, forward_map(name), 0)).mean() < 2e-3


@pytest.mark.parametrize("names", list(itertools.permutations(STRENGTHS, 2)))
def test_two_affine_transforms_are_the_product_of_their_matrices_in_the_drawn_order(names):
    unit = smooth_image()
    strengths = STRENGTHS[names[0]] | STRENGTHS[names[1]]
    found, _ = apply(unit, chosen(*names, **strengths))
    both = forward_map(names[0]) + forward_map(names[1])
    np.testing.assert_allclose(found[0, 0], warped(unit[0, 0], both, 1), atol=3e-4)


def test_flips_are_exact():
    unit, label = smooth_image(3), np.random.default_rng(0).integers(0, 9, (HEIGHT, WIDTH))
    for names, axes in (
        (["vertical flip"], 0),
        (["horizontal flip"], 1),
        (["horizontal flip", "vertical flip"], (0, 1)),
    ):
        images, labels = torch.from_numpy(unit), torch.from_numpy(label)[None]
        found, moved = AUGMENT.apply(images, labels, chosen(*names, channels=3))
        assert np.array_equal(found[0].numpy(), np.flip(unit[0], tuple(np.add(axes, 1).ravel())))
        assert np.array_equal(moved[0].numpy(), np.flip(label, axes))


def test_a_flip_that_does_not_act_changes_nothing():
    unit = smooth_image()
    found, _ = apply(unit, chosen("vertical flip", flips=(False, True)))
    np.testing.assert_array_equal(found, (2 * unit - 1 + 1) / 2)


@pytest.mark.parametrize("name", [*STRENGTHS, "piecewise affine"])
@pytest.mark.parametrize("seed", range(3))
def test_image_and_label_move_together(name, seed):
    """On an image that is its own label, the moved image thresholded is the moved label, edges apart."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    disc = (((y - 20) / 14) ** 2 + ((x - 40) / 20) ** 2 <= 1).astype(np.int64)
    found, moved = apply(disc[None, None].astype(np.float32), chosen(name, seed=seed, sigma=0.03), disc)
    assert ((found[0, 0] > 0.5) != (moved == 1)).mean() < 0.01
    assert moved.sum() > 100


def test_outside_of_the_picture_is_black_and_background():
    labels = torch.full((1, HEIGHT, WIDTH), 5, dtype=torch.uint8)
    draws = chosen("translation", translation=(0.5, 0.0))
    found, moved = AUGMENT.apply(torch.ones(1, 1, HEIGHT, WIDTH), labels, draws)
    assert bool((found[..., : WIDTH // 2 - 1] == -1).all())
    assert bool((found[..., WIDTH // 2 + 1 :] - 1).abs().max() < 1e-5)
    assert moved[0, 0].tolist() == [0] * (WIDTH // 2) + [5] * (WIDTH // 2)


def node_places(draws):
    """Nodes of the piecewise map and where they are taken from, (x, y) in pixels: two arrays (rows, columns, 2)."""
    rows, columns = draws.nodes[0].tolist()
    edges = np.array([WIDTH, HEIGHT]) - 0.5
    x, y = np.linspace(-0.5, edges[0], columns), np.linspace(-0.5, edges[1], rows)
    nodes = np.stack(np.meshgrid(x, y), axis=-1)
    moves = draws.moves[0, :, :rows, :columns].numpy().transpose(1, 2, 0) * draws.sigma[0].item()
    return nodes, np.clip(nodes + moves * [WIDTH, HEIGHT], -0.5, edges)


def grid_in_pixels(draws):
    grid = sampling_grid(draws, HEIGHT, WIDTH)[0].numpy()
    return ((grid + 1) * [WIDTH, HEIGHT] - 1) / 2


@pytest.mark.parametrize("nodes", list(itertools.product((2, 3, 4), repeat=2)))
def test_the_piecewise_map_is_scikit_images_to_within_the_choice_of_triangles(nodes):
    """Bilinear cells and halved cells differ by a quarter of a cell's twist at most, in the middle of a cell."""
    draws = chosen("piecewise affine", seed=nodes[0] * 5 + nodes[1], nodes=nodes, sigma=0.03)
    source, target = node_places(draws)
    reference = PiecewiseAffineTransform.from_estimate(source.reshape(-1, 2), target.reshape(-1, 2))
    pixels = np.stack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), axis=-1)
    expected = reference(pixels.reshape(-1, 2)).reshape(HEIGHT, WIDTH, 2)
    twist = np.abs(np.diff(np.diff(target, axis=0), axis=1)).max()
    gap = np.abs(grid_in_pixels(draws) - expected).max()
    assert gap <= twist / 4 + 1e-3
    assert np.abs(grid_in_pixels(draws) - pixels).max() > 1


@pytest.mark.parametrize("piecewise_first", [True, False])
def test_the_piecewise_map_composes_with_affine_ones_in_the_drawn_order(piecewise_first):
    """Point by point: backwards through the later transform, then through the earlier one."""
    pair = ["piecewise affine", "rotation"] if piecewise_first else ["rotation", "piecewise affine"]
    draws = chosen(*pair, "scaling", sigma=0.03, nodes=(3, 4), **STRENGTHS["rotation"], **STRENGTHS["scaling"])
    nodes, targets = node_places(draws)
    moves = RegularGridInterpolator((nodes[:, 0, 1], nodes[0, :, 0]), targets - nodes)

    def unbend(points):
        inside = np.clip(points, -0.5, np.array([WIDTH, HEIGHT]) - 0.5)
        return points + moves(inside[:, ::-1])

    back = {"rotation": forward_map("rotation").inverse, "piecewise affine": unbend}
    points = np.stack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), axis=-1).reshape(-1, 2).astype(float)
    points = forward_map("scaling").inverse(points)
    for name in reversed(pair):
        points = back[name](points)
    np.testing.assert_allclose(grid_in_pixels(draws), points.reshape(HEIGHT, WIDTH, 2), atol=1e-3)


@pytest.mark.parametrize("sigma", [RELEASED_NOISE, INTENDED_NOISE])
def test_noise_has_its_standard_deviation_on_unit_images_and_is_one_for_all_channels(sigma):
    unit = np.full((1, 3, HEIGHT, WIDTH), 0.5, dtype=np.float32)
    draws = chosen("additive Gaussian noise", channels=3)
    found, _ = apply(unit, draws, augment=ReleasedAugmentation(sigma))
    noise = found[0] - 0.5
    assert noise[0].std() == pytest.approx(sigma, rel=0.05)
    assert abs(noise[0].mean()) < 4 * sigma / np.sqrt(HEIGHT * WIDTH)
    np.testing.assert_array_equal(noise[0], noise[2])


def test_contrast_multiplies_unit_values_channel_by_channel():
    unit = smooth_image(3)
    found, _ = apply(unit, chosen("linear contrast", channels=3, contrast=(0.5, 1.0, 1.5)))
    np.testing.assert_allclose(found[0], unit[0] * np.array([0.5, 1.0, 1.5])[:, None, None], atol=1e-6)


def test_blur_is_a_gaussian_of_one_pixel_at_512():
    unit = np.random.default_rng(0).random((1, 1, 256, 300), dtype=np.float32)
    images, labels = torch.from_numpy(unit), torch.zeros(1, 256, 300, dtype=torch.int64)
    found, _ = AUGMENT.apply(images, labels, chosen("Gaussian blur"))
    expected = ndimage.gaussian_filter(unit[0, 0], 0.5, radius=2, mode="mirror")
    np.testing.assert_allclose(found[0, 0].numpy(), expected, atol=1e-5)


def test_intensity_acts_in_the_drawn_order():
    """Noise is multiplied by the contrast that follows it, not by one that comes before."""
    unit = np.full((1, 1, HEIGHT, WIDTH), 0.5, dtype=np.float32)
    spread = [
        apply(unit, chosen(*names, contrast=1.5))[0].std() / RELEASED_NOISE
        for names in itertools.permutations(["additive Gaussian noise", "linear contrast"])
    ]
    assert spread[0] == pytest.approx(1.5 * spread[1], rel=1e-4)


def test_descriptions_name_what_acts_with_its_strength():
    strengths = {"rotation": -12.0, "scale": (0.5, 2.0), "contrast": 1.25, "shear": 9.0, "sigma": 0.02}
    strengths |= {"translation": (0.2, -0.1), "nodes": (2, 3)}
    draws = chosen(*TRANSFORMS, **strengths)
    said = AUGMENT.describe(draws)
    assert list(said) == list(TRANSFORMS)
    assert list(said.values())[:8] == ["", "", "σ 1.275", "σ 1 px of 512", "x 1.25", "x 0.50, y 2.00", "-12°", "+9°"]
    assert said["piecewise affine"] == "σ 2.0%, 2 x 3 nodes"
    assert said["translation"] == "x +20%, y -10%"
    none = chosen("vertical flip", flips=(False, False))
    assert AUGMENT.describe(none) == {}
