"""The data sets made from the two scans that ship: virtual patients from the one, and the other as it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msa2net_lib.data.synapse import prepare_synapse
from msa2net_lib.data.virtual.cohort import SYNAPSE_SIZE, CohortSize, write_virtual_cohort
from msa2net_lib.errors import InputError

if TYPE_CHECKING:
    from msa2net_lib.data.datasets import PreparedDataset


def cohort_folder(
    data_dir: Path,
    train: int | None = None,
    test: int | None = None,
    seed: int = 2024,
    size: CohortSize | None = None,
) -> Path:
    """Where a virtual cohort lives: one folder per setting, so that none replaces another."""
    base, usual = ("virtual", (6, 4)) if size is None else ("virtual_synapse", (18, 12))
    train, test = (usual[0] if train is None else train), (usual[1] if test is None else test)
    if size not in (None, SYNAPSE_SIZE):
        raise InputError("size: only SYNAPSE_SIZE has a folder of its own; name one for other sizes")
    return data_dir / (base if (train, test, seed) == (*usual, 2024) else f"{base}_{train}_{test}_{seed}")


def open_virtual(data_dir: Path, *, train: int = 6, test: int = 4, progress: bool = True) -> PreparedDataset:
    """Open the virtual cohort of so many patients, making what is missing of it."""
    home = cohort_folder(data_dir, train, test)
    ids = write_virtual_cohort(_scans(data_dir), home / "raw", train=train, test=test, progress=progress)
    return prepare_synapse(home / "raw", home / "prepared", train_cases=ids[0], test_cases=ids[1], progress=progress)


def open_patient2(data_dir: Path, *, progress: bool = True) -> PreparedDataset:
    """Open the second real patient, to test on only."""
    return prepare_synapse(_scans(data_dir), data_dir / "patient2", test_cases=["0002"], progress=progress)


def _scans(data_dir: Path) -> Path:
    """Where the scans are. Raises: `InputError` where they are not."""
    folder = data_dir / "example_ct"
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; run msa2net data example --data {data_dir}, or name another")
    return folder
