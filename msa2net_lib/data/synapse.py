"""Prepare the Synapse (BTCV) data in the field's format: 2-D slices to train on, whole volumes to score.

Recipe (TransUNet's, followed by the paper): window [-125, 275] HU to [0, 1], every slice, no resampling, no
crop, labels in scheme A. How a stopped run continues: see ``data.prepare``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from msa2net_lib.data.labels import SCHEMES, raw_to_scheme
from msa2net_lib.data.prepare import (
    CaseJob,
    check_inputs_exist,
    locked,
    prepare_pending,
    remove_orphans,
    remove_partials,
)
from msa2net_lib.data.volumes import WINDOW_HU, read_pair, window
from msa2net_lib.errors import InputError
from msa2net_lib.files import atomic_path, write_text

if TYPE_CHECKING:
    from msa2net_lib.data.datasets import PreparedDataset

# fmt: off
SYNAPSE_TRAIN_CASES: tuple[str, ...] = (
    "0005", "0006", "0007", "0009", "0010", "0021", "0023", "0024", "0026",
    "0027", "0028", "0030", "0031", "0033", "0034", "0037", "0039", "0040",
)
"""The 18 training cases of the split everyone uses (TransUNet's), in list order."""

SYNAPSE_TEST_CASES: tuple[str, ...] = (
    "0008", "0022", "0038", "0036", "0032", "0002", "0029", "0003", "0001", "0004", "0025", "0035",
)
"""The 12 test cases of that split, in list order."""
# fmt: on

_SETTINGS: dict[str, Any] = {"format": 1, "window_hu": list(WINDOW_HU), "label_scheme": "A"}
_OURS = re.compile(r"case\d{4}(_slice\d{3,}\.npz|\.npy\.h5|\.json)")
_CASE_FOLDERS = ("train_npz", "test_vol_h5")
_OUTPUT_FOLDERS = (*_CASE_FOLDERS, "lists")
_INDEX = ("dataset.json", "lists/train.txt", "lists/test_vol.txt")


class _Job(CaseJob):
    """One scan of the BTCV layout."""

    @property
    def inputs(self) -> dict[str, Path]:
        return {
            "image": Path(self.source, "img", f"img{self.case}.nii.gz"),
            "label": Path(self.source, "label", f"label{self.case}.nii.gz"),
        }

    def outputs(self, shape: Sequence[int]) -> list[Path]:
        if self.split == "test":
            return [Path(self.destination, "test_vol_h5", f"{self.name}.npy.h5")]
        folder = Path(self.destination, "train_npz")
        return [folder / f"{self.name}_slice{z:03d}.npz" for z in range(shape[0])]


def prepare_synapse(
    source: str | Path,
    destination: str | Path,
    *,
    train_cases: Sequence[str] | None = None,
    test_cases: Sequence[str] | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> PreparedDataset:
    """Prepare a folder in the BTCV layout for training and evaluation, and return the prepared data.

    ``source`` holds ``img/img0005.nii.gz`` with ``label/label0005.nii.gz`` (raw BTCV ids) and so on. Without
    ``train_cases`` and ``test_cases``, those of the published 18/12 split that are there; with either,
    exactly the given four-digit ids (the one not given is empty). ``destination`` gets ``train_npz/``,
    ``test_vol_h5/``, ``lists/``, ``dataset.json`` and the records in ``cases/``; what an earlier run with
    other cases left there is removed. ``workers`` processes run at once (default: one a core or case, 1 for
    none beside this one).

    Raises InputError, in one line with the file's name, for anything wrong with the source, before any work
    for files that are missing; cases already finished stay and are not done again.
    """
    from msa2net_lib.data.datasets import PreparedDataset  # imports torch, which the workers do without

    source, destination = Path(source), Path(destination)
    split = _split(source, train_cases, test_cases)
    jobs = [_Job(str(source), str(destination), case, part) for part, cases in split.items() for case in cases]
    check_inputs_exist(jobs)
    if workers is not None and workers < 1:
        raise InputError(f"workers={workers}: give 1 or more")
    with locked(destination, _OUTPUT_FOLDERS):
        remove_partials(destination, _OUTPUT_FOLDERS)
        pending = [job for job in jobs if not job.is_finished(_SETTINGS)]
        if pending:  # until all are done there is no data set here to open
            for path in _INDEX:
                (destination / path).unlink(missing_ok=True)
        prepare_pending(_prepare_case, jobs, pending, workers, progress)
        _write_index(destination, jobs)
        remove_orphans(jobs, destination, _CASE_FOLDERS, _OURS)
    return PreparedDataset.open(destination)


def _split(source: Path, train_cases: Sequence[str] | None, test_cases: Sequence[str] | None) -> dict[str, list[str]]:
    """Return the cases of each part, in list order."""
    for folder in ("img", "label"):
        if not (source / folder).is_dir():
            raise InputError(f"{source / folder}: no such folder; give the folder that holds img/ and label/")
    found = {
        match[1]
        for path in (*source.glob("img/img*"), *source.glob("label/label*"))
        if (match := re.fullmatch(r"(?:img|label)(\d{4})\.nii\.gz", path.name))
    }
    if not found:
        raise InputError(f"{source / 'img'}: holds no scan named img0001.nii.gz or alike; check the folder")
    if train_cases is None and test_cases is None:
        split = {
            "train": [case for case in SYNAPSE_TRAIN_CASES if case in found],
            "test": [case for case in SYNAPSE_TEST_CASES if case in found],
        }
        if not any(split.values()):
            raise InputError(
                f"{source}: no case of the published split among its {len(found)} (such as {min(found)}); "
                "name them in train_cases and test_cases"
            )
        return split
    split = {"train": list(train_cases or ()), "test": list(test_cases or ())}
    chosen = [*split["train"], *split["test"]]
    for case in chosen:
        if not re.fullmatch(r"\d{4}", str(case)):
            raise InputError(f"case id {case!r}: give four digits, such as '0005'")
    if repeated := {case for case in chosen if chosen.count(case) > 1}:
        raise InputError(f"case {min(repeated)}: listed twice in train_cases and test_cases; list it once")
    if not chosen:
        raise InputError("train_cases and test_cases are both empty: name at least one case")
    return split


def _prepare_case(job: _Job) -> None:
    """Read one case and write its outputs, the record last."""
    sources = job.sources()
    image, label = read_pair(job.inputs["image"], job.inputs["label"])
    pixels = window(image.array)
    labels = raw_to_scheme(label.array)
    # The old record goes first: if this run is stopped, outputs of two kinds must not look finished.
    job.record_path.unlink(missing_ok=True)
    outputs = job.outputs(pixels.shape)
    if job.split == "test":
        _write_volume(outputs[0], pixels, labels, image.spacing)
    else:
        for path, pixels_2d, labels_2d in zip(outputs, pixels, labels, strict=True):
            with atomic_path(path) as temporary:
                np.savez_compressed(temporary, image=pixels_2d, label=labels_2d)
    voxels = {organ: int(np.count_nonzero(labels == number)) for organ, number in SCHEMES["A"].items()}
    job.write_record(_SETTINGS, pixels.shape, spacing_mm=list(image.spacing), sources=sources, voxels=voxels)


def _write_volume(path: Path, image: np.ndarray, label: np.ndarray, spacing: Sequence[float]) -> None:
    """Write a test volume as HDF5; ``spacing`` (z, y, x) in mm is an attribute that other readers ignore."""
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        for key, array in (("image", image), ("label", label)):
            chunks = (1, *array.shape[1:])
            file.create_dataset(key, data=array, chunks=chunks, compression="gzip", compression_opts=1)
        file.attrs["spacing"] = np.asarray(spacing, dtype=np.float64)


def _write_index(destination: Path, jobs: Iterable[_Job]) -> None:
    """Write the id lists and ``dataset.json`` from the records; ``dataset.json`` last, it means complete."""
    records = {job: job.read_record() for job in jobs}
    slices = [
        path.stem for job, record in records.items() if job.split == "train" for path in job.outputs(record["shape"])
    ]
    write_text(destination / "lists" / "train.txt", "".join(f"{name}\n" for name in slices))
    tests = [job.name for job in records if job.split == "test"]
    write_text(destination / "lists" / "test_vol.txt", "".join(f"{name}\n" for name in tests))
    cases = {
        job.name: {key: value for key, value in record.items() if key != "settings"} for job, record in records.items()
    }
    manifest = {**_SETTINGS, "organs": SCHEMES["A"], "cases": cases}
    write_text(destination / "dataset.json", json.dumps(manifest, indent=1) + "\n")
