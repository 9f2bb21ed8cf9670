"""NIfTI-1: ``.nii``, ``.nii.gz``, and pairs of ``.hdr`` and ``.img``.

The header is checked field by field, because other readers put something in place of what makes no sense: zeros for
missing voxels, 1 for an infinite or minute slope, 1 mm for a spacing of 0, the header itself for voxels.
Field offsets: nifti1.h of the NIfTI standard.
"""

from __future__ import annotations

import gzip
import math
import struct
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from msa2net_lib.data.formats.grid import Grid, Stored, check_3d, displacement, make_grid
from msa2net_lib.data.formats.stream import chunks, open_file
from msa2net_lib.errors import InputError

SUFFIXES = (".nii", ".nii.gz", ".hdr", ".img")

_HEADER_BYTES = 348
_FIELDS = {  # where each lies in the header, and what it is
    "dim": (40, "8h"),
    "datatype": (70, "h"),
    "bits": (72, "h"),
    "pixdim": (76, "8f"),
    "offset": (108, "f"),
    "scaling": (112, "2f"),
    "units": (123, "B"),
    "form_codes": (252, "2h"),
    "quaternion": (256, "3f"),
    "shift": (268, "3f"),
    "rows": (280, "12f"),
}
_DTYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_SEVERAL_VALUES = {32: "complex", 1792: "complex", 2048: "complex", 128: "RGB", 2304: "RGBA"}
_SMALLEST_SLOPE = 1e-10
_ROUNDING = 1e-3
_MILLIMETERS = (0, 2)  # not said, and said

_Fields = Any
"""The header's fields as attributes: a number, or a tuple of several; and ``order``, that of the bytes."""


def read(path: Path, stream: BinaryIO) -> Stored:
    """Read an open NIfTI-1 file; raises InputError, naming the file, for all that is not a whole volume or slice.

    A file of two dimensions is one slice, 1 mm thick where it says nothing else, and said to be flat.
    """
    header_path = data_path = path
    if path.suffix.lower() in (".hdr", ".img"):
        upper = path.suffix.isupper()
        header_path, data_path = (path.with_suffix(s.upper() if upper else s) for s in (".hdr", ".img"))
    single = header_path == data_path
    with ExitStack() as stack:

        def opened(one: Path) -> Any:
            if one == path:
                return stack.enter_context(gzip.open(stream, "rb")) if path.suffix.lower() == ".gz" else stream
            return stack.enter_context(open_file(one))

        header = opened(header_path)
        fields = _parse(header_path, header.read(_HEADER_BYTES), magic=b"n+1\0" if single else b"ni1\0")
        is_flat = fields.dim[0] == 2
        if is_flat:
            fields.dim = (3, *fields.dim[1:3], 1)
            fields.pixdim = (*fields.pixdim[:3], fields.pixdim[3] if fields.pixdim[3] > 0 else 1.0)
        grid = _check(header_path, fields, first_byte=352 if single else 0)
        data = header if single else opened(data_path)
        data.seek(int(fields.offset))
        array = grid.read(data_path, chunks(data), header_path)
    slope, intercept = fields.scaling
    if not _is_plain(fields):
        with np.errstate(over="ignore"):  # inf is refused with the volume
            scaled = array * np.float64(slope) + intercept
            array = scaled.astype(array.dtype if array.dtype.kind == "f" else np.float32)
    flat = ["2-D NIfTI: taken as a volume of one axial slice"] if is_flat else []
    return Stored(array, grid.affine, is_flat, notes=(*flat, *_unlike_sizes(fields, grid)))


def _unlike_sizes(fields: _Fields, grid: Grid) -> list[str]:
    """Tell of a voxel size that only the sform holds; other readers may take pixdim's."""
    stated, spacing = np.array(fields.pixdim[1:4]), np.linalg.norm(grid.affine[:, :3], axis=0)
    if np.allclose(stated, spacing, rtol=_ROUNDING, atol=0):
        return []
    shown = (" x ".join(f"{edge:.4g}" for edge in edges) for edges in (spacing, stated))
    return ["its sform and its pixdim name two voxel sizes, {} mm and {} mm: taken as the sform says".format(*shown)]


def _parse(path: Path, head: bytes, magic: bytes) -> _Fields:
    for order in "<>":
        if len(head) == _HEADER_BYTES and head[344:] == magic and struct.unpack_from(f"{order}i", head) == (348,):
            values: dict[str, tuple[Any, ...]] = {
                name: struct.unpack_from(order + kind, head, offset) for name, (offset, kind) in _FIELDS.items()
            }
            return SimpleNamespace(
                order=order, **{name: value[0] if len(value) == 1 else value for name, value in values.items()}
            )
    raise InputError(f"{path}: not a NIfTI-1 file; check what it is, or export it again")


def _is_plain(fields: _Fields) -> bool:
    return fields.scaling in ((0.0, 0.0), (1.0, 0.0))


def _check(path: Path, fields: _Fields, first_byte: int) -> Grid:
    """Return what the header says of the voxels, if all of it makes sense."""
    dtype, size = _dtype(path, fields), _size(path, fields)
    if not all(math.isfinite(pixdim) and pixdim > 0 for pixdim in fields.pixdim[1:4]):
        raise InputError(f"{path}: its voxel size is {fields.pixdim[1:4]}; export it again")
    if fields.units & 7 not in _MILLIMETERS:
        raise InputError(f"{path}: its lengths are not in mm (unit code {fields.units & 7}); save it in mm")
    if not (first_byte <= fields.offset < 2**31 and fields.offset == int(fields.offset)):
        raise InputError(f"{path}: its voxels begin at byte {fields.offset:g}, which makes no sense; export it again")
    slope, intercept = fields.scaling
    if not (_is_plain(fields) or (_SMALLEST_SLOPE <= abs(slope) < math.inf and math.isfinite(intercept))):
        raise InputError(
            f"{path}: its scaling makes no sense (slope {slope:g}, intercept {intercept:g}); export it again"
        )
    return make_grid(path, size, dtype, _affine(path, fields, size))


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
    if not {*fields.form_codes} <= {*range(6)}:
        raise InputError(f"{path}: its qform and sform codes are {fields.form_codes}, none of the standard; set them")
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
