"""Find out how volumes with known organs are turned: which axis and sign is left, back and up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from msa2net_lib.data.contract.anatomical_fit import scores
from msa2net_lib.data.contract.flips import FLIPS, IN_PLANE_FLIPS, letters_of
from msa2net_lib.data.contract.organ_shapes import CaseShapes
from msa2net_lib.data.contract.scheme_detection import CLEAR, CONTRADICTION, contradiction, listed
from msa2net_lib.data.labels import ORGANS

_PAIRS = (
    ("left kidney", "right kidney", "to the left of", "x"),
    ("spleen", "liver", "to the left of", "x"),
    ("left kidney", "stomach", "behind", "y"),
    ("aorta", "stomach", "behind", "y"),
    ("spleen", "left kidney", "above", "z"),
    ("liver", "right kidney", "above", "z"),
)


@dataclass(frozen=True)
class OrientationFinding:
    """What the organs' places say about how the volumes are turned.

    flip: one of ``flips.FLIPS``, which brings the volumes into this project's orientation; None if the organs do
    not say it clearly. in_plane: the same without the order of the slices. reason: one sentence.
    evidence: one line per pair of organs. behind: flip -> by how much it falls behind the best one, which
    above ``limit`` contradicts it. odd_cases: flip -> volumes that alone contradict it.
    """

    flip: str | None
    in_plane: str | None
    reason: str
    evidence: tuple[str, ...] = ()
    behind: Mapping[str, float] = field(default_factory=dict)
    odd_cases: Mapping[str, Sequence[str]] = field(default_factory=dict)
    limit: float = CONTRADICTION

    def against(self, flip: str) -> str | None:
        """Return what speaks against ``flip``, or None if the volumes can be read like that."""
        if odd := self.odd_cases.get(flip):
            return f"{listed(odd)} would be turned another way"
        return self.reason if self.behind.get(flip, 0.0) > self.limit else None


def detect_orientation(cases: Mapping[str, CaseShapes], organs: Mapping[int, str]) -> OrientationFinding:
    """Find the flip of volumes (name -> shapes) whose labels mean ``organs`` (label -> name).

    The spleen and the left kidney lie to the left of the liver and the right kidney, the kidneys and the aorta behind
    stomach and liver, the liver and the spleen above the kidneys. Organs other than the eight of
    ``labels.ORGANS`` are left out. All volumes are taken to be turned alike.
    """
    known = {label: organ for label, organ in organs.items() if organ in ORGANS}
    having = {name: case for name, case in cases.items() if any(label in case.organs for label in known)}
    if not having:
        return OrientationFinding(None, None, "there is no organ to tell it from")
    numbering = np.array([[ORGANS.index(organ) for organ in known.values()]])
    found = {name: scores(case, list(known), numbering)[0] for name, case in having.items()}
    total = np.sum(list(found.values()), axis=0)
    behind = {flip: float(total.max() - score) for flip, score in zip(FLIPS, total, strict=True)}
    odd = {
        flip: [name for name, score in found.items() if score.max() - score[index] > CONTRADICTION]
        for index, flip in enumerate(FLIPS)
    }
    best = FLIPS[int(total.argmax())]
    limit = contradiction(len(having))
    evidence = tuple(_evidence(having, known, best))
    if odd[best]:
        reason = f"the volumes are not all turned alike: {listed(odd[best])} differ from the others"
        return OrientationFinding(None, None, reason, evidence, behind, odd, limit)
    in_plane = _without_z(best)
    if min(behind[flip] for flip in FLIPS if _without_z(flip) != in_plane) < CLEAR:
        reason = "the organs do not tell the orientation clearly"
        return OrientationFinding(None, None, reason, evidence, behind, odd, limit)
    if min(behind[flip] for flip in FLIPS if ("z" in flip) != ("z" in best)) < CLEAR:
        reason = f"rows and columns need {_named(in_plane)}; whether the slices go up or down the organs do not tell"
        return OrientationFinding(None, in_plane, reason, evidence, behind, odd, limit)
    return OrientationFinding(best, in_plane, f"the volumes need {_named(best)}", evidence, behind, odd, limit)


def _without_z(flip: str) -> str:
    return flip if flip in IN_PLANE_FLIPS else flip.replace("z", "") or "none"


def _named(flip: str) -> str:
    return "no flip" if flip == "none" else f"flip {flip}"


def _evidence(cases: Mapping[str, CaseShapes], organs: Mapping[int, str], flip: str) -> list[str]:
    """Count in how many volumes pairs of organs lie as they should, read with ``flip``."""
    labels = {organ: label for label, organ in organs.items()}
    letters = letters_of(flip)
    columns = {"z": 0, "y": 2 if "t" in letters else 1, "x": 1 if "t" in letters else 2}
    lines = []
    for one, other, relation, axis in _PAIRS:
        pair = [labels[organ] for organ in (one, other) if organ in labels]
        having = [case for case in cases.values() if len(pair) == 2 and all(label in case.organs for label in pair)]
        shapes = [[case.organs[label] for label in pair] for case in having]
        if axis == "z":  # cut at both ends, a centroid is the slab's
            shapes = [both for both in shapes if all(shape.cut < 2 for shape in both)]
        sign = -1 if axis in letters else 1
        # Up, back and left are all where the index grows.
        right = sum(sign * (a.centroid[columns[axis]] - b.centroid[columns[axis]]) > 0 for a, b in shapes)
        if shapes:
            lines.append(f"read with {_named(flip)}, the {one} is {relation} the {other} in {right} of {len(shapes)}")
    return lines
