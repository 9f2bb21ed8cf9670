"""Scans into the field's format, wherever they come from: 2-D slices to train on, whole volumes to score.

``data.synapse``, ``nnunet`` and ``own`` find the files and say how (a ``ScanRecipe``); what happens to a case is here.
Every slice is kept as it is, without resampling or crop, in [0, 1]. In memory a process has one case: the image
as it is stored and the labels as uint8; the rest goes slice by slice.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from numpy.typing import NDArray

from msa2net_lib.data.contract.shapes import measure
from msa2net_lib.data.parallel import check_workers
from msa2net_lib.data.placement import FARTHEST_TILT, Placement, stored_plane
from msa2net_lib.data.prepare import (
    RECORDS,
    CaseJob,
    check_inputs_exist,
    earlier_settings,
    is_whole,
    locked,
    other_records,
    prepare_pending,
)
from msa2net_lib.data.scans.files import checksum
from msa2net_lib.data.scans.gray_values import check_values, window_limits
from msa2net_lib.data.scans.recipe import ScanRecipe
from msa2net_lib.data.volumes import Volume, label_on_image, read_volume, window
from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import DiskFullError, atomic_path, remove_partials, write_text

if TYPE_CHECKING:
    from msa2net_lib.data.datasets import PreparedDataset

_OUTPUT_FOLDERS = ("train_npz", "test_vol_h5", "lists")
_GROWTH = 1.8  # prepared bytes over source bytes, at most: 0.7 to 0.9 for CT as .nii.gz, 1.5 for white noise
_INDEX = ("dataset.json", "lists/train.txt", "lists/test_vol.txt")


@dataclass(frozen=True)
class ScanJob(CaseJob):
    """One scan: an image with its label map, each a file or a DICOM folder. ``prefix`` begins its prepared name."""

    image: Path
    label: Path
    prefix: str = ""

    @property
    def name(self) -> str:
        return self.prefix + prepared_name(self.case)

    @property
    def inputs(self) -> dict[str, Path]:
        return {"image": self.image, "label": self.label}

    def sources(self) -> dict[str, dict[str, str]]:
        found = {}
        for kind, path in self.inputs.items():
            try:
                found[kind] = {"file": Path(path.parent.name, path.name).as_posix(), "sha256": checksum(path)}
            except OSError as error:
                raise InputError(f"{path}: cannot be read ({error.strerror}); check the file and its rights") from error
        return found

    def outputs(self, shape: Sequence[int]) -> list[Path]:
        return _outputs(Path(self.destination), self.name, self.split, shape)


def prepared_name(case: str) -> str:
    """Return the name of a case in the prepared data: its id without blanks, since lists are read word by word."""
    return re.sub(r"\s", "_", case)


def prepare_scans(
    jobs: Sequence[ScanJob],
    destination: str | Path,
    recipe: ScanRecipe,
    *,
    workers: int | None = None,
    progress: bool = True,
) -> PreparedDataset:
    """Prepare scans (``split`` "train" or "test") in ``workers`` processes and return the prepared data.

    ``destination`` gets ``train_npz/NAME_slice000.npz``, ``test_vol_h5/NAME.npy.h5`` (both with ``image`` float32
    in [0, 1] and ``label`` uint8), ``lists/``, ``dataset.json`` and the records in ``cases/``; what an earlier
    run with other cases left there is removed. Cases already finished are not done again.

    Raises InputError, in one line with the file's name, for whatever is wrong with the source, before any work
    for what the names tell, and if ``destination`` holds data of other classes.
    """
    from msa2net_lib.data.datasets import PreparedDataset  # the workers do without

    destination = Path(destination)
    check_workers(workers)
    if not jobs:
        raise InputError(f"{destination}: no case to prepare; name at least one")
    check_inputs_exist(jobs)
    _check_names(jobs)
    index = partial(_index, destination, jobs, recipe)

    def is_done(job: ScanJob) -> bool:
        return job.is_finished(recipe.case_settings(job.case))

    if is_whole(destination, jobs, is_done, index):
        return PreparedDataset.open(destination)
    with locked(destination):
        _refuse_other_data(destination, recipe)
        remove_partials(*(destination / name for name in ("", RECORDS, *_OUTPUT_FOLDERS)), claimed=True)
        pending = [job for job in jobs if not is_done(job)]
        if pending:  # until all are done there is no data set here to open
            for path in _INDEX:
                (destination / path).unlink(missing_ok=True)
        pending.sort(key=_bytes, reverse=True)  # no long case last, with every other process unused
        try:
            prepare_pending(partial(_prepare_case, recipe), jobs, pending, workers, progress)
        except DiskFullError as error:
            left = sum(_bytes(job) for job in pending if not is_done(job))
            raise DiskFullError(error.path, error.reason, max(error.size, int(_GROWTH * left))) from error
        for path, text in index().items():
            write_text(path, text)
        _remove_other_cases(jobs, destination)
    return PreparedDataset.open(destination)


def _prepare_case(recipe: ScanRecipe, job: ScanJob) -> None:
    """Read one case and write its outputs, the record last."""
    sources = job.sources()
    label = read_volume(job.label)
    with _named(job.label):
        prepared, voxels, dropped = recipe.relabel(label.array)
    label = replace(label, array=prepared)  # the map as it was stored can go before the image comes
    image = read_volume(job.image)
    label = label_on_image(image, label, job.image, job.label)
    prepared = label.array
    if not (recipe.allow_empty or any(voxels.values())):
        raise InputError(
            f"{job.label}: case {job.case} has no voxel of any class; correct it, leave the case out, "
            "or allow it if that is how it is (allow_empty=True, --allow-empty)"
        )
    with _named(job.image):
        low, high = window_limits(image, recipe.window, recipe.modality, check_values(recipe.values), recipe.otherwise)
        placement, told = _place(image, recipe, job.case)
    image = replace(image, array=placement.slices(image.array))
    prepared = placement.slices(prepared)
    settings = recipe.case_settings(job.case)

    gray = [1.0, 0.0]

    def pixels(z: int) -> NDArray[np.float32]:
        plane = np.minimum(window(image.array[z], low, high), 1)  # rounding may pass 1 by a hair
        gray[:] = min(gray[0], float(plane.min())), max(gray[1], float(plane.max()))
        return plane

    outputs = job.outputs(prepared.shape)
    if old := job.read_record():
        _remove(_recorded_outputs(job.record_path, old) - set(outputs))
    # Without sources the record says: begun. A stopped run's outputs do not look finished, and are known as ours.
    job.write_record(settings, prepared.shape)
    if job.split == "test":
        _write_volume(outputs[0], pixels, prepared, placement.slice_spacing)
    else:
        for z, path in enumerate(outputs):
            _write_slice(path, pixels(z), prepared[z], left=len(outputs) - z)
    shapes = measure(prepared).organs
    places = {name: shapes[number] for name, number in recipe.organs.items() if number in shapes}
    notes = [*dict.fromkeys((*image.notes, *label.notes, *told))]
    facts = {
        "spacing_mm": list(placement.slice_spacing),
        "grid": placement.record(),
        "sources": sources,
        "voxels": voxels,
        "gray": [round(value, 4) for value in gray],
        "organs": {
            name: {"centroid": [round(n, 1) for n in shape.centroid], "cut": shape.cut}
            for name, shape in places.items()
        },
    }
    facts |= {key: found for key, found in (("dropped", dropped), ("notes", notes)) if found}
    if recipe.window.unit == "percentile" or (low, high) != (recipe.window.low, recipe.window.high):
        facts["window_values"] = [low, high]
    job.write_record(settings, prepared.shape, **facts)


def _place(image: Volume, recipe: ScanRecipe, case: str) -> tuple[Placement, list[str]]:
    """Choose the slices of a scan, and say what is unusual about them."""
    plane = stored_plane(image)
    if recipe.plane == "auto" and plane.falls_apart:
        size = " x ".join(str(length) for length in image.array.shape[1:])
        raise InputError(
            f"has {plane}, {max(image.spacing):.3g} mm apart; axial ones cut from them would be of {size} pixels; "
            "--plane stored prepares them as they are, --plane axial cuts them all the same"
        )
    told = []
    if plane.name != "axial":
        done = "prepared as they are" if recipe.plane == "stored" else "axial ones were cut from them"
        told = [f"stored as {plane}: {done}"]
    elif plane.off > FARTHEST_TILT:
        told = [f"stored as {plane}: prepared as they are"]
    return Placement.of(image, recipe.plane, recipe.flip(case)), told


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put the file's name before what is wrong with its values."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _write_slice(path: Path, image: NDArray[np.float32], label: NDArray[np.uint8], left: int) -> None:
    """Write a training slice as ``np.savez_compressed`` does, but at deflate's level 1, several times as fast.

    ``left``: how many slices of the case are still to be written.
    """
    size = left * (image.nbytes + label.nbytes)
    with (
        atomic_path(path, size) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    ):
        for key, array in (("image", image), ("label", label)):
            with archive.open(f"{key}.npy", "w") as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)


def _write_volume(
    path: Path, pixels: Callable[[int], NDArray], label: NDArray[np.uint8], spacing: Sequence[float]
) -> None:
    """Write a test volume as HDF5; ``spacing`` (z, y, x) in mm is an attribute that other readers ignore.

    It is made in memory (compressed, some 50 MB): HDF5 crashes the process when a disk fills under it.
    """
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        images, labels = (
            file.create_dataset(
                key, label.shape, dtype, chunks=(1, *label.shape[1:]), compression="gzip", compression_opts=1
            )
            for key, dtype in (("image", np.float32), ("label", np.uint8))
        )
        for z, plane in enumerate(label):
            images[z], labels[z] = pixels(z), plane
        file.attrs["spacing"] = np.asarray(spacing, dtype=np.float64)
    with atomic_path(path, buffer.getbuffer().nbytes) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def _index(destination: Path, jobs: Iterable[ScanJob], recipe: ScanRecipe) -> dict[Path, str]:
    """The id lists and ``dataset.json`` from the records, by file; ``dataset.json`` last, it means complete."""
    slices, cases = [], {}
    for job in jobs:
        record = job.read_record()
        cases[job.name] = {key: value for key, value in record.items() if key != "settings"}
        if job.split == "train":
            slices += [path.stem for path in job.outputs(record["shape"])]
    tests = [job.name for job in jobs if job.split == "test"]
    manifest = {**recipe.settings, **recipe.facts, "cases": cases}
    return {
        destination / "lists" / "train.txt": "".join(f"{name}\n" for name in slices),
        destination / "lists" / "test_vol.txt": "".join(f"{name}\n" for name in tests),
        destination / "dataset.json": json.dumps(manifest, indent=1) + "\n",
    }


def _outputs(destination: Path, name: str, split: str, shape: Sequence[int]) -> list[Path]:
    """Return the files that a case of this prepared name and shape is written to."""
    if split == "test":
        return [destination / "test_vol_h5" / f"{name}.npy.h5"]
    return [destination / "train_npz" / f"{name}_slice{z:03d}.npz" for z in range(shape[0])]


def _recorded_outputs(path: Path, record: Mapping[str, Any]) -> set[Path]:
    return set(_outputs(path.parent.parent, path.stem, record["split"], record["shape"]))


def _remove_other_cases(jobs: Iterable[ScanJob], destination: Path) -> None:
    """Remove what our records of cases no longer in the split name, the record last: it would mislead."""
    for path, record in other_records(jobs, destination):
        _remove(_recorded_outputs(path, record))
        path.unlink()


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _check_names(jobs: Iterable[ScanJob]) -> None:
    """Raise InputError if two cases would be written to the same files (some disks ignore upper and lower case)."""
    seen: dict[str, str] = {}
    for job in jobs:
        if (other := seen.setdefault(job.name.casefold(), job.case)) != job.case or not job.name:
            raise InputError(f"{job.image}: case {job.case!r} would overwrite case {other!r}; rename one of the two")


def _refuse_other_data(destination: Path, recipe: ScanRecipe) -> None:
    """Raise InputError if a run with other classes, or of another kind of data, has written here: it would be lost."""
    earlier = earlier_settings(destination)
    if any(destination.glob("*_images.npy")) or any("recipe" in settings for settings in earlier):
        raise InputError(f"{destination}: holds prepared images; choose another folder")
    if any(settings.get("organs", recipe.organs) != recipe.organs for settings in earlier):
        raise InputError(f"{destination}: holds prepared data with other classes; choose another folder")


def _bytes(job: ScanJob) -> int:
    files = (file for path in job.inputs.values() for file in (path.rglob("*") if path.is_dir() else [path]))
    return sum(file.stat().st_size for file in files)
