"""Array files that are made at their full size and filled row by row: what was written stays after a stop."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

from msa2net_lib.utils.files import atomic_path, tell_disk_full


def lay_out(path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> None:
    """Make an array file of zeros, which take no space yet where the disk knows sparse files."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    with atomic_path(path, size) as temporary, open(temporary, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + size)


def map_rows(path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> np.memmap | None:
    """Map an array file read-only; None unless it is whole and has this shape and dtype."""
    try:
        array = np.lib.format.open_memmap(path, mode="r")
        whole = path.stat().st_size == array.offset + array.nbytes
    except (OSError, ValueError):
        return None
    return array if whole and array.shape == shape and array.dtype == dtype and array.flags.c_contiguous else None


def write_rows(path: Path, start: int, rows: NDArray) -> None:
    """Write ``rows`` of a file that was laid out from row ``start`` on, and see them to the disk.

    Through the file, not through a map of it: a full disk kills a process that writes to a map. Raises
    `DiskFullError` for one.
    """
    with tell_disk_full(path, rows.nbytes), open(path, "rb+") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        file.seek(start * rows[0].nbytes, os.SEEK_CUR)
        file.write(np.ascontiguousarray(rows).data)
        file.flush()
        os.fsync(file.fileno())
