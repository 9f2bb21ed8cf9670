"""CT volumes and label volumes: read into one orientation, check, window, write.

In memory a volume is an array in the order (Z, Y, X) in LPS orientation: z grows towards the head, y towards
the back, x towards the patient's left. ``read_volume`` brings any file there, whatever its own orientation.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import ArrayLike, NDArray

from msa2net_lib.data.labels import BTCV_IDS, whole_labels
from msa2net_lib.errors import InputError
from msa2net_lib.files import atomic_path

WINDOW_HU: tuple[float, float] = (-125.0, 275.0)
"""The field's soft-tissue window for Synapse, in Hounsfield units."""

_HEADER_BYTES = 348
_CHUNK_BYTES = 1 << 22
_NOT_FINITE = "{} voxels are not finite (nan or inf); replace them and save it again"


@dataclass(frozen=True, eq=False)
class Volume:
    """A scalar volume with its place in the scanner, in LPS orientation.

    ``array`` (Z, Y, X); ``spacing`` of its axes (z, y, x) in mm. ``origin`` is the (x, y, z) position of
    voxel [0, 0, 0] in mm and ``direction`` the nine direction cosines row by row, both as SimpleITK has them.
    """

    array: NDArray
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def read_volume(path: str | Path) -> Volume:
    """Read a 3-D scalar image file (NIfTI and what else SimpleITK reads), reoriented to LPS.

    The array keeps the file's dtype, in the file's unit (HU for a CT). Raises InputError, in one line with
    the file's name, if the file is missing, cut short or corrupt, 2-D, 4-D, RGB or complex, or holds
    non-finite voxels.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    if path.name.endswith((".nii", ".nii.gz")):
        _check_nifti_stream(path)
    with _quiet_itk():
        try:
            image = _read_scalar_3d(path)
        except RuntimeError as error:
            raise InputError(f"{path}: {_explain(error)}") from error
    array = sitk.GetArrayFromImage(image)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"{path}: {_NOT_FINITE.format(np.count_nonzero(~np.isfinite(array)))}")
    return Volume(array, image.GetSpacing()[::-1], image.GetOrigin(), image.GetDirection())


def read_pair(image_path: str | Path, label_path: str | Path) -> tuple[Volume, Volume]:
    """Read an image in HU and its raw BTCV labels (as uint8) and check that they belong together.

    Raises InputError, naming the file, for what ``read_volume`` refuses, for label values other than 0 to
    13, and when the two lie on different voxels.
    """
    image, label = read_volume(image_path), read_volume(label_path)
    check_same_geometry(image, label, image_path, label_path)
    try:
        ids = whole_labels(label.array, max(BTCV_IDS.values()), "raw BTCV ids")
    except InputError as error:
        raise InputError(f"{label_path}: {error}; renumber them to the BTCV ids") from error
    return image, replace(label, array=ids)


def write_volume(volume: Volume, path: str | Path) -> Path:
    """Write ``volume`` to ``path`` atomically (``.nii.gz`` is compressed) and return the path."""
    path = Path(path)
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.array))
    image.SetSpacing(volume.spacing[::-1])
    image.SetOrigin(volume.origin)
    image.SetDirection(volume.direction)
    with _quiet_itk(), atomic_path(path) as temporary:
        try:
            sitk.WriteImage(image, str(temporary), useCompression=path.name.endswith(".gz"))
        except RuntimeError as error:
            raise InputError(f"{path}: cannot be written: {_last_line(error)}") from error
    return path


def window(hu: ArrayLike, low: float = WINDOW_HU[0], high: float = WINDOW_HU[1]) -> NDArray[np.float32]:
    """Clip Hounsfield units to [low, high] and scale them to [0, 1]; any shape in, float32 out.

    The default is the field's recipe for Synapse (TransUNet's preparation). Raises InputError unless
    low < high.
    """
    if not low < high:
        raise InputError(f"window [{low}, {high}] is empty: low must be smaller than high")
    clipped = np.clip(np.asarray(hu, dtype=np.float32), low, high)
    return (clipped - np.float32(low)) / np.float32(high - low)


def check_same_geometry(image: Volume, label: Volume, image_path: str | Path, label_path: str | Path) -> None:
    """Raise InputError, naming both files and both values, unless image and label lie on the same voxels.

    Tolerances: spacing 0.1 %, origin a tenth of the smallest voxel edge, direction cosines 0.001. Headers
    differ by rounding between tools; anything above puts a label beside its organ.
    """
    pairs = {
        "shape (z, y, x)": (image.array.shape, label.array.shape, 0.0, 0.0),
        "spacing (z, y, x) in mm": (image.spacing, label.spacing, 1e-3, 0.0),
        "origin (x, y, z) in mm": (image.origin, label.origin, 0.0, 0.1 * min(image.spacing)),
        "direction": (image.direction, label.direction, 0.0, 1e-3),
    }
    for name, (ours, theirs, relative, absolute) in pairs.items():
        if not np.allclose(ours, theirs, rtol=relative, atol=absolute):
            raise InputError(
                f"{label_path}: {name} is {_shown(theirs)}, but {image_path} has {_shown(ours)}; "
                "use a label drawn on this image, or resample it onto the image"
            )


def _read_scalar_3d(path: Path) -> sitk.Image:
    """Read ``path`` in LPS, having looked at the header before any voxel is loaded."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    if reader.GetDimension() != 3:
        size = " x ".join(str(n) for n in reader.GetSize())
        raise InputError(f"{path}: is {reader.GetDimension()}-D ({size}); save it as one 3-D volume")
    if reader.GetNumberOfComponents() != 1:
        kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
        raise InputError(f"{path}: has several values per voxel ({kind}); save one grey value per voxel")
    return sitk.DICOMOrient(reader.Execute(), "LPS")


