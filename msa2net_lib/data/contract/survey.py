"""One pass over the files of prepared data: everything the contract is judged by, with little memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from msa2net_lib.data.contract.reading import StoredFiles
from msa2net_lib.data.contract.shapes import CaseShapes, ShapeCounter
from msa2net_lib.data.prepared_files import (
    PreparedFiles,
    check_shapes,
    read_slice,
    read_spacing,
    read_volume_blocks,
    slices_by_case,
    split_slice_id,
)
from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import sha256
from msa2net_lib.utils.progress import progress_bar

HIGHEST_LABEL = 255


@dataclass
class CaseSurvey:
    """What was found in one case, as it is stored.

    split: "train" or "test". slices: how many were read. numbers: the slices' numbers in their file names, empty for
    a volume. sizes: (H, W) found. dtypes: of image and label. low, high: of the image. flat: slices of one
    gray value although they have labels. problems: one line per file that is missing, damaged or not a slice.
    shapes: of the labels. gray: label -> sum of the image's values within it. content: SHA-256 of all gray values.
    """

    name: str
    split: str
    slices: int = 0
    numbers: list[int] = field(default_factory=list)
    sizes: set[tuple[int, int]] = field(default_factory=set)
    dtypes: set[tuple[str, str]] = field(default_factory=set)
    low: float = np.inf
    high: float = -np.inf
    flat: int = 0
    spacing: tuple[float, float, float] | None = None
    problems: list[str] = field(default_factory=list)
    shapes: CaseShapes = field(default_factory=lambda: CaseShapes(0, {}))
    gray: NDArray[np.float64] = field(default_factory=lambda: np.zeros(HIGHEST_LABEL + 1))
    content: str = ""

    @property
    def labels(self) -> list[int]:
        """The label values of the case without 0."""
        return sorted(self.shapes.organs)


@dataclass(frozen=True)
class Survey:
    """What was found in all cases, training cases first, and what the files are."""

    prepared: PreparedFiles
    cases: list[CaseSurvey]
    files: StoredFiles
    unlisted: list[Path]

    @property
    def problems(self) -> list[str]:
        """One line per file that cannot be used."""
        return [problem for case in self.cases for problem in case.problems]

    def of(self, split: str) -> list[CaseSurvey]:
        """The cases of one split."""
        return [case for case in self.cases if case.split == split]


def survey(prepared: PreparedFiles, progress: bool = True) -> Survey:
    """Read every file once. What is wrong with one becomes a line in its case's problems.

    Raises: `InputError` for slice ids of another form than case0005_slice000.
    """
    by_case = slices_by_case(prepared.train_slices)
    sizes = {path: path.stat().st_size for path in prepared.paths() if path.is_file()}
    stamp = prepared.stamp()  # before reading: what is written meanwhile then counts as changed
    checksums: dict[str, str] = {}
    cases = []
    with progress_bar(total=sum(sizes.values()), desc="reading", unit="B", unit_scale=True, enabled=progress) as bar:

        def done(path: Path, checksum: str) -> None:
            checksums[path.relative_to(prepared.root).as_posix()] = checksum
            bar.update(sizes[path])

        for name, slice_ids in by_case.items():
            case = CaseSurvey(name, "train", spacing=prepared.recorded_spacing(name))
            case.numbers = [split_slice_id(slice_id)[1] for slice_id in slice_ids]
            _collect(case, _slices(case, map(prepared.slice_path, slice_ids), done))
            cases.append(case)
        for name in prepared.test_cases:
            case = CaseSurvey(name, "test")
            _collect(case, _volume(case, prepared.case_path(name), done))
            cases.append(case)
    lines = "".join(f"{checksum}  {path}\n" for path, checksum in sorted(checksums.items()))  # as sha256sum prints them
    whole = hashlib.sha256(lines.encode()).hexdigest()
    files = StoredFiles(len(prepared.train_slices) + len(prepared.test_cases), sum(sizes.values()), whole, stamp)
    return Survey(prepared, cases, files, prepared.unlisted() if prepared.lists is not None else [])


def _slices(
    case: CaseSurvey, paths: Iterable[Path], done: Callable[[Path, str], None]
) -> Iterator[tuple[NDArray, NDArray]]:
    for path in paths:
        try:
            if not path.is_file():
                raise InputError(f"{path}: no such file")
            content = path.read_bytes()
            done(path, hashlib.sha256(content).hexdigest())
            image, label = read_slice(path, content)
            check_shapes(path, image, label, ndim=2)
            yield image, _whole(path, label)
        except InputError as error:
            case.problems.append(str(error))


def _volume(case: CaseSurvey, path: Path, done: Callable[[Path, str], None]) -> Iterator[tuple[NDArray, NDArray]]:
    try:
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        done(path, sha256(path))
        case.spacing = read_spacing(path)
        for images, labels in read_volume_blocks(path):
            yield from zip(images, _whole(path, labels), strict=True)
    except InputError as error:
        case.problems.append(str(error))


def _whole(path: Path, label: NDArray) -> NDArray:
    """Return a stored label if it holds whole numbers from 0 to 255, in the stored dtype."""
    if label.dtype.kind not in "buif" or not ((label >= 0) & (label <= HIGHEST_LABEL) & (label % 1 == 0)).all():
        raise InputError(f"{path}: label of {label.dtype} holds other than whole numbers from 0 to {HIGHEST_LABEL}")
    return label


def _collect(case: CaseSurvey, slices: Iterable[tuple[NDArray, NDArray]]) -> None:
    """Sum up the slices of a case, in their order."""
    shapes, content = ShapeCounter(), hashlib.sha256()
    for image, label in slices:
        case.slices += 1
        case.sizes.add((image.shape[0], image.shape[1]))
        case.dtypes.add((str(image.dtype), str(label.dtype)))
        content.update(np.ascontiguousarray(image).astype(np.float32).data)
        labels = label.astype(np.uint8)
        shapes.add(labels)
        if image.dtype.kind not in "buif" or not image.size:
            case.problems.append(f"{case.name}: has a slice without gray values")
            continue
        low, high = float(image.min()), float(image.max())
        case.low, case.high = np.minimum(case.low, low), np.maximum(case.high, high)  # a nan stays
        case.flat += int(low == high and bool(labels.any()))
        case.gray += np.bincount(labels.ravel(), image.ravel().astype(np.float64), minlength=HIGHEST_LABEL + 1)
    case.shapes, case.content = shapes.shapes(), content.hexdigest() if case.slices else ""
