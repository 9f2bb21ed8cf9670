"""NRRD: ``.nrrd``, and ``.nhdr`` with its data in a file beside it, raw or gzip.

Fields: the definition of the NRRD file format of the Teem library.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from msa2net_lib.data.formats.itk import Header, check_3d, make_header, read_image
from msa2net_lib.data.formats.stream import check_voxels, chunks, intact
from msa2net_lib.data.formats.text_header import MOST_HEADER_BYTES, beside, decode, numbers, whole_numbers
from msa2net_lib.errors import InputError

SUFFIXES = (".nrrd", ".nhdr")

_TYPE_NAMES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_DTYPES = {name: dtype for dtype, names in _TYPE_NAMES.items() for name in names}
_TO_LPS = {
    "left-posterior-superior": (1, 1, 1),
    "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
    "las": (1, -1, 1),
}
_NOT_READ = ("line skip", "byte skip", "old min", "old max")
_OTHER_NAMES = {
    "datafile": "data file",
    "lineskip": "line skip",
    "byteskip": "byte skip",
    "oldmin": "old min",
    "oldmax": "old max",
}


def read(path: Path) -> sitk.Image:
    """Read a NRRD file in LPS; raises InputError, naming the file, for all that is not a whole 3-D volume."""
    fields, local_start = _parse(path)
    header = _check(path, fields)
    data_path = beside(path, fields["data file"]) if "data file" in fields else path
    with intact(data_path), open(data_path, "rb") as stream:
        stream.seek(local_start if data_path == path else 0)
        with stream if fields["encoding"].lower() == "raw" else gzip.open(stream, "rb") as unpacked:
            check_voxels(data_path, chunks(unpacked), path, header.data_bytes)
    return read_image(path, "NrrdImageIO", header)


def _parse(path: Path) -> tuple[dict[str, str], int]:
    """Return the header's fields and where it ends: at an empty line, or with the file."""
    fields: dict[str, str] = {}
    with intact(path), open(path, "rb") as stream:
        magic = stream.readline(16).strip()
        if magic not in [b"NRRD000%d" % version for version in range(1, 6)]:
            raise InputError(f"{path}: not a NRRD file; check what it is, or export it again")
        while line := decode(stream.readline(MOST_HEADER_BYTES)):
            key, colon, value = line.partition(":")
            key = key.strip().lower()
            key = _OTHER_NAMES.get(key, key)
            if line.startswith("#") or value.startswith("="):  # a comment, a key of somebody's own
                continue
            if not colon or key in fields or stream.tell() > MOST_HEADER_BYTES:
                raise InputError(f"{path}: its header is damaged at `{line[:40]}`; export it again")
            fields[key] = value.strip()
        return fields, stream.tell()


def _check(path: Path, fields: dict[str, str]) -> Header:
    for key in _NOT_READ:
        if fields.get(key, "0") != "0":
            raise InputError(f"{path}: `{key}: {fields[key]}` is not read; save it as a plain NRRD file")
    encoding = fields.get("encoding", "")
    if encoding.lower() not in ("raw", "gzip", "gz"):
        raise InputError(f"{path}: encoding `{encoding}` is not read, only raw and gzip; save it with one of the two")
    size = whole_numbers(path, fields, "sizes")
    if whole_numbers(path, fields, "dimension") != (len(size),):
        raise InputError(f"{path}: its header gives sizes {fields['sizes']}, but another dimension; export it again")
    check_3d(path, size)
    kinds = fields.get("kinds", "").split()
    if not {kind.lower() for kind in kinds} <= {"domain", "space"}:
        raise InputError(
            f"{path}: has several values per voxel (kinds {' '.join(kinds)}); save one gray value per voxel"
        )
    kind = _DTYPES.get(fields.get("type", ""))
    if kind is None:
        raise InputError(f"{path}: voxel type `{fields.get('type', '')}` is not read; save it as short or float")
    order = {"little": "<", "big": ">"}.get(fields.get("endian", "").lower())
    if order is None and kind[1] != "1":
        raise InputError(f"{path}: its header needs `endian` with little or big; export it again")
    return make_header(path, size, np.dtype((order or "") + kind), _affine(path, fields))


def _affine(path: Path, fields: dict[str, str]) -> np.ndarray:
    """Return index -> LPS mm; NRRD stores the step along each axis as one vector."""
    signs = _TO_LPS.get(fields.get("space", "").lower())
    if signs is None:
        raise InputError(
            f"{path}: does not say how the patient lies (space `{fields.get('space', '')}`); "
            "write `space: left-posterior-superior` with its space directions"
        )
    if set(fields.get("space units", "mm").replace('"', " ").split()) - {"mm"}:
        raise InputError(f"{path}: its lengths are not in mm ({fields['space units']}); save it in mm")
    bare = {key: value.translate(str.maketrans("(),", "   ")) for key, value in fields.items()}
    steps = np.reshape(numbers(path, bare, "space directions", 9), (3, 3)).T
    origin = numbers(path, bare, "space origin", 3)
    return np.column_stack([steps, origin]) * np.reshape(signs, (3, 1))
