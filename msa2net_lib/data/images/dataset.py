"""Prepared images: open the folder, load images and training samples.

The folder is what ``prepare_images`` writes, for ISIC 2018 through ``data.isic.prepare_isic``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msa2net_lib.data.images.arrays import Rows, checksums, missing_arrays, read_pair
from msa2net_lib.data.images.recipes import ImageRecipe, resize_color, resize_mask, scale_image
from msa2net_lib.data.images.split import PARTS
from msa2net_lib.data.prepared_files import IMAGES_KIND, MANIFEST, read_manifest
from msa2net_lib.data.resize import normalize
from msa2net_lib.errors import InputError
from msa2net_lib.utils.names import check_id


@dataclass(frozen=True, eq=False)
class LesionImage:
    """One prepared image: ``image`` (H, W, 3) float32 in [0, 1], ``mask`` (H, W) uint8, 1 is lesion."""

    id: str
    image: NDArray[np.float32]
    mask: NDArray[np.uint8]


@dataclass(frozen=True)
class ImageDataset:
    """Handle on a folder of prepared images; ``ImageDataset.open(root)`` makes one.

    ``ids`` is part ("train", "validation", "test") -> ids in list order; ``manifest`` the content of
    ``dataset.json``.
    """

    root: Path
    ids: Mapping[str, list[str]]
    manifest: dict[str, Any] = field(repr=False)

    @classmethod
    def open(cls, root: str | Path) -> ImageDataset:
        """Open a folder written by ``prepare_images`` or ``prepare_isic``.

        Raises InputError if it is none, its preparation did not finish, or an array is missing or cut short.
        """
        root = Path(root)
        manifest = read_manifest(root)
        if not manifest:
            why = "its preparation did not finish" if (root / "cases").is_dir() else "holds no prepared images"
            raise InputError(f"{root}: {why}; run prepare_images or prepare_isic (`msa2net prepare`)")
        try:
            if manifest["kind"] != IMAGES_KIND:
                raise KeyError("kind")
            ids: dict[str, list[str]] = {part: [] for part in PARTS}
            for name, entry in manifest["images"].items():
                ids[entry["split"]].append(check_id(name, root / MANIFEST))
            height, width = manifest["height_width"]
            ImageRecipe(**manifest["recipe"])
        except InputError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{root / MANIFEST}: does not describe prepared images; prepare them again") from error
        counts = {part: len(names) for part, names in ids.items()}
        for path, shape in missing_arrays(root, counts, (height, width)).items():
            raise InputError(f"{path}: missing or damaged (expected shape {shape}); prepare it again")
        return cls(root, ids, manifest)

    @property
    def train_ids(self) -> list[str]:
        """Ids to train on, as `datasets.TrainingData` asks for them."""
        return self.ids["train"]

    @property
    def validation_ids(self) -> list[str]:
        """Ids to choose by: when to stop, which weights to keep."""
        return self.ids["validation"]

    @property
    def test_ids(self) -> list[str]:
        """Ids to report on."""
        return self.ids["test"]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes without the background: the mask's value is the index plus one."""
        return tuple(self.manifest["classes"][1:])

    def counts(self) -> str:
        """How much there is, in words."""
        train, validation, test = (len(self.ids[part]) for part in PARTS)
        return f"{train} training, {validation} validation and {test} test images"

    @property
    def height_width(self) -> tuple[int, int]:
        """Height and width of every prepared image, in pixels."""
        height, width = self.manifest["height_width"]
        return height, width

    @cached_property
    def recipe(self) -> ImageRecipe:
        """How the images were prepared."""
        return ImageRecipe(**self.manifest["recipe"])

    @property
    def is_synthetic(self) -> bool:
        """Whether a program drew the images; say so wherever a score on them is shown."""
        return self.manifest["synthetic"] is not None

    def digest(self) -> str:
        """What tells this data set from another: SHA-256 of split, recipe and the checksums of the rows."""
        rows = {name: (entry["split"], entry["row"], entry["crc32"]) for name, entry in self.manifest["images"].items()}
        content = [rows, self.manifest["recipe"], self.manifest["height_width"]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def load(self, image_id: str) -> LesionImage:
        """Return one image of any part; raises InputError for an unknown id or a damaged array."""
        image, mask = self._rows(image_id)
        return LesionImage(image_id, scale_image(image, self.recipe), mask)

    def training_sample(
        self, sample_id: str, size: int | tuple[int, int]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return an image as the network sees it: (3, h, w) float32 in [-1, 1] and its mask (h, w), 0 and 1.

        At another ``size`` than the prepared one it is resized once more, by the recipe's filters.
        """
        image, mask = self._rows(sample_id)
        image = scale_image(resize_color(image, size, self.recipe), self.recipe)
        return np.ascontiguousarray(normalize(image).transpose(2, 0, 1)), resize_mask(mask, size, self.recipe)

    def _rows(self, image_id: str) -> Rows:
        entry = self.manifest["images"].get(image_id)
        if entry is None:
            raise InputError(f"{self.root}: holds no image {image_id!r}; see its lists/ for the ids")
        try:
            rows = read_pair(self.root, entry["split"], entry["row"])
        except (OSError, ValueError, IndexError) as error:
            raise InputError(f"{self.root}: the arrays of {entry['split']} are damaged; prepare them again") from error
        if checksums(rows) != entry["crc32"]:
            raise InputError(f"{self.root}: {image_id} is not as it was prepared; prepare the images again")
        return rows
