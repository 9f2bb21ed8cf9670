"""Prepared data: open the folder, load slices and cases.

The folder is in the field's format (TransUNet's prepared Synapse data), whether we prepared it or it was
downloaded. What others prepared does not say how its labels are numbered and how its slices are turned: it is
read as its ``contract.json`` says (``data.contract.examine`` writes it), and not at all without one that holds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from msa2net_lib.data.contract.flips import flip_spacing
from msa2net_lib.data.contract.reading import Reading, read_contract, unread
from msa2net_lib.data.labels import ORGANS, whole_labels
from msa2net_lib.data.placement import Placement
from msa2net_lib.data.prepared_files import (
    MANIFEST,
    PreparedFiles,
    check_shapes,
    find_prepared,
    read_slice,
    read_spacing,
    read_volume,
    slices_by_case,
    split_slice_id,
)
from msa2net_lib.data.resize import normalize, resize_image, resize_label
from msa2net_lib.data.splits import choose_validation
from msa2net_lib.errors import InputError
from msa2net_lib.utils.names import check_ids


class TrainingData(Protocol):
    """What `training.train` asks of a data set, of whatever kind."""

    @property
    def root(self) -> Path:
        """The folder it was opened from."""
        ...

    @property
    def train_ids(self) -> Sequence[str]:
        """Ids of the training samples, in list order."""
        ...

    @property
    def class_names(self) -> Sequence[str]:
        """Names of the classes without the background: the label id is the index plus one."""
        ...

    def digest(self) -> str:
        """What tells this data set, as it is read, from any other: 64 hexadecimal digits."""
        ...

    def training_sample(
        self, sample_id: str, size: int | tuple[int, int]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return image (c, h, w), normalized, and label map (h, w) of one sample, resized to ``size``.

        Several threads call it at once.
        """
        ...


@dataclass(frozen=True, eq=False)
class Case:
    """One volume: ``image`` (Z, H, W) float32 in [0, 1], ``label`` (Z, H, W) uint8, 0 to the number of organs.

    ``spacing`` is (z, y, x) in mm, or None where the file does not store it. ``class_names`` are those of the data set:
    the label's number is the index plus one. ``placement``: where it lies on its scan, None where nothing recorded it.
    """

    name: str
    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    spacing: tuple[float, float, float] | None
    class_names: tuple[str, ...] = ORGANS
    placement: Placement | None = None


@dataclass(frozen=True)
class PreparedDataset(PreparedFiles):
    """Handle on a folder of prepared data; ``PreparedDataset.open(root)`` makes one.

    ``reading`` is how data of others are read, None for data of our own (and without a contract that holds).
    ``refusal``: what is wrong with it.
    """

    reading: Reading | None = None
    refusal: str = field(default="", repr=False)

    @classmethod
    def open(cls, root: str | Path) -> PreparedDataset:
        """Open a folder written by ``prepare_synapse`` or another recipe, or downloaded as prepared data.

        The id lists may lie in ``lists/`` or ``lists/lists_Synapse/``; what others prepared may come without,
        then all its files count. Raises InputError if the folder is not prepared, its preparation did not finish,
        or a listed file is missing. With files written since its contract was made (by names, sizes and
        modification times) it opens, but no labels load until it is examined again.
        """
        files = find_prepared(root)
        if files.lists is not None:
            _check_listed(files.lists / "train.txt", files.train_slices, files.slice_path)
            _check_listed(files.lists / "test_vol.txt", files.test_cases, files.case_path)
        reading, refusal = None, ""
        if not files.is_own:
            try:
                reading = read_contract(files)
            except InputError as error:
                refusal = str(error)
        return cls(**vars(files), reading=reading, refusal=refusal)

    def counts(self) -> str:
        """How much there is, in words."""
        return f"{len(self.train_slices)} training slices, {len(self.test_cases)} test cases"

    def read_as(self, label_scheme: str, flip: str = "none") -> PreparedDataset:
        """Return this data set of others read in a given way, to try it out: nothing is checked or recorded."""
        if self.is_own:
            raise InputError(f"{self.root}: dataset.json says how to read it; leave label scheme and flip out")
        return replace(self, reading=Reading(label_scheme, flip), refusal="")

    def digest(self) -> str:
        """What tells this data set, as it is read, from another: SHA-256 of ids, manifest and contract."""
        content: list[Any] = [self.train_slices, self.test_cases, self.manifest]
        if self.reading is not None:
            content.append(self.reading.record())
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def load_slice(self, slice_id: str) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return a training slice: image (H, W) float32 in [0, 1] and label (H, W) uint8, 0 to the number of organs.

        Raises InputError, naming the file, if it is missing, unreadable or not in that form, or nobody has
        checked how these data, as they are now, are to be read.
        """
        path = self.slice_path(slice_id)
        return self._as_read(path, *read_slice(path), ndim=2)

    @property
    def train_ids(self) -> list[str]:
        """Ids of the training samples, as `TrainingData` asks for them."""
        return self.train_slices

    def training_sample(
        self, sample_id: str, size: int | tuple[int, int]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return a training slice as the network sees it: (1, h, w) about [-1, 1] and labels (h, w).

        The field's recipe: cubic zoom of the image, nearest of the label, then (x - 0.5) / 0.5.
        """
        image, label = self.load_slice(sample_id)
        return normalize(resize_image(image, size))[None], resize_label(label, size)

    def load_case(self, name: str) -> Case:
        """Return a test volume; raises InputError, naming the file, as ``load_slice`` does."""
        path = self.case_path(name)
        image, label = self._as_read(path, *read_volume(path), ndim=3)
        spacing = read_spacing(path)
        if spacing is not None and self.reading is not None:
            spacing = flip_spacing(spacing, self.reading.flip)
        return Case(name, image, label, spacing, self.class_names, self.placement(name))

    def placement(self, name: str) -> Placement | None:
        """Return where the slices of a case lie on the scan that we prepared it from, None where it is not recorded."""
        grid = self.manifest.get("cases", {}).get(name, {}).get("grid") if self.is_own else None
        return None if grid is None else Placement.from_record(grid, self.root / MANIFEST)

    def hold_out(self, cases: Sequence[str]) -> tuple[PreparedDataset, ValidationCases]:
        """Set training cases aside to validate on: (this data set without their slices, those cases).

        ``cases`` are names such as "case0005". Raises InputError for one that is not a training case, one of
        which slices are missing, or if no training case is left.
        """
        by_case = slices_by_case(self.train_slices)
        if not cases or len(set(cases)) < len(cases):
            raise InputError(f"cases to hold out {list(cases)}: name at least one training case, each once")
        for case in cases:
            if case not in by_case:
                known = ", ".join(list(by_case)[:4])
                raise InputError(f"{case!r} is no training case of {self.root}; choose among {known or 'none'}, ...")
            _check_complete(self.root, case, by_case[case])
        if len(cases) == len(by_case):
            raise InputError(f"{self.root}: holding out all {len(cases)} training cases leaves none to train on")
        held = {slice_id for case in cases for slice_id in by_case[case]}
        rest = [slice_id for slice_id in self.train_slices if slice_id not in held]
        return replace(self, train_slices=rest), ValidationCases(self, {case: by_case[case] for case in cases})

    def _as_read(self, path: Path, image: NDArray, label: NDArray, ndim: int) -> tuple[NDArray, NDArray[np.uint8]]:
        """Check a stored image and label and bring them to float32 and uint8, our labels and orientation.

        The range is checked here because after a cubic resize it no longer holds.
        """
        check_shapes(path, image, label, ndim)
        if not (
            image.size and image.dtype.kind in "buif" and image.min() >= 0.0 and image.max() <= 1.0
        ):  # nan fails both
            raise InputError(f"{path}: image leaves [0, 1]; prepare it with the [-125, 275] HU window")
        if not self.is_own and self.reading is None:
            raise InputError(self.refusal) if self.refusal else unread(self.root)
        try:
            if self.reading is None:
                return image.astype(np.float32), whole_labels(label, len(self.class_names), "ids of the organs")
            return self.reading.image(image.astype(np.float32)), self.reading.label(label)
        except InputError as error:
            raise InputError(f"{path}: {error}; prepare it again") from error


