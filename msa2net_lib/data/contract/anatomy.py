"""What an adult abdomen looks like, in numbers, and how well measured shapes fit it.

Facts: only good enough to tell organs, and left from right, on data that say nothing of either. Typical volumes of
liver, spleen, kidneys and pancreas: means of both sexes in E. M. Geraghty et al., Normal organ volume assessment from
abdominal CT, Abdominal Imaging 29, 2004; of the gallbladder: near the 24 ml (11 to 51) of 400 fasting adults on
ultrasound in Nigerian Journal of Basic and Clinical Sciences 13, 2016. All other numbers were set by hand for a
typical adult, with spreads wide enough for patients. So were the limits of what is plausible; they hold what was
measured in healthy adults (liver 825 to 1700 ml and spleen 81 to 322 ml in 95 % of 2989, D. W. Kim et al.,
Radiology 2021; pancreas 19 to 140 ml in 204, doi 10.1007/s00261-018-1793-8) with room for illness.

Fit: the pixel size and the distance of slices are unknown, so areas, heights and places are compared up to a factor,
which is fitted to each volume. A score is a logarithm of a likelihood up to a constant: a difference of 3 makes one
reading twenty times as likely as another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from msa2net_lib.data.contract.flips import FLIPS
from msa2net_lib.data.contract.shapes import CaseShapes
from msa2net_lib.utils.tables import read_table


@dataclass(frozen=True)
class OrganFacts:
    """One organ of a typical adult.

    volume_ml and its ``plausible_ml`` (lowest, highest; beyond them something is wrong, or someone very ill).
    height_mm: from its lowest to its highest slice. elongation: long over short axis of its cross-sections.
    place_mm: centroid (z up, y to the back, x to the patient's left); in the plane from the aorta's, in height
    from between the kidneys. Spreads, one standard deviation: ``area_spread``, ``height_spread`` and
    ``elongation_spread`` of the natural logarithm; ``place_spread_mm`` (in height, in the plane).
    """

    volume_ml: float
    plausible_ml: tuple[float, float]
    height_mm: float
    elongation: float
    place_mm: tuple[float, float, float]
    place_spread_mm: tuple[float, float]
    area_spread: float
    height_spread: float
    elongation_spread: float


ORGAN_FACTS: dict[str, OrganFacts] = {organ: OrganFacts(**facts) for organ, facts in read_table("organ_facts").items()}
"""Organ -> facts, in the order of ``labels.ORGANS``: the one table of the organs that the contract knows."""

PAIRS = (
    ("left kidney", "right kidney", "to the left of", "x"),
    ("spleen", "liver", "to the left of", "x"),
    ("left kidney", "stomach", "behind", "y"),
    ("aorta", "stomach", "behind", "y"),
    ("spleen", "left kidney", "above", "z"),
    ("liver", "right kidney", "above", "z"),
)
"""What holds in any abdomen: one organ, another, how the first lies to it, and along which axis."""

BTCV_VOXEL_MM3: tuple[float, float] = (0.54 * 0.54 * 2.5, 0.98 * 0.98 * 5.0)
"""Smallest and largest voxel of the BTCV scans, from the ranges on the challenge's page (0.54 to 0.98 mm in
the plane, 2.5 to 5.0 mm between slices): what is known where a file stores no spacing."""

_ORGANS, _FACTS = tuple(ORGAN_FACTS), ORGAN_FACTS.values()
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
_NOTHING = np.zeros((_SUMS, len(_ORGANS)))
_AREA, _HEIGHT, _FORM, _SPREADS, _UP, _PLANE = slice(0, 3), slice(3, 6), 6, 7, slice(8, 14), slice(14, 25)
"""Where in the sums each part is: three moments, three, one, one, six of the heights, eleven of the places."""


def scores(case: CaseShapes, labels: Sequence[int], numberings: NDArray[np.int64]) -> NDArray[np.float64]:
    """Score numberings of one volume in every orientation: (numberings, 16), orientations as in ``FLIPS``.

    numberings (N, len(labels)): for each label, the index in ``ORGAN_FACTS`` of the organ it is taken for. Labels
    that the volume lacks say nothing.
    """
    sums = np.zeros((_SUMS, len(numberings)))
    tables = [_sums_of(case, label).T if label in case.organs else _NOTHING for label in labels]
    for first in range(0, len(labels), 3):  # one look-up among 8 x 8 x 8 instead of three among 8
        table, index = _NOTHING[:, :1], 0
        for place, own in enumerate(tables[first : first + 3], first):
            table = (table[:, :, None] + own[:, None]).reshape(_SUMS, -1)
            index = index * len(_ORGANS) + numberings[:, place]
        sums += np.take(table, index, axis=1)
    return _closed_form(sums)


def fitted_places(case: CaseShapes, organs: Mapping[int, str], flip: str) -> dict[int, NDArray[np.float64]]:
    """Return label -> where its organ lies, (z, y, x) in mm as in ``OrganFacts.place_mm``, sizes as fitted."""
    present = [label for label in organs if label in case.organs]
    if not present:
        return {}
    found = np.array([case.organs[label].centroid for label in present])
    found = found[:, [0, 2, 1]] if "t" in flip else found
    found = found * [-1.0 if letter in flip else 1.0 for letter in "zyx"]
    index = [_ORGANS.index(organs[label]) for label in present]
    fitted = np.empty_like(found)
    for axes, spreads in (([0], _PLACE_SPREAD[index, 0]), ([1, 2], _PLACE_SPREAD[index, 1])):
        weight = 1 / spreads**2
        middle = np.average(_PLACE[index][:, axes], axis=0, weights=weight)
        there = _PLACE[index][:, axes] - middle
        here = found[:, axes] - np.average(found[:, axes], axis=0, weights=weight)
        scale = max(0.0, float(weight @ (here * there).sum(1))) / max(float(weight @ (here**2).sum(1)), 1e-9)
        fitted[:, axes] = scale * here + middle
    return dict(zip(present, fitted, strict=True))


def misfits(case: CaseShapes, organs: Mapping[int, str], flip: str) -> dict[int, float]:
    """Return label -> by how many spreads its area or its place is off, whichever is worse."""
    places = fitted_places(case, organs, flip)
    if not places:
        return {}
    index = [_ORGANS.index(organs[label]) for label in places]
    shapes = [case.organs[label] for label in places]
    area = np.log([shape.voxels / shape.slices for shape in shapes]) - _LOG_AREA[index]
    spread = np.hypot(_AREA_SPREAD[index], [_CUT_AREA * (shape.cut > 0) for shape in shapes])
    area = np.abs(area - np.median(area)) / spread
    off = np.array(list(places.values())) - _PLACE[index]
    place = np.hypot(off[:, 1], off[:, 2]) / _PLACE_SPREAD[index, 1]
    return dict(zip(places, np.maximum(area, place).tolist(), strict=True))


def _sums_of(case: CaseShapes, label: int) -> NDArray[np.float64]:
    """What one label adds to the sums, (8, 25): one row for each organ that it may be."""
    sums = np.zeros((len(_ORGANS), _SUMS))
    shape = case.organs[label]
    # Any fixed point will do as origin; the middle of the labels keeps rounding small.
    z, row, column = shape.centroid - np.mean([other.centroid for other in case.organs.values()], axis=0)
    area_spread = np.hypot(_AREA_SPREAD, _CUT_AREA if shape.cut else 0.0)
    area = np.log(shape.voxels / shape.slices) - _LOG_AREA
    sums[:, _AREA] = _weighted(area_spread, 1, area, area**2)
    spreads = np.log(area_spread) + np.log(_ELONGATION_SPREAD) + 2 * np.log(_PLACE_SPREAD[:, 1])
    if not shape.cut:
        height = np.log(shape.slices) - _LOG_HEIGHT
        sums[:, _HEIGHT] = _weighted(_HEIGHT_SPREAD, 1, height, height**2)
        spreads += np.log(_HEIGHT_SPREAD)
    sums[:, _FORM] = ((np.log(shape.elongation) - _LOG_ELONGATION) / _ELONGATION_SPREAD) ** 2
    up, back, left = _PLACE.T
    if shape.cut < 2:  # cut at both ends, it is the slab's middle that is measured
        spread = np.hypot(_PLACE_SPREAD[:, 0], _CUT_MM * shape.cut)
        sums[:, _UP] = _weighted(spread, 1, up, z, up**2, z * z, up * z)
        spreads += np.log(spread)
    plane = (1, back, left, back**2 + left**2, row, column, row**2 + column**2)
    products = (back * row, back * column, left * row, left * column)
    sums[:, _PLANE] = _weighted(_PLACE_SPREAD[:, 1], *plane, *products)
    sums[:, _SPREADS] = spreads
    return sums


def _weighted(spreads: NDArray, *terms: NDArray | float) -> NDArray:
    """Return the terms side by side, each divided by the squared spreads."""
    return np.stack([term / spreads**2 for term in terms], -1)


def _closed_form(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores (N, 16) from the sums (25, N): each unknown factor takes the value that fits best."""
    common = sums[_FORM]
    for part in (_AREA, _HEIGHT):
        w, first, second = sums[part]
        common = common + _about_means(second, first, first, w)
    w, p, q, pp, qq, pq = sums[_UP]
    places, found, cross = (_about_means(*each, w) for each in ((pp, p, p), (qq, q, q), (pq, p, q)))
    # A reversed axis only turns the sign of what belongs together.
    along = {sign: _residual(places, found, sign * cross) for sign in (1, -1)}
    w, p_back, p_left, pp, q_row, q_column, qq, *pq = sums[_PLANE]
    places = _about_means(_about_means(pp, p_back, p_back, w), p_left, p_left, w)
    found = _about_means(_about_means(qq, q_row, q_row, w), q_column, q_column, w)
    pairs = [(p, q) for p in (p_back, p_left) for q in (q_row, q_column)]
    back_row, back_column, left_row, left_column = (
        _about_means(both, *pair, w) for both, pair in zip(pq, pairs, strict=True)
    )
    result = np.empty((len(FLIPS), sums.shape[1]))
    common = in_plane = -common / 2 - sums[_SPREADS]
    for index, flip in enumerate(FLIPS):
        if "z" not in flip:  # the next is the same with z
            back, left = (back_column, left_row) if "t" in flip else (back_row, left_column)
            together = (-back if "y" in flip else back) + (-left if "x" in flip else left)
            in_plane = common - _residual(places, found, together) / 2
        result[index] = in_plane - along[-1 if "z" in flip else 1] / 2
    return result.T


def _about_means(both: NDArray, one: NDArray, other: NDArray, weight: NDArray) -> NDArray:
    """The sum of products about the two means, from the sums of the products, of each factor and of the weights."""
    return both - one * other / np.maximum(weight, 1e-12)


def _residual(places: NDArray, found: NDArray, together: NDArray) -> NDArray:
    """What is left of the places' variance after the best positive scale; none of it explained if that is 0."""
    return places - np.where(together > 0, together**2 / np.maximum(found, 1e-9), 0.0)
