"""What evidence of a discrepancy is, and the shipped CT that it is shown on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from msa2net_lib.data.labels import raw_to_scheme
from msa2net_lib.data.volumes import read_pair, window


@dataclass(frozen=True)
class Evidence:
    """What running the evidence of a discrepancy found.

    says: one sentence with the numbers found. table: the numbers behind it. differs: whether this run showed
    the difference that is claimed.
    """

    says: str
    table: pd.DataFrame
    differs: bool


@lru_cache(maxsize=2)
def patient(data_dir: Path, number: int) -> tuple[NDArray[np.float32], NDArray[np.uint8], tuple[float, float, float]]:
    """Return a shipped patient (1 or 2): image (z, y, x) in [0, 1], label in scheme A, spacing (z, y, x) in mm."""
    folder = Path(data_dir) / "example_ct"
    image, label = read_pair(folder / "img" / f"img{number:04d}.nii.gz", folder / "label" / f"label{number:04d}.nii.gz")
    return window(image.array), raw_to_scheme(label.array), image.spacing


def patient_2(data_dir: Path) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return image and label (20, 512, 512) of real patient 2, the size at which the field prepares its data."""
    return patient(data_dir, 2)[:2]