@dataclass(frozen=True)
class ValidationCases:
    """Training cases held out, as whole volumes; ``PreparedDataset.hold_out`` makes them, ``evaluate`` takes them.

    ``slices``: case -> its slice ids from the lowest to the highest.
    """

    dataset: PreparedDataset = field(repr=False)
    slices: Mapping[str, list[str]] = field(repr=False)

    @property
    def test_cases(self) -> list[str]:
        """The cases' names, called as in ``PreparedDataset``, so that they are scored like test cases."""
        return list(self.slices)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes without the background, as in ``PreparedDataset``."""
        return self.dataset.class_names

    def case_path(self, name: str) -> Path:
        """Return the file of the case's first slice, for messages."""
        return self.dataset.slice_path(self.slices[name][0])

    def load_case(self, name: str) -> Case:
        """Return a held-out case, stacked from its slices; spacing as ``dataset.json`` records it, or None."""
        pairs = [self.dataset.load_slice(slice_id) for slice_id in self.slices[name]]
        if odd := {image.shape for image, _ in pairs} - {pairs[0][0].shape}:
            raise InputError(f"{self.case_path(name)}: its case also has slices of shape {min(odd)}; prepare it again")
        image, label = (np.stack(arrays) for arrays in zip(*pairs, strict=True))
        reading = self.dataset.reading
        if reading is not None and "z" in reading.flip:
            image, label = image[::-1].copy(), label[::-1].copy()
        spacing = self.dataset.recorded_spacing(name)
        return Case(name, image, label, spacing, self.dataset.class_names, self.dataset.placement(name))


def _check_complete(root: Path, case: str, slice_ids: Sequence[str]) -> None:
    """Raise InputError if slice numbers are missing between the first and the last."""
    numbers = [split_slice_id(slice_id)[1] for slice_id in slice_ids]
    missing = sorted(set(range(min(numbers), max(numbers) + 1)) - set(numbers))
    if missing or len(set(numbers)) < len(numbers):
        what = f"slice {missing[0]} is missing" if missing else "a slice is listed twice"
        raise InputError(
            f"{root}: {case} cannot be stacked, {what} ({len(missing)} missing in all); mend it or hold out others"
        )


def _check_listed(list_path: Path, names: Iterable[str], locate: Callable[[str], Path]) -> None:
    missing = [path for path in map(locate, check_ids(names, list_path)) if not path.is_file()]
    if missing:
        raise InputError(
            f"{missing[0]}: named in {list_path} but missing ({len(missing)} in all); prepare the data again"
        )


def validation_cases(dataset: PreparedDataset) -> list[str]:
    """Name the training cases to hold out of any prepared data set.

    They are those that were named when it was prepared (``prepare_pairs``, ``prepare_nnunet``), else chosen by
    the rule of ``splits.choose_validation``: of the 18 Synapse training cases, ``SYNAPSE_VALIDATION_CASES``. Test cases
    are never chosen.
    """
    if dataset.is_own and (recorded := dataset.manifest.get("validation")):
        return list(recorded)
    return choose_validation({case: len(slices) for case, slices in slices_by_case(dataset.train_slices).items()})
