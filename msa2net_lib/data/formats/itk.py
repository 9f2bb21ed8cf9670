"""SimpleITK as the formats use it: quiet, in one orientation, and held against what the header says.

Each format reads its own header into a ``Header``; SimpleITK must come to the same grid. Where the two
disagree, SimpleITK has put a default in place of something it did not understand.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import ArrayLike, NDArray

from msa2net_lib.data.formats.stream import last_line
from msa2net_lib.errors import InputError

_SHEAR = 1e-3
"""Cosine between two axes that is rounding."""


@dataclass(frozen=True, eq=False)
class Header:
    """What a file says of its voxels: ``size`` along its axes, fastest first, and their stored ``dtype``.

    ``affine`` (3, 4) takes an index (x, y, z) to LPS mm. ``scaled``: a slope and intercept apply, so that the
    array has another dtype.
    """

    size: tuple[int, ...]
    dtype: np.dtype
    affine: NDArray[np.float64]
    scaled: bool = False

    @property
    def data_bytes(self) -> int:
        """Bytes of all voxels, uncompressed."""
        return math.prod(self.size) * self.dtype.itemsize


def check_3d(path: Path, size: tuple[int, ...]) -> None:
    """Raise InputError unless an image of this size is a volume."""
    if len(size) != 3:
        raise InputError(f"{path}: is {len(size)}-D ({_shown(size)}); save it as one 3-D volume")


def make_header(path: Path, size: tuple[int, ...], dtype: np.dtype, affine: ArrayLike, scaled: bool = False) -> Header:
    """Return the header of a volume; InputError if its grid is no grid."""
    matrix = np.asarray(affine, np.float64)
    spacing = np.linalg.norm(matrix[:, :3], axis=0)
    if min(size) < 1 or not np.isfinite(matrix).all() or not (np.isfinite(spacing) & (spacing > 0)).all():
        raise InputError(f"{path}: its header describes no grid of voxels (size {_shown(size)}); export it again")
    direction = matrix[:, :3] / spacing
    if not np.allclose(direction.T @ direction, np.eye(3), atol=_SHEAR):
        raise InputError(f"{path}: its header describes sheared axes, which are not read; resample it to a plain grid")
    return Header(size, dtype, matrix, scaled)


def read_image(path: Path, image_io: str, header: Header) -> sitk.Image:
    """Decode ``path`` with SimpleITK's ``image_io`` and bring it to LPS; it must match ``header``.

    Raises InputError if SimpleITK refuses the file, sheared axes included, or reads another grid than ours.
    """
    reader = sitk.ImageFileReader()
    reader.SetImageIO(image_io)
    reader.SetFileName(str(path))
    with quiet_itk():
        try:
            reader.ReadImageInformation()
            _check_against(path, reader, header)
            image = reader.Execute()
            if not header.scaled and sitk.GetArrayViewFromImage(image).dtype != header.dtype.newbyteorder("="):
                raise InputError(f"{path}: SimpleITK reads its voxels as another type; export it again")
            return sitk.DICOMOrient(image, "LPS")
        except RuntimeError as error:
            raise InputError(f"{path}: {_explain(error)}") from error


def to_image(array: NDArray, affine: NDArray[np.float64]) -> sitk.Image:
    """Make an LPS image of an array (Z, Y, X) whose index (x, y, z) lies at ``affine`` (3, 4) in LPS mm."""
    spacing = np.linalg.norm(affine[:, :3], axis=0)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:, 3].tolist())
    image.SetDirection((affine[:, :3] / spacing).ravel().tolist())
    return sitk.DICOMOrient(image, "LPS")


def displacement(first: NDArray, second: NDArray, size: tuple[int, ...]) -> float:
    """Return how far two affines (3, 4) put a corner of the volume apart, in edges of the smallest voxel."""
    corners = np.array([*product(*((0, n - 1) for n in size))])
    with np.errstate(all="ignore"):  # of a damaged header: the result is then nan or inf
        moved = corners @ (first - second)[:, :3].T + (first - second)[:, 3]
        return float(np.abs(moved).max() / np.linalg.norm(first[:, :3], axis=0).min())


@contextmanager
def quiet_itk() -> Iterator[None]:
    """Keep ITK's C++ warnings off stderr; what matters in them is checked and raised by the formats."""
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def _check_against(path: Path, reader: sitk.ImageFileReader, header: Header) -> None:
    if reader.GetNumberOfComponents() != 1:
        kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
        raise InputError(f"{path}: has several values per voxel ({kind}); save one gray value per voxel")
    if reader.GetSize() != header.size:
        raise InputError(f"{path}: SimpleITK reads size {reader.GetSize()}, the header says {header.size}")
    direction = np.reshape(reader.GetDirection(), (3, 3))
    affine = np.column_stack([direction * reader.GetSpacing(), reader.GetOrigin()])
    if not displacement(header.affine, affine, header.size) <= 0.1:
        raise InputError(f"{path}: SimpleITK places its voxels elsewhere than its header does; export it again")


def _shown(size: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in size)


def _explain(error: RuntimeError) -> str:
    """Turn SimpleITK's many-line exception into what is wrong and what to do."""
    text = last_line(error)
    if "orthonormal" in text:
        return "its header describes sheared axes, which SimpleITK does not read; resample it to a plain grid"
    return f"SimpleITK cannot read it ({text}); open it in a viewer and export it again"
