"""Prepared data as somebody else might have left them: another label numbering, turned arrays, no word on either."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from msa2net_lib.data.contract.flips import undo_flip
from msa2net_lib.data.datasets import PreparedDataset
from msa2net_lib.data.labels import convert_scheme


def store_as_others(
    dataset: PreparedDataset, test_cases: Sequence[str], folder: str | Path, scheme: str, flip: str = "none"
) -> Path:
    """Write test cases of a data set (scheme A) to ``folder`` in the layout of TransUNet's archive, and return it.

    scheme: the numbering of the stored labels. flip: what a reader has to do to bring the stored arrays into LPS (see
    ``data.contract.flips``). An earlier copy in ``folder`` is replaced.
    """
    folder = Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "test_vol_h5").mkdir(parents=True)
    for name in test_cases:
        case = dataset.load_case(name)
        with h5py.File(folder / "test_vol_h5" / f"{name}.npy.h5", "w") as file:
            file["image"] = np.ascontiguousarray(undo_flip(case.image, flip))
            file["label"] = np.ascontiguousarray(undo_flip(convert_scheme(case.label, "A", scheme), flip))
    return folder
