"""NRRD: ``.nrrd``, and ``.nhdr`` with its data in a file beside it, raw or gzip.

pynrrd leaves out what is not ASCII, so that (12,30,40) with a damaged 2 reads as (1,30,40); SimpleITK takes a missing
space for its own and shears for none. Fields: the definition of the NRRD file format of the Teem library.
"""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import BinaryIO

import numpy as np

from msa2net_lib.data.formats.grid import Grid, Stored, check_3d, make_grid
from msa2net_lib.data.formats.stream import chunks
from msa2net_lib.data.formats.text_header import MOST_HEADER_BYTES, decode, numbers, opened_data, whole_numbers
from msa2net_lib.errors import InputError

SUFFIXES = (".nrrd", ".nhdr")

_DTYPES = {"char": "i1", "short": "i2", "int": "i4", "longlong": "i8"}
_DTYPES |= {f"u{name}": f"u{kind[1]}" for name, kind in _DTYPES.items()}
_DTYPES |= {np.dtype(kind).name: kind for kind in _DTYPES.values()} | {"float": "f4", "double": "f8"}
_TO_LPS = {
    "left-posterior-superior": (1, 1, 1),
    "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
    "las": (1, -1, 1),
}
_FIELDS = (
    *("content", "number", "type", "dimension", "sizes", "endian", "encoding", "data file", "space"),
    *("space units", "space dimension", "space origin", "space directions", "measurement frame", "kinds"),
    *("labels", "units", "centers", "spacings", "thicknesses", "axis mins", "axis maxs", "sample units"),
    *("min", "max", "block size", "old min", "old max", "line skip", "byte skip"),
)
"""All that the format knows; anything else is damage."""
_SEGMENTATION = "segment"
"""How the keys begin by which 3D Slicer describes segments."""
_VECTORS = r"(\s*\(([^(),]+,){2}[^(),]+\))+"
_NOT_READ = ("line skip", "byte skip", "old min", "old max")
_OTHER_NAMES = {name.replace(" ", ""): name for name in _FIELDS if not name.startswith("space")} | {
    "centerings": "centers"
}


def read(path: Path, stream: BinaryIO) -> Stored:
    """Read an open NRRD file; raises InputError, naming the file, for all that is not a whole 3-D volume."""
    fields = _parse(path, stream)
    is_segmentation = _SEGMENTATION in fields
    if is_segmentation and fields.get("dimension") == "4":
        raise InputError(f"{path}: its segments overlap, in layers; export them from Slicer as one label map")
    grid = _check(path, fields)
    is_raw = fields["encoding"].lower() == "raw"
    with (
        opened_data(path, stream, fields.get("data file")) as (data_path, data),
        data if is_raw else gzip.open(data, "rb") as unpacked,
    ):
        array = grid.read(data_path, chunks(unpacked), path)
    return Stored(array, grid.affine, is_segmentation=is_segmentation)


def _parse(path: Path, stream: BinaryIO) -> dict[str, str]:
    """Return the header's fields; it ends at an empty line, or with the file."""
    fields: dict[str, str] = {}
    if stream.readline(16).strip() not in [b"NRRD000%d" % version for version in range(1, 6)]:
        raise InputError(f"{path}: not a NRRD file; check what it is, or export it again")
    while line := decode(stream.readline(MOST_HEADER_BYTES)):
        key, colon, value = line.partition(":")
        key = key.strip().lower()
        key = _OTHER_NAMES.get(key, key)
        if line.startswith("#") or value.startswith("="):  # a comment, a key of somebody's own
            if key.startswith(_SEGMENTATION):
                fields[_SEGMENTATION] = ""
            continue
        if not colon or key not in _FIELDS or key in fields or stream.tell() > MOST_HEADER_BYTES:
            raise InputError(f"{path}: its header is damaged at `{line[:40]}`; export it again")
        fields[key] = value.strip()
    return fields


def _check(path: Path, fields: dict[str, str]) -> Grid:
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
    kind = _DTYPES.get(_short(fields.get("type", "")))
    if kind is None:
        raise InputError(f"{path}: voxel type `{fields.get('type', '')}` is not read; save it as short or float")
    order = {"little": "<", "big": ">"}.get(fields.get("endian", "").lower())
    if order is None and kind[1] != "1":
        raise InputError(f"{path}: its header needs `endian` with little or big; export it again")
    return make_grid(path, size, np.dtype((order or "") + kind), _affine(path, fields))


def _short(name: str) -> str:
    """Return the short one of a type's names: "ushort" for "unsigned short int", "int16" for "int16_t"."""
    words = ["u" if word == "unsigned" else word for word in name.removesuffix("_t").split() if word != "signed"]
    return "".join(words[:-1] if len(words) > 1 and words[-1] == "int" and words != ["u", "int"] else words)


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
    vectors = {key: value for key, value in fields.items() if re.fullmatch(_VECTORS, value)}
    bare = {key: value.translate(str.maketrans("(),", "   ")) for key, value in vectors.items()}
    steps = np.reshape(numbers(path, bare, "space directions", 9), (3, 3)).T
    origin = numbers(path, bare, "space origin", 3)
    return np.column_stack([steps, origin]) * np.reshape(signs, (3, 1))
