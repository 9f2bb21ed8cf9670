"""Evaluation: predict every test case, score every organ, keep the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from msa2net_lib.data.datasets import Case
from msa2net_lib.data.resize import resize_image, resize_label
from msa2net_lib.errors import InputError
from msa2net_lib.inference import predict_volume
from msa2net_lib.metrics import score_volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from msa2net_lib.data.datasets import PreparedDataset, ValidationCases
    from msa2net_lib.nn.network import MSA2Net

Protocol = Literal["paper", "strict"]
HD95_UNIT = {"paper": "voxels", "strict": "mm"}


@dataclass(frozen=True)
class Evaluation:
    """Scores and predictions of one network on one set of cases.

    scores: one row per protocol, case and organ with ``dsc`` (0 to 1), ``hd95`` (`HD95_UNIT`) and whether
    the organ is in the reference label. predictions: case -> label map (z, y, x).
    """

    scores: pd.DataFrame
    predictions: dict[str, NDArray[np.uint8]]

    def by_organ(self, protocol: Protocol = "paper") -> pd.DataFrame:
        """Mean over cases: one row per organ, columns dsc and hd95. Missing values are left out."""
        return self._mean_by("organ", protocol)

    def by_case(self, protocol: Protocol = "paper") -> pd.DataFrame:
        """Mean over organs: one row per case, columns dsc and hd95. Missing values are left out."""
        return self._mean_by("case", protocol)

    def mean(self, protocol: Protocol = "paper") -> tuple[float, float]:
        """Mean DSC and HD95: over cases for each organ, then over organs (released code)."""
        organs = self.by_organ(protocol)
        return float(np.nanmean(organs["dsc"])), float(np.nanmean(organs["hd95"]))

    def _mean_by(self, column: str, protocol: Protocol) -> pd.DataFrame:
        rows = self.scores.loc[self.scores["protocol"] == protocol, [column, "dsc", "hd95"]]
        return rows.groupby(column, sort=False).mean()


def evaluate(
    network: MSA2Net,
    dataset: PreparedDataset | ValidationCases,
    *,
    cases: Sequence[str] | None = None,
    protocols: Sequence[Protocol] = ("paper", "strict"),
    progress: bool = True,
) -> Evaluation:
    """Predict and score the test cases of a prepared data set (or those named), under each protocol.

    "strict" needs the cases' spacing; a case without it (TransUNet's own files store none) is an error
    there, as is a network of another number of classes. Class i of the network is the data set's class i. See
    `metrics.score_volume` for the protocols.
    """
    predictions, rows, organs = {}, [], dataset.class_names
    if network.config.num_classes != len(organs) + 1:
        raise InputError(
            f"network with {network.config.num_classes} classes: the data set has {len(organs) + 1}, background counted"
        )
    for name in dataset.test_cases if cases is None else cases:
        case = dataset.load_case(name)
        if "strict" in protocols and case.spacing is None:
            raise InputError(
                f"{dataset.case_path(name)}: stores no spacing, which the strict protocol needs; "
                "use protocols=('paper',), or prepare the case from the original scan"
            )
        predicted = predict_volume(network, case.image, progress=progress)
        predictions[name] = predicted
        for protocol in protocols:
            scores = score_volume(predicted, case.label, len(organs) + 1, protocol=protocol, spacing=case.spacing)
            for index, (organ, (dsc, hd95)) in enumerate(zip(organs, scores, strict=True), start=1):
                present = bool((case.label == index).any())
                rows.append((protocol, name, organ, present, dsc, hd95))
    columns = ["protocol", "case", "organ", "in_label", "dsc", "hd95"]
    return Evaluation(pd.DataFrame(rows, columns=columns), predictions)


def rescaled_case(case: Case, pixel_mm: Sequence[float], height_width: tuple[int, int]) -> Case:
    """Resample a case in the slice plane to another pixel size and cut out one field of view.

    pixel_mm: (y, x). The result's slices have ``height_width`` pixels, centred on the body (whatever is
    brighter than a twentieth of the window), padded with air where the scan ends. Slices are neither added nor
    dropped. Errors: `InputError` for a case without spacing.
    """
    if case.spacing is None:
        raise InputError(f"{case.name}: no spacing is stored with it; prepare it from the original scan")
    size = tuple(
        max(1, round(pixels * old / new))
        for pixels, old, new in zip(case.image.shape[1:], case.spacing[1:], pixel_mm, strict=True)
    )
    image = np.stack([resize_image(z, (size[0], size[1])) for z in case.image]).clip(0, 1)
    label = np.stack([resize_label(z, (size[0], size[1])) for z in case.label])
    middle = [round(float(np.median(axis))) for axis in np.nonzero(image > 0.05)[1:]]
    image, label = (_crop_around(array, middle, height_width) for array in (image, label))
    return Case(case.name, image, label, (case.spacing[0], float(pixel_mm[0]), float(pixel_mm[1])))


def _crop_around(array: NDArray, middle: Sequence[int], height_width: tuple[int, int]) -> NDArray:
    """Cut (z, *height_width) out of (z, y, x) with ``middle`` (y, x) in the centre; zeros beyond the edge."""
    pads = [(length // 2, length - length // 2) for length in height_width]
    padded = np.pad(array, [(0, 0), *pads])
    (top, left), (height, width) = middle, height_width
    return padded[:, top : top + height, left : left + width]
