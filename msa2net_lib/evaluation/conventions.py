"""The same predictions under the conventions of HD95 that change a published mean: percentile, and missed organs.

See docs/conventions.md for the libraries that follow each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from msa2net_lib.metrics import hd95
from msa2net_lib.metrics.masks import checked_spacing, common_box, mask_pair, object_box
from msa2net_lib.metrics.pairs import PERCENTILE, directed_distances, surface_voxels

RULES = {
    "pooled, missed is 0": "the reference implementation, and so this table's paper protocol",
    "pooled, missed left out": "medpy on found organs, as many scripts do",
    "pooled, missed is the diagonal": "this workbook's strict protocol",
    "per direction, missed left out": "MONAI with reduction mean; surface-distance weighs by area besides",
    "largest, missed left out": "Hausdorff distance without a percentile",
}
"""Rules of a mean HD95, and who follows them."""


def hd95_per_direction(pred: Any, target: Any, spacing: Sequence[float] | None = None) -> float:
    """Return the larger of both directions' 95th percentiles of surface distances; nan if a mask is empty.

    Args:
        pred: mask of any number of dimensions, as for `metrics.hd95`, which pools both directions instead.
        target: mask of the same shape.
        spacing: the size of a voxel along each axis in mm.

    Returns:
        In mm, without ``spacing`` in voxels; never less than the pooled one.

    Raises:
        InputError: as `metrics.hd95`.

    Example:
        >>> from msa2net_lib.evaluation.conventions import hd95_per_direction
        >>> hd95_per_direction([[1, 0, 0, 0]], [[0, 0, 0, 1]])
        3.0

    Source: ``monai.metrics.compute_hausdorff_distance`` with percentile 95, which is equal to it.
    """
    return max((float(np.percentile(way, PERCENTILE)) for way in _ways(pred, target, spacing)), default=math.nan)


def convention_table(
    pairs: Iterable[tuple[Any, Any]], num_classes: int, spacing: Sequence[float] | None = None
) -> pd.DataFrame:
    """Return the mean HD95 of the same label volumes by each of `RULES`: what a choice of rule alone does to a table.

    Args:
        pairs: predicted and true label volumes (z, y, x) of each case.
        num_classes: classes with the background, whose organs 1 and up are scored.
        spacing: the size of a voxel along each axis in mm; without it distances are in voxels.

    Returns:
        One row a rule: ``hd95``, the mean over all organs of all cases that are in the true volume; ``organs`` that it
        is the mean of; ``missed`` of these; ``follows``, who does it so.

    Raises:
        InputError: as `metrics.hd95`.

    Example:
        >>> import numpy as np
        >>> from msa2net_lib.evaluation.conventions import convention_table
        >>> target = np.zeros((1, 8, 8), int)
        >>> target[0, 1:3, 1:3], target[0, 5:7, 5:7] = 1, 2
        >>> table = convention_table([(np.where(target == 2, 0, target), target)], 3)
        >>> table.hd95.round(1).tolist(), table.missed.tolist()
        ([0.0, 0.0, 5.7, 0.0, 0.0], [1, 1, 1, 1, 1])

    Source: the libraries' own values, see benchmarks/conventions.py.
    """
    found: dict[str, list[float]] = {"pooled": [], "per direction": [], "largest": []}
    diagonals = []
    for pred, target in pairs:
        predicted, true = np.asarray(pred), np.asarray(target)
        steps = np.ones(true.ndim) if spacing is None else np.asarray(spacing, float)
        for index in range(1, num_classes):
            first, second = predicted == index, true == index
            if not second.any():
                continue
            if not first.any():
                diagonals.append(float(np.linalg.norm(np.array(true.shape) * steps)))
                continue
            found["pooled"].append(hd95(first, second, spacing))
            ways = _ways(first, second, spacing)
            found["per direction"].append(max(float(np.percentile(way, PERCENTILE)) for way in ways))
            found["largest"].append(max(float(way.max()) for way in ways))
    filled = {"missed is 0": [0.0] * len(diagonals), "missed is the diagonal": diagonals, "missed left out": []}
    rows = {}
    for rule, follows in RULES.items():
        distance, missed = rule.split(", ")
        values = [*found[distance], *filled[missed]]
        mean = float(np.mean(values)) if values else math.nan
        rows[rule] = {"hd95": mean, "organs": len(values), "missed": len(diagonals), "follows": follows}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("rule")


def _ways(pred: Any, target: Any, spacing: Sequence[float] | None) -> list[np.ndarray]:
    """Surface distances there and back; none if a mask is empty."""
    first, second = mask_pair(pred, target)
    steps = checked_spacing(spacing, first.ndim)
    boxes = object_box(first), object_box(second)
    if boxes[0] is None or boxes[1] is None:
        return []
    box = common_box(boxes[0], boxes[1], first.shape)
    return list(directed_distances(surface_voxels(first[box]), surface_voxels(second[box]), steps))
