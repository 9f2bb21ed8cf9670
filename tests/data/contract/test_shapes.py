"""Measured shapes, against arithmetic on boxes and scipy on random blobs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from msa2net_lib.data.contract.shapes import ShapeCounter, measure


def test_a_box():
    label = np.zeros((10, 30, 40), np.uint8)
    label[2:6, 5:9, 10:30] = 7  # 4 slices of 4 x 20 pixels
    shape = measure(label).organs[7]
    assert (shape.voxels, shape.slices, shape.first, shape.last, shape.cut) == (320, 4, 2, 5, 0)
    assert shape.centroid == (3.5, 6.5, 19.5)
    assert shape.elongation == pytest.approx(5.0)  # sides 4 and 20


def test_organs_that_touch_the_ends():
    label = np.zeros((5, 8, 8), np.uint8)
    label[0:2, 2:4, 2:4], label[:, 6, 6], label[4, 0, 0] = 1, 2, 3
    case = measure(label)
    assert case.slices == 5
    assert {organ: shape.cut for organ, shape in case.organs.items()} == {1: 1, 2: 2, 3: 1}


def test_elongation_does_not_depend_on_direction():
    y, x = np.mgrid[-40:41, -40:41]
    label = np.zeros((3, 81, 81), np.uint8)
    label[1] = ((y + x) / 2) ** 2 + ((y - x) / 2 * 3) ** 2 < 18**2  # an ellipse at 45 degrees, axes 1 to 3
    assert measure(label).organs[1].elongation == pytest.approx(3.0, rel=0.03)


def test_against_scipy():
    label = np.random.default_rng(3).integers(0, 14, (6, 17, 19)).astype(np.uint8)
    case = measure(label)
    assert sorted(case.organs) == list(range(1, 14))
    for organ, shape in case.organs.items():
        assert shape.voxels == np.count_nonzero(label == organ)
        np.testing.assert_allclose(shape.centroid, ndimage.center_of_mass(label == organ))


def test_no_slice_and_no_label():
    assert ShapeCounter().shapes().organs == {}
    assert measure(np.zeros((4, 5, 6), np.uint8)).organs == {}
