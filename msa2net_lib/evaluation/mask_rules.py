"""From a network's logits to a lesion mask: the threshold, and what the paper's lineage does to masks afterwards."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import ndimage

from msa2net_lib.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy.typing import NDArray
    from torch import Tensor

ThresholdOn = Literal["probability", "logit"]
THRESHOLDS_ON: tuple[ThresholdOn, ...] = ("probability", "logit")
PostProcessing = Literal["none", "dlka"]
POST_PROCESSING: dict[PostProcessing, str] = {
    "none": "nothing opened or filled",
    "dlka": "opened by 6 x 6 and holes filled by 6 x 6 pixels as in D-LKA's evaluation, which chose the sizes on the "
    "test set",
}
"""What is done to a mask of the network's size, by name. Source: D-LKA, skin_code/evaluate_skin.ipynb."""
_DLKA_PIXELS = 6


@dataclass(frozen=True)
class MaskRule:
    """How a lesion mask is made of the logits of background and lesion.

    threshold_on: "probability" is the softmax of the two, "logit" is the lesion's logit less the background's. That
    difference d is what a network with one output would give as its logit: the lesion's probability is 1 / (1 +
    exp(-d)). A pixel is lesion where its value is above ``threshold``; above a probability of 0.5 is above a difference
    of 0, which is the class with the larger logit, while D-LKA's threshold of 0.5 on logits is a probability of 0.6225.
    post_processing: a name of `POST_PROCESSING`. Raises: `InputError` for unknown names and for a probability that is
    not between 0 and 1.
    """

    threshold: float = 0.5
    threshold_on: ThresholdOn = "probability"
    post_processing: PostProcessing = "none"

    def __post_init__(self) -> None:
        if self.threshold_on not in THRESHOLDS_ON:
            raise InputError(f"threshold_on={self.threshold_on!r} is unknown: use {' or '.join(THRESHOLDS_ON)}")
        if self.post_processing not in POST_PROCESSING:
            raise InputError(f"post_processing={self.post_processing!r} is unknown: use {' or '.join(POST_PROCESSING)}")
        if self.threshold_on == "probability" and not 0 < self.threshold < 1:
            raise InputError(f"threshold={self.threshold} on a probability: give one between 0 and 1, or use logits")
        if not math.isfinite(self.threshold):
            raise InputError(f"threshold={self.threshold}: give a number")

    @property
    def least_difference(self) -> float:
        """What the lesion's logit less the background's has to exceed."""
        if self.threshold_on == "logit":
            return self.threshold
        return math.log(self.threshold / (1 - self.threshold))

    def masks(self, logits: Float[Tensor, "n 2 h w"]) -> NDArray[np.uint8]:
        """Return masks (n, h, w), 0 and 1."""
        found = (logits[:, 1] - logits[:, 0] > self.least_difference).cpu().numpy()
        if self.post_processing == "dlka":
            found = np.stack([open_and_fill(mask) for mask in found])
        return found.astype(np.uint8)

    def describe(self) -> str:
        """Return the rule in words."""
        return f"{self.threshold_on} above {self.threshold:g}; {POST_PROCESSING[self.post_processing]}"


def open_and_fill(mask: NDArray[np.bool_], pixels: int = _DLKA_PIXELS) -> NDArray[np.bool_]:
    """Take off whatever of a mask (h, w) no square of so many pixels fits into, then fill holes of the rest.

    A hole is background that no walk from the border reaches, each step within the square around where it stands.
    """
    square = np.ones((pixels, pixels))
    opened = ndimage.binary_opening(mask, structure=square)
    return np.asarray(ndimage.binary_fill_holes(opened, structure=square), dtype=bool)
