"""Judging heat maps: shares and peaks by hand, correlation and SSIM against other libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest
import skimage.metrics
from scipy.stats import pearsonr, rankdata

from msa2net_lib.analysis.saliency import (
    edge_map,
    pointing,
    rank_correlation,
    share_inside,
    structural_similarity,
)
from msa2net_lib.errors import InputError

MASK = np.zeros((4, 6), bool)
MASK[1:3, 2:5] = True


def test_share_of_the_heat_by_hand():
    heat = np.zeros((4, 6))
    heat[1, 2], heat[0, 0], heat[3, 5] = 3, 1, -7
    assert share_inside(heat, MASK) == 0.75
    assert share_inside(np.ones((4, 6)), MASK) == MASK.mean()
    assert math.isnan(share_inside(-np.ones((4, 6)), MASK))


def test_the_peak_points_or_misses_and_ties_are_luck():
    heat = np.zeros((4, 6))
    heat[2, 4] = 2
    assert pointing(heat, MASK) == 1
    heat[3, 4] = 2.5
    assert pointing(heat, MASK) == 0
    heat[1, 2] = 2.5
    assert pointing(heat, MASK) == 0.5
    assert pointing(np.ones((4, 6)), MASK) == MASK.mean()
    assert math.isnan(pointing(np.zeros((4, 6)), MASK))


def test_ranks_only():
    rng = np.random.default_rng(3)
    one, other = rng.random((9, 7)), rng.random((9, 7))
    expected = pearsonr(rankdata(one), rankdata(other)).statistic  # pyright: ignore[reportAttributeAccessIssue]
    assert rank_correlation(one, other) == pytest.approx(expected, abs=1e-12)
    assert rank_correlation(one, np.exp(5 * one)) == pytest.approx(1)
    assert rank_correlation(one, -one) == pytest.approx(-1)
    assert math.isnan(rank_correlation(one, np.zeros((9, 7))))


def test_ssim_against_scikit_image():
    rng = np.random.default_rng(4)
    one = rng.random((40, 33))
    for other in (one + 0.3 * rng.random((40, 33)), rng.random((40, 33)), 1 - one):
        stretched = [(values - values.min()) / np.ptp(values) for values in (one, other)]
        # truncate: scikit-image's window is then 11 pixels wide as well.
        expected = skimage.metrics.structural_similarity(
            *stretched, gaussian_weights=True, use_sample_covariance=False, data_range=1.0
        )
        assert structural_similarity(one, other) == pytest.approx(expected, abs=2e-3)
    assert structural_similarity(one, 5 + 2 * one) == pytest.approx(1, abs=1e-9)


def test_edges_lie_on_the_edge():
    image = np.zeros((10, 12))
    image[:, 6:] = 1
    edges = edge_map(image)
    assert set(np.argwhere(edges > 0)[:, 1]) == {5, 6}
    np.testing.assert_allclose(edge_map(image.T).T, edges)
    assert not edge_map(np.full((5, 5), 0.7)).any()


def test_maps_of_other_shapes_are_refused():
    for function in (share_inside, pointing, rank_correlation, structural_similarity):
        with pytest.raises(InputError, match=r"maps of shapes \(4, 6\) and \(6, 4\)"):
            function(np.ones((4, 6)), np.ones((6, 4)))
    with pytest.raises(InputError, match="SSIM needs at least 11 x 11"):
        structural_similarity(np.ones((4, 6)), np.ones((4, 6)))
