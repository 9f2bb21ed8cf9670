"""Prepared data: open the folder, load slices and cases.

The folder is the field's format (TransUNet's prepared Synapse data), whether ``prepare_synapse`` wrote it or
it was downloaded. Labels are in scheme A.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from msa2net_lib.data.labels import ORGANS, whole_labels
from msa2net_lib.data.resize import normalise, resize_image, resize_label
from msa2net_lib.errors import InputError


@dataclass(frozen=True, eq=False)
class Case:
    """One test volume: ``image`` (Z, H, W) float32 in [0, 1], ``label`` (Z, H, W) uint8 in scheme A.

    ``spacing`` is (z, y, x) in mm, or None where the file does not store it.
    """

    name: str
    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    spacing: tuple[float, float, float] | None


@dataclass(frozen=True)
class PreparedDataset:
    """Handle on a folder of prepared data; ``PreparedDataset.open(root)`` makes one.

    ``train_slices`` are ids such as "case0005_slice000" and ``test_cases`` such as "case0008", in list order.
    ``manifest`` is the content of ``dataset.json``, empty for data that others prepared.
    """

    root: Path
    train_slices: list[str]
    test_cases: list[str]
    manifest: dict[str, Any] = field(repr=False)

    @classmethod
    def open(cls, root: str | Path) -> PreparedDataset:
        """Open a folder written by ``prepare_synapse`` or downloaded as TransUNet's prepared data.

        The id lists may lie in ``lists/`` or ``lists/lists_Synapse/``. Raises InputError if the folder is not
        prepared, its preparation did not finish, or a listed file is missing.
        """
        root = Path(root)
        make_it = f"prepare it with prepare_synapse(SOURCE, {str(root)!r}) or `msa2net prepare`"
        if not root.is_dir():
            raise InputError(f"{root}: no such folder; {make_it}")
        manifest_path = root / "dataset.json"
        if (root / "cases").is_dir() and not manifest_path.is_file():
            raise InputError(f"{root}: its preparation did not finish; run prepare_synapse once more")
        folders = [root / "lists", root / "lists" / "lists_Synapse"]
        lists = next((f for f in folders if (f / "train.txt").is_file() or (f / "test_vol.txt").is_file()), None)
        if lists is None:
            raise InputError(f"{root}: holds no prepared data (no lists/train.txt); {make_it}")
        train_slices, test_cases = _read_list(lists / "train.txt"), _read_list(lists / "test_vol.txt")
        dataset = cls(root, train_slices, test_cases, _read_manifest(manifest_path))
        _check_listed(lists / "train.txt", train_slices, dataset.slice_path)
        _check_listed(lists / "test_vol.txt", test_cases, dataset.case_path)
        return dataset

    def digest(self) -> str:
        """What tells this data set from another: SHA-256 of slice ids, cases and the sources' checksums."""
        content = [self.train_slices, self.test_cases, self.manifest]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def slice_path(self, slice_id: str) -> Path:
        """Return the file of a training slice."""
        return self.root / "train_npz" / f"{slice_id}.npz"

    def case_path(self, name: str) -> Path:
        """Return the file of a test case."""
        return self.root / "test_vol_h5" / f"{name}.npy.h5"

    def load_slice(self, slice_id: str) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return a training slice: image (H, W) float32 in [0, 1] and label (H, W) uint8, 0 to 8.

        Raises InputError, naming the file, if it is missing, unreadable or not in that form.
        """
        path = self.slice_path(slice_id)
        try:
            with np.load(path) as arrays:
                image, label = arrays["image"], arrays["label"]
        except (OSError, KeyError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(f"{path}: {_unreadable(error)}") from error
        return _checked(path, image, label, ndim=2)

    @property
    def train_ids(self) -> list[str]:
        """Ids of the training samples, as `training_slices.TrainingData` asks for them."""
        return self.train_slices

    def training_sample(
        self, sample_id: str, size: int | tuple[int, int]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return a training slice as the network sees it: (1, h, w) about [-1, 1] and (h, w), 0 to 8.

        The field's recipe: cubic zoom of the image, nearest of the label, then (x - 0.5) / 0.5.
        """
        image, label = self.load_slice(sample_id)
        return normalise(resize_image(image, size))[None], resize_label(label, size)

    def load_case(self, name: str) -> Case:
        """Return a test volume; raises InputError, naming the file, if it is missing or not in that form."""
        path = self.case_path(name)
        try:
            with h5py.File(path, "r") as file:
                image, label = np.asarray(file["image"]), np.asarray(file["label"])
                stored = file.attrs.get("spacing")
                spacing = None if stored is None else _three(stored)
        except (OSError, KeyError, ValueError) as error:
            raise InputError(f"{path}: {_unreadable(error)}") from error
        return Case(name, *_checked(path, image, label, ndim=3), spacing)


def _checked(path: Path, image: NDArray, label: NDArray, ndim: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Check a stored image and label and bring them to float32 and uint8.

    The range is checked here because after a cubic resize it no longer holds.
    """
    if image.ndim != ndim or image.shape != label.shape:
        raise InputError(
            f"{path}: image {image.shape} and label {label.shape} should be {ndim}-D and of one shape; prepare it again"
        )
    if not (image.size and image.min() >= 0.0 and image.max() <= 1.0):  # nan fails both
        raise InputError(f"{path}: image leaves [0, 1]; prepare it with the [-125, 275] HU window")
    try:
        label = whole_labels(label, len(ORGANS), "ids of scheme A")
    except InputError as error:
        raise InputError(f"{path}: {error}; prepare it again") from error
    return image.astype(np.float32), label


def _three(values: Any) -> tuple[float, float, float]:
    z, y, x = (float(value) for value in np.ravel(values))
    return z, y, x


def _read_list(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split() if path.is_file() else []


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise InputError(f"{path}: not valid JSON ({error}); run prepare_synapse once more") from error


def _check_listed(list_path: Path, names: Iterable[str], locate: Callable[[str], Path]) -> None:
    missing = [path for path in map(locate, names) if not path.is_file()]
    if missing:
        raise InputError(
            f"{missing[0]}: named in {list_path} but missing ({len(missing)} in all); prepare the data again"
        )


def _unreadable(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file; check the id or prepare the data again"
    if isinstance(error, KeyError):
        return "lacks an array `image` or `label`; prepare the data again"
    return f"damaged ({type(error).__name__}); prepare the data again"
