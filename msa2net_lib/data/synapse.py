"""Prepare the Synapse (BTCV) data in the field's format: 2-D slices to train on, whole volumes to score.

Recipe (TransUNet's, followed by the paper): window [-125, 275] HU to [0, 1], every slice, no resampling, no
crop, labels in scheme A. Every file is written atomically and every finished case leaves a record, so a run
that was stopped continues where it was, and its result is the same as that of a run that was not.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from tqdm import tqdm

from msa2net_lib.data.labels import SCHEMES, raw_to_scheme
from msa2net_lib.data.volumes import WINDOW_HU, read_pair, window
from msa2net_lib.errors import InputError
from msa2net_lib.files import atomic_path, sha256, write_text

if TYPE_CHECKING:
    from msa2net_lib.data.datasets import PreparedDataset

try:
    import fcntl
except ImportError:  # Windows: there, two runs into one folder are the user's to avoid
    fcntl = None

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
_OUTPUT_FOLDERS = ("train_npz", "test_vol_h5", "cases")


@dataclass(frozen=True)
class _Job:
    """One case to prepare; plain enough to be sent to another process."""

    source: str
    destination: str
    case: str
    split: str

    @property
    def name(self) -> str:
        return f"case{self.case}"

    @property
    def inputs(self) -> dict[str, Path]:
        return {
            "image": Path(self.source, "img", f"img{self.case}.nii.gz"),
            "label": Path(self.source, "label", f"label{self.case}.nii.gz"),
        }

    @property
    def record_path(self) -> Path:
        return Path(self.destination, "cases", f"{self.name}.json")

    def sources(self) -> dict[str, dict[str, str]]:
        """Return what the record says about the inputs: name within the source folder and checksum."""
        return {
            kind: {"file": path.relative_to(self.source).as_posix(), "sha256": sha256(path)}
            for kind, path in self.inputs.items()
        }

    def outputs(self, slices: int) -> list[Path]:
        if self.split == "test":
            return [Path(self.destination, "test_vol_h5", f"{self.name}.npy.h5")]
        folder = Path(self.destination, "train_npz")
        return [folder / f"{self.name}_slice{z:03d}.npz" for z in range(slices)]


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
    jobs = [
        _Job(str(source), str(destination), case, part) for part, cases in split.items() for case in cases
    ]
    _check_inputs_exist(jobs)
    if workers is not None and workers < 1:
        raise InputError(f"workers={workers}: give 1 or more")
    with _locked(destination):
        for folder in ("", "lists", *_OUTPUT_FOLDERS):  # what stopped runs left; none is alive now
            for stale in (destination / folder).glob(".partial-*"):
                stale.unlink(missing_ok=True)
        pending = [job for job in jobs if not _is_finished(job)]
        if pending:  # until all are done there is no data set here to open
            for path in ("dataset.json", "lists/train.txt", "lists/test_vol.txt"):
                (destination / path).unlink(missing_ok=True)
        workers = min(workers or _cores(), max(1, len(pending)))
        bar = tqdm(
            total=len(jobs), initial=len(jobs) - len(pending), desc="cases", unit="case", disable=not progress
        )
        with bar:
            for _ in _run(pending, workers):
                bar.update()
        _write_index(destination, jobs)
        _remove_orphans(destination, jobs)
    return PreparedDataset.open(destination)


def _split(
    source: Path, train_cases: Sequence[str] | None, test_cases: Sequence[str] | None
) -> dict[str, list[str]]:
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


def _check_inputs_exist(jobs: Iterable[_Job]) -> None:
    for job in jobs:
        for kind, path in job.inputs.items():
            if not path.is_file():
                raise InputError(f"{path}: case {job.case} has no {kind}; add the file or leave the case out")


def _run(jobs: list[_Job], workers: int) -> Iterator[None]:
    """Prepare ``jobs``, yielding after each; on the first failure the jobs not yet begun are dropped."""
    if workers == 1:
        for job in jobs:
            yield _prepare_case(job)
        return
    # spawn: a fork of a process that runs torch, a notebook or pytest may inherit a locked lock.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_become_worker) as pool:
        try:
            for future in as_completed([pool.submit(_prepare_case, job) for job in jobs]):
                yield future.result()
        except BrokenProcessPool as error:
            raise InputError(
                "a worker process died: out of memory, or a script without `if __name__ == '__main__':`; "
                "try workers=1"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _become_worker() -> None:
    """Leave Ctrl-C to the main process, and end when it does, even if it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _prepare_case(job: _Job) -> None:
    """Read one case and write its outputs, the record last."""
    sources = job.sources()
    image, label = read_pair(job.inputs["image"], job.inputs["label"])
    pixels = window(image.array)
    labels = raw_to_scheme(label.array)
    # The old record goes first: if this run is stopped, outputs of two kinds must not look finished.
    job.record_path.unlink(missing_ok=True)
    outputs = job.outputs(len(pixels))
    if job.split == "test":
        _write_volume(outputs[0], pixels, labels, image.spacing)
    else:
        for path, pixels_2d, labels_2d in zip(outputs, pixels, labels, strict=True):
            with atomic_path(path) as temporary:
                np.savez_compressed(temporary, image=pixels_2d, label=labels_2d)
    record = {
        "settings": _SETTINGS,
        "split": job.split,
        "shape": list(pixels.shape),
        "spacing_mm": list(image.spacing),
        "sources": sources,
        "voxels": {organ: int(np.count_nonzero(labels == number)) for organ, number in SCHEMES["A"].items()},
    }
    write_text(job.record_path, json.dumps(record, indent=1) + "\n")


