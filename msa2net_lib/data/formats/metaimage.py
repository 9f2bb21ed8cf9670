"""MetaImage: ``.mha``, and ``.mhd`` with its data in a file beside it, plain or compressed.

SimpleITK takes a default for every line that is missing or misspelt, and reads on where compressed voxels break off;
here what decides the volume must be there. Keys: the MetaIO documentation of Kitware.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np

from msa2net_lib.data.formats.grid import Grid, Stored, check_3d, make_grid
from msa2net_lib.data.formats.stream import chunks, inflated
from msa2net_lib.data.formats.text_header import MOST_HEADER_BYTES, decode, numbers, opened_data, whole_numbers
from msa2net_lib.errors import InputError

SUFFIXES = (".mha", ".mhd")

_DTYPES = {f"MET_{name}": f"i{size}" for name, size in (("CHAR", 1), ("SHORT", 2), ("INT", 4), ("LONG_LONG", 8))}
_DTYPES |= {name.replace("_", "_U", 1): f"u{kind[1]}" for name, kind in _DTYPES.items()}
_DTYPES |= {"MET_FLOAT": "f4", "MET_DOUBLE": "f8"}
_NO_OTHER_VALUE = {
    "ObjectType": "Image",
    "BinaryData": "True",
    "HeaderSize": "0",
    "ElementNumberOfChannels": "1",
    "ElementToIntensityFunctionSlope": "1",
    "ElementToIntensityFunctionOffset": "0",
    "DistanceUnits": "mm",
}
_STRETCH = 2e-3
"""Deviation of an axis's length from 1 that is rounding."""
_NEEDED = ("ObjectType", "NDims", "BinaryData", "DimSize", "ElementType")
_OTHER_NAMES = {
    "ElementByteOrderMSB": "BinaryDataByteOrderMSB",
    "Rotation": "TransformMatrix",
    "Orientation": "TransformMatrix",
    "Position": "Offset",
    "Origin": "Offset",
}


def read(path: Path, stream: BinaryIO) -> Stored:
    """Read an open MetaImage; raises InputError, naming the file, for all that is not a whole 3-D volume."""
    fields = _parse(path, stream)
    grid = _check(path, fields)
    name = fields["ElementDataFile"]
    with opened_data(path, stream, None if name.upper() == "LOCAL" else name) as (data_path, data):
        if not _flag(path, fields, "CompressedData", default="False"):
            return Stored(grid.read(data_path, chunks(data), path), grid.affine)
        stored, declared = os.fstat(data.fileno()).st_size - data.tell(), fields.get("CompressedDataSize")
        if declared != str(stored):
            raise InputError(
                f"{data_path}: truncated or corrupt, {stored} of {declared or 'an unknown number'} compressed bytes; "
                "copy or download it again"
            )
        return Stored(grid.read(data_path, inflated(data), path), grid.affine)


def _parse(path: Path, stream: BinaryIO) -> dict[str, str]:
    """Return the header's fields; its last line is the one that names the data."""
    fields: dict[str, str] = {}
    while "ElementDataFile" not in fields:
        key, equals, value = decode(stream.readline(MOST_HEADER_BYTES)).partition("=")
        key = _OTHER_NAMES.get(key.strip(), key.strip())
        if not equals or stream.tell() > MOST_HEADER_BYTES:
            raise InputError(f"{path}: its header is no MetaImage header; check what it is, or export it again")
        if key in fields:
            raise InputError(f"{path}: its header says `{key}` twice; keep the right one")
        fields[key] = value.strip()
    return fields


def _check(path: Path, fields: dict[str, str]) -> Grid:
    for key in _NEEDED:
        if key not in fields:
            raise InputError(f"{path}: its header lacks `{key}`; export it again")
    for key, only in _NO_OTHER_VALUE.items():
        if fields.get(key, only) != only:
            raise InputError(f"{path}: {key} = {fields[key]} is not read, only {only}; save it as a plain MetaImage")
    size = whole_numbers(path, fields, "DimSize")
    if whole_numbers(path, fields, "NDims") != (len(size),):
        raise InputError(f"{path}: NDims = {fields['NDims']} but DimSize = {fields['DimSize']}; export it again")
    check_3d(path, size)
    kind = _DTYPES.get(fields["ElementType"])
    if kind is None:
        raise InputError(f"{path}: ElementType {fields['ElementType']} is not read; save it as MET_SHORT or MET_FLOAT")
    big = kind[1] != "1" and _flag(path, fields, "BinaryDataByteOrderMSB")
    affine, spacing = _affine(path, fields)
    grid = make_grid(path, size, np.dtype((">" if big else "<") + kind), affine)
    edges = np.linalg.norm(affine[:, :3], axis=0)
    if not np.allclose(edges, spacing, rtol=_STRETCH, atol=0):
        shown = (" x ".join(f"{edge:.4g}" for edge in one) for one in (spacing, edges))
        raise InputError(
            f"{path}: names two voxel sizes, {' and '.join(shown)} mm, as its TransformMatrix stretches; "
            "write axes of length 1, and the spacing you mean"
        )
    return grid


def _affine(path: Path, fields: dict[str, str]) -> tuple[np.ndarray, np.ndarray]:
    """Return index -> LPS mm, and the voxel size; MetaImage stores the direction of each axis as one row."""
    if "ElementSpacing" not in fields:
        fields = {**fields, "ElementSpacing": fields.get("ElementSize", "")}
    spacing = np.array(numbers(path, fields, "ElementSpacing", 3))
    direction = np.reshape(numbers(path, fields, "TransformMatrix", 9), (3, 3)).T
    if not (spacing > 0).all():
        raise InputError(f"{path}: its voxel size is {fields['ElementSpacing']}; export it again")
    return np.column_stack([direction * spacing, numbers(path, fields, "Offset", 3)]), spacing


def _flag(path: Path, fields: dict[str, str], key: str, default: str = "") -> bool:
    value = fields.get(key, default)
    if value not in ("True", "False"):
        raise InputError(f"{path}: its header needs `{key}` with True or False; export it again")
    return value == "True"
