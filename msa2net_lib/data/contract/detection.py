"""Find out from the organs which label numbering a set of volumes follows, and how it is turned.

Eight organs can be numbered in 40,320 ways, of which three are in circulation. All are scored on all volumes
together, in every orientation; a scheme is named only if it beats all other numberings clearly, a flip only if it
beats the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from msa2net_lib.data.contract.anatomy import PAIRS, fitted_places, misfits, scores
from msa2net_lib.data.contract.flips import FLIPS
from msa2net_lib.data.contract.shapes import CaseShapes
from msa2net_lib.data.labels import BTCV_IDS, ORGANS, SCHEMES
from msa2net_lib.utils.names import listed

CLEAR = 3.0
"""How far the best reading must be ahead of the next (logarithm: 3 is twenty times as likely)."""

CONTRADICTION = 10.0
"""From here on one volume speaks against a reading."""

_FLOOR = -40.0
"""No volume counts for more than this against a numbering: one odd patient must not decide for all."""

_UNCLEAR = "the organs do not tell the scheme clearly"

_POOR_FIT = (2.5, 4.0)
"""A label whose size or place is off by so many spreads may not be, and is not, that organ."""


@dataclass(frozen=True)
class Finding:
    """What the volumes say about their numbering, or about how they are turned.

    best: the scheme ("A", "B", "C", or "raw" for BTCV's 13 ids) or flip (one of ``flips.FLIPS``, which brings the
    volumes into this project's orientation); None if they do not say it clearly. reason: one sentence. evidence: lines
    for what was found. behind: reading -> by how much it falls behind the best one, which above ``limit`` contradicts
    it. odd_cases: reading -> volumes that alone contradict it. in_plane: a flip without the order of the slices.
    """

    best: str | None
    reason: str
    evidence: tuple[str, ...] = ()
    behind: Mapping[str, float] = field(default_factory=dict)
    odd_cases: Mapping[str, Sequence[str]] = field(default_factory=dict)
    limit: float = CONTRADICTION
    in_plane: str | None = None

    def against(self, reading: str) -> str | None:
        """Return what speaks against a scheme or flip, or None if the volumes can be read like that."""
        if reading not in self.behind:
            return f"{self.reason}; their values are not those of scheme {reading}"
        if odd := self.odd_cases.get(reading):
            return f"{listed(odd)} would have to be read in another way than {reading}"
        return self.reason if self.behind[reading] > self.limit else None


def scheme_organs(scheme: str) -> dict[int, str]:
    """Return label -> organ of scheme "A", "B", "C" or "raw", the eight scored organs only."""
    table = {organ: BTCV_IDS[organ] for organ in ORGANS} if scheme == "raw" else SCHEMES[scheme]
    return {label: organ for organ, label in sorted(table.items(), key=lambda item: item[1])}


def detect_scheme(cases: Mapping[str, CaseShapes]) -> Finding:
    """Find the scheme of volumes measured with their stored labels (name -> shapes).

    It does not matter how the volumes are turned or mirrored, nor how large their voxels are; organs may be
    missing or cut off. Labels above 8 can only be BTCV's 13 raw ids.
    """
    values = sorted({label for case in cases.values() for label in case.organs})
    if not values:
        return Finding(None, "no volume has any label")
    if values[-1] > max(BTCV_IDS.values()):
        return Finding(None, f"labels go up to {values[-1]}, no known scheme beyond {max(BTCV_IDS.values())}")
    candidates = ("raw",) if values[-1] > len(ORGANS) else tuple(SCHEMES)
    tables = {scheme: scheme_organs(scheme) for scheme in candidates}
    labels = [label for label in values if label in tables[candidates[0]]]
    if not labels:
        return Finding(None, f"labels {listed(values)} hold none of the eight organs of BTCV's numbering")
    numberings = _numberings(len(labels))
    rows = {
        scheme: int(np.flatnonzero((numberings == [ORGANS.index(table[label]) for label in labels]).all(axis=1))[0])
        for scheme, table in tables.items()
    }
    total, alone = np.zeros((len(FLIPS), len(numberings))).T, {}
    for name, case in cases.items():
        if case.organs:
            found = scores(case, labels, numberings)
            total += np.maximum(found - found.max(), _FLOOR)
            alone[name] = {scheme: float(found[row].max()) for scheme, row in rows.items()}
    best = total.max(axis=1)
    behind = {scheme: float(best.max() - best[row]) for scheme, row in rows.items()}
    finding = Finding(None, "", (), behind, _odd(alone), _limit(len(cases)))

    first, second = np.argsort(-best)[:2]
    named = [scheme for scheme, row in rows.items() if row == first]
    scheme = named[0] if named else min(behind, key=lambda scheme: behind[scheme])
    odd = finding.odd_cases[scheme]
    if len(named) > 1:
        reason = f"labels {listed(labels)} mean the same in {' and '.join(named)}, and there are no others"
    elif not named:
        unlike = "none of the schemes fits" if behind[scheme] > finding.limit else _UNCLEAR
        reason = f"{unlike}: closest is {scheme}, but {_differences(numberings[first], labels, tables[scheme])}"
    elif odd:
        reason = f"the volumes contradict each other: most follow {scheme}, {listed(odd)} another scheme"
    elif best[first] - best[second] < CLEAR:
        doubts = _differences(numberings[second], labels, tables[scheme])
        reason = f"{_UNCLEAR}: {scheme} is likeliest, but perhaps {doubts}"
    else:
        flip = FLIPS[int(total[first].argmax())]
        reason, misfit = _unlike(cases, tables[scheme], flip)
        if misfit <= _POOR_FIT[0]:
            reason = f"scheme {scheme} fits best of all ways to number {len(labels)} organs"
            evidence = tuple(_label_evidence(cases, tables[scheme], flip, scheme))
            return replace(finding, best=scheme, reason=reason, evidence=evidence)
        if misfit > _POOR_FIT[1]:
            finding = replace(finding, behind=dict.fromkeys(behind, np.inf))
    return replace(finding, reason=reason)


def detect_orientation(cases: Mapping[str, CaseShapes], organs: Mapping[int, str]) -> Finding:
    """Find the flip of volumes (name -> shapes) whose labels mean ``organs`` (label -> name).

    The spleen and the left kidney lie to the left of the liver and the right kidney, the kidneys and the aorta behind
    stomach and liver, the liver and the spleen above the kidneys. Organs other than the eight of
    ``labels.ORGANS`` are left out. All volumes are taken to be turned alike.
    """
    known = {label: organ for label, organ in organs.items() if organ in ORGANS}
    having = {name: case for name, case in cases.items() if any(label in case.organs for label in known)}
    if not having:
        return Finding(None, "there is no organ to tell it from", behind=dict.fromkeys(FLIPS, 0.0))
    numbering = np.array([[ORGANS.index(organ) for organ in known.values()]])
    found = {
        name: dict(zip(FLIPS, scores(case, list(known), numbering)[0], strict=True)) for name, case in having.items()
    }
    total = {flip: sum(score[flip] for score in found.values()) for flip in FLIPS}
    best = max(total, key=lambda flip: total[flip])
    behind = {flip: float(total[best] - total[flip]) for flip in FLIPS}
    evidence = tuple(_place_evidence(having, known, best))
    finding = Finding(None, "", evidence, behind, _odd(found), _limit(len(having)))
    in_plane = best.replace("z", "") or "none"
    if odd := finding.odd_cases[best]:
        return replace(finding, reason=f"the volumes are not all turned alike: {listed(odd)} differ from the others")
    if min(behind[flip] for flip in FLIPS if (flip.replace("z", "") or "none") != in_plane) < CLEAR:
        return replace(finding, reason="the organs do not tell the orientation clearly")
    if min(behind[flip] for flip in FLIPS if ("z" in flip) != ("z" in best)) < CLEAR:
        unclear = "whether the slices go up or down the organs do not tell"
        return replace(finding, reason=f"rows and columns need {_named(in_plane)}; {unclear}", in_plane=in_plane)
    return replace(finding, best=best, reason=f"the volumes need {_named(best)}", in_plane=in_plane)


@cache
def _numberings(labels: int) -> NDArray[np.int64]:
    """All ways to take so many labels for different organs: one row each, indices in ``ORGANS``."""
    return np.array(list(permutations(range(len(ORGANS)), labels)))


def _limit(volumes: int) -> float:
    """From where on volumes together speak against a reading: more where small deviations add up."""
    return max(CONTRADICTION, CLEAR * volumes)


def _odd(scored: Mapping[str, Mapping[str, float]]) -> dict[str, list[str]]:
    """Return reading -> volumes that alone contradict it, from the scores of each volume."""
    odd: dict[str, list[str]] = {reading: [] for score in scored.values() for reading in score}
    for name, score in scored.items():
        for reading in odd:
            if max(score.values()) - score[reading] > CONTRADICTION:
                odd[reading].append(name)
    return odd


def _differences(numbering: NDArray[np.int64], labels: Sequence[int], table: Mapping[int, str]) -> str:
    other = {label: ORGANS[index] for label, index in zip(labels, numbering, strict=True)}
    parts = [f"label {label} is rather the {organ}" for label, organ in other.items() if organ != table[label]]
    return ", ".join(parts[:3]) + (", ..." if len(parts) > 3 else "")


def _unlike(cases: Mapping[str, CaseShapes], table: Mapping[int, str], flip: str) -> tuple[str, float]:
    """Say which label looks least like its organ, and by how many spreads it is off: the median of the volumes."""
    found: dict[int, list[float]] = {}
    for case in cases.values():
        for label, misfit in misfits(case, table, flip).items():
            found.setdefault(label, []).append(misfit)
    medians = {label: float(np.median(values)) for label, values in found.items()}
    worst = max(medians, key=lambda label: medians[label])
    return f"label {worst} would be the {table[worst]}, but does not look like it in size and place", medians[worst]


def _label_evidence(cases: Mapping[str, CaseShapes], table: Mapping[int, str], flip: str, scheme: str) -> list[str]:
    """Describe each label in words, medians over the volumes that have it."""
    reference = next((label for label, organ in table.items() if organ == "liver"), 0)
    places = [fitted_places(case, table, flip) for case in cases.values() if case.organs]
    lines = []
    for label, organ in table.items():
        having = [case for case in cases.values() if label in case.organs]
        if not having:
            continue
        share = np.median([case.organs[label].slices / _labeled_slices(case) for case in having])
        elongation = np.median([case.organs[label].elongation for case in having])
        if elongation < 1.3:
            words = ["tubular" if share > 0.6 else "round"]
        else:
            words = ["oval" if elongation < 1.8 else "long"]
        sizes = [
            case.organs[label].voxels / case.organs[reference].voxels for case in having if reference in case.organs
        ]
        if label != reference and sizes:
            words.append(f"{100 * np.median(sizes):.0f} % of the liver")
        words.append(f"in {100 * share:.0f} % of slices")
        # As seen from the aorta; within 25 mm is the middle.
        _, back, left = np.median([place[label] for place in places if label in place], axis=0)
        side = "left" if left > 25 else "right" if left < -25 else "in the middle"
        depth = " at the back" if back > 15 else " in front" if back < -15 else ""
        lines.append(f"label {label} is {', '.join([*words, side + depth])}: {organ} in {scheme}")
    return lines


def _labeled_slices(case: CaseShapes) -> int:
    shapes = case.organs.values()
    return max(shape.last for shape in shapes) - min(shape.first for shape in shapes) + 1


def _place_evidence(cases: Mapping[str, CaseShapes], organs: Mapping[int, str], flip: str) -> list[str]:
    """Count in how many volumes pairs of organs lie as they should, read with ``flip``."""
    labels = {organ: label for label, organ in organs.items()}
    columns = {"z": 0, "y": 2 if "t" in flip else 1, "x": 1 if "t" in flip else 2}
    lines = []
    for one, other, relation, axis in PAIRS:
        pair = [labels.get(organ) for organ in (one, other)]
        shapes = [[case.organs[label] for label in pair if label in case.organs] for case in cases.values()]
        # Along z, the centroid of an organ that is cut at both ends is the slab's.
        shapes = [both for both in shapes if len(both) == 2 and (axis != "z" or all(shape.cut < 2 for shape in both))]
        sign = -1 if axis in flip else 1
        # Up, back and left are all where the index grows.
        right = sum(sign * (a.centroid[columns[axis]] - b.centroid[columns[axis]]) > 0 for a, b in shapes)
        if shapes:
            lines.append(f"read with {_named(flip)}, the {one} is {relation} the {other} in {right} of {len(shapes)}")
    return lines


def _named(flip: str) -> str:
    return "no flip" if flip == "none" else f"flip {flip}"
