"""The files of a folder in the field's format: where they are, what ``dataset.json`` says, and what is stored."""

from __future__ import annotations

import hashlib
import math
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from msa2net_lib.data.labels import ORGANS
from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import read_json
from msa2net_lib.utils.names import check_id, id_path

MANIFEST = "dataset.json"
"""The file by which we tell what we prepared ourselves: its classes and where its cases come from."""

IMAGES_KIND = "images with lesion masks"
"""What the ``dataset.json`` of prepared images says of itself; that of scans says nothing."""

_MOST = 1 << 30
"""Bytes of the largest slice, and of volumes whose size is believed."""
_DEFLATED = 1100  # bytes that one byte of a compressed file can hold, at most

_SLICE_ID = re.compile(r"(.+)_slice(\d+)")
_DAMAGED = (
    OSError,
    KeyError,
    ValueError,
    TypeError,
    RuntimeError,
    MemoryError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class PreparedFiles:
    """A folder of prepared data. ``lists`` is the folder of its id lists, or None if it has none.

    train_slices, test_cases: the ids, such as "case0005_slice000" and "case0008", in the order of the lists, or sorted
    where there are none. manifest: the content of ``dataset.json``, empty for data that others prepared.
    """

    root: Path
    train_slices: list[str]
    test_cases: list[str]
    manifest: dict[str, Any] = field(repr=False)
    lists: Path | None = None

    @property
    def is_own(self) -> bool:
        """Whether it is our own preparation, labels and orientation known."""
        return "organs" in self.manifest or self.manifest.get("label_scheme") == "A"

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes without the background: the label id is the index plus one."""
        organs = self.manifest.get("organs")
        return ORGANS if organs is None else tuple(sorted(organs, key=organs.get))

    def recorded_spacing(self, case: str) -> tuple[float, float, float] | None:
        """Return the spacing (z, y, x) in mm of a case that we prepared, None where none is recorded."""
        stored = self.manifest.get("cases", {}).get(case, {}).get("spacing_mm") if self.is_own else None
        return None if stored is None else (float(stored[0]), float(stored[1]), float(stored[2]))

    def slice_path(self, slice_id: str) -> Path:
        """Return the file of a training slice."""
        return id_path(self.root / "train_npz", slice_id, ".npz")

    def case_path(self, name: str) -> Path:
        """Return the file of a test case."""
        return id_path(self.root / "test_vol_h5", name, ".npy.h5")

    def paths(self) -> list[Path]:
        """Return the files of all ids: slices, then test cases."""
        return [*map(self.slice_path, self.train_slices), *map(self.case_path, self.test_cases)]

    def stamp(self) -> str:
        """Return the SHA-256 of the files' names, sizes and modification times: quick, as no file is opened.

        A file rewritten with as many bytes changes it, unless its time is set back; so does a copy that is given
        new times, although its content is the same.
        """
        found = ((path.relative_to(self.root).as_posix(), path.stat()) for path in self.paths() if path.is_file())
        lines = sorted(f"{name} {stat.st_size} {stat.st_mtime_ns}\n" for name, stat in found)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def unlisted(self) -> list[Path]:
        """Return the slices and volumes in the folder that no list names."""
        return sorted({*self.root.glob("train_npz/*.npz"), *self.root.glob("test_vol_h5/*.npy.h5")} - {*self.paths()})


def find_prepared(root: str | Path) -> PreparedFiles:
    """Look at a folder that ``prepare_synapse`` wrote or that was downloaded as prepared data.

    The id lists may lie in ``lists/`` or ``lists/lists_Synapse/``; data that others prepared may come
    without. Raises: `InputError` if the folder holds no prepared data, its preparation did not finish, or a list
    or ``dataset.json`` is not as it should be.
    """
    root = Path(root)
    make_it = f"prepare it with prepare_synapse(SOURCE, {str(root)!r}) or `msa2net prepare`"
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; {make_it}")
    if (root / "cases").is_dir() and not (root / MANIFEST).is_file():
        raise InputError(f"{root}: its preparation did not finish; run prepare_synapse once more")
    manifest = read_manifest(root)
    _check_manifest(root / MANIFEST, manifest)
    for lists in (root / "lists", root / "lists" / "lists_Synapse"):
        names = [_read_list(lists / name) for name in ("train.txt", "test_vol.txt")]
        if any(name is not None for name in names):
            return PreparedFiles(root, names[0] or [], names[1] or [], manifest, lists)
    slices = sorted((p.name.removesuffix(".npz") for p in root.glob("train_npz/*.npz")), key=_natural)
    volumes = sorted(p.name.removesuffix(".npy.h5") for p in root.glob("test_vol_h5/*.npy.h5"))
    found = PreparedFiles(root, slices, volumes, manifest)
    if found.is_own or not (slices or volumes):
        inside = next((p.parent for depth in range(1, 5) for p in sorted(root.glob("*/" * depth + "train_npz"))), None)
        hint = make_it if inside is None else f"but {inside} does: give that folder"
        raise InputError(f"{root}: holds no prepared data (no lists/train.txt); {hint}")
    return found


def read_manifest(root: Path) -> dict[str, Any]:
    """Return the content of a folder's ``dataset.json``, empty if there is none. Raises: `InputError`."""
    path = root / MANIFEST
    try:
        manifest = read_json(path) if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); prepare the data again") from error
    if not isinstance(manifest, dict):
        raise InputError(f"{path}: should hold one JSON object; prepare the data again")
    return manifest


