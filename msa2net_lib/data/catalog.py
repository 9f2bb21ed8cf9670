"""Data sets by name: what the notebooks and the command line mean by "virtual", "patient2" or "synapse"."""

from __future__ import annotations

from pathlib import Path

from msa2net_lib.data.datasets import PreparedDataset
from msa2net_lib.data.synapse import prepare_synapse
from msa2net_lib.data.virtual import write_virtual_cohort
from msa2net_lib.errors import InputError

DATASETS: dict[str, str] = {
    "virtual": "6 + 4 virtual patients made from real patient 1, which ships",
    "patient2": "real patient 2, which ships: another scanner, contrast phase and field of view; test only",
    "synapse": "the Synapse multi-organ data (BTCV), which you bring: 18 + 12 cases",
}


def cohort_folder(data_dir: Path, train: int = 6, test: int = 4, seed: int = 2024) -> Path:
    """Where a virtual cohort lives: one folder per setting, so that none replaces another."""
    if (train, test, seed) == (6, 4, 2024):
        return data_dir / "virtual"
    return data_dir / f"virtual_{train}_{test}_{seed}"


def open_dataset(
    name: str, data_dir: str | Path, *, train: int = 6, test: int = 4, progress: bool = True
) -> PreparedDataset:
    """Open a data set under ``data_dir``; those made from the shipped CT are prepared on first use.

    train, test: patients of the virtual cohort. Errors: `InputError` for an unknown name, or data that are
    not there and cannot be made here.
    """
    data_dir = Path(data_dir)
    if name == "virtual":
        home = cohort_folder(data_dir, train, test)
        ids = write_virtual_cohort(data_dir / "example_ct", home / "raw", train=train, test=test, progress=progress)
        return prepare_synapse(
            home / "raw", home / "prepared", train_cases=ids[0], test_cases=ids[1], progress=progress
        )
    if name == "patient2":
        return prepare_synapse(data_dir / "example_ct", data_dir / "patient2", test_cases=["0002"], progress=progress)
    if name == "synapse":
        return PreparedDataset.open(data_dir / "synapse")
    raise InputError(f"data set {name!r} is unknown: use one of {', '.join(DATASETS)}")
