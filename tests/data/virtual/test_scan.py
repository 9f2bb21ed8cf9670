"""Virtual scans on a clinical grid: values that come from the patient alone, in the right place."""

from __future__ import annotations

import numpy as np
import pytest

from msa2net_lib.data.virtual.cohort import SYNAPSE_SIZE
from msa2net_lib.data.virtual.scan import AIR_HU, FIELD_MM, SLICE_MM, ScanGrid, ScanSize, draw_grid, scan
from msa2net_lib.data.volumes import Volume

SPACING = (4.0, 3.0, 2.0)
ORIGIN = (-20.0, 30.0, 40.0)
OBLIQUE = (1.0, 0.0, 0.0, 0.0, 0.8, -0.6, 0.0, 0.6, 0.8)
QUIET = (0.0, 0.0)


def source_of(array):
    return Volume(np.asarray(array, np.float32), SPACING, ORIGIN, OBLIQUE)


def grid_of(source, size=(25, 60, 70), reach=0.5):
    """A fine grid over the source's slices, its pixels reaching ``reach`` voxels beyond the outermost ones."""
    ends = (0.0, reach, reach)
    positions = [np.linspace(-end, n - 1 + end, m) for n, m, end in zip(source.array.shape, size, ends, strict=True)]
    spacing = [(at[1] - at[0]) * mm for at, mm in zip(positions, source.spacing, strict=True)]
    return ScanGrid((positions[0], positions[1], positions[2]), (spacing[0], spacing[1], spacing[2]))


def world(volume, index):
    """Return (x, y, z) in mm of voxels ``index`` (..., 3) [z, y, x], by SimpleITK's definition."""
    offset = (np.asarray(index) * volume.spacing)[..., ::-1]
    return np.array(volume.origin) + offset @ np.reshape(volume.direction, (3, 3)).T


def test_image_that_shows_its_position():
    """Quadratic splines reproduce what is linear; so the gray values tell whether origin and spacing are right."""
    shape = (9, 12, 14)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    source = source_of(np.zeros(shape))
    source = source_of(world(source, index) @ (3.0, -5.0, 7.0))
    image, labels = scan(source, {}, grid_of(source), np.random.default_rng(0), QUIET)
    fine = np.stack(np.meshgrid(*map(np.arange, image.array.shape), indexing="ij"), axis=-1)
    expected = world(image, fine) @ (3.0, -5.0, 7.0)
    inner = np.s_[4:-4, 8:-8, 8:-8]  # a spline's reach from the border
    assert np.ptp(expected[inner]) > 100
    np.testing.assert_allclose(image.array[inner], expected[inner], atol=0.51)  # rounded to whole HU
    assert (labels.spacing, labels.origin, labels.direction) == (image.spacing, image.origin, image.direction)
    assert (image.array.dtype, labels.array.dtype) == (np.int16, np.uint8)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_rings(seed):
    """Of a patient of air and one tissue, no value lies outside them; a cubic spline through the voxels would."""
    rng = np.random.default_rng(seed)
    source = source_of(np.where(rng.random((7, 11, 13)) < 0.5, -1000, 60))
    image, _ = scan(source, {}, grid_of(source), rng, QUIET)
    assert image.array.min() >= -1000
    assert image.array.max() <= 60
    assert -900 < image.array.mean() < 0


def test_beyond_the_source_there_is_air():
    source = source_of(np.full((5, 10, 12), 40.0))
    weights = {0: np.zeros((5, 10, 12), np.float32), 6: np.ones((5, 10, 12), np.float32)}
    grid = grid_of(source, (6, 64, 64), reach=4.0)
    image, labels = scan(source, weights, grid, np.random.default_rng(0), (20.0, 20.0))
    outside = [(at < -0.5) | (at > n - 0.5) for at, n in zip(grid.positions[1:], (10, 12), strict=True)]
    outside = outside[0][:, None] | outside[1]
    assert 0.5 < outside.mean() < 0.9
    assert (image.array[:, outside] == AIR_HU).all()
    assert (labels.array[:, outside] == 0).all()
    assert (labels.array[:, ~outside] == 6).all()
    assert image.array[:, ~outside].mean() == pytest.approx(40, abs=1)


