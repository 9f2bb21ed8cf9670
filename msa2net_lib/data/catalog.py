"""Data sets by name: what the notebooks and the command line mean by "virtual", "synapse", "skin" and so on."""

from __future__ import annotations

from pathlib import Path

from msa2net_lib.data.datasets import PreparedDataset
from msa2net_lib.data.images.dataset import ImageDataset, is_image_dataset
from msa2net_lib.data.images.prepare import prepare_images
from msa2net_lib.data.images.recipes import image_recipe
from msa2net_lib.data.isic import find_isic
from msa2net_lib.data.resize import height_width
from msa2net_lib.data.skin.pictures import write_skin_images
from msa2net_lib.data.synapse import prepare_synapse
from msa2net_lib.data.virtual.cohort import SYNAPSE_SIZE, CohortSize, write_virtual_cohort
from msa2net_lib.errors import InputError

DATASETS: dict[str, str] = {
    "virtual": "6 + 4 virtual patients made from real patient 1, which ships",
    "patient2": "real patient 2, which ships: another scanner, contrast phase and field of view; test only",
    "synapse": "the Synapse multi-organ data (BTCV), which you bring: 18 + 12 cases",
}
"""Data sets of scans, for `open_dataset`."""

PICTURES: dict[str, str] = {
    "skin": "synthetic skin pictures, drawn by a program",
    "isic": "ISIC 2018 task 1, which you bring or download: 2594 dermoscopic pictures",
}
"""Data sets of pictures, for `open_images`."""


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


def open_dataset(
    name: str, data_dir: str | Path, *, train: int = 6, test: int = 4, progress: bool = True
) -> PreparedDataset:
    """Open a data set of scans under ``data_dir``; those made from the shipped CT are prepared on first use.

    train, test: patients of the virtual cohort. Raises: `InputError` for an unknown name, or data that are
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


def open_images(
    name: str, data_dir: str | Path, *, count: int = 300, size: int = 224, progress: bool = True
) -> ImageDataset:
    """Open a data set of pictures under ``data_dir``; the synthetic ones are drawn and prepared on first use.

    count, size: number of skin pictures, and pixels a side they are prepared to. Raises: as `open_dataset`.
    """
    data_dir = Path(data_dir)
    if name == "skin":
        return prepare_skin(skin_folder(data_dir, count, size), count=count, size=size, progress=progress)
    if name == "isic":
        return ImageDataset.open(data_dir / "isic2018")
    raise InputError(f"pictures {name!r} are unknown: use one of {', '.join(PICTURES)}")


def skin_folder(
    data_dir: Path, count: int = 300, size: int = 224, seed: int = 2024, recipe: str = "dermosegdiff"
) -> Path:
    """Where skin pictures live: one folder per setting, so that none replaces another."""
    name = "skin" if (count, size) == (300, 224) else f"skin_{count}_{size}"
    name += "" if seed == 2024 else f"_seed{seed}"
    return data_dir / (name if recipe == "dermosegdiff" else f"{name}_{recipe}")


def prepare_skin(
    home: Path,
    *,
    count: int = 300,
    seed: int = 2024,
    recipe: str = "dermosegdiff",
    size: int = 224,
    workers: int | None = None,
    progress: bool = True,
) -> ImageDataset:
    """Draw skin pictures to ``home``/raw in ISIC's layout and prepare them in ``home``/prepared.

    Raises: `InputError` for a wrong argument, before anything is drawn.
    """
    image_recipe(recipe)
    height_width(size)
    if workers is not None and workers < 1:
        raise InputError(f"workers={workers}: give 1 or more")
    write_skin_images(home / "raw", count=count, seed=seed, progress=progress)
    images, masks = find_isic(home / "raw", progress=progress)
    return prepare_images(
        images, masks, home / "prepared", recipe=recipe, size=size, workers=workers, progress=progress
    )


def open_prepared(root: str | Path) -> PreparedDataset | ImageDataset:
    """Open a prepared folder of either kind: scans or pictures. Raises: `InputError` as their ``open``."""
    inside = Path(root) / "prepared"  # where cohorts and skin pictures keep theirs, beside what it was made from
    if not (Path(root) / "dataset.json").is_file() and (inside / "dataset.json").is_file():
        raise InputError(f"{root}: holds no prepared data, but {inside} does; give that folder")
    return ImageDataset.open(root) if is_image_dataset(root) else PreparedDataset.open(root)
