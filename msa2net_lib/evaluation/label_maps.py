"""Label maps of any program, scored against references: which files belong together, and on which voxels they lie."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import SimpleITK as sitk  # noqa: N813
import torch
from numpy.typing import NDArray
from PIL import Image

from msa2net_lib.data.datasets import Case, PreparedDataset
from msa2net_lib.data.images.read import read_mask
from msa2net_lib.data.prepared_files import damage_told
from msa2net_lib.data.resize import resize_back
from msa2net_lib.data.scans.files import find_scans
from msa2net_lib.data.scans.nnunet import read_classes
from msa2net_lib.data.volumes import SUFFIXES, Volume, label_on_image, read_volume, to_itk
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.images import ImageEvaluation, image_row
from msa2net_lib.evaluation.table import COLUMNS, Evaluation, Protocol
from msa2net_lib.evaluation.volumes import score_case
from msa2net_lib.metrics.volumes import PROTOCOLS
from msa2net_lib.utils.files import read_json
from msa2net_lib.utils.names import listed

Grid = Literal["refuse", "resample", "shape"]
"""What to do with a prediction that does not lie on its reference's voxels: refuse it, bring it there by the nearest
voxel, or compare arrays as they are stored and by their shapes alone."""
Missing = Literal["refuse", "skip", "empty"]
"""What a reference without prediction is: a mistake, nothing, or a case in which nothing was found."""
_NPZ_KEYS = ("label", "labels", "prediction", "pred", "segmentation", "seg")


@dataclass(frozen=True)
class MatchedFiles:
    """Which prediction belongs to which reference. files: id -> (prediction, reference); a prediction may be None.

    without_reference: predictions that belong to none. without_prediction: ids of references that have none. are_masks:
    PNG masks of images, and not label maps of scans. reference_data: the prepared data set that the references are of,
    whose files are None.
    """

    files: dict[str, tuple[Path | None, Path | None]]
    without_reference: list[Path]
    without_prediction: list[str]
    are_masks: bool = False
    reference_data: PreparedDataset | None = None

    def describe(self, most: int = 10) -> str:
        """Say what matched, a line a file and at most so many, and what did not."""
        found = {name: paths for name, paths in self.files.items() if paths[0] is not None}
        width = max(map(len, found), default=0)
        lines = [f"{len(found)} of {len(found) + len(self.without_prediction)} references have a prediction"]
        for name, (prediction, reference) in list(found.items())[:most]:
            against = "the prepared case" if reference is None else reference.name
            lines.append(f"  {name:{width}}  {prediction.name if prediction else '-'}  against {against}")
        lines += [f"  ... and {len(found) - most} more"] * (len(found) > most)
        if self.without_prediction:
            lines.append(f"without a prediction: {listed(self.without_prediction)}")
        if self.without_reference:
            lines.append(f"without a reference, not scored: {listed([path.name for path in self.without_reference])}")
        return "\n".join(lines)


def match_label_maps(
    predictions: str | Path,
    references: str | Path,
    *,
    prediction_name: str = "{id}",
    reference_name: str = "{id}",
    missing: Missing = "refuse",
) -> MatchedFiles:
    """Find the label maps of two folders and match them by id, the file's name without its ending.

    Read are NIfTI, NRRD, MetaImage, npz and PNG; where a program leaves an npz (of probabilities) beside a label map of
    the same name, the label map counts. References may also be a prepared data set: its test cases are meant.

    Args:
        predictions: the folder with the label maps to score. Files of other kinds are passed over.
        references: the folder with the true ones, which may be the same, or a prepared data set.
        prediction_name: how their names are made from the id, such as "{id}_pred".
        reference_name: the same for the references, such as "label{id}".
        missing: "refuse" a reference without prediction, "skip" it, or take its prediction as "empty".

    Returns:
        The pairs, sorted by id.

    Raises:
        InputError: a folder that is missing or without label maps, two files of one id, no id in common, a reference
            without prediction, PNG beside volumes.
    """
    predictions, references = Path(predictions), Path(references)
    predicted = _label_maps(predictions, prediction_name, "prediction_name")
    data, true = None, {}
    if (references / "test_vol_h5").is_dir():
        data = PreparedDataset.open(references)
        true = dict.fromkeys(data.test_cases)
    else:
        true = dict(_label_maps(references, reference_name, "reference_name"))
    both = sorted(predicted.keys() & true.keys())
    if not both:
        raise InputError(
            f"{predictions}: no file is named like a reference (ids such as {next(iter(predicted))!r}, but "
            f"{next(iter(true), 'none')!r} in {references}); say how names are made with --prediction-name "
            "'{id}_pred' or --reference-name"
        )
    alone = sorted(true.keys() - predicted.keys())
    if alone and missing == "refuse":
        raise InputError(
            f"{references}: {len(alone)} of {len(true)} references have no prediction in {predictions} "
            f"({listed(alone)}); add them, or choose --missing skip or --missing empty"
        )
    kinds = {path.suffix.lower() == ".png" for name in both for path in (predicted[name], true[name]) if path}
    if len(kinds) > 1 or (data is not None and kinds == {True}):
        raise InputError(
            f"{predictions}: PNG masks cannot be scored against volumes, nor volumes against PNG; give one kind"
        )
    wanted = sorted(true) if missing == "empty" else both
    return MatchedFiles(
        {name: (predicted.get(name), true[name]) for name in wanted},
        [path for name, path in sorted(predicted.items()) if name not in true],
        alone,
        are_masks=kinds == {True},
        reference_data=data,
    )


def find_classes(*folders: Path) -> dict[str, list[int]] | None:
    """Return class -> ids from nnU-Net's dataset.json in one of the folders, or the folder above; None without one."""
    for folder in (place for each in folders for place in (each, each.parent)):
        if (path := folder / "dataset.json").is_file():
            try:
                content = read_json(path)
            except (OSError, ValueError) as error:
                raise InputError(f"{path}: not readable as JSON ({error}); correct it, or give --classes") from error
            if isinstance(content, dict) and "labels" in content:
                return {name: [number] for name, number in read_classes(path, content).items()}
    return None


