"""TransUNet's augmentation against NumPy's rot90 and flip, and SciPy's rotate, which the original calls."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from msa2net_lib.data.augment.right_angles import RightAngleAugmentation, RightAngleDraws

AUGMENT = RightAngleAugmentation()


@pytest.fixture
def sample():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1, 2, 32, 32, generator=generator) * 2 - 1, torch.randint(9, (1, 32, 32), generator=generator)


def drawn(degrees, vertical=False, horizontal=False):
    return RightAngleDraws(torch.tensor([float(degrees)]), torch.tensor([[vertical, horizontal]]))


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_right_angles_and_flips_move_pixels_as_numpy_does(sample, quarters, axis):
    image, label = AUGMENT.apply(*sample, drawn(90 * quarters, axis == 0, axis == 1))
    for found, before in ((image[0], sample[0][0]), (label, sample[1])):
        expected = np.rot90(before.numpy(), quarters, axes=(1, 2))
        expected = expected if axis is None else np.flip(expected, axis + 1)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("degrees", [-20, 7, 19])
def test_small_rotations_are_scipys(sample, degrees):
    image, label = AUGMENT.apply(*sample, drawn(degrees))
    y, x = np.mgrid[:32, :32] - 15.5
    inside = np.hypot(y, x) < 15  # SciPy is black from the outermost pixels' centers on, this from their edges
    for found, before in ((label[0], sample[1][0]), (image[0, 0] + 1, sample[0][0, 0] + 1)):
        expected = ndimage.rotate(before.numpy(), degrees, order=0, reshape=False)
        assert (np.abs(found.numpy() - expected) < 1e-5)[inside].mean() > 0.99, "but where two pixels are as near"
    assert image.min() == -1


def test_half_are_turned_a_quarter_is_tilted_and_a_quarter_is_left():
    torch.manual_seed(0)
    draws = AUGMENT.draw(20000, (1, 8, 8))
    flipped, tilted = draws.flips.any(dim=1), draws.degrees.abs() <= 20
    assert flipped.float().mean() == pytest.approx(0.5, abs=0.02)
    assert (draws.flips.sum(dim=1) <= 1).all()
    angles = draws.degrees[~flipped]
    assert (angles.min(), angles.max()) == (-20, 19)
    assert (angles != 0).float().mean() == pytest.approx(0.5 * 39 / 40, abs=0.02)
    assert set(draws.degrees[flipped].tolist()) == {0.0, 90.0, 180.0, 270.0}
    assert not (tilted & flipped & (draws.degrees != 0)).any()
