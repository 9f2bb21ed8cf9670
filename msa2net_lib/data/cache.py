"""Training samples decoded once: memory-mapped arrays of exactly what the network sees.

A cache folder holds ``images.npy``, ``labels.npy`` and, written last, ``cache.json``, which says which data at
which size they are; without it, or with another one, nothing in the folder is used. Samples stay float32:
float16 would halve the disk but round them by up to 5e-4, and training would depend on whether it was cached.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from msa2net_lib.data.cache_build import (
    RECORD,
    array_files,
    build_cache,
    chunks_of,
    claimed,
    decode_chunks,
    map_array,
    read_record,
    sample_shape,
)
from msa2net_lib.data.resize import height_width
from msa2net_lib.errors import InputError

if TYPE_CHECKING:
    from msa2net_lib.data.training_slices import TrainingData

FORMAT = 1
"""Raise it when the files change their meaning: caches of another format are built anew."""


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
        shape = sample_shape(data, (height, width))
        with claimed(folder, progress):
            cache = _usable(folder, key, data)  # built by another process while this one waited
            if cache is None:
                build_cache(data, folder, key, shape, workers, progress)
                cache = _map_again(folder, key)
    return cache


def decode_all(
    data: TrainingData, size: int | tuple[int, int], *, workers: int | None = None, progress: bool = True
) -> SliceCache:
    """Return the same arrays in memory, writing nothing: for few samples, or where no cache can be kept.

    Raises: `InputError` as for ``open_cache``.
    """
    shape = sample_shape(data, height_width(size))
    images, labels = (np.empty(array, dtype) for array, dtype in array_files(shape).values())

    def keep(chunk: range, *decoded: NDArray) -> None:
        images[chunk.start : chunk.stop], labels[chunk.start : chunk.stop] = decoded

    for _ in decode_chunks(data, shape, chunks_of(shape[0]), keep, workers, progress):
        pass
    return SliceCache(images, labels)


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
    """Return the cache in ``folder``, or None if there is none, or it has another key or damaged files."""
    record = read_record(folder / RECORD)
    if not record or record.get("key") != key:
        return None
    maps = [map_array(folder / name, *array) for name, array in array_files(record["shape"]).items()]
    images, labels = maps
    return None if images is None or labels is None else SliceCache(images, labels, folder, key)


def _map_again(folder: Path, key: Mapping[str, Any] | None) -> SliceCache:
    cache = _mapped(folder, key)
    if cache is None:
        raise InputError(f"{folder}: the cache was removed or replaced while in use; start again")
    return cache
