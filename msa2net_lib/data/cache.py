"""Training samples decoded once: memory-mapped arrays of exactly what the network sees.

A cache folder holds ``images.npy``, ``labels.npy`` and ``cache.json``, which says which data at which size they are
and which chunks of samples are on disk: threads decode, and a stopped build goes on where it was. With another
record, or while chunks are missing, nothing in the folder is used. Samples stay float32: float16 would halve the disk
but round them by up to 5e-4, and training would depend on whether it was cached.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from msa2net_lib.data.datasets import TrainingData
from msa2net_lib.data.parallel import check_workers, usable_cores
from msa2net_lib.data.resize import height_width
from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import DiskFullError, read_json, remove_partials, tell_disk_full, write_text
from msa2net_lib.utils.locks import BusyError, exclusive
from msa2net_lib.utils.progress import progress_bar
from msa2net_lib.utils.row_files import lay_out, map_rows, write_rows

FORMAT = 1
"""Raise it when the files change their meaning: caches of another format are built anew."""

RECORD = "cache.json"

_CHUNK = 16  # samples between two records: a killed build loses at most that many a thread

Shape = tuple[int, int, int, int]
"""Samples, channels, height, width."""


class CacheUnavailable(InputError):  # noqa: N818 - a kind of InputError, which users see as such
    """The folder cannot take the cache: it is not writable, cannot be locked, or there is too little space."""


@dataclass(frozen=True, eq=False)
class SliceCache:
    """Training samples in list order: ``images`` (N, c, h, w) float32 and ``labels`` (N, h, w) uint8.

    ``folder`` is where they are mapped from, read-only, and ``key`` what they were made from; no folder means
    that they lie in memory. A pickled cache is a reference: it maps the files again where it is unpickled.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.uint8]
    folder: Path | None = None
    key: Mapping[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __reduce__(self) -> tuple[Callable[..., SliceCache], tuple[Any, ...]]:
        if self.folder is None:
            return SliceCache, (self.images, self.labels)
        return _map_again, (self.folder, self.key)


def open_cache(
    data: TrainingData,
    size: int | tuple[int, int],
    *,
    folder: str | Path | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> SliceCache:
    """Return the cache of a data set's training samples at one size, building what is missing of it.

    Every array is bit-identical to ``data.training_sample``. ``folder`` holds this data set at this size and
    nothing else (default: ``cache/224x224-1a2b3c4d`` and so on in the data's own, the size and the first 8 digits
    of ``data.digest()``). A cache of other data, of another size or format, or a damaged one is built anew; a
    stopped build goes on where it was. ``workers`` threads decode (default: one a core). Another process's build
    of the same cache is waited for. Raises: `InputError` without training samples or for one that cannot be
    read; its kind `CacheUnavailable` for a folder that is not writable or too small.
    """
    height, width = height_width(size)
    digest = data.digest()
    folder = data.root / "cache" / f"{height}x{width}-{digest[:8]}" if folder is None else Path(folder)
    key = {"format": FORMAT, "data": digest, "size": [height, width]}
    cache = _usable(folder, key, data)
    if cache is None:
        shape = _sample_shape(data, (height, width))
        with _claimed(folder, progress):
            cache = _usable(folder, key, data)  # built by another process while this one waited
            if cache is None:
                _build(data, folder, key, shape, workers, progress)
                cache = _map_again(folder, key)
    return cache


def decode_all(
    data: TrainingData, size: int | tuple[int, int], *, workers: int | None = None, progress: bool = True
) -> SliceCache:
    """Return the same arrays in memory, writing nothing: for few samples, or where no cache can be kept.

    Raises: `InputError` as for ``open_cache``.
    """
    shape = _sample_shape(data, height_width(size))
    images, labels = (np.empty(array, dtype) for array, dtype in _array_files(shape).values())

    def keep(chunk: range, *decoded: NDArray) -> None:
        images[chunk.start : chunk.stop], labels[chunk.start : chunk.stop] = decoded

    for _ in _decode_chunks(data, shape, _chunks(shape[0]), keep, workers, progress):
        pass
    return SliceCache(images, labels)


def read_record(folder: Path) -> dict[str, Any]:
    """Return the record of a cache, ``shape`` as a tuple; empty if there is none, or none that can be read."""
    try:
        record = read_json(folder / RECORD)
        count, channels, height, width = record["shape"]
        return {**record, "shape": (count, channels, height, width), "done": {*record["done"]}}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _usable(folder: Path, key: Mapping[str, Any], data: TrainingData) -> SliceCache | None:
    """Return the cache in ``folder`` if it is whole, has this key and agrees with three samples decoded anew."""
    cache = _mapped(folder, key)
    if cache is None or len(cache) != len(data.train_ids):
        return None
    for index in {0, len(cache) // 2, len(cache) - 1}:  # other versions of the tools may decode otherwise
        image, label = data.training_sample(data.train_ids[index], cache.labels.shape[1:])
        if not (np.array_equal(cache.images[index], image) and np.array_equal(cache.labels[index], label)):
            return None
    return cache


def _mapped(folder: Path, key: Mapping[str, Any] | None) -> SliceCache | None:
    """Return the cache in ``folder``, or None if there is none, or it has another key, a gap or damaged files."""
    record = read_record(folder)
    if not record or record.get("key") != key or len(record["done"]) < len(_chunks(record["shape"][0])):
        return None
    images, labels = (map_rows(folder / name, *array) for name, array in _array_files(record["shape"]).items())
    return None if images is None or labels is None else SliceCache(images, labels, folder, key)


def _map_again(folder: Path, key: Mapping[str, Any] | None) -> SliceCache:
    cache = _mapped(folder, key)
    if cache is None:
        raise InputError(f"{folder}: the cache was removed or replaced while in use; start again")
    return cache


def _sample_shape(data: TrainingData, size: tuple[int, int]) -> Shape:
    """Return the shape of all samples together; the first one tells the channels."""
    if not len(data.train_ids):
        raise InputError(f"{data.root}: lists no training slice; prepare it with training cases")
    image, _ = data.training_sample(data.train_ids[0], size)
    return len(data.train_ids), image.shape[0], *size


def _array_files(shape: Shape) -> dict[str, tuple[tuple[int, ...], type]]:
    """Return file name -> shape and dtype of images and labels, in this order."""
    count, _, height, width = shape
    return {"images.npy": (shape, np.float32), "labels.npy": ((count, height, width), np.uint8)}


def _chunks(count: int) -> list[range]:
    """Return the samples' indices in the portions that are decoded and recorded together."""
    return [range(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK)]


def _decode_chunks(
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
        images, labels = (np.empty((len(chunk), *array[1:]), dtype) for array, dtype in _array_files(shape).values())
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


def _build(
    data: TrainingData, folder: Path, key: Mapping[str, Any], shape: Shape, workers: int | None, progress: bool
) -> None:
    """Make the files of a cache, or those chunks that a stopped build of the same one left to do."""
    remove_partials(folder, claimed=True)
    chunks, files = _chunks(shape[0]), _array_files(shape)
    done: set[int] = set()
    record = read_record(folder)
    same = (record.get("key"), record.get("shape")) == (key, shape) and len(record["done"]) < len(chunks)
    if same and all(map_rows(folder / name, *array) is not None for name, array in files.items()):
        done = record["done"]
    todo = [chunk for number, chunk in enumerate(chunks) if number not in done]
    _check_space(folder, shape, sum(map(len, todo)), replaces=not done)

    def keep(chunk: range, *decoded: NDArray) -> None:
        with _unavailable_if_full(folder):
            for name, array in zip(files, decoded, strict=True):
                write_rows(folder / name, chunk.start, array)

    def tell() -> None:
        with _unavailable_if_full(folder):
            write_text(folder / RECORD, json.dumps({"key": key, "shape": shape, "done": sorted(done)}) + "\n")

    if not done:
        tell()  # first, so that all that follows is known as ours
        for name, array in files.items():
            with _unavailable_if_full(folder):
                (folder / name).unlink(missing_ok=True)
                lay_out(folder / name, *array)
    for chunk in _decode_chunks(data, shape, todo, keep, workers, progress):
        done.add(chunk.start // _CHUNK)
        tell()


@contextmanager
def _claimed(folder: Path, progress: bool) -> Iterator[None]:
    """Make ``folder`` and keep other builds out of it, having waited for one that is under way.

    Raises: `CacheUnavailable` if it cannot be written to, InputError if it holds something else.
    """
    lock = folder / ".lock"
    with ExitStack() as held:
        try:
            try:
                held.enter_context(exclusive(folder, lock=lock))
            except BusyError:
                waiting = "waiting for another process that builds this cache"
                with progress_bar(desc=waiting, bar_format="{desc}", enabled=progress):
                    held.enter_context(exclusive(folder, lock=lock, wait=-1))
        except InputError as error:
            raise CacheUnavailable(str(error)) from error
        _check_ours(folder)
        yield


def _check_ours(folder: Path) -> None:
    """Raise InputError for a folder that holds anything but a cache: building one would overwrite it."""
    ours = {RECORD, *_array_files((0, 0, 0, 0))} if (folder / RECORD).exists() else set()
    other = sorted(path.name for path in folder.iterdir() if path.name not in ours and not path.name.startswith("."))
    if other:
        raise InputError(f"{folder}: holds {other[0]}, which is no part of a cache; name a folder for the cache alone")


def _check_space(folder: Path, shape: Shape, samples: int, replaces: bool) -> None:
    """Raise CacheUnavailable unless so many samples fit on the folder's disk, once an older cache has gone."""
    _, channels, height, width = shape
    needed = samples * height * width * (4 * channels + 1)
    older = [folder / name for name in _array_files(shape) if replaces and (folder / name).exists()]
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
