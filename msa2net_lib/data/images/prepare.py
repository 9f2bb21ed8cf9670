"""Prepare a folder of images and masks: all brought to one size, in one memory-mapped array a split.

Every image has its row in the arrays, is written there on its own, and its record (with the row's checksum)
last. A run that was stopped at any moment goes on with the images whose record and row do not agree, and
ends with the same bytes. How runs keep out of each other's way: see ``data.prepare``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from msa2net_lib.data.images.arrays import array_paths, checksums, make_arrays, missing_arrays, write_pair
from msa2net_lib.data.images.arrays import read_pair as read_rows
from msa2net_lib.data.images.folders import Pair, left_over, pair_images, read_pair
from msa2net_lib.data.images.recipes import ImageRecipe, image_recipe, resize_color, resize_mask
from msa2net_lib.data.images.split import Split, split_ids
from msa2net_lib.data.parallel import check_workers
from msa2net_lib.data.prepare import (
    RECORDS,
    CaseJob,
    earlier_settings,
    is_whole,
    locked,
    other_records,
    prepare_pending,
)
from msa2net_lib.data.prepared_files import IMAGES_KIND, MANIFEST
from msa2net_lib.data.resize import height_width
from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import read_json, remove_partials, sha256, write_text
from msa2net_lib.utils.progress import progress_bar

if TYPE_CHECKING:
    from msa2net_lib.data.images.dataset import ImageDataset

CLASSES: tuple[str, ...] = ("background", "lesion")


@dataclass(frozen=True, eq=False)
class _Job(CaseJob):
    """One image: where it comes from, its row in the arrays of its part, and how it is made."""

    image: Path
    mask: Path
    row: int
    height_width: tuple[int, int]
    recipe: ImageRecipe
    options: dict[str, Any]

    @property
    def inputs(self) -> dict[str, Path]:
        return {"image": self.image, "mask": self.mask}

    def outputs(self, shape: Sequence[int]) -> list[Path]:
        return list(array_paths(Path(self.destination), self.split))

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What decides the row, besides the files."""
        recipe = {key: value for key, value in asdict(self.recipe).items() if key != "notes"}
        size = list(self.height_width)
        return {"format": 2, "recipe": recipe, "height_width": size, "row": self.row, **self.options}

    def sources(self) -> dict[str, dict[str, str]]:
        return {kind: {"file": path.name, "sha256": sha256(path)} for kind, path in self.inputs.items()}

    def is_done(self) -> bool:
        """Tell whether the record is of these files and settings, and the row is the one it was written for."""
        record = self.read_record()
        if record.get("settings") != self.settings or not all(path.is_file() for path in self.outputs(())):
            return False
        stored = checksums(read_rows(Path(self.destination), self.split, self.row))
        return record.get("crc32") == stored and self.is_finished(self.settings)


