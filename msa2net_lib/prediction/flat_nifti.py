"""NIfTI files of two dimensions: one slice, which `read_volume` would have as a volume of one slice."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from tempfile import TemporaryDirectory

from msa2net_lib.data.formats.stream import intact
from msa2net_lib.data.volumes import Volume, read_volume
from msa2net_lib.errors import InputError
from msa2net_lib.prediction.geometry import Direction, file_direction

_HEADER_BYTES = 348
_DIM, _THIRD_PIXDIM = 40, 88  # byte offsets, nifti1.h


def is_flat_nifti(path: Path) -> bool:
    """Tell whether a file is a NIfTI file (``.nii``, ``.nii.gz``) that says it has two dimensions."""
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return False
    with intact(path), gzip.open(path) if path.suffix.lower() == ".gz" else open(path, "rb") as stream:
        head = stream.read(_HEADER_BYTES)
    return len(head) == _HEADER_BYTES and struct.unpack_from(f"{_order(head)}h", head, _DIM)[0] == 2


def read_flat_nifti(path: Path) -> tuple[Volume, Direction]:
    """Read a 2-D NIfTI file as a volume of one slice, and how its axes lie; 1 mm thick where it says nothing else.

    Raises: `InputError` as from `read_volume`.
    """
    with intact(path):
        stored = path.read_bytes()
        content = bytearray(gzip.decompress(stored) if path.suffix.lower() == ".gz" else stored)
    order = _order(content)
    width, height = struct.unpack_from(f"{order}2h", content, _DIM + 2)
    struct.pack_into(f"{order}4h", content, _DIM, 3, width, height, 1)
    if not struct.unpack_from(f"{order}f", content, _THIRD_PIXDIM)[0] > 0:
        struct.pack_into(f"{order}f", content, _THIRD_PIXDIM, 1.0)
    with TemporaryDirectory() as folder:
        lifted = Path(folder) / "slice.nii"
        lifted.write_bytes(content)
        try:
            return read_volume(lifted), file_direction(lifted)
        except InputError as error:
            raise InputError(str(error).replace(str(lifted), str(path))) from error


def _order(head: bytes | bytearray) -> str:
    """The byte order in which the header's first number is its size."""
    return "<" if struct.unpack_from("<i", head)[0] == _HEADER_BYTES else ">"
