"""Arithmetic that scores of pooled pixel counts must obey, and Table 2 held against it.

Per pixel, with p the prevalence (share of lesion pixels): TP = p SE, FN = p (1 - SE), FP = (1 - p)(1 - SP),
TN = (1 - p) SP. So DSC, SE, SP and ACC are four functions of three numbers, and one of them checks the others.
Means of per-image scores need not obey any of it: a row that does not close is either not pooled or misprinted.
Every function takes floats or arrays that broadcast, shares of one, and returns a float for floats.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from msa2net_lib.data.images.split import PARTS
from msa2net_lib.errors import InputError
from msa2net_lib.paper.tables import OWN, table_2

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from msa2net_lib.data.images.dataset import ImageDataset

ALSO_NAMED = 0.2106
"""A share that is also named for ISIC 2018; no row of Table 2 implies it, and we know no source."""
HALF_DIGIT = 0.00005
"""Half a unit of the fourth decimal, the last one that Table 2 prints."""
SCORES = ("dsc", "se", "sp", "acc")


def pooled_accuracy(prevalence: ArrayLike, se: ArrayLike, sp: ArrayLike) -> Any:
    """Return ACC = p SE + (1 - p) SP, the mean of SE and SP weighted by prevalence.

    Values are shares of one, float or array. Raises: InputError for a value outside 0..1. Source: TP + TN.
    """
    p, se, sp = _shares(prevalence=prevalence, se=se, sp=sp)
    return (p * se + (1 - p) * sp)[()]


def pooled_dsc(prevalence: ArrayLike, se: ArrayLike, sp: ArrayLike) -> Any:
    """Return DSC = 2 TP / (2 TP + FP + FN) at this prevalence; 1 where nothing is lesion and nothing is found.

    Values are shares of one, float or array. Raises: InputError for a value outside 0..1. Source: Dice on
    pooled counts; two empty masks agree, as in `msa2net_lib.metrics.pixel_scores`.
    """
    p, se, sp = _shares(prevalence=prevalence, se=se, sp=sp)
    found_and_true = p * se + p + (1 - p) * (1 - sp)
    empty = found_and_true == 0
    return np.where(empty, 1.0, 2 * p * se / np.where(empty, 1.0, found_and_true))[()]


def implied_prevalence_from_accuracy(se: ArrayLike, sp: ArrayLike, acc: ArrayLike) -> Any:
    """Return the prevalence (SP - ACC) / (SP - SE) at which SE and SP average to ACC; nan where SE equals SP.

    Values are shares of one, float or array; a result outside 0..1 says that no prevalence does it.
    Raises: InputError for a value outside 0..1. Source: `pooled_accuracy`, solved for p.
    """
    se, sp, acc = _shares(se=se, sp=sp, acc=acc)
    return _ratio(sp - acc, sp - se)


def implied_prevalence_from_dsc(dsc: ArrayLike, se: ArrayLike, sp: ArrayLike) -> Any:
    """Return the prevalence DSC (1 - SP) / (2 SE - DSC (SE + SP)) at which SE and SP give this DSC.

    Values are shares of one, float or array; a result outside 0..1 says that no prevalence does it, nan that
    none is singled out (the denominator is 0). Raises: InputError for a value outside 0..1.
    Source: `pooled_dsc`, solved for p.
    """
    dsc, se, sp = _shares(dsc=dsc, se=se, sp=sp)
    return _ratio(dsc * (1 - sp), 2 * se - dsc * (se + sp))


def implied_specificity(dsc: ArrayLike, se: ArrayLike, acc: ArrayLike) -> tuple[Any, Any]:
    """Return (SP, prevalence) at which DSC, SE and ACC are all met, in closed form.

    1 - ACC = FP + FN and DSC = 2 p SE / (2 p SE + FP + FN), so p = DSC (1 - ACC) / (2 SE (1 - DSC)), and SP
    is what ACC leaves over. Values are shares of one, float or array; results outside 0..1 say that nothing
    meets all three, nan that they do not determine it (SE = 0, DSC = 1, or no background: p = 1).
    Raises: InputError for a value outside 0..1. Source: `pooled_accuracy` and `pooled_dsc`.
    """
    dsc, se, acc = _shares(dsc=dsc, se=se, acc=acc)
    p = _ratio(dsc * (1 - acc), 2 * se * (1 - dsc))
    return _ratio(acc - p * se, 1 - p), p


def consistency_table(table: pd.DataFrame) -> pd.DataFrame:
    """Hold each row of Table 2 against the arithmetic of pooled counts.

    table: columns dsc, se, sp, acc as printed, four decimals, shares of one. Returns those and, by row:

    * prevalence_from_acc, prevalence_from_dsc, difference: the two implied prevalences, first minus second;
    * tolerance: the most by which +-0.00005 in every printed value moves that difference;
    * acc_from_dsc: the ACC that SE and SP give at the prevalence implied by DSC;
    * acc_between: ACC lies between SE and SP, as a weighted mean of both must, or within rounding of it;
    * closes: some values that round to the printed ones are scores of the same pooled counts.

    Raises: InputError for a missing column or a value outside 0..1 (give shares, not percent).
    Source: this project's arithmetic on the paper's Table 2.
    """
    missing = [name for name in SCORES if name not in table.columns]
    if missing:
        raise InputError(f"table: no column {', '.join(missing)}; give {', '.join(SCORES)}")
    dsc, se, sp, acc = printed = [table[name].to_numpy(dtype=float) for name in SCORES]
    from_acc = implied_prevalence_from_accuracy(se, sp, acc)
    from_dsc = implied_prevalence_from_dsc(dsc, se, sp)
    difference = from_acc - from_dsc
    shifts = np.abs(_at_corners(_prevalence_difference, printed) - difference)
    residuals = _at_corners(_residual, printed)
    low, high = np.minimum(se, sp), np.maximum(se, sp)
    # Two printed values are compared, each half a digit off at most.
    between = (acc >= low - 2.001 * HALF_DIGIT) & (acc <= high + 2.001 * HALF_DIGIT)
    return table[list(SCORES)].assign(
        prevalence_from_acc=from_acc,
        prevalence_from_dsc=from_dsc,
        difference=difference,
        tolerance=shifts.max(axis=0),
        acc_from_dsc=from_dsc * se + (1 - from_dsc) * sp,
        acc_between=between,
        closes=(residuals.min(axis=0) <= 0) & (residuals.max(axis=0) >= 0) & between,
    )


def share_table(table: pd.DataFrame) -> pd.DataFrame:
    """By row: which shares of lesion pixels, and which DSC, the printed SE, SP and ACC leave possible, if pooled.

    table: as for `consistency_table`. Returns dsc as printed; low and high, the least and largest share among values
    that round to the printed ones (negative where no share does it); dsc_low and dsc_high, what DSC these shares give
    (nan without a share); pooled: as ``closes`` of `consistency_table`. Rows whose intervals do not meet were not
    scored on one set of images. Raises: as `consistency_table`. Source: `pooled_accuracy`, `pooled_dsc`.
    """
    closes = consistency_table(table).closes
    printed = [table[name].to_numpy(dtype=float) for name in SCORES]
    shares = _at_corners(lambda _, se, sp, acc: implied_prevalence_from_accuracy(se, sp, acc), printed)
    scores = _at_corners(_dsc_from_accuracy, printed)
    return table[["dsc"]].assign(
        low=shares.min(axis=0),
        high=shares.max(axis=0),
        dsc_low=scores.min(axis=0),
        dsc_high=scores.max(axis=0),
        pooled=closes,
    )


def _dsc_from_accuracy(_: NDArray, se: NDArray, sp: NDArray, acc: NDArray) -> NDArray:
    share = implied_prevalence_from_accuracy(se, sp, acc)
    return np.where((share >= 0) & (share <= 1), pooled_dsc(np.clip(share, 0, 1), se, sp), np.nan)


def _prevalence_difference(dsc: NDArray, se: NDArray, sp: NDArray, acc: NDArray) -> NDArray:
    return implied_prevalence_from_accuracy(se, sp, acc) - implied_prevalence_from_dsc(dsc, se, sp)


def _residual(dsc: NDArray, se: NDArray, sp: NDArray, acc: NDArray) -> NDArray:
    """Zero where both implied prevalences are equal: their equation without its denominators.

    It is linear in each of the four values, so over a box of them it is largest and smallest at corners, and
    it has none of the poles that the prevalences have where SE meets SP.
    """
    return dsc * ((sp - acc) * (se + 1) + (acc - se) * (1 - sp)) - 2 * se * (sp - acc)


def _at_corners(function: Callable[..., NDArray], printed: list[NDArray]) -> NDArray:
    """Evaluate at the 16 corners of the box of values that round to the printed ones: (16, rows)."""
    signs = product((-HALF_DIGIT, HALF_DIGIT), repeat=len(printed))
    return np.array(
        [function(*(np.clip(v + s, 0, 1) for v, s in zip(printed, row, strict=True))) for row in signs],
        dtype=float,
    )


def _ratio(numerator: NDArray, denominator: NDArray) -> Any:
    """Divide; nan where the denominator is 0."""
    return (numerator / np.where(denominator == 0, np.nan, denominator))[()]


def _shares(**values: ArrayLike) -> list[NDArray]:
    arrays = [np.asarray(value, dtype=float) for value in values.values()]
    for name, array in zip(values, arrays, strict=True):
        wrong = array[(array < 0) | (array > 1)]
        if wrong.size:
            raise InputError(f"{name}: {wrong.flat[0]:g} is outside 0..1; give a share of one, not percent")
    return arrays


def prevalence_report(dataset: ImageDataset | None, *, published: bool = True) -> str:
    """Return the share of lesion pixels, measured by part and size, beside what Table 2 implies, as lines.

    Without prepared ISIC images ``dataset`` is None, and the measured lines say "not measured". ``published``: leave
    out what Table 2 implies where the images are others than ISIC's.
    """
    size = " x ".join(map(str, dataset.height_width)) if dataset is not None else "prepared"
    of = "" if dataset is None else " (synthetic images)" if dataset.is_synthetic else f" ({dataset.root.name})"
    lines = [f"share of lesion pixels, all images pooled{of}", f"  {'':<24}{'as they came':>14}{size:>14}"]
    for part in PARTS:
        measured = {} if dataset is None else dataset.manifest["prevalence"][part]
        shown = [_share(measured.get(key)) for key in ("source", "prepared")]
        lines.append(f"  {'measured, ' + part:<24}{shown[0]:>14}{shown[1]:>14}")
    return "\n".join([*lines, *(_published_shares() if published else [])])


def _published_shares() -> list[str]:
    """Return a line for each row of Table 2 that implies a share."""
    lines = []
    rows = consistency_table(table_2()).to_dict("index")
    for method, row in rows.items():
        if row["closes"]:
            lines.append(f"  {f'implied by {method}':<24}{'':>14}{_share(row['prevalence_from_acc']):>14}")
    own = table_2().loc[OWN]
    _, implied = implied_specificity(own.dsc, own.se, own.acc)
    lines.append(
        f"  {f'implied by {OWN}':<24}{'':>14}{_share(implied):>14}  (from DSC, SE and ACC; its SP does not fit)"
    )
    lines.append(f"  {'quoted without a source':<24}{'':>14}{_share(ALSO_NAMED):>14}")
    return lines


def _share(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"
