"""Measures of cross-modulation: do organ boundaries stand out more after it?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import ndimage

from msa2net_lib.analysis.slice_study import Study

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy.typing import NDArray
    from torch import Tensor

FEWEST_CELLS = 4
"""An organ that covers fewer cells of a level's grid has no boundary worth measuring."""
SQUARED = "X' squared"


def strongest_channel(features: Float[Tensor, "1 c h w"]) -> int:
    """The channel with the largest root mean square."""
    return int(features[0].square().mean(dim=(1, 2)).argmax())


def boundary_contrast(features: Float[Tensor, "1 c h w"], organ: NDArray[np.bool_]) -> float:
    """Mean gradient magnitude on an organ's boundary over the mean elsewhere; 1 is no contrast, nan if unmeasurable.

    The gradient is taken by central differences on the grid of ``organ`` (h, w), its length over channels and both
    axes. Boundary cells touch it from either side. A factor on the features cancels.
    """
    if np.count_nonzero(organ) < FEWEST_CELLS:
        return float("nan")
    boundary = np.logical_xor(ndimage.binary_dilation(organ), ndimage.binary_erosion(organ))
    along_y, along_x = np.gradient(features[0].detach().float().cpu().numpy(), axis=(1, 2))
    magnitude = np.sqrt((along_y**2 + along_x**2).sum(axis=0))
    return float(magnitude[boundary].mean() / magnitude[~boundary].mean())


def sharpness(study: Study, level: int) -> pd.DataFrame:
    """`boundary_contrast` of each organ in the slice (rows) in X', G', U' and, as a control, in X' squared.

    Squaring uses nothing of G and steepens any image: only what goes beyond it speaks for the cross-modulation.
    """
    trace, label = study.traces[level], study.label_at(level)
    tensors = {"X'": trace.x_selected, "G'": trace.g_selected, "U'": trace.u_modulated}
    tensors[SQUARED] = trace.x_selected.square()
    masks = {organ: label == study.organ_id(organ) for organ in study.organs}
    contrasts = {name: [boundary_contrast(one, mask) for mask in masks.values()] for name, one in tensors.items()}
    return pd.DataFrame(contrasts, index=list(masks))


def in_words(row: Mapping[str, float]) -> str:
    """One row of `sharpness` in words."""
    if np.isnan(row["U'"]):
        return "not measured, too small here"
    if row["U'"] <= max(row["X'"], row["G'"]):
        return "does not sharpen"
    return "sharpens" if row["U'"] > row[SQUARED] else "sharpens, no more than squaring X' would"