class _Header(NamedTuple):
    """What a NIfTI header says about the bytes that follow it."""

    offset: int
    data_bytes: int
    floats: np.dtype | None  # the voxels' dtype if they are floating-point numbers


def _check_nifti_stream(path: Path) -> None:
    """Raise InputError if a NIfTI file is cut short, its gzip stream is corrupt, or a voxel is not finite.

    SimpleITK fills what is missing with zeros, puts zeros for nan and inf, and carries on; so the stored
    bytes are read through here first.
    """
    opener = gzip.open if path.name.endswith(".gz") else open
    size = bad = 0
    try:
        with opener(path, "rb") as stream:
            header = _parse_header(stream.read(_HEADER_BYTES))
            if header is not None:
                stream.seek(header.offset)
                while chunk := stream.read(_CHUNK_BYTES):
                    size += len(chunk)
                    bad += _count_non_finite(chunk, header.floats)
    except PermissionError as error:
        raise InputError(f"{path}: reading it is not permitted; change its permissions") from error
    except (EOFError, zlib.error, OSError) as error:
        detail = _last_line(error)
        raise InputError(f"{path}: truncated or corrupt ({detail}); copy or download it again") from error
    if header is None:
        raise InputError(f"{path}: not a NIfTI-1 file, the kind SimpleITK reads; check what it is, or export it again")
    if size < header.data_bytes:
        raise InputError(f"{path}: truncated, {size} of {header.data_bytes} bytes of voxels; copy or download it again")
    if bad:
        raise InputError(f"{path}: {_NOT_FINITE.format(bad)}")


def _parse_header(head: bytes) -> _Header | None:
    """Read the header of a NIfTI-1 file, of either byte order; None if ``head`` is something else.

    Field offsets: nifti1.h of the NIfTI standard (dim, datatype, bitpix, vox_offset).
    """
    for order in "<>":
        if len(head) == _HEADER_BYTES and struct.unpack_from(f"{order}i", head)[0] == _HEADER_BYTES:
            dim = struct.unpack_from(f"{order}8h", head, 40)
            kind, bits = struct.unpack_from(f"{order}2h", head, 70)
            offset = struct.unpack_from(f"{order}f", head, 108)[0]
            if not (1 <= dim[0] <= 7 and min(dim[1 : dim[0] + 1]) >= 1 and 0 <= offset < 2**31):
                return None
            floats = np.dtype(f"{order}f{bits // 8}") if kind in (16, 64) else None
            return _Header(int(offset), math.prod(dim[1 : dim[0] + 1]) * bits // 8, floats)
    return None


def _count_non_finite(chunk: bytes, floats: np.dtype | None) -> int:
    if floats is None:
        return 0
    values = np.frombuffer(chunk, floats, count=len(chunk) // floats.itemsize)
    return values.size - int(np.count_nonzero(np.isfinite(values)))


def _explain(error: RuntimeError) -> str:
    """Turn SimpleITK's many-line exception into what is wrong and what to do."""
    text = _last_line(error)
    if "orthonormal" in text:
        return "its header describes sheared axes, which SimpleITK does not read; resample it to a plain grid"
    if "ImageIO" in text:
        return "not an image file that SimpleITK knows; export it as NIfTI"
    return f"SimpleITK cannot read it ({text}); open it in a viewer and export it again"


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()


def _shown(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"


@contextmanager
def _quiet_itk() -> Iterator[None]:
    """Keep ITK's C++ warnings off stderr; what matters in them is checked and raised here."""
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)