def score_label_maps(
    matched: MatchedFiles,
    classes: Mapping[str, Sequence[int]] | None = None,
    *,
    protocols: Sequence[Protocol] | None = None,
    grid: Grid = "refuse",
) -> tuple[Evaluation, list[str]]:
    """Score label maps, class by class and case by case, under each protocol.

    Args:
        matched: from `match_label_maps`; both files of a pair number their classes alike.
        classes: name -> ids in the files, several to be one class. None: the classes of the prepared data set, or the
            ids that the references hold, by number. Any other id is background.
        protocols: "paper" and "strict", see `metrics.score_volume`; "strict" needs voxel sizes, which npz lacks. None:
            both where every reference has them, else "paper".
        grid: "refuse", "resample" or "shape", see `Grid`.

    Returns:
        The scores as `evaluate` gives them, and what is to be told: grids that were changed, ids that are no class.

    Raises:
        InputError: a file that cannot be read or holds no whole numbers, classes that share an id, a prediction on
            other voxels than its reference, "strict" without voxel sizes.
    """
    data = matched.reference_data
    if classes is None:
        named = enumerate(data.class_names, 1) if data else ((n, f"label {n}") for n in _ids_of(matched))
        classes = {name: [number] for number, name in named}
    ids = _checked_ids(classes)
    rows, moved, strays, has_sizes = [], [], {}, True
    for name, (prediction, _) in matched.files.items():
        target = _reference(matched, name, grid, is_placed=prediction is not None and prediction.suffix != ".npz")
        if "strict" in (protocols or ()) and target.spacing is None:
            raise InputError(f"{target.path}: stores no voxel size, which the strict protocol needs; choose paper")
        found = target.zeros() if prediction is None else _read(prediction, grid)
        if prediction is not None and (on_target := _on_grid(found, target, grid)) is not found:
            moved.append(name)
            found = on_target
        for array in (found.array, target.array):
            for number in np.setdiff1d(array, [0, *ids]).tolist():
                strays.setdefault(number, set()).add(name)
        predicted, true = (_renumbered(labels.array, ids) for labels in (found, target))
        case = Case(name, np.empty(0, np.float32), true, target.spacing, tuple(classes))
        rows += score_case(predicted, case, tuple(classes), protocols or PROTOCOLS, torch.get_num_threads())
        has_sizes &= target.spacing is not None
    told = [f"brought to the reference's voxels by the nearest: {listed(moved)}"] * bool(moved)
    for number, cases in sorted(strays.items()):
        told.append(f"id {number} is no class, counted as background: {listed(sorted(cases))}")
    scores = pd.DataFrame(rows, columns=list(COLUMNS))
    if not has_sizes:
        told.append("not every reference stores its voxel size: nothing is measured in mm, nor by the strict protocol")
        scores = scores.query("protocol == 'paper'").reset_index(drop=True)
    return Evaluation(scores, {}), told


