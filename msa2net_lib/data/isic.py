"""ISIC 2018 task 1: 2594 dermoscopic images with the lesion outlined, downloaded and prepared.

The paper names the 2594 images of the training set and leaves the split to a reference, without numbers; its
authors released neither their code for ISIC nor a list of ids. The lineage it compares with, BCDU-Net and D-LKA
among them, takes 1815, 259 and 520 of them (the challenge's own validation and test sets are not used) in the
order in which a directory happened to be listed, which nobody published. Here the order is that of the sorted
ids, so scores are comparable with published ones only as far as one random split is with another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from msa2net_lib.data.download.archives import unpack
from msa2net_lib.data.download.fetch import fetch
from msa2net_lib.data.images.prepare import prepare_images
from msa2net_lib.data.images.recipes import ImageRecipe
from msa2net_lib.data.images.split import Split
from msa2net_lib.errors import InputError

if TYPE_CHECKING:
    from msa2net_lib.data.images.dataset import ImageDataset

IMAGES = "ISIC2018_Task1-2_Training_Input"
MASKS = "ISIC2018_Task1_Training_GroundTruth"
"""The two folders of the release, and of the archives of those names."""

ISIC_ADDRESS = "https://isic-challenge-data.s3.amazonaws.com/2018"
"""Where challenge.isic-archive.com/data links to; the images are 11.2 GB, the masks 27 MB."""

ISIC_COUNT = 2594
ISIC_IDS_SHA256 = "b6a11fa50b1cf0363160258b5cac96ccae382ea524e34434c3212d1fbb1e4775"
"""SHA-256 of the 2594 ids, sorted, one a line: those of ``data/splits/isic2018_*.txt`` in their order."""

ISIC_SHARES = (0.7, 0.1, 0.2)
"""Shares of train, validation and test; of 2594 images they make 1815, 259 and 520."""


def download_isic(
    destination: str | Path,
    *,
    manifest: str | Path | None = None,
    progress: bool = True,
    say: Callable[[str], None] = print,
) -> Path:
    """Download the two archives into a folder, which ``prepare_isic`` then takes, and return it.

    ``say`` gets the terms first. What was downloaded before is verified against ``manifest`` (default:
    ``downloads.json`` beside the archives) and not fetched again; an interrupted download goes on. Raises
    InputError as ``download.fetch.fetch`` does.
    """
    destination = Path(destination)
    manifest = destination / "downloads.json" if manifest is None else Path(manifest)
    say_once = cache(say)  # both archives are under the same terms
    for name in (MASKS, IMAGES):
        url, file = f"{ISIC_ADDRESS}/{name}.zip", destination / f"{name}.zip"
        fetch(url, file, manifest=manifest, progress=progress, dataset="isic2018", say=say_once)
    return destination


def prepare_isic(
    source: str | Path,
    destination: str | Path,
    *,
    recipe: str | ImageRecipe = "dermosegdiff",
    split: Split | None = None,
    size: int | tuple[int, int] = 224,
    workers: int | None = None,
    progress: bool = True,
) -> ImageDataset:
    """Prepare ISIC 2018 task 1 for training and scoring.

    Everything that is not said here is as in `data.images.prepare.prepare_images`.

    Args:
        source: holds the folders ``ISIC2018_Task1-2_Training_Input`` and ``ISIC2018_Task1_Training_GroundTruth``, at
            its top or one level down, or the two archives of those names, which are unpacked beside themselves.
        destination: the folder to write.
        recipe: how images are resized and stored, by name or as an `ImageRecipe`.
        split: shares or ids of training, validation and test. Without it there must be all 2594 images, and they are
            split 1815/259/520 in the order of the sorted ids.
        size: pixels, one number or (height, width).
        workers: processes at once.
        progress: show a bar.

    Returns:
        The prepared images.

    Raises:
        InputError: images are not found or not all there, and as ``prepare_images`` does.

    Example:
        >>> from msa2net_lib import prepare_isic
        >>> dataset = prepare_isic("isic", "lesions", split=(0.5, 0.25, 0.25), size=32, workers=1, progress=False)
        >>> len(dataset.train_ids)
        2

    Source: paper, section 4.1; the split of DermoSegDiff's code.
    """
    images, masks = find_isic(source, progress=progress)
    if split is None:
        check_complete(images)
        split = ISIC_SHARES
    return prepare_images(
        images, masks, destination, recipe=recipe, split=split, size=size, workers=workers, progress=progress
    )


def find_isic(source: str | Path, *, progress: bool = True) -> tuple[Path, Path]:
    """Return the folders of images and masks below ``source``, unpacking the archives if need be."""
    source = Path(source)
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; give the one that holds {IMAGES} and {MASKS}")
    images, masks = (_find(source, name, progress) for name in (IMAGES, MASKS))
    return images, masks


def check_complete(images: Path) -> None:
    """Raise InputError unless the folder holds exactly ISIC 2018's 2594 training images, by their names."""
    ids = sorted(path.stem for path in images.glob("*.jpg"))
    found = hashlib.sha256("".join(f"{name}\n" for name in ids).encode()).hexdigest()
    if found != ISIC_IDS_SHA256:
        raise InputError(
            f"{images}: its {len(ids)} images are not the {ISIC_COUNT} of ISIC 2018 (listed in "
            f"data/splits/isic2018_*.txt); complete them, or split those there are "
            f"(--split 0.7,0.1,0.2; from Python, split={ISIC_SHARES})"
        )


def _find(source: Path, name: str, progress: bool) -> Path:
    """Return the folder ``name`` that has files in it: of ``source``, one level down, or from its archive."""
    for _ in range(2):
        for folder in (source / name, *sorted(source.glob(f"*/{name}"))):
            if folder.is_dir() and any(path.is_file() and path.name.startswith("ISIC_") for path in folder.iterdir()):
                return folder
        archive = source / f"{name}.zip"
        if not archive.is_file():
            break
        unpack(archive, source / name, progress=progress)
    raise InputError(f"{source}: holds no {name} with ISIC images, nor {name}.zip; download both archives")


def open_isic(data_dir: Path, *, progress: bool = True) -> ImageDataset:
    """Open ISIC 2018 where ``msa2net prepare isic`` puts it; ``progress`` has nothing to show."""
    from msa2net_lib.data.images.dataset import ImageDataset

    return ImageDataset.open(data_dir / "isic2018")
