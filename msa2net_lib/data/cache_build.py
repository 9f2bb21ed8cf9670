"""Building a cache of training samples: threads decode, and a stopped build goes on where it was.

While a build is under way its arrays carry ``building-`` before their names and ``building.json`` lists the
chunks of samples that are on disk. Each has its place in the arrays, so that a chunk decoded twice is written
once. ``data.cache`` says what a finished cache is.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from msa2net_lib.data.parallel import check_workers, usable_cores
from msa2net_lib.data.prepare import remove_partials
from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import DiskFullError, tell_disk_full, writable_folder, write_text
from msa2net_lib.utils.progress import progress_bar

if TYPE_CHECKING:
    from msa2net_lib.data.training_slices import TrainingData

try:
    import fcntl
except ImportError:  # Windows: there, two builds in one folder are the user's to avoid
    fcntl = None

RECORD = "cache.json"
"""The file whose presence means that a cache is finished."""

Shape = tuple[int, int, int, int]
"""Samples, channels, height, width."""

_CHUNK = 16  # samples between two records: a killed build loses at most that many a thread
_BUILDING = "building.json"


class CacheUnavailable(InputError):  # noqa: N818 - a kind of InputError, which users see as such
    """The folder cannot take the cache: it is not writable, cannot be locked, or there is too little space."""


def sample_shape(data: TrainingData, size: tuple[int, int]) -> Shape:
    """Return the shape of all samples together; the first one tells the channels."""
    if not len(data.train_ids):
        raise InputError(f"{data.root}: lists no training slice; prepare it with training cases")
    image, _ = data.training_sample(data.train_ids[0], size)
    return len(data.train_ids), image.shape[0], *size


def array_files(shape: Shape) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Return file name -> shape and dtype of images and labels, in this order."""
    count, _, height, width = shape
    return {"images.npy": (shape, np.dtype(np.float32)), "labels.npy": ((count, height, width), np.dtype(np.uint8))}


