"""The data set of synthetic skin images: drawn, and prepared as ISIC's are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from msa2net_lib.data.images.prepare import prepare_images
from msa2net_lib.data.images.recipes import image_recipe
from msa2net_lib.data.parallel import check_workers
from msa2net_lib.data.resize import height_width
from msa2net_lib.data.skin.images import IMAGES, MASKS, write_skin_images

if TYPE_CHECKING:
    from msa2net_lib.data.images.dataset import ImageDataset


def skin_folder(
    data_dir: Path, count: int = 300, size: int = 224, seed: int = 2024, recipe: str = "dermosegdiff"
) -> Path:
    """Where skin images live: one folder per setting, so that none replaces another."""
    name = "skin" if (count, size) == (300, 224) else f"skin_{count}_{size}"
    name += "" if seed == 2024 else f"_seed{seed}"
    return data_dir / (name if recipe == "dermosegdiff" else f"{name}_{recipe}")


def open_skin(data_dir: Path, *, count: int = 300, size: int = 224, progress: bool = True) -> ImageDataset:
    """Open ``count`` skin images of ``size`` pixels a side, drawing and preparing what is missing of them."""
    return prepare_skin(skin_folder(data_dir, count, size), count=count, size=size, progress=progress)


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
    """Draw skin images to ``home``/raw in ISIC's layout and prepare them in ``home``/prepared.

    Raises: `InputError` for a wrong argument, before anything is drawn.
    """
    image_recipe(recipe)
    height_width(size)
    check_workers(workers)
    write_skin_images(home / "raw", count=count, seed=seed, progress=progress)
    images, masks = home / "raw" / IMAGES, home / "raw" / MASKS
    return prepare_images(
        images, masks, home / "prepared", recipe=recipe, size=size, workers=workers, progress=progress
    )
