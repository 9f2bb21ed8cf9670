"""How well measured shapes fit an anatomy, for every numbering of the organs and every orientation.

The pixel size and the distance of slices are unknown: areas, heights and places are compared up to a factor,
which is fitted to each volume. A score is a logarithm of a likelihood up to a constant: a difference of 3 makes
one reading twenty times as likely as another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from msa2net_lib.data.contract.anatomy import ORGAN_FACTS
from msa2net_lib.data.contract.flips import FLIPS, letters_of
from msa2net_lib.data.contract.organ_shapes import CaseShapes
from msa2net_lib.data.labels import ORGANS

_FACTS = [ORGAN_FACTS[organ] for organ in ORGANS]
_LOG_AREA = np.log([facts.volume_ml / facts.height_mm for facts in _FACTS])
_LOG_HEIGHT = np.log([facts.height_mm for facts in _FACTS])
_LOG_ELONGATION = np.log([facts.elongation for facts in _FACTS])
_PLACE = np.array([facts.place_mm for facts in _FACTS], dtype=float)
_PLACE_SPREAD = np.array([facts.place_spread_mm for facts in _FACTS], dtype=float)
_AREA_SPREAD, _HEIGHT_SPREAD, _ELONGATION_SPREAD = np.array(
    [(facts.area_spread, facts.height_spread, facts.elongation_spread) for facts in _FACTS]
).T
_CUT_AREA = 0.4
"""Further spread of the (logarithmic) area of an organ that is cut off by the end of the scan."""
_CUT_MM = 25.0
"""Further spread in height of the centroid of such an organ."""
_SUMS = 25
_AREA, _HEIGHT, _FORM, _SPREADS, _UP, _PLANE = slice(0, 3), slice(3, 6), 6, 7, slice(8, 14), slice(14, 25)
"""Where in the sums each part is: three moments, three, one, one, six of the heights, eleven of the places."""


def scores(case: CaseShapes, labels: Sequence[int], numberings: NDArray[np.int64]) -> NDArray[np.float64]:
    """Score numberings of one volume in every orientation: (numberings, 16), orientations as in ``FLIPS``.

    numberings (N, len(labels)): for each label, the index in ``ORGANS`` of the organ it is taken for. Labels
    that the volume lacks say nothing.
    """
    sums = np.zeros((_SUMS, len(numberings)))
    for index, label in enumerate(labels):
        if label in case.organs:
            table = np.ascontiguousarray(_sums_of(case, label).T)
            sums += np.take(table, np.ascontiguousarray(numberings[:, index]), axis=1)
    return _closed_form(sums)


def fitted_places(case: CaseShapes, organs: Mapping[int, str], flip: str) -> dict[int, NDArray[np.float64]]:
    """Return label -> where its organ lies, (z, y, x) in mm as in ``OrganFacts.place_mm``, sizes as fitted."""
    present = [label for label in organs if label in case.organs]
    if not present:
        return {}
    found = _centroids(case, present)
    turned = found[:, [0, 2, 1]] if "t" in flip else found
    turned = turned * [-1.0 if letter in letters_of(flip) else 1.0 for letter in "zyx"]
    index = [ORGANS.index(organs[label]) for label in present]
    places, spreads = _PLACE[index], _PLACE_SPREAD[index]
    fitted = np.empty_like(turned)
    for axes, column in (([0], 0), ([1, 2], 1)):
        weight = (1 / spreads[:, column] ** 2)[:, None]
        here, there = (
            array[:, axes] - np.average(array[:, axes], axis=0, weights=weight[:, 0]) for array in (turned, places)
        )
        scale = max(0.0, float((weight * here * there).sum())) / max(float((weight * here**2).sum()), 1e-9)
        fitted[:, axes] = scale * here + np.average(places[:, axes], axis=0, weights=weight[:, 0])
    return dict(zip(present, fitted, strict=True))


def misfits(case: CaseShapes, organs: Mapping[int, str], flip: str) -> dict[int, float]:
    """Return label -> by how many spreads its area or its place is off, whichever is worse."""
    places = fitted_places(case, organs, flip)
    if not places:
        return {}
    index = [ORGANS.index(organs[label]) for label in places]
    cut = np.array([case.organs[label].cut > 0 for label in places])
    area = np.log([case.organs[label].voxels / case.organs[label].slices for label in places]) - _LOG_AREA[index]
    spread = np.hypot(_AREA_SPREAD[index], _CUT_AREA * cut)
    area = np.abs(area - np.median(area)) / spread
    off = np.array(list(places.values())) - _PLACE[index]
    place = np.hypot(off[:, 1], off[:, 2]) / _PLACE_SPREAD[index, 1]
    return {label: float(max(a, p)) for label, a, p in zip(places, area, place, strict=True)}


def _centroids(case: CaseShapes, labels: Sequence[int]) -> NDArray[np.float64]:
    return np.array([case.organs[label].centroid for label in labels], dtype=float).reshape(-1, 3)


def _sums_of(case: CaseShapes, label: int) -> NDArray[np.float64]:
    """What one label adds to the sums, (8, 25): one row for each organ that it may be."""
    sums = np.zeros((len(ORGANS), _SUMS))
    shape = case.organs[label]
    # Any fixed point will do as origin; the middle of the labels keeps rounding small.
    z, row, column = shape.centroid - np.mean(_centroids(case, list(case.organs)), axis=0)
    area_spread = np.hypot(_AREA_SPREAD, _CUT_AREA if shape.cut else 0.0)
    sums[:, _AREA] = _moments(np.log(shape.voxels / shape.slices) - _LOG_AREA, area_spread)
    spreads = np.log(area_spread) + np.log(_ELONGATION_SPREAD) + 2 * np.log(_PLACE_SPREAD[:, 1])
    if not shape.cut:
        sums[:, _HEIGHT] = _moments(np.log(shape.slices) - _LOG_HEIGHT, _HEIGHT_SPREAD)
        spreads += np.log(_HEIGHT_SPREAD)
    sums[:, _FORM] = ((np.log(shape.elongation) - _LOG_ELONGATION) / _ELONGATION_SPREAD) ** 2
    up, back, left = _PLACE.T
    if shape.cut < 2:  # cut at both ends, it is the slab's middle that is measured
        spread = np.hypot(_PLACE_SPREAD[:, 0], _CUT_MM * shape.cut)
        weight = 1 / spread**2
        sums[:, _UP] = (weight[:, None]) * np.stack(
            [np.ones(8), up, np.full(8, z), up**2, np.full(8, z * z), up * z], -1
        )
        spreads += np.log(spread)
    weight = 1 / _PLACE_SPREAD[:, 1] ** 2
    plane = [
        np.ones(8),
        back,
        left,
        back**2 + left**2,
        np.full(8, row),
        np.full(8, column),
        np.full(8, row**2 + column**2),
    ]
    plane += [back * row, back * column, left * row, left * column]
    sums[:, _PLANE] = weight[:, None] * np.stack(plane, -1)
    sums[:, _SPREADS] = spreads
    return sums


def _moments(differences: NDArray, spreads: NDArray) -> NDArray:
    weight = 1 / spreads**2
    return np.stack([weight, weight * differences, weight * differences**2], -1)


def _closed_form(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores (N, 16) from the sums (25, N): each unknown factor takes the value that fits best."""
    common = _about_mean(*sums[_AREA]) + _about_mean(*sums[_HEIGHT]) + sums[_FORM]
    w, p, q, pp, qq, pq = sums[_UP]
    cross = _product(pq, p, q, w)
    # A reversed axis only turns the sign of what belongs together.
    along = {sign: _residual(_about_mean(w, p, pp), _about_mean(w, q, qq), sign * cross) for sign in (1, -1)}
    w, p_back, p_left, pp, q_row, q_column, qq, *pq = sums[_PLANE]
    places = pp - _square(p_back, w) - _square(p_left, w)
    found = qq - _square(q_row, w) - _square(q_column, w)
    pairs = [(p, q) for p in (p_back, p_left) for q in (q_row, q_column)]
    back_row, back_column, left_row, left_column = (
        _product(both, *pair, w) for both, pair in zip(pq, pairs, strict=True)
    )
    result = np.empty((sums.shape[1], len(FLIPS)))
    for index, flip in enumerate(FLIPS):
        letters = letters_of(flip)
        back, left = (back_column, left_row) if "t" in letters else (back_row, left_column)
        together = (-back if "y" in letters else back) + (-left if "x" in letters else left)
        result[:, index] = common + along[-1 if "z" in letters else 1] + _residual(places, found, together)
    return -result / 2 - sums[_SPREADS, :, None]


def _square(total: NDArray, weight: NDArray) -> NDArray:
    return total**2 / np.maximum(weight, 1e-12)


def _product(both: NDArray, one: NDArray, other: NDArray, weight: NDArray) -> NDArray:
    return both - one * other / np.maximum(weight, 1e-12)


def _about_mean(weight: NDArray, first: NDArray, second: NDArray) -> NDArray:
    return second - _square(first, weight)


def _residual(places: NDArray, found: NDArray, together: NDArray) -> NDArray:
    """What is left of the places' variance after the best positive scale; none of it explained if that is 0."""
    return places - np.where(together > 0, together**2 / np.maximum(found, 1e-9), 0.0)