def test_outlines_are_smooth():
    """A ball's outline on the fine grid is nearer to the ball than voxels of the source can be."""
    shape = np.array([16, 22, 32])
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    middle, radius = (shape - 1) / 2 + (0.2, -0.3, 0.1), 20.0  # mm
    # Shares of voxels, counted on points within each, as structure_weights gives them but for rounding.
    points = np.stack(np.meshgrid(*[np.linspace(-0.4, 0.4, 5)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = [np.linalg.norm((index + p - middle) * SPACING, axis=-1) < radius for p in points]
    share = np.mean(inside, axis=0).astype(np.float32)
    source = source_of(np.zeros(shape))
    grid = grid_of(source, (31, 120, 120))
    _, labels = scan(source, {0: 1 - share, 4: share}, grid, np.random.default_rng(0), QUIET)
    fine = np.stack(np.meshgrid(*grid.positions, indexing="ij"), axis=-1)
    ball = np.linalg.norm((fine - middle) * SPACING, axis=-1) < radius
    blocks = share[tuple(np.rint(fine).astype(int).clip(0, shape - 1).transpose(3, 0, 1, 2))] > 0.5
    ours, nearest = (np.mean(found != ball) / ball.mean() for found in (labels.array == 4, blocks))
    assert ours < 0.04
    assert nearest > 2 * ours


def test_structures_share_the_pixels_by_vote():
    """Three slabs along x: outlines run halfway between the voxels, and background is what no one has."""
    shape = (4, 6, 12)
    weights = {number: np.zeros(shape, np.float32) for number in (0, 3, 5)}
    for number, columns in ((3, np.s_[:4]), (5, np.s_[4:8]), (0, np.s_[8:])):
        weights[number][..., columns] = 1.0
    grid = grid_of(source_of(np.zeros(shape)), (5, 10, 96))
    _, labels = scan(source_of(np.zeros(shape)), weights, grid, np.random.default_rng(0), QUIET)
    expected = np.array([3, 5, 0])[np.digitize(grid.positions[2], [3.5, 7.5])]
    near = np.abs(grid.positions[2][:, None] - [3.5, 7.5]).min(axis=1) < 0.1
    np.testing.assert_array_equal(labels.array[..., ~near], np.broadcast_to(expected[~near], (5, 10, (~near).sum())))


def test_noise_is_as_strong_as_asked_and_correlated_within_a_millimeter():
    source = source_of(np.full((4, 40, 60), 40.0))
    sigma = 15.0
    pixel = 0.5
    positions = np.arange(4) * 1.0, np.arange(200) * pixel / 3.0, np.arange(220) * pixel / 2.0
    grid = ScanGrid(positions, (4.0, pixel, pixel))
    noise = scan(source, {}, grid, np.random.default_rng(1), (sigma, sigma))[0].array - 40.0
    assert noise.std() == pytest.approx(sigma, rel=0.02)
    assert abs(noise.mean()) < 0.5

    def correlation(a, b):
        return np.corrcoef(a.ravel(), b.ravel())[0, 1]

    for millimeters, expected in ((0.5, np.exp(-0.25)), (1.0, np.exp(-1.0)), (3.0, 0.0)):
        step = round(millimeters / pixel)
        assert correlation(noise[:, step:], noise[:, :-step]) == pytest.approx(expected, abs=0.04)
        assert correlation(noise[..., step:], noise[..., :-step]) == pytest.approx(expected, abs=0.04)
    assert abs(correlation(noise[1:], noise[:-1])) < 0.02


def test_grids_of_synapse_size_lie_within_what_btcv_has():
    """For a source like the one that ships: 112 x 101 x 122 voxels of 3 mm, organs in the upper half."""
    source = Volume(np.zeros((112, 101, 122), np.int8), (3.0, 3.0, 3.0))
    slices = [*SYNAPSE_SIZE.train_slices, *SYNAPSE_SIZE.test_slices]
    pixel_sizes, ranges = [], []
    for seed, count in enumerate(slices * 3):
        grid = draw_grid(source, (56, 112), ScanSize(count), np.random.default_rng(seed))
        z, y, x = grid.positions
        assert (len(z), len(y), len(x)) == (count, 512, 512)
        assert SLICE_MM[0] - 1e-9 <= grid.spacing[0] <= SLICE_MM[1] + 1e-9
        assert 0.59 <= grid.spacing[1] == grid.spacing[2] <= 0.98
        assert FIELD_MM[0] <= 512 * grid.spacing[1] <= FIELD_MM[1]
        assert -1e-9 <= z[0] <= 56 + 1e-9
        assert z[-1] == pytest.approx(111)
        for at, voxels in ((y, 101), (x, 122)):  # the field of view holds the source's
            half_pixel = (at[1] - at[0]) / 2
            assert at[0] - half_pixel <= -0.5 + 1e-9
            assert at[-1] + half_pixel >= voxels - 0.5 - 1e-9
        for at, mm in zip(grid.positions, grid.spacing, strict=True):
            np.testing.assert_allclose(np.diff(at) * 3.0, mm, rtol=1e-6)
        pixel_sizes.append(grid.spacing[1])
        ranges.append(z[-1] - z[0])
    assert np.ptp(pixel_sizes) > 0.2
    assert np.ptp(ranges) > 30  # from the organs alone to nearly the whole scan


@pytest.mark.parametrize("count", [2, 5, 2000])
def test_numbers_of_slices_that_fit_no_usual_spacing_show_the_organs_all_the_same(count):
    source = Volume(np.zeros((40, 20, 20), np.int8), (3.0, 3.0, 3.0))
    z, _, _ = draw_grid(source, (12, 30), ScanSize(count, 32), np.random.default_rng(0)).positions
    assert len(z) == count
    assert -1e-9 <= z[0] <= 12
    assert 29 <= z[-1] <= 39 + 1e-9


def test_sizes_that_are_none(refused):
    refused(["1 slices", "at least 2"], ScanSize, 1)
    refused(["8 pixels", "16"], ScanSize, 30, 8)
