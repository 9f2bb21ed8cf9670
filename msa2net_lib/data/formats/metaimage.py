"""MetaImage: ``.mha``, and ``.mhd`` with its data in a file beside it, plain or compressed.

The reader inside SimpleITK takes a default for every line that is missing or misspelt; so what decides the volume
must be there. Keys: the MetaIO documentation of Kitware.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from msa2net_lib.data.formats.itk import Header, check_3d, make_header, read_image
from msa2net_lib.data.formats.stream import check_voxels, chunks, inflated, intact
from msa2net_lib.data.formats.text_header import MOST_HEADER_BYTES, beside, decode, numbers, whole_numbers
from msa2net_lib.errors import InputError

SUFFIXES = (".mha", ".mhd")

_DTYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_NO_OTHER_VALUE = {
    "ObjectType": "Image",
    "BinaryData": "True",
    "HeaderSize": "0",
    "ElementNumberOfChannels": "1",
    "ElementToIntensityFunctionSlope": "1",
    "ElementToIntensityFunctionOffset": "0",
    "DistanceUnits": "mm",
}
_NEEDED = ("ObjectType", "NDims", "BinaryData", "DimSize", "ElementType")
_OTHER_NAMES = {
    "ElementByteOrderMSB": "BinaryDataByteOrderMSB",
    "Rotation": "TransformMatrix",
    "Orientation": "TransformMatrix",
    "Position": "Offset",
    "Origin": "Offset",
}


def read(path: Path) -> sitk.Image:
    """Read a MetaImage in LPS; raises InputError, naming the file, for all that is not a whole 3-D volume."""
    fields, local_start = _parse(path)
    header = _check(path, fields)
    local = fields["ElementDataFile"].upper() == "LOCAL"
    data_path = path if local else beside(path, fields["ElementDataFile"])
    with intact(data_path), open(data_path, "rb") as stream:
        start = stream.seek(local_start if local else 0)
        compressed = _flag(path, fields, "CompressedData", default="False")
        if compressed:
            _check_packed_size(data_path, fields, data_path.stat().st_size - start)
        check_voxels(data_path, inflated(stream) if compressed else chunks(stream), path, header.data_bytes)
    return read_image(path, "MetaImageIO", header)


def _parse(path: Path) -> tuple[dict[str, str], int]:
    """Return the header's fields and where it ends; its last line is the one that names the data."""
    fields: dict[str, str] = {}
    with intact(path), open(path, "rb") as stream:
        while "ElementDataFile" not in fields:
            key, equals, value = decode(stream.readline(MOST_HEADER_BYTES)).partition("=")
            key = _OTHER_NAMES.get(key.strip(), key.strip())
            if not equals or stream.tell() > MOST_HEADER_BYTES:
                raise InputError(f"{path}: its header is no MetaImage header; check what it is, or export it again")
            if key in fields:
                raise InputError(f"{path}: its header says `{key}` twice; keep the right one")
            fields[key] = value.strip()
        return fields, stream.tell()


def _check(path: Path, fields: dict[str, str]) -> Header:
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
    return make_header(path, size, np.dtype((">" if big else "<") + kind), _affine(path, fields))


def _affine(path: Path, fields: dict[str, str]) -> np.ndarray:
    """Return index -> LPS mm; MetaImage stores the direction of each axis as one row."""
    if "ElementSpacing" not in fields:
        fields = {**fields, "ElementSpacing": fields.get("ElementSize", "")}
    spacing = np.array(numbers(path, fields, "ElementSpacing", 3))
    direction = np.reshape(numbers(path, fields, "TransformMatrix", 9), (3, 3)).T
    if not (spacing > 0).all():
        raise InputError(f"{path}: its voxel size is {fields['ElementSpacing']}; export it again")
    return np.column_stack([direction * spacing, numbers(path, fields, "Offset", 3)])


def _flag(path: Path, fields: dict[str, str], key: str, default: str = "") -> bool:
    value = fields.get(key, default)
    if value not in ("True", "False"):
        raise InputError(f"{path}: its header needs `{key}` with True or False; export it again")
    return value == "True"


def _check_packed_size(path: Path, fields: dict[str, str], stored: int) -> None:
    """Raise InputError unless the header says how many bytes there are; without that SimpleITK returns garbage."""
    declared = fields.get("CompressedDataSize", "an unknown number")
    if declared != str(stored):
        raise InputError(
            f"{path}: truncated or corrupt, {stored} of {declared} compressed bytes; copy or download it again"
        )