def prepare_images(
    images: str | Path,
    masks: str | Path,
    destination: str | Path,
    *,
    recipe: str | ImageRecipe = "dermosegdiff",
    split: Split = (0.7, 0.1, 0.2),
    size: int | tuple[int, int] = 224,
    mask_suffix: str | None = None,
    threshold: int | None = None,
    allow_empty: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> ImageDataset:
    """Prepare any folder of images with a folder of masks for training and scoring, and return the result.

    Pairs as ``pair_images`` finds them. ``split``: shares of train, validation and test in the order of the
    sorted ids, or ids by part. ``size`` in pixels, one number or (height, width). ``threshold`` as for
    ``read_mask``; ``allow_empty`` lets masks without a lesion pixel pass. ``destination`` gets
    ``train_images.npy`` (N, h, w, 3) and ``train_masks.npy`` (N, h, w), uint8, and so on, ``lists/``,
    ``dataset.json`` and the records in ``cases/``. ``workers`` processes run at once (default: one a core).

    Raises InputError, in one line with the file's name, for whatever is wrong; before any work where names
    or headers tell. Images that are finished stay, and are not done again.
    """
    from msa2net_lib.data.images.dataset import ImageDataset

    images, destination, chosen = Path(images), Path(destination), image_recipe(recipe)
    check_workers(workers)
    pairs = {pair.id: pair for pair in pair_images(images, masks, mask_suffix=mask_suffix)}
    if destination.resolve() in (images.resolve(), Path(masks).resolve()):
        raise InputError(f"{destination}: holds the images to prepare; choose another folder")
    parts = split_ids(sorted(pairs), split)
    options = {"threshold": threshold, "allow_empty": allow_empty}
    jobs = list(_jobs(pairs, parts, destination, height_width(size), chosen, options))
    _refuse_other_data(destination)
    left_out = {
        "images that the split does not list": sorted(pairs.keys() - {job.case for job in jobs}),
        "files beside the images": left_over(images, pairs.values()),
        "files beside the masks": left_over(masks, pairs.values()),
    }
    facts = {"synthetic": _synthetic(images), "left_out": left_out}
    shape = {part: len(ids) for part, ids in parts.items()}, height_width(size)
    index = partial(_index, destination, jobs, parts, chosen, facts)
    if not missing_arrays(destination, *shape) and is_whole(destination, jobs, _Job.is_done, index):
        return ImageDataset.open(destination)
    with locked(destination):
        remove_partials(destination, destination / RECORDS, destination / "lists", claimed=True)
        make_arrays(destination, *shape)
        known = any((destination / RECORDS).glob("*.json"))
        checked = progress_bar(jobs, desc="checking", unit="image", enabled=progress and known)
        pending = [job for job in checked if not job.is_done()]
        if pending:  # until all are done there is no data set here to open
            (destination / MANIFEST).unlink(missing_ok=True)
        prepare_pending(_prepare_image, jobs, pending, workers, progress)
        for path, text in index().items():
            write_text(path, text)
        for path, _ in other_records(jobs, destination):
            path.unlink()
    return ImageDataset.open(destination)


def _jobs(
    pairs: Mapping[str, Pair],
    parts: Mapping[str, Sequence[str]],
    destination: Path,
    size: tuple[int, int],
    recipe: ImageRecipe,
    options: dict[str, Any],
) -> Iterator[_Job]:
    for part, ids in parts.items():
        for row, name in enumerate(ids):
            pair = pairs[name]
            yield _Job(str(destination), name, part, pair.image, pair.mask, row, size, recipe, options)


def _refuse_other_data(destination: Path) -> None:
    """Raise InputError for a folder that CT volumes were prepared into, whether or not to the end."""
    scans = any((destination / folder).exists() for folder in ("train_npz", "test_vol_h5"))
    if scans or any(found and "recipe" not in found for found in earlier_settings(destination)):
        raise InputError(f"{destination}: holds prepared data of another kind; choose another folder")


def _prepare_image(job: _Job) -> None:
    """Read one image and its mask and write their row, the record last."""
    sources = job.sources()
    pair = Pair(job.case, job.image, job.mask)
    (image, *_), (mask, *_), turned, notes = read_pair(pair, job.options["threshold"])
    if image.min() == image.max():
        raise InputError(f"{job.image}: is one color all over; remove it or replace it")
    if not (mask.any() or job.options["allow_empty"]):
        raise InputError(
            f"{job.mask}: no pixel is lesion; if that is right, allow it (allow_empty=True, --allow-empty)"
        )
    rows = resize_color(image, job.height_width, job.recipe), resize_mask(mask, job.height_width, job.recipe)
    # The old record goes first: if this run is stopped, a row of two halves must not look finished.
    job.record_path.unlink(missing_ok=True)
    write_pair(Path(job.destination), job.split, job.row, rows)
    facts = {
        "sources": sources,
        "source_lesion_pixels": int(np.count_nonzero(mask)),
        "lesion_pixels": int(np.count_nonzero(rows[1])),
        "lesion_at_the_border": round(float(np.mean(np.r_[mask[0], mask[-1], mask[:, 0], mask[:, -1]])), 4),
        "mask_turned": turned,
        "notes": notes,
        "crc32": checksums(rows),
    }
    job.write_record(job.settings, mask.shape, **facts)


def _index(
    destination: Path,
    jobs: Iterable[_Job],
    parts: Mapping[str, Sequence[str]],
    recipe: ImageRecipe,
    facts: Mapping[str, Any],
) -> dict[Path, str]:
    """The id lists and ``dataset.json`` from the records, by file; ``dataset.json`` last, it means complete."""
    entries = {}
    for job in jobs:
        record = job.read_record()
        entries[job.name] = {key: value for key, value in record.items() if key != "settings"} | {"row": job.row}
    size = job.height_width
    lists = {destination / "lists" / f"{part}.txt": "".join(f"{name}\n" for name in ids) for part, ids in parts.items()}
    manifest = {
        "kind": IMAGES_KIND,
        "format": 1,
        "classes": CLASSES,
        "height_width": size,
        "recipe": asdict(recipe),
        **facts,
        "options": job.options,
        "prevalence": {part: _prevalence([entries[name] for name in ids], size) for part, ids in parts.items()},
        "empty_masks": [name for name, entry in entries.items() if not entry["source_lesion_pixels"]],
        "images": entries,
    }
    return lists | {destination / MANIFEST: json.dumps(manifest, indent=1) + "\n"}


def _prevalence(entries: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> dict[str, float | None]:
    """Return the share of lesion pixels, pooled over the images, as they came and as they are prepared."""
    if not entries:
        return {"source": None, "prepared": None}
    source = sum(entry["source_lesion_pixels"] for entry in entries) / sum(math.prod(e["shape"]) for e in entries)
    prepared = sum(entry["lesion_pixels"] for entry in entries) / (len(entries) * math.prod(size))
    return {"source": round(source, 6), "prepared": round(prepared, 6)}


def _synthetic(images: Path) -> dict[str, Any] | None:
    """Return what the record of a generator beside the images says, None for images without one."""
    for folder in (images, images.parent):
        path = folder / "synthetic.json"
        if path.is_file():
            try:
                plan = read_json(path)["plan"]
                return {"generator": plan["generator"], "seed": plan["seed"]}
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"{path}: damaged; write the synthetic images again") from error
    return None