def _write_volume(path: Path, image: np.ndarray, label: np.ndarray, spacing: Sequence[float]) -> None:
    """Write a test volume as HDF5; ``spacing`` (z, y, x) in mm is an attribute that other readers ignore."""
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        for key, array in (("image", image), ("label", label)):
            chunks = (1, *array.shape[1:])
            file.create_dataset(key, data=array, chunks=chunks, compression="gzip", compression_opts=1)
        file.attrs["spacing"] = np.asarray(spacing, dtype=np.float64)


def _read_record(job: _Job) -> dict[str, Any]:
    """Return the record of a finished case; empty if there is none, or none that can be read."""
    try:
        record = json.loads(job.record_path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) and "shape" in record else {}


def _is_finished(job: _Job) -> bool:
    """Tell whether an earlier run prepared this case from these very files with these settings."""
    record = _read_record(job)
    if not record or (record.get("settings"), record.get("split")) != (_SETTINGS, job.split):
        return False
    outputs = job.outputs(record["shape"][0])
    return record.get("sources") == job.sources() and all(path.is_file() for path in outputs)


def _write_index(destination: Path, jobs: Iterable[_Job]) -> None:
    """Write the id lists and ``dataset.json`` from the records; ``dataset.json`` last, it means complete."""
    records = {job: _read_record(job) for job in jobs}
    slices = [
        path.stem
        for job, record in records.items()
        if job.split == "train"
        for path in job.outputs(record["shape"][0])
    ]
    write_text(destination / "lists" / "train.txt", "".join(f"{name}\n" for name in slices))
    tests = [job.name for job in records if job.split == "test"]
    write_text(destination / "lists" / "test_vol.txt", "".join(f"{name}\n" for name in tests))
    cases = {
        job.name: {key: value for key, value in record.items() if key != "settings"}
        for job, record in records.items()
    }
    manifest = {**_SETTINGS, "organs": SCHEMES["A"], "cases": cases}
    write_text(destination / "dataset.json", json.dumps(manifest, indent=1) + "\n")


def _remove_orphans(destination: Path, jobs: Iterable[_Job]) -> None:
    """Remove outputs of cases that are no longer in the split: nothing lists them, and they would mislead."""
    wanted = {job.record_path for job in jobs}
    for job in jobs:
        wanted.update(job.outputs(_read_record(job)["shape"][0]))
    for folder in _OUTPUT_FOLDERS:
        for path in (destination / folder).glob("case*"):
            if _OURS.fullmatch(path.name) and path not in wanted:
                path.unlink()


@contextmanager
def _locked(destination: Path) -> Iterator[None]:
    """Claim ``destination`` for this run; the claim ends with the process, however it ends."""
    if destination.exists() and not destination.is_dir():
        raise InputError(f"{destination}: is a file; give a folder to write to")
    ours = destination / "cases"
    if not ours.is_dir() and any(
        (destination / name).exists() for name in ("train_npz", "test_vol_h5", "lists")
    ):
        raise InputError(f"{destination}: holds data that something else prepared; choose an empty folder")
    ours.mkdir(parents=True, exist_ok=True)
    with open(ours / ".lock", "w") as handle:
        if fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise InputError(
                    f"{destination}: another preparation is writing there; wait for it"
                ) from error
        yield


def _cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