def _check_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """Raise InputError unless the classes, and what is recorded of cases of our own, can be read."""
    if "organs" in manifest:
        organs = manifest["organs"]
        ids = organs.values() if isinstance(organs, dict) else ()
        whole = all(type(value) is int for value in ids) and 0 < len(ids) < 256
        if not whole or sorted(ids) != list(range(1, len(ids) + 1)):
            raise InputError(f"{path}: `organs` should map names to ids 1, 2, ...; prepare the data again")
    elif manifest.get("label_scheme") != "A":
        return
    cases, validation = manifest.get("cases", {}), manifest.get("validation", [])
    if not (isinstance(cases, dict) and all(isinstance(case, dict) for case in cases.values())):
        raise InputError(f"{path}: `cases` should map names to what is known of them; prepare the data again")
    for name, case in cases.items():
        if case.get("spacing_mm") is not None and not _is_spacing(case["spacing_mm"]):
            raise InputError(f"{path}: `spacing_mm` of {name} should be three positive mm; prepare the data again")
    if not (isinstance(validation, list) and all(isinstance(name, str) for name in validation)):
        raise InputError(f"{path}: `validation` should list names of training cases; prepare the data again")


def _is_spacing(stored: Any) -> bool:
    if not (isinstance(stored, list) and len(stored) == 3):
        return False
    return all(type(value) in (int, float) and 0 < value < math.inf for value in stored)


def split_slice_id(slice_id: str) -> tuple[str, int]:
    """Split "case0005_slice012" into ("case0005", 12). Raises: `InputError` for an id of another form."""
    match = _SLICE_ID.fullmatch(slice_id)
    if match is None:
        raise InputError(
            f"slice id {slice_id!r}: not of the form case0005_slice000; rename the file and its list entry"
        )
    return match[1], int(match[2])


def slices_by_case(slice_ids: Iterable[str]) -> dict[str, list[str]]:
    """Return case -> its slice ids from the lowest to the highest, cases in order of appearance."""
    cases: dict[str, list[tuple[int, str]]] = {}
    for slice_id in slice_ids:
        case, index = split_slice_id(slice_id)
        cases.setdefault(case, []).append((index, slice_id))
    return {case: [slice_id for _, slice_id in sorted(ids)] for case, ids in cases.items()}


