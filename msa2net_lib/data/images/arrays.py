"""The arrays of prepared pictures: two files a part, made at their full size and filled row by row."""

from __future__ import annotations

import math
import os
import shutil
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from msa2net_lib.data.images.split import PARTS
from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import atomic_path, tell_disk_full

Rows = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""A picture (h, w, 3), 0 to 255, and its mask (h, w), 0 and 1."""


def array_paths(root: Path, part: str) -> tuple[Path, Path]:
    """Return the files of a part's pictures (N, h, w, 3) and masks (N, h, w), both uint8."""
    return root / f"{part}_images.npy", root / f"{part}_masks.npy"


ARRAY_NAMES: tuple[str, ...] = tuple(path.name for part in PARTS for path in array_paths(Path(), part))


def array_shapes(counts: Mapping[str, int], size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """Return file name -> shape, for so many pictures of (height, width) in each part."""
    return {
        path.name: (count, *size, *channels)
        for part, count in counts.items()
        for path, channels in zip(array_paths(Path(), part), ((3,), ()), strict=True)
    }


def make_arrays(root: Path, counts: Mapping[str, int], size: tuple[int, int]) -> None:
    """Make the array files, unless they are there in that shape; what they hold is for the records to say.

    Raises InputError if the disk has no room for those that are missing.
    """
    missing = {name: shape for name, shape in array_shapes(counts, size).items() if stored_shape(root / name) != shape}
    needed, free = sum(map(math.prod, missing.values())), shutil.disk_usage(root).free
    if needed > free:
        raise InputError(f"{root}: needs {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free; make room")
    for name, shape in missing.items():
        with atomic_path(root / name, math.prod(shape)) as temporary, open(temporary, "wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            file.truncate(file.tell() + math.prod(shape))


def stored_shape(path: Path) -> tuple[int, ...] | None:
    """Return the shape of a whole uint8 array file by its header and length, None for anything else."""
    try:
        with open(path, "rb") as file:
            shape, by_column, dtype = _read_header(file)
            whole = path.stat().st_size == file.tell() + math.prod(shape)
    except (OSError, ValueError):
        return None
    return shape if whole and not by_column and dtype == np.uint8 else None


def write_rows(root: Path, part: str, index: int, rows: Rows) -> None:
    """Write one picture and its mask through to the disk; the arrays are there already.

    Plain writing: a disk that turns out to be full kills whoever writes to a memory map. Raises InputError
    for a full disk.
    """
    for path, row in zip(array_paths(root, part), rows, strict=True):
        with tell_disk_full(path, row.nbytes), open(path, "rb+") as file:
            _read_header(file)
            file.seek(index * row.nbytes, os.SEEK_CUR)
            file.write(row.tobytes())
            file.flush()
            os.fsync(file.fileno())


def read_rows(root: Path, part: str, index: int) -> Rows:
    """Read one picture and its mask; raises OSError or ValueError if the arrays are not there or damaged."""
    image, mask = (np.array(np.load(path, mmap_mode="r")[index]) for path in array_paths(root, part))
    return image, mask


def checksums(rows: Sequence[NDArray[np.uint8]]) -> list[int]:
    """Return the CRC-32 of each array's bytes."""
    return [zlib.crc32(row.tobytes()) for row in rows]


def _read_header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    np.lib.format.read_magic(file)
    return np.lib.format.read_array_header_1_0(file)
