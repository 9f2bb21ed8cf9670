"""The field of one logit: of linear networks it is their kernel, and circles hold what arithmetic says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from msa2net_lib import MSA2Net
from msa2net_lib.analysis.network_field import holding_radius, logit_field
from msa2net_lib.errors import InputError


def test_of_a_convolution_it_is_the_kernel():
    """Correlation puts kernel tap (i, j) at offset (i - 1, j - 1) from the pixel; two input channels add up."""
    layer = nn.Conv2d(2, 3, 3, padding=1)
    field = logit_field(layer, torch.randn(4, 2, 8, 9), (3, 5), 2)
    expected = np.zeros((8, 9), np.float32)
    expected[2:5, 4:7] = layer.weight[2].detach().abs().sum(dim=0).numpy()
    np.testing.assert_allclose(field, expected, rtol=1e-6)


def test_the_mean_is_over_images_and_of_absolute_values():
    """d(x^2)/dx = 2x: two images of opposite sign must not cancel."""
    images = torch.tensor([3.0, -1.0])[:, None, None, None].expand(2, 1, 4, 4)
    field = logit_field(lambda x: x**2, images, (1, 2), 0)
    assert field[1, 2] == 4
    assert field.sum() == 4


def test_a_small_change_of_the_image_moves_the_logit_as_the_field_says():
    torch.manual_seed(0)
    network = MSA2Net.from_preset("tiny", image_size=64).double().eval()
    image, step = torch.randn(1, 1, 64, 64, dtype=torch.float64), 1e-5
    field = logit_field(network, image, (30, 20), 3)
    for row, column in ((30, 20), (2, 60)):
        moved = image.clone()
        moved[..., row, column] += step
        with torch.no_grad():
            change = abs(network(moved)[0, 3, 30, 20] - network(image)[0, 3, 30, 20]) / step
        assert field[row, column] == pytest.approx(float(change), rel=2e-3)


def test_circles_by_hand():
    field = np.zeros((9, 9))
    field[4, 4], field[4, 6], field[1, 4] = 5, 3, 2
    for share, radius in ((0.5, 0), (0.51, 2), (0.8, 2), (0.81, 3), (1.0, 3)):
        assert holding_radius(field, (4, 4), share) == radius
    assert holding_radius(field, (4, 4), 1.0, spacing=(0.5, 2.0)) == 4.0


def test_a_gaussian_holds_half_within_its_known_radius():
    """A round Gaussian of sigma s holds half of itself within s * sqrt(2 ln 2), 95 % within s * sqrt(2 ln 20)."""
    rows, columns = np.indices((101, 101)) - 50
    field = np.exp(-(rows**2 + columns**2) / (2 * 8.0**2))
    assert holding_radius(field, (50, 50), 0.5) == pytest.approx(8 * np.sqrt(2 * np.log(2)), abs=0.3)
    assert holding_radius(field, (50, 50), 0.95) == pytest.approx(8 * np.sqrt(2 * np.log(20)), abs=0.3)


def test_what_is_not_there_is_named():
    layer = nn.Conv2d(1, 3, 1)
    with pytest.raises(InputError, match=r"class 3, pixel \(0, 0\): there are 3 maps of 4 x 5"):
        logit_field(layer, torch.zeros(1, 1, 4, 5), (0, 0), 3)
    with pytest.raises(InputError, match=r"pixel \(4, 0\)"):
        logit_field(layer, torch.zeros(1, 1, 4, 5), (4, 0), 0)
    with pytest.raises(InputError, match=r"share=0: give a share in \(0, 1\]"):
        holding_radius(np.ones((3, 3)), (1, 1), 0)