def score_masks(matched: MatchedFiles, *, threshold: int | None = None, grid: Grid = "refuse") -> ImageEvaluation:
    """Score the masks of images, pooled and image by image: a pixel is lesion where it is 255 (or 1 of 0 and 1).

    threshold: gray values above it are lesion, for masks with others. grid "resample": a mask of another size than its
    reference is brought to that by the nearest pixel. Raises: `InputError` for masks that cannot be read or, otherwise,
    are of another size.
    """
    rows = {}
    for name, (prediction, reference) in matched.files.items():
        target = read_mask(Path(reference or ""), threshold=threshold)
        found = np.zeros_like(target) if prediction is None else read_mask(prediction, threshold=threshold)
        if found.shape != target.shape:
            if grid != "resample":
                sizes = f"{found.shape} pixels, but {reference} has {target.shape}"
                raise InputError(f"{prediction}: has {sizes}; score masks of the same size, or choose --grid resample")
            found = resize_back(found, (target.shape[0], target.shape[1]))
        rows[name] = image_row(found.astype(np.uint8), target)
    by_image = pd.DataFrame.from_dict(rows, orient="index").rename_axis("image")
    return ImageEvaluation("", by_image, {}, size="masks' own")


@dataclass(frozen=True)
class _Labels:
    """A label map (z, y, x) or (y, x), with its place where the file says it."""

    path: Path
    array: NDArray
    volume: Volume | None = None
    spacing: tuple[float, float, float] | None = None

    def zeros(self) -> _Labels:
        return _Labels(self.path, np.zeros_like(self.array), self.volume, self.spacing)


def _read(path: Path, grid: Grid) -> _Labels:
    """Read one label map; for `grid` "shape" with the axes as they are stored."""
    name = path.name.lower()
    if name.endswith(".npz"):
        return _Labels(path, _whole(_npz_labels(path), path))
    if name.endswith(".png"):
        with Image.open(path) as image:
            return _Labels(path, np.array(image if image.mode in ("L", "P") else image.convert("L")))
    volume = read_volume(path)
    if grid == "shape":
        volume = volume.on_file_axes(volume.array)
        return _Labels(path, _whole(volume.array, path), None, volume.spacing)
    return _Labels(path, _whole(volume.array, path), volume, volume.spacing)


def _on_grid(found: _Labels, target: _Labels, grid: Grid) -> _Labels:
    """Return the prediction on its reference's voxels: as it is, or resampled where that was asked for."""
    if (found.volume is None) != (target.volume is None) and grid != "shape":
        placed, other = (found, target) if found.volume else (target, found)
        raise InputError(
            f"{other.path}: does not say where its voxels lie, as {placed.path} does; choose --grid shape if both have "
            "the same axes in the same order"
        )
    if found.volume is not None and target.volume is not None:
        try:
            placed = label_on_image(target.volume, found.volume, target.path, found.path)
        except InputError as error:
            if grid != "resample":
                raise InputError(f"{error} (--grid resample does that)") from error
            volumes = to_itk(found.volume), to_itk(target.volume)
            array = sitk.GetArrayFromImage(sitk.Resample(*volumes, sitk.Transform(), sitk.sitkNearestNeighbor, 0))
            return _Labels(found.path, array, target.volume, target.spacing)
        if placed is not found.volume:  # a segmentation that was cropped to its segments
            found = _Labels(found.path, placed.array, placed, placed.spacing)
    if found.array.shape != target.array.shape:
        raise InputError(
            f"{found.path}: has {found.array.shape} voxels (z, y, x), but {target.path} {target.array.shape}; score a "
            "label map of the same scan"
        )
    return found


