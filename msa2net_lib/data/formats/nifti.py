"""NIfTI-1: ``.nii``, ``.nii.gz``, and pairs of ``.hdr`` and ``.img``.

The header is checked field by field because SimpleITK puts something in place of what makes no sense: zeros for
missing voxels and for nan, 1 for an infinite or minute slope, 1 mm for a spacing of 0, the header itself for voxels.
Field offsets: nifti1.h of the NIfTI standard.
"""

from __future__ import annotations

import gzip
import math
import struct
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from msa2net_lib.data.formats.itk import Header, check_3d, displacement, make_header, read_image
from msa2net_lib.data.formats.stream import check_voxels, chunks, intact
from msa2net_lib.errors import InputError

SUFFIXES = (".nii", ".nii.gz", ".hdr", ".img")

_HEADER_BYTES = 348
_DTYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
_SEVERAL_VALUES = {32: "complex", 1792: "complex", 2048: "complex", 128: "RGB", 2304: "RGBA"}
_SMALLEST_SLOPE = 1e-10
_MILLIMETERS = (0, 2)  # not said, and said


class _Fields(NamedTuple):
    """The header's fields that matter here, in the file's order."""

    dim: tuple[int, ...]
    datatype: int
    bits: int
    pixdim: tuple[float, ...]
    offset: float
    slope: float
    intercept: float
    units: int
    form_codes: tuple[int, ...]
    quaternion: tuple[float, ...]
    shift: tuple[float, ...]
    rows: tuple[float, ...]
    order: str


def read(path: Path) -> sitk.Image:
    """Read a NIfTI-1 file in LPS; raises InputError, naming the file, for all that is not a whole 3-D volume."""
    if path.suffix.lower() in (".hdr", ".img"):
        upper = path.suffix.isupper()
        header_path, data_path = (path.with_suffix(s.upper() if upper else s) for s in (".hdr", ".img"))
    else:
        header_path = data_path = path
    with intact(header_path), _open(header_path) as stream:
        head = stream.read(_HEADER_BYTES)
    single = header_path == data_path
    fields = _parse(header_path, head, magic=b"n+1\0" if single else b"ni1\0")
    header = _check(header_path, fields, first_byte=352 if single else 0)
    floats = header.dtype if header.dtype.kind == "f" else None
    with intact(data_path), _open(data_path) as stream:
        stream.seek(int(fields.offset))
        check_voxels(data_path, chunks(stream), header_path, header.data_bytes, floats)
    return read_image(path, "NiftiImageIO", header)


def _open(path: Path) -> gzip.GzipFile | BufferedReader:
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else open(path, "rb")


def _parse(path: Path, head: bytes, magic: bytes) -> _Fields:
    for order in "<>":
        if len(head) == _HEADER_BYTES and head[344:] == magic and struct.unpack_from(f"{order}i", head) == (348,):
            break
    else:
        raise InputError(f"{path}: not a NIfTI-1 file, the kind SimpleITK reads; check what it is, or export it again")

    def field(offset: int, kind: str) -> tuple:
        return struct.unpack_from(order + kind, head, offset)

    return _Fields(
        dim=field(40, "8h"),
        datatype=field(70, "h")[0],
        bits=field(72, "h")[0],
        pixdim=field(76, "8f"),
        offset=field(108, "f")[0],
        slope=field(112, "f")[0],
        intercept=field(116, "f")[0],
        units=field(123, "B")[0] & 7,
        form_codes=field(252, "2h"),
        quaternion=field(256, "3f"),
        shift=field(268, "3f"),
        rows=field(280, "12f"),
        order=order,
    )


def _check(path: Path, fields: _Fields, first_byte: int) -> Header:
    """Return what the header says of the voxels, if all of it makes sense."""
    again = "export it again"
    dtype, size = _dtype(path, fields), _size(path, fields)
    if not all(math.isfinite(pixdim) and pixdim > 0 for pixdim in fields.pixdim[1:4]):
        raise InputError(f"{path}: its voxel size is {fields.pixdim[1:4]}; {again}")
    if fields.units not in _MILLIMETERS:
        raise InputError(f"{path}: its lengths are not in mm (unit code {fields.units}); save it in mm")
    if not (first_byte <= fields.offset < 2**31 and fields.offset == int(fields.offset)):
        raise InputError(f"{path}: its voxels begin at byte {fields.offset:g}, which makes no sense; {again}")
    slope, intercept = fields.slope, fields.intercept
    plain = (slope, intercept) in ((0.0, 0.0), (1.0, 0.0))
    if not (plain or (_SMALLEST_SLOPE <= abs(slope) < math.inf and math.isfinite(intercept))):
        raise InputError(f"{path}: its scaling makes no sense (slope {slope:g}, intercept {intercept:g}); {again}")
    affine = _affine(path, fields, size)
    return make_header(path, size, dtype, affine, scaled=not plain)


def _dtype(path: Path, fields: _Fields) -> np.dtype:
    if fields.datatype in _SEVERAL_VALUES:
        kind = _SEVERAL_VALUES[fields.datatype]
        raise InputError(f"{path}: has several values per voxel ({kind}); save one gray value per voxel")
    dtype = np.dtype(fields.order + _DTYPES.get(fields.datatype, "V1"))
    if dtype.kind == "V" or fields.bits != 8 * dtype.itemsize:
        raise InputError(
            f"{path}: voxel type {fields.datatype} of {fields.bits} bits is unknown; save it as int16 or float32"
        )
    return dtype


def _size(path: Path, fields: _Fields) -> tuple[int, ...]:
    size = fields.dim[1 : fields.dim[0] + 1]
    if not 1 <= fields.dim[0] <= 7 or min(size) < 1:
        raise InputError(f"{path}: its header gives the size as {fields.dim}; export it again")
    while len(size) > 3 and size[-1] == 1:
        size = size[:-1]
    check_3d(path, size)
    return size


def _affine(path: Path, fields: _Fields, size: tuple[int, ...]) -> NDArray[np.float64]:
    """Return index -> LPS mm. A file may say it twice (qform, sform), and tools differ in which they believe."""
    qform = _from_quaternion(fields) if fields.form_codes[0] > 0 else None
    sform = np.reshape(fields.rows, (3, 4)).astype(np.float64) if fields.form_codes[1] > 0 else None
    affine = qform if sform is None else sform
    if affine is None:
        raise InputError(
            f"{path}: does not say how the patient lies (its qform and sform codes are 0); set one of the two"
        )
    if qform is not None and sform is not None and not displacement(sform, qform, size) <= 0.1:
        raise InputError(f"{path}: its qform and its sform place the voxels differently; keep the right one")
    return affine * [[-1], [-1], [1]]  # NIfTI's world is RAS


def _from_quaternion(fields: _Fields) -> NDArray[np.float64]:
    b, c, d = fields.quaternion
    a = math.sqrt(max(0.0, 1.0 - b * b - c * c - d * d))
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    left_handed = -1.0 if fields.pixdim[0] < 0 else 1.0
    return np.column_stack([rotation * fields.pixdim[1:4] * [1.0, 1.0, left_handed], fields.shift])