def chunks_of(count: int) -> list[range]:
    """Return the samples' indices in the portions that are decoded and recorded together."""
    return [range(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]


def decode_chunks(
    data: TrainingData,
    shape: Shape,
    chunks: Sequence[range],
    keep: Callable[[range, NDArray[np.float32], NDArray[np.uint8]], None],
    workers: int | None,
    progress: bool,
) -> Iterator[range]:
    """Decode the samples of ``chunks``, hand images and labels to ``keep`` and yield each chunk once kept.

    Threads, not processes: inflating and resizing release the interpreter lock (two threads on two cores
    were 1.9 times as fast as one), and nothing has to be pickled.
    """
    check_workers(workers)

    ids = data.train_ids

    def work(chunk: range) -> range:
        images, labels = (np.empty((len(chunk), *array[1:]), dtype) for array, dtype in array_files(shape).values())
        for row, index in enumerate(chunk):
            images[row], labels[row] = data.training_sample(ids[index], shape[2:])
        keep(chunk, images, labels)
        return chunk

    done = shape[0] - sum(map(len, chunks))
    bar = progress_bar(total=shape[0], initial=done, desc="training slices", unit="slice", enabled=progress)
    with bar, ThreadPoolExecutor(workers or usable_cores()) as pool:
        try:
            for future in as_completed([pool.submit(work, chunk) for chunk in chunks]):
                bar.update(len(future.result()))
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def build_cache(
    data: TrainingData, folder: Path, key: Mapping[str, Any], shape: Shape, workers: int | None, progress: bool
) -> None:
    """Make the files of a cache, or those that a stopped build of the same one left to do; call it ``claimed``."""
    remove_partials(folder, ())
    done = _done(folder, key, shape)
    todo = [chunk for number, chunk in enumerate(chunks_of(shape[0])) if number not in done]
    _check_space(folder, shape, sum(map(len, todo)), replaces=not done)
    with _unavailable_if_full(folder):
        if not done:
            _start(folder, key, shape)

    def keep(chunk: range, *decoded: NDArray) -> None:
        with _unavailable_if_full(folder):
            for name, array in zip(array_files(shape), decoded, strict=True):
                _write_rows(folder / f"building-{name}", chunk.start, shape[0], array)

    for chunk in decode_chunks(data, shape, todo, keep, workers, progress):
        done.add(chunk.start // _CHUNK)
        with _unavailable_if_full(folder):
            _write_record(folder / _BUILDING, key, shape, done=sorted(done))
    for name in array_files(shape):
        if (folder / f"building-{name}").exists():  # else renamed by a build that was stopped right here
            os.replace(folder / f"building-{name}", folder / name)
    _write_record(folder / RECORD, key, shape)
    (folder / _BUILDING).unlink()


@contextmanager
def claimed(folder: Path, progress: bool) -> Iterator[None]:
    """Make ``folder`` and keep other builds out of it, having waited for one that is under way.

    Raises: `CacheUnavailable` if it cannot be written to, InputError if it holds something else.
    """
    try:
        writable_folder(folder)
    except InputError as error:
        raise CacheUnavailable(str(error)) from error
    with open(folder / ".lock", "w") as handle:
        if not _lock(handle.fileno(), folder):
            waiting = "waiting for another process that builds this cache"
            with progress_bar(desc=waiting, bar_format="{desc}: {elapsed}", enabled=progress) as bar:
                while not _lock(handle.fileno(), folder):
                    time.sleep(0.2)
                    bar.refresh()
        _check_ours(folder)
        yield


def read_record(path: Path) -> dict[str, Any]:
    """Return a record of ours, ``shape`` as a tuple; empty if there is none, or none that can be read."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        count, channels, height, width = record["shape"]
        return {**record, "shape": (count, channels, height, width)}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def map_array(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> np.memmap | None:
    """Map an array file read-only; None unless it is whole and has this shape and dtype."""
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError):
        return None
    return array if array.shape == shape and array.dtype == dtype else None


def _check_ours(folder: Path) -> None:
    """Raise InputError for a folder that holds anything but a cache: building one would overwrite it."""
    arrays = {part + name for name in array_files((0, 0, 0, 0)) for part in ("", "building-")}
    records = {name for name in (RECORD, _BUILDING) if (folder / name).exists()}
    ours = arrays | records if records else set()
    other = sorted(path.name for path in folder.iterdir() if path.name not in ours and not path.name.startswith("."))
    if other:
        raise InputError(f"{folder}: holds {other[0]}, which is no part of a cache; name a folder for the cache alone")


def _lock(handle: int, folder: Path) -> bool:
    """Take the lock, which ends with this process however it ends; False if another process has it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # some network drives have no locks
        raise CacheUnavailable(f"{folder}: cannot be locked ({error.strerror}); name another folder") from error
    return True


def _done(folder: Path, key: Mapping[str, Any], shape: Shape) -> set[int]:
    """Return the numbers of the chunks that a stopped build of this very cache wrote; none if it is damaged."""
    record = read_record(folder / _BUILDING)
    if (record.get("key"), record.get("shape")) != (key, shape):
        return set()
    for name, array in array_files(shape).items():
        if all(map_array(folder / part, *array) is None for part in (f"building-{name}", name)):
            return set()
    return set(record.get("done", ()))


def _start(folder: Path, key: Mapping[str, Any], shape: Shape) -> None:
    """Remove what another build left, and lay out the arrays; the record comes first, so that all is ours."""
    _write_record(folder / _BUILDING, key, shape, done=[])
    (folder / RECORD).unlink(missing_ok=True)
    for name, (array_shape, dtype) in array_files(shape).items():
        (folder / name).unlink(missing_ok=True)
        np.lib.format.open_memmap(folder / f"building-{name}", mode="w+", dtype=dtype, shape=array_shape)


def _write_rows(path: Path, start: int, total: int, rows: NDArray) -> None:
    """Write ``rows`` of an array file of ``total`` rows from row ``start`` on, and see them to the disk.

    Through the file, not through a map of it: a full disk kills a process that writes to a map.
    """
    with open(path, "rb+") as file:
        file.seek((start - total) * rows[0].nbytes, os.SEEK_END)
        file.write(rows.data)
        file.flush()
        os.fsync(file.fileno())


def _check_space(folder: Path, shape: Shape, samples: int, replaces: bool) -> None:
    """Raise CacheUnavailable unless so many samples fit on the folder's disk, once an older cache has gone."""
    _, channels, height, width = shape
    needed = samples * height * width * (4 * channels + 1)
    older = [folder / name for name in array_files(shape) if replaces and (folder / name).exists()]
    free = shutil.disk_usage(folder).free + sum(path.stat().st_size for path in older)
    if free < needed:
        megabytes = f"{needed / 1e6:.0f} MB and {free / 1e6:.0f} MB are free"
        raise CacheUnavailable(f"{folder}: the cache needs {megabytes}; free some space or name another folder")


@contextmanager
def _unavailable_if_full(folder: Path) -> Iterator[None]:
    try:
        with tell_disk_full(folder):
            yield
    except DiskFullError as error:
        raise CacheUnavailable(f"{error}, or name another folder") from error


def _write_record(path: Path, key: Mapping[str, Any], shape: Shape, **facts: Any) -> None:
    write_text(path, json.dumps({"key": key, "shape": shape, **facts}) + "\n")