def read_slice(path: Path, content: bytes | None = None) -> tuple[NDArray, NDArray]:
    """Return image and label as stored in an npz file, whose bytes may be given. Raises: `InputError`."""
    with damage_told(path), np.load(path if content is None else BytesIO(content)) as arrays:
        for key in ("image", "label"):
            if arrays.zip.getinfo(f"{key}.npy").file_size > _MOST:
                raise InputError(
                    f"{path}: its {key} is said to have more than {_MOST >> 20} MB; prepare the data again"
                )
        return arrays["image"], arrays["label"]


def read_volume(path: Path) -> tuple[NDArray, NDArray]:
    """Return image and label as stored in a test volume. Raises: `InputError`."""
    with damage_told(path), h5py.File(path, "r") as file:
        return _array(file, "image")[...], _array(file, "label")[...]


def read_volume_blocks(path: Path, slices: int = 8) -> Iterator[tuple[NDArray, NDArray]]:
    """Yield image and label of a test volume as stored, a few slices at a time. Raises: `InputError`."""
    with damage_told(path), h5py.File(path, "r") as file:
        image, label = _array(file, "image"), _array(file, "label")
        if image.shape != label.shape or image.ndim != 3:
            raise InputError(_shapes_differ(path, image.shape, label.shape, 3))
        for first in range(0, image.shape[0], slices):
            yield image[first : first + slices], label[first : first + slices]


def read_spacing(path: Path) -> tuple[float, float, float] | None:
    """Return the spacing (z, y, x) stored in a test volume, None if there is none. Raises: `InputError`."""
    with damage_told(path), h5py.File(path, "r") as file:
        stored = file.attrs.get("spacing")
        if stored is None:
            return None
        z, y, x = (float(value) for value in np.ravel(np.asarray(stored)))
        return z, y, x


def check_shapes(path: Path, image: NDArray, label: NDArray, ndim: int) -> None:
    """Raise `InputError` unless image and label have ``ndim`` axes and one shape."""
    if image.ndim != ndim or image.shape != label.shape:
        raise InputError(_shapes_differ(path, image.shape, label.shape, ndim))


def _shapes_differ(path: Path, image: tuple[int, ...], label: tuple[int, ...], ndim: int) -> str:
    return f"{path}: image {image} and label {label} should be {ndim}-D and of one shape; prepare it again"


def _array(file: h5py.File, key: str) -> h5py.Dataset:
    """Return an array that lies in the file itself, all of it."""
    item = None if isinstance(file.get(key, getlink=True), h5py.ExternalLink) else file[key]
    if item is None or item.file.filename != file.filename:
        raise InputError(f"{file.filename}: its {key} is a link to another file; copy the array into this one")
    if not isinstance(item, h5py.Dataset):
        raise KeyError(key)
    if item.is_virtual or item.external:
        raise InputError(f"{file.filename}: its {key} is made of other files; copy the array into this one")
    if item.nbytes > max(_MOST, _DEFLATED * Path(file.filename).stat().st_size):
        raise InputError(
            f"{file.filename}: its {key} is said to have {item.nbytes >> 20} MB, more than the file can hold"
        )
    return item


@contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """Turn what libraries raise for missing and damaged files into one line."""
    try:
        yield
    except InputError:
        raise
    except _DAMAGED as error:
        raise InputError(f"{path}: {_unreadable(error)}") from error


def _unreadable(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file; check the id or prepare the data again"
    if isinstance(error, KeyError):
        return "lacks an array `image` or `label`; prepare the data again"
    return f"damaged ({type(error).__name__}); prepare the data again"


def _natural(slice_id: str) -> tuple[str, int]:
    match = _SLICE_ID.fullmatch(slice_id)
    return (match[1], int(match[2])) if match else (slice_id, 0)


def _read_list(path: Path) -> list[str] | None:
    """Return the ids in a list, None if there is no such file; editors on Windows begin it with a mark."""
    if not path.is_file():
        return None
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise InputError(f"{path}: is not UTF-8 text (perhaps UTF-16); save it as UTF-8")
    return [check_id(name, path) for name in text.split()]