def _reference(matched: MatchedFiles, name: str, grid: Grid, *, is_placed: bool = False) -> _Labels:
    """Return a true label map; that of a prepared case as its slices, or, for one that ``is_placed``, on its scan."""
    path, data = matched.files[name][1], matched.reference_data
    if path is not None or data is None:
        return _read(Path(path or name), grid)
    case = data.load_case(name)
    if case.placement is None or not is_placed:
        return _Labels(data.case_path(name), case.label, None, case.spacing)
    volume = case.placement.in_lps(case.label)
    if grid == "shape":
        volume = volume.on_file_axes(volume.array)
        return _Labels(data.case_path(name), volume.array, None, volume.spacing)
    return _Labels(data.case_path(name), volume.array, volume, volume.spacing)


def _label_maps(folder: Path, pattern: str, argument: str) -> dict[str, Path]:
    """Return id -> file of the label maps whose names are made as the pattern says."""
    if pattern.count("{id}") != 1:
        raise InputError(f"{argument}={pattern!r}: write {{id}} once where the id stands, such as '{{id}}_pred'")
    named = re.compile(re.escape(pattern).replace(re.escape("{id}"), "(.+)"))
    stems = find_scans(folder)
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in (".npz", ".png") and not path.name.startswith("."):
            stems.setdefault(path.stem, path)
    found = {match[1]: path for stem, path in stems.items() if (match := named.fullmatch(stem))}
    if not found:
        kinds = ", ".join((*SUFFIXES, ".npz", ".png"))
        raise InputError(f"{folder}: holds no label map named {pattern} ({kinds}); check the folder and the name")
    return dict(sorted(found.items()))


def _npz_labels(path: Path) -> NDArray:
    """Return the one label map of an npz file."""
    with damage_told(path), np.load(path, allow_pickle=False) as arrays:
        names = [name for name in _NPZ_KEYS if name in arrays.files] or arrays.files
        if len(names) != 1:
            raise InputError(f"{path}: holds {', '.join(arrays.files) or 'nothing'}; save the label map as `label`")
        return arrays[names[0]]


def _whole(array: NDArray, path: Path) -> NDArray[np.int32]:
    """Return ids as whole numbers; InputError for probabilities and other values that are none."""
    if array.dtype.kind not in "buif" or array.ndim not in (2, 3):
        raise InputError(f"{path}: {array.dtype} of shape {array.shape} is no label map; give ids (z, y, x)")
    ids = array.astype(np.int32)
    if (stray := ids != array).any():
        raise InputError(f"{path}: holds {array[stray][0]:g}, which is no id; give a label map, not probabilities")
    return ids


def _ids_of(matched: MatchedFiles) -> list[int]:
    """Return all ids of the references but 0."""
    found = set()
    for name in matched.files:
        found |= set(np.unique(_reference(matched, name, "shape").array).tolist())
    if not (ids := sorted(found - {0})):
        raise InputError("references: hold no id but 0; name the classes with --classes NAME=ID")
    return ids


def _checked_ids(classes: Mapping[str, Sequence[int]]) -> dict[int, int]:
    """Return id in the files -> number of its class, 1, 2, ...; InputError for an id of two classes."""
    ids: dict[int, int] = {}
    for index, (name, numbers) in enumerate(classes.items()):
        for number in numbers:
            if number in ids or number < 1:
                raise InputError(
                    f"classes: id {number} of {name} is below 1 or stands twice; give each class its own (--classes)"
                )
            ids[number] = index + 1
    return ids


def _renumbered(array: NDArray, ids: Mapping[int, int]) -> NDArray:
    """Return the numbers of the classes, background for every other id."""
    numbers = np.zeros(array.shape, np.min_scalar_type(max(ids.values(), default=0)))
    for old, new in ids.items():
        numbers[array == old] = new
    return numbers
