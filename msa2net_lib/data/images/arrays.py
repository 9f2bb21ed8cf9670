"""The arrays of prepared images: two files a part, made at their full size and filled row by row."""

from __future__ import annotations

import math
import shutil
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from msa2net_lib.errors import InputError
from msa2net_lib.utils.row_files import lay_out, map_rows, write_rows

Rows = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""An image (h, w, 3), 0 to 255, and its mask (h, w), 0 and 1."""


def array_paths(root: Path, part: str) -> tuple[Path, Path]:
    """Return the files of a part's images (N, h, w, 3) and masks (N, h, w), both uint8."""
    return root / f"{part}_images.npy", root / f"{part}_masks.npy"


def missing_arrays(root: Path, counts: Mapping[str, int], size: tuple[int, int]) -> dict[Path, tuple[int, ...]]:
    """Return file -> shape of the arrays that are not there, whole, for so many images of (height, width) a part."""
    shapes = {
        path: (count, *size, *channels)
        for part, count in counts.items()
        for path, channels in zip(array_paths(root, part), ((3,), ()), strict=True)
    }
    return {path: shape for path, shape in shapes.items() if map_rows(path, shape, np.uint8) is None}


def make_arrays(root: Path, counts: Mapping[str, int], size: tuple[int, int]) -> None:
    """Make the array files, unless they are there in that shape; what they hold is for the records to say.

    Raises InputError if the disk has no room for those that are missing.
    """
    missing = missing_arrays(root, counts, size)
    needed, free = sum(map(math.prod, missing.values())), shutil.disk_usage(root).free
    if needed > free:
        raise InputError(f"{root}: needs {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free; make room")
    for path, shape in missing.items():
        lay_out(path, shape, np.uint8)


def write_pair(root: Path, part: str, index: int, rows: Rows) -> None:
    """Write one image and its mask through to the disk; the arrays are there already. Raises for a full disk."""
    for path, row in zip(array_paths(root, part), rows, strict=True):
        write_rows(path, index, row[None])


def read_pair(root: Path, part: str, index: int) -> Rows:
    """Read one image and its mask; raises OSError or ValueError if the arrays are not there or damaged."""
    image, mask = (np.array(np.load(path, mmap_mode="r")[index]) for path in array_paths(root, part))
    return image, mask


def checksums(rows: Sequence[NDArray[np.uint8]]) -> list[int]:
    """Return the CRC-32 of each array's bytes."""
    return [zlib.crc32(row.tobytes()) for row in rows]
