"""Find out which label numbering a set of volumes follows, from the organs' sizes, shapes and places.

Eight organs can be numbered in 40,320 ways, of which three are in circulation. All are scored on all volumes
together, in every orientation; a scheme is named only if it beats all other numberings clearly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from msa2net_lib.data.contract.anatomical_fit import fitted_places, misfits, scores
from msa2net_lib.data.contract.flips import FLIPS
from msa2net_lib.data.contract.organ_shapes import CaseShapes
from msa2net_lib.data.labels import BTCV_IDS, ORGANS, SCHEMES

CLEAR = 3.0
"""How far the best numbering must be ahead of the next (logarithm: 3 is twenty times as likely)."""

CONTRADICTION = 10.0
"""From here on one volume speaks against a reading."""

_FLOOR = -40.0
"""No volume counts for more than this against a numbering: one odd patient must not decide for all."""

_POOR_FIT = (2.5, 4.0)
"""A label whose size or place is off by so many spreads may not be, and is not, that organ."""


def contradiction(volumes: int) -> float:
    """From where on volumes together speak against a reading: more where small deviations add up."""
    return max(CONTRADICTION, CLEAR * volumes)


@dataclass(frozen=True)
class SchemeFinding:
    """What the volumes say about their numbering.

    scheme: "A", "B", "C", "raw" (BTCV's 13 ids), or None if they do not say it clearly. reason: one sentence.
    evidence: one line per label, for the scheme found. behind: scheme -> by how much it falls behind the best
    numbering, which above ``limit`` contradicts it. odd_cases: scheme -> volumes that alone contradict it.
    """

    scheme: str | None
    reason: str
    evidence: tuple[str, ...] = ()
    behind: Mapping[str, float] = field(default_factory=dict)
    odd_cases: Mapping[str, Sequence[str]] = field(default_factory=dict)
    limit: float = CONTRADICTION

    def against(self, scheme: str) -> str | None:
        """Return what speaks against ``scheme``, or None if the volumes can be read like that."""
        if scheme not in self.behind:
            return f"{self.reason}; their values are not those of scheme {scheme}"
        if odd := self.odd_cases.get(scheme):
            return f"{listed(odd)} would follow another scheme than {scheme}"
        return self.reason if self.behind[scheme] > self.limit else None


def scheme_organs(scheme: str) -> dict[int, str]:
    """Return label -> organ of scheme "A", "B", "C" or "raw", the eight scored organs only."""
    table = {organ: BTCV_IDS[organ] for organ in ORGANS} if scheme == "raw" else SCHEMES[scheme]
    return {label: organ for organ, label in sorted(table.items(), key=lambda item: item[1])}


def detect_scheme(cases: Mapping[str, CaseShapes]) -> SchemeFinding:
    """Find the scheme of volumes measured with their stored labels (name -> shapes).

    It does not matter how the volumes are turned or mirrored, nor how large their voxels are; organs may be
    missing or cut off. Labels above 8 can only be BTCV's 13 raw ids.
    """
    values = sorted({label for case in cases.values() for label in case.organs})
    if not values:
        return SchemeFinding(None, "no volume has any label")
    if values[-1] > max(BTCV_IDS.values()):
        return SchemeFinding(None, f"labels go up to {values[-1]}, no known scheme beyond {max(BTCV_IDS.values())}")
    candidates = ("raw",) if values[-1] > len(ORGANS) else tuple(SCHEMES)
    tables = {scheme: scheme_organs(scheme) for scheme in candidates}
    labels = [label for label in values if label in tables[candidates[0]]]
    if not labels:
        return SchemeFinding(None, f"labels {listed(values)} hold none of the eight organs of BTCV's numbering")
    numberings = _numberings(len(labels))
    rows = {
        scheme: _row(numberings, [ORGANS.index(table[label]) for label in labels]) for scheme, table in tables.items()
    }
    total, odd = _pooled(cases, labels, numberings, rows)
    best = total.max(axis=1)
    behind = {scheme: float(best.max() - best[row]) for scheme, row in rows.items()}
    limit = contradiction(len(cases))
    scheme, reason = _decide(best, rows, behind, odd, numberings, labels, tables, limit)
    if scheme is None:
        return SchemeFinding(None, reason, (), behind, odd, limit)
    flip = FLIPS[int(total[rows[scheme]].argmax())]
    unlike, misfit = _unlike(cases, tables[scheme], flip)
    if misfit > _POOR_FIT[0]:
        behind = dict.fromkeys(behind, np.inf) if misfit > _POOR_FIT[1] else behind
        return SchemeFinding(None, unlike, (), behind, odd, limit)
    return SchemeFinding(scheme, reason, tuple(_evidence(cases, tables[scheme], flip, scheme)), behind, odd, limit)


@cache
def _numberings(labels: int) -> NDArray[np.int64]:
    """All ways to take so many labels for different organs: one row each, indices in ``ORGANS``."""
    return np.array(list(permutations(range(len(ORGANS)), labels)))


def _row(numberings: NDArray[np.int64], numbering: Sequence[int]) -> int:
    return int(np.flatnonzero((numberings == numbering).all(axis=1))[0])


def _pooled(
    cases: Mapping[str, CaseShapes], labels: Sequence[int], numberings: NDArray[np.int64], rows: Mapping[str, int]
) -> tuple[NDArray[np.float64], dict[str, list[str]]]:
    """Return the sum of all volumes' scores (numberings, 16), and scheme -> volumes that prefer another scheme."""
    total = np.zeros((len(numberings), len(FLIPS)))
    odd: dict[str, list[str]] = {scheme: [] for scheme in rows}
    for name, case in cases.items():
        if not case.organs:
            continue
        found = scores(case, labels, numberings)
        total += np.maximum(found - found.max(), _FLOOR)
        alone = {scheme: found[row].max() for scheme, row in rows.items()}
        for scheme in rows:
            if max(alone.values()) - alone[scheme] > CONTRADICTION:
                odd[scheme].append(name)
    return total, odd


def _decide(
    best: NDArray[np.float64],
    rows: Mapping[str, int],
    behind: Mapping[str, float],
    odd: Mapping[str, Sequence[str]],
    numberings: NDArray[np.int64],
    labels: Sequence[int],
    tables: Mapping[str, Mapping[int, str]],
    limit: float,
) -> tuple[str | None, str]:
    """Return the scheme, if there is a clear one, and the reason for this decision."""
    order = np.argsort(-best)[:2]
    winner = int(order[0])
    ahead = float(best[order[0]] - best[order[1]]) if len(order) > 1 else np.inf
    named = [scheme for scheme, row in rows.items() if row == winner]
    if len(named) > 1:
        return None, f"labels {listed(labels)} mean the same in {' and '.join(named)}, and there are no others"
    closest = min(behind, key=lambda scheme: behind[scheme])
    if not named:
        doubts = _differences(numberings[winner], labels, tables[closest])
        unlike = "none of the schemes fits" if behind[closest] > limit else "the organs do not tell the scheme clearly"
        return None, f"{unlike}: closest is {closest}, but {doubts}"
    scheme = named[0]
    if odd[scheme]:
        return None, f"the volumes contradict each other: most follow {scheme}, {listed(odd[scheme])} another scheme"
    if ahead < CLEAR:
        doubts = _differences(numberings[int(order[1])], labels, tables[scheme])
        return None, f"the organs do not tell the scheme clearly: {scheme} is likeliest, but perhaps {doubts}"
    return scheme, f"scheme {scheme} fits best of all ways to number {len(labels)} organs"


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


def _evidence(cases: Mapping[str, CaseShapes], table: Mapping[int, str], flip: str, scheme: str) -> list[str]:
    """Describe each label in words, medians over the volumes that have it."""
    reference = next((label for label, organ in table.items() if organ == "liver"), 0)
    places = [fitted_places(case, table, flip) for case in cases.values() if case.organs]
    lines = []
    for label, organ in table.items():
        having = [case for case in cases.values() if label in case.organs]
        if not having:
            continue
        words = []
        shares = [case.organs[label].slices / _labeled_slices(case) for case in having]
        words.append(_form(float(np.median([c.organs[label].elongation for c in having])), float(np.median(shares))))
        sizes = [c.organs[label].voxels / c.organs[reference].voxels for c in having if reference in c.organs]
        if label != reference and sizes:
            words.append(f"{100 * np.median(sizes):.0f} % of the liver")
        words.append(f"in {100 * np.median(shares):.0f} % of slices")
        words.append(_place(np.median([place[label] for place in places if label in place], axis=0)))
        lines.append(f"label {label} is {', '.join(words)}: {organ} in {scheme}")
    return lines


def _labeled_slices(case: CaseShapes) -> int:
    shapes = case.organs.values()
    return max(shape.last for shape in shapes) - min(shape.first for shape in shapes) + 1


def _form(elongation: float, share: float) -> str:
    if elongation < 1.3:
        return "tubular" if share > 0.6 else "round"
    return "oval" if elongation < 1.8 else "long"


def _place(place: NDArray[np.float64]) -> str:
    """Say where, as seen from the aorta; within 25 mm is the middle."""
    _, back, left = place
    side = "left" if left > 25 else "right" if left < -25 else "in the middle"
    depth = "at the back" if back > 15 else "in front" if back < -15 else ""
    return f"{side} {depth}".strip()


def listed(names: Sequence[object]) -> str:
    shown = ", ".join(str(name) for name in names[:4])
    return shown + (f" and {len(names) - 4} more" if len(names) > 4 else "")
