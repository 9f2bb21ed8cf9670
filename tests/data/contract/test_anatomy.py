"""The score in closed form, against least squares done the long way, organ by organ."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import minimize

from msa2net_lib.data.contract.anatomy import ORGAN_FACTS, fitted_places, misfits, scores
from msa2net_lib.data.contract.flips import FLIPS
from msa2net_lib.data.contract.shapes import CaseShapes, OrganShape
from msa2net_lib.data.labels import ORGANS


@pytest.fixture
def case():
    """Eight shapes at random, one cut at one end and one at both."""
    rng = np.random.default_rng(4)
    shapes = {}
    for label in range(1, 9):
        centroid = tuple(float(value) for value in rng.uniform(0, 100, 3))
        cut = {3: 1, 6: 2}.get(label, 0)
        shapes[label] = OrganShape(
            int(rng.integers(500, 90000)), int(rng.integers(5, 60)), 2, 70, centroid, float(rng.uniform(1, 3)), cut
        )
    return CaseShapes(80, shapes)


def long_way(case, numbering, flip):
    """Minus half of the smallest sum of squares, found numerically, minus the logarithms of the spreads."""
    letters = flip.replace("none", "")
    places, found, plane, heights, spread_sum = [], [], [], [], 0.0
    area, height, fixed = [], [], 0.0
    for label, organ in zip(sorted(case.organs), numbering, strict=True):
        shape, facts = case.organs[label], ORGAN_FACTS[ORGANS[organ]]
        spread = np.hypot(facts.area_spread, 0.4 * (shape.cut > 0))
        area.append((np.log(shape.voxels / shape.slices) - np.log(facts.volume_ml / facts.height_mm), spread))
        spread_sum += np.log(spread)
        if not shape.cut:
            height.append((np.log(shape.slices) - np.log(facts.height_mm), facts.height_spread))
            spread_sum += np.log(facts.height_spread)
        fixed += ((np.log(shape.elongation) - np.log(facts.elongation)) / facts.elongation_spread) ** 2
        spread_sum += np.log(facts.elongation_spread)
        z, y, x = shape.centroid
        y, x = (x, y) if "t" in letters else (y, x)
        found.append([-v if letter in letters else v for letter, v in (("z", z), ("y", y), ("x", x))])
        places.append(facts.place_mm)
        up = np.hypot(facts.place_spread_mm[0], 25 * shape.cut)
        heights.append(np.inf if shape.cut == 2 else up)
        plane.append(facts.place_spread_mm[1])
        spread_sum += 2 * np.log(plane[-1]) + (np.log(up) if shape.cut < 2 else 0.0)
    places, found, plane, heights = (np.array(values) for values in (places, found, plane, heights))

    def common(pairs):
        differences, spreads = np.array(pairs).T
        return (((differences - np.average(differences, weights=spreads**-2)) / spreads) ** 2).sum()

    def squares(parameters):
        scale_up, scale_plane, *offset = parameters
        fitted = found * [scale_up**2, scale_plane**2, scale_plane**2] + offset  # squared: never negative
        off = fitted - places
        return ((off[:, 0] / heights) ** 2).sum() + ((off[:, 1:] / plane[:, None]) ** 2).sum()

    starts = [(a, b, *places.mean(0)) for a in (0.1, 1.0) for b in (0.1, 1.0)]
    best = min(minimize(squares, start, method="L-BFGS-B", options={"maxiter": 2000}).fun for start in starts)
    return -(common(area) + common(height) + fixed + best) / 2 - spread_sum


@pytest.mark.parametrize("flip", ["none", "z", "ty", "txz", "xy"])
def test_scores_against_the_long_way(case, flip):
    numberings = np.array([np.arange(8), np.arange(8)[::-1], [3, 1, 4, 0, 5, 2, 6, 7]])
    found = scores(case, range(1, 9), numberings)[:, FLIPS.index(flip)]
    np.testing.assert_allclose(found, [long_way(case, numbering, flip) for numbering in numberings], atol=0.02)


def test_scores_do_not_depend_on_voxel_size_or_offset(case):
    resampled = {
        label: OrganShape(
            shape.voxels * 12,
            shape.slices * 3,
            shape.first,
            shape.last,
            (3 * shape.centroid[0] + 7, 2 * shape.centroid[1] - 5, 2 * shape.centroid[2] + 1),
            shape.elongation,
            shape.cut,
        )
        for label, shape in case.organs.items()
    }
    numberings = np.array(list(itertools.permutations(range(8)))[::997])
    one, two = (scores(shapes, range(1, 9), numberings) for shapes in (case, CaseShapes(240, resampled)))
    np.testing.assert_allclose(one, two, atol=1e-6)


def test_labels_that_are_missing_say_nothing(case):
    few = CaseShapes(80, {label: case.organs[label] for label in (1, 2, 5)})
    numberings = np.array([[0, 1, 2, 3, 4], [0, 1, 6, 7, 4]])
    found = scores(few, range(1, 6), numberings)
    np.testing.assert_array_equal(found[0], found[1])
    assert np.ptp(scores(few, [3, 4], numberings[:, :2])) == 0.0


def test_a_typical_adult_fits_perfectly():
    """An adult with the facts' own sizes, voxels of 3 x 1 x 1 mm, stored with rows and columns swapped."""
    shapes = {}
    for label, facts in enumerate(ORGAN_FACTS.values(), start=1):
        z, y, x = facts.place_mm
        slices = round(facts.height_mm / 3)
        area = facts.volume_ml * 1000 / facts.height_mm
        centroid = (z / 3 + 50, x + 200, y + 200)
        shapes[label] = OrganShape(round(area * slices), slices, 1, 90, centroid, facts.elongation, 0)
    adult = CaseShapes(100, shapes)
    organs = dict(enumerate(ORGANS, start=1))
    found = scores(adult, range(1, 9), np.array([np.arange(8)]))[0]
    assert FLIPS[int(found.argmax())] == "t"
    assert max(misfits(adult, organs, "t").values()) < 1.2  # areas are taken about their median
    for label, place in fitted_places(adult, organs, "t").items():
        np.testing.assert_allclose(place, ORGAN_FACTS[organs[label]].place_mm, atol=1e-6)


def test_facts_are_in_order_and_plausible():
    assert tuple(ORGAN_FACTS) == ORGANS
    for facts in ORGAN_FACTS.values():
        assert facts.plausible_ml[0] * 2 < facts.volume_ml < facts.plausible_ml[1] / 2
