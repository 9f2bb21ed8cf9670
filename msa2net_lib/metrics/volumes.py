"""Label volumes scored class by class, under both protocols, with each distance measured once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from msa2net_lib.errors import InputError
from msa2net_lib.metrics.masks import (
    check_shapes,
    checked_labels,
    checked_num_classes,
    checked_spacing,
    common_box,
    label_boxes,
)
from msa2net_lib.metrics.pairs import hausdorff_95, overlap, surface_voxels

PROTOCOLS = ("paper", "strict")
UNITS = ("voxels", "mm")
"""What HD95 is measured in: voxels as the reference implementation does, or mm."""


@dataclass(frozen=True)
class VolumeMeasures:
    """What the scores of a label volume are made of, whatever the protocol: one entry per class 1..K-1.

    in_pred, in_target: whether the volume has the class, (K-1,). dice: (K-1,). hd95: unit -> (K-1,). Both are nan
    unless both volumes have the class. diagonals: unit -> the diagonal of the volume's outer box.
    """

    in_pred: np.ndarray
    in_target: np.ndarray
    dice: np.ndarray
    hd95: dict[str, np.ndarray]
    diagonals: dict[str, float]

    def scored(self, protocol: str, unit: str) -> np.ndarray:
        """Return Dice and HD95 of each class, (K-1, 2), by the table of `score_volume`, HD95 in ``unit``.

        A distance that stands for a missing organ (the diagonal) is in the same unit. nan in a unit that was not
        measured. Raises: `InputError` for an unknown protocol or unit.
        """
        check_protocol(protocol)
        if unit not in UNITS:
            raise InputError(f"unit: unknown {unit!r}; choose one of {', '.join(UNITS)}")
        if unit not in self.hd95:
            distances, far = np.full(len(self.dice), math.nan), math.nan
        else:
            distances, far = self.hd95[unit], self.diagonals[unit]
        scores = np.stack([self.dice, distances], axis=1)
        if protocol == "paper":
            near = 0.0 if unit in self.hd95 else math.nan
            pred_only, target_only, neither = (1.0, near), (0.0, near), (0.0, near)
        else:
            pred_only, target_only, neither = (0.0, far), (0.0, far), (math.nan, math.nan)
        scores[self.in_pred & ~self.in_target] = pred_only
        scores[~self.in_pred & self.in_target] = target_only
        scores[~self.in_pred & ~self.in_target] = neither
        return scores


def check_protocol(protocol: str) -> None:
    """Raise InputError unless ``protocol`` is one of `PROTOCOLS`."""
    if protocol not in PROTOCOLS:
        raise InputError(f"protocol: unknown {protocol!r}; choose one of {', '.join(PROTOCOLS)}")


def score_volume(
    pred: Any,
    target: Any,
    num_classes: int,
    protocol: str = "paper",
    spacing: Sequence[float] | None = None,
) -> np.ndarray:
    """Score a predicted label volume against the true one, class by class.

    =================  =======================  ==================================================
    in the volume      ``"paper"``              ``"strict"``
    =================  =======================  ==================================================
    both have it       Dice, HD95 in voxels     Dice, HD95 in mm
    prediction only    (1, 0)                   (0, diagonal of the volume in mm)
    target only        (0, 0)                   (0, diagonal of the volume in mm)
    neither            (0, 0)                   (nan, nan): leave it out of the mean
    =================  =======================  ==================================================

    "paper" repeats the reference implementation's answers, odd as they are, so that published tables can be
    reproduced; it does not use ``spacing``, because the reference implementation passes none. "strict" charges a
    missed or invented organ the largest distance the volume can hold, the diagonal of its outer box in mm.

    Args:
        pred: integer (or boolean) labels 0..K-1, (Z, Y, X) or (Y, X).
        target: the same, of the same shape.
        num_classes: K, background included, at least 2.
        protocol: "paper" or "strict".
        spacing: the size of a voxel along each axis, (z, y, x), in mm; "strict" needs it.

    Returns:
        (K-1, 2), float64: row c-1 is class c; the columns are Dice and HD95.

    Raises:
        InputError: unknown protocol, unequal shapes, labels that are no integers or outside 0..K-1,
            ``spacing`` missing for "strict" or without one positive number per axis.

    Example:
        >>> import numpy as np
        >>> from msa2net_lib import score_volume
        >>> score_volume(np.array([[0, 1, 1]]), np.array([[0, 0, 1]]), num_classes=2).round(3).tolist()
        [[0.667, 0.9]]

    Source: the reference implementation's test script ("paper"); this project ("strict").
    """
    check_protocol(protocol)
    unit = "voxels" if protocol == "paper" else "mm"
    measures = measure_volume(pred, target, num_classes, spacing, units=(unit,))
    if unit not in measures.hd95:
        raise InputError("spacing: protocol 'strict' measures in mm; give the voxel size along each axis in mm")
    return measures.scored(protocol, unit)


def measure_volume(
    pred: Any,
    target: Any,
    num_classes: int,
    spacing: Sequence[float] | None = None,
    *,
    units: Sequence[str] = UNITS,
    workers: int = 1,
) -> VolumeMeasures:
    """Measure each class of two label volumes once, for both protocols and units; mm only with ``spacing``.

    workers: threads that search for nearest surface voxels. Everything else, and errors, as in `score_volume`.
    """
    num_classes = checked_num_classes(num_classes)
    first = checked_labels(pred, num_classes, "pred")
    second = checked_labels(target, num_classes, "target")
    check_shapes(first, second)
    steps = checked_spacing(spacing, first.ndim)
    sizes = {"voxels": (1.0,) * first.ndim, "mm": steps}
    measured = {unit: size for unit in units if (size := sizes[unit]) is not None}
    # One pass over each volume finds the boxes of all classes; after that only boxes are touched.
    boxes = label_boxes(first, num_classes), label_boxes(second, num_classes)
    dice = np.full(num_classes - 1, math.nan)
    distances = {unit: dice.copy() for unit in measured}
    for index, (pred_box, target_box) in enumerate(zip(*boxes, strict=True)):
        if pred_box is None or target_box is None:
            continue
        box = common_box(pred_box, target_box, first.shape)
        pair = first[box] == index + 1, second[box] == index + 1
        dice[index] = overlap(*pair)
        surfaces = surface_voxels(pair[0]), surface_voxels(pair[1])
        for unit, size in measured.items():
            distances[unit][index] = hausdorff_95(*surfaces, size, workers)
    there = [np.array([box is not None for box in of_one]) for of_one in boxes]
    diagonals = {unit: math.hypot(*np.multiply(first.shape, size)) for unit, size in measured.items()}
    return VolumeMeasures(there[0], there[1], dice, distances, diagonals)
