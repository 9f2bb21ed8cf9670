"""What every preparation shares: one run a folder, cases in parallel, and going on after a stop.

A kind of data (``data.scans.prepare``, ``data.images.prepare``) subclasses ``CaseJob`` and brings a function that
prepares one case, writing every file atomically and the case's record last. A case is finished when its record
says that it was made from these very files with these settings; so a run that was stopped continues where it
was, and its result is the same as that of a run that was not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from msa2net_lib.data.parallel import in_processes
from msa2net_lib.data.prepared_files import MANIFEST, read_manifest
from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import read_json, write_text
from msa2net_lib.utils.locks import exclusive
from msa2net_lib.utils.names import id_path
from msa2net_lib.utils.progress import progress_bar

RECORDS = "cases"
"""The folder, within the destination, of the finished cases' records and the lock."""

_LOCK = ".lock"

PATIENCE = 60.0
"""Seconds to wait for another run in the same folder. To find that all is prepared takes it a moment; lessons that
start together do that at the same time."""


@dataclass(frozen=True)
class CaseJob:
    """One case to prepare; plain enough to be sent to another process. Recipes fill in the file names.

    destination: the folder to prepare into. case: its id within the source. split: the part it belongs to.
    """

    destination: str
    case: str
    split: str

    @property
    def name(self) -> str:
        """The case's name in the prepared data."""
        return self.case

    @property
    def inputs(self) -> dict[str, Path]:
        """Kind ("image", "label") -> file or folder of the source."""
        raise NotImplementedError

    def outputs(self, shape: Sequence[int]) -> list[Path]:
        """The files that a case with an array of this shape is prepared into."""
        raise NotImplementedError

    @property
    def record_path(self) -> Path:
        """The file whose presence means that the case was prepared to its end."""
        return id_path(Path(self.destination, RECORDS), self.name, ".json")

    def sources(self) -> dict[str, dict[str, str]]:
        """Return what the record says about the inputs, by kind: "file", a name, and "sha256"."""
        raise NotImplementedError

    def read_record(self) -> dict[str, Any]:
        """Return the case's record; empty if there is none, or none of ours that can be read."""
        return _read_record(self.record_path)

    def write_record(self, settings: Mapping[str, Any], shape: Sequence[int], **facts: Any) -> None:
        """Declare the case finished. ``settings`` decide, with the sources, whether it has to be redone."""
        record = {"settings": settings, "split": self.split, "shape": list(shape), **facts}
        write_text(self.record_path, json.dumps(record, indent=1) + "\n")

    def is_finished(self, settings: Mapping[str, Any]) -> bool:
        """Tell whether an earlier run prepared this case from these very files with these settings."""
        record = self.read_record()
        if not record or (record.get("settings"), record.get("split")) != (settings, self.split):
            return False
        outputs = self.outputs(record["shape"])
        return record.get("sources") == self.sources() and all(path.is_file() for path in outputs)


JobT = TypeVar("JobT", bound=CaseJob)


def check_inputs_exist(jobs: Iterable[CaseJob]) -> None:
    """Raise InputError for the first input that is missing, before any work is done."""
    for job in jobs:
        for kind, path in job.inputs.items():
            if not path.exists():
                raise InputError(f"{path}: case {job.case} has no {kind}; add the file or leave the case out")


def prepare_pending(
    prepare_case: Callable[[JobT], None],
    jobs: Sequence[JobT],
    pending: Sequence[JobT],
    workers: int | None,
    progress: bool,
) -> None:
    """Prepare those of ``jobs`` that are ``pending``, in ``workers`` processes (None: one a core or case)."""
    done = len(jobs) - len(pending)
    with progress_bar(
        total=len(jobs), initial=done, desc="cases", unit="case", enabled=progress and bool(pending)
    ) as bar:
        for _ in in_processes(prepare_case, pending, workers):
            bar.update()


def is_whole(
    destination: Path, jobs: Sequence[JobT], is_done: Callable[[JobT], bool], index: Callable[[], Mapping[Path, str]]
) -> bool:
    """Tell whether an earlier run left all as it is to be: then nothing is written, nor locked, on a read-only disk.

    index: the lists and ``dataset.json`` as they are to be, from the records.
    """
    if not (destination / MANIFEST).is_file() or any(other_records(jobs, destination)) or not all(map(is_done, jobs)):
        return False
    return all(path.is_file() and path.read_text(encoding="utf-8") == text for path, text in index().items())


@contextmanager
def locked(destination: Path) -> Iterator[None]:
    """Claim ``destination`` for this run; the claim ends with the process, however it ends.

    The lock file is written first and stays: it says that the folder is ours. Raises InputError if it is a file,
    another run has it for longer than `PATIENCE`, or it is neither ours nor empty.
    """
    if destination.exists() and not destination.is_dir():
        raise InputError(f"{destination}: is a file; give a folder to write to")
    records = destination / RECORDS
    if other := _not_ours(destination):
        raise InputError(f"{destination}: holds {other}, which something else put there; choose an empty folder")
    with claimed(destination, records / _LOCK):
        yield


def claimed(folder: Path, lock: Path) -> AbstractContextManager[int | None]:
    """Claim a folder as `exclusive` does, waiting `PATIENCE` seconds for another run's end."""
    return exclusive(folder, lock=lock, wait=PATIENCE, busy="another preparation is writing there; wait for it")


def other_records(jobs: Iterable[CaseJob], destination: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield path and content of our records of cases that are not among ``jobs``; other JSON is passed over."""
    wanted = {job.record_path for job in jobs}
    for path in sorted((destination / RECORDS).glob("*.json")):
        if path not in wanted and (record := _read_record(path)):
            yield path, record


def earlier_settings(destination: Path) -> list[dict[str, Any]]:
    """Return what earlier runs into a folder were set to, as its ``dataset.json`` and its records say."""
    manifest: dict[str, Any] = {}
    with suppress(InputError):  # a damaged one is written anew
        manifest = read_manifest(destination)
    return [manifest, *(record["settings"] for _, record in other_records((), destination))]


def _not_ours(destination: Path) -> str:
    """Return the name of something in a folder that no preparation of ours made; "" for an empty folder or ours."""
    records = destination / RECORDS
    if not destination.is_dir() or (records / _LOCK).is_file():
        return ""
    # A run that was killed before it had written its lock leaves the folder for records, empty.
    begun = {records} if records.is_dir() and not any(records.iterdir()) else set()
    visible = {path for path in destination.iterdir() if not path.name.startswith(".")}
    return min((path.name for path in visible - begun), default="")


def _read_record(path: Path) -> dict[str, Any]:
    """Return a record as ``CaseJob.write_record`` writes it, {} for anything else."""
    try:
        record = read_json(path)
        ours = isinstance(record["settings"], dict) and isinstance(record["split"], str)
        return record if ours and all(isinstance(length, int) for length in record["shape"]) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
