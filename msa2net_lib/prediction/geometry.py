"""From the LPS copy that networks see back to the grid that the file itself has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from einops import rearrange
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from msa2net_lib.data.formats import metaimage, nifti, nrrd
from msa2net_lib.data.formats.dicom_slice import has_magic, numbers, parse, text
from msa2net_lib.data.formats.itk import quiet_itk
from msa2net_lib.data.formats.stream import intact
from msa2net_lib.data.volumes import Volume

Direction = tuple[float, ...]
"""Nine direction cosines row by row, as SimpleITK has them."""

_READERS = {nifti: "NiftiImageIO", nrrd: "NrrdImageIO", metaimage: "MetaImageIO"}
_ROUNDING = 1e-2


def file_direction(path: Path, series: str | None = None) -> Direction:
    """Return how the axes of a scan that `read_volume` has read lie as they are stored.

    Of DICOM slices: rows, columns, and from slice to slice along the normal, as `read_volume` stacks them.
    """
    name = path.name.lower()
    for module, image_io in _READERS.items():
        if path.is_file() and name.endswith(module.SUFFIXES):
            reader = sitk.ImageFileReader()
            reader.SetImageIO(image_io)
            reader.SetFileName(str(path))
            with quiet_itk():
                reader.ReadImageInformation()
            return reader.GetDirection()
    file, header = _any_slice(path, series)
    across, down = np.reshape(numbers(file, header, "ImageOrientationPatient", 6), (2, 3))
    return tuple(np.column_stack([across, down, np.cross(across, down)]).ravel().tolist())


def on_own_grid(label: NDArray[np.uint8], volume: Volume, direction: Direction) -> Volume:
    """Turn a label map (z, y, x) that lies on ``volume``, in LPS, to the axes that the file has; nothing is resampled.

    direction: that of `file_direction`. The voxels keep their places in the scanner.
    """
    lps, own = np.reshape(volume.direction, (3, 3)), np.reshape(direction, (3, 3))
    turn = np.rint(lps.T @ own)
    if not np.allclose(lps.T @ own, turn, atol=_ROUNDING) or (np.abs(turn).sum(axis=0) != 1).any():
        raise ValueError(f"directions {volume.direction} and {direction} are not those of one image")
    axes = np.abs(turn).argmax(axis=0)  # own axis -> LPS axis
    backwards = turn[axes, range(3)] < 0
    spacing = np.array(volume.spacing[::-1])
    array = rearrange(label, "z y x -> x y z")
    first = np.where(backwards, np.array(array.shape)[axes] - 1, 0)  # own voxel [0, 0, 0], along own axes
    index = np.zeros(3)
    index[axes] = first
    origin = np.array(volume.origin) + lps @ (spacing * index)
    turned = np.flip(array.transpose(axes), tuple(np.flatnonzero(backwards).tolist()))
    z, y, x = spacing[axes][::-1].tolist()
    array = np.ascontiguousarray(rearrange(turned, "x y z -> z y x"))
    return Volume(array, (z, y, x), tuple(origin.tolist()), direction)


def tilt(direction: Sequence[float]) -> float:
    """Angle in degrees by which the axes of a volume in LPS are turned away from the patient's."""
    matrix = np.reshape(direction, (3, 3))
    return float(np.degrees(np.arccos(np.clip((np.trace(matrix) - 1) / 2, -1, 1))))


def _any_slice(path: Path, series: str | None) -> tuple[Path, Dataset]:
    """A slice of the series: the file itself, or the first one in the folder, where `read_volume` looks too."""
    inside = (p for p in sorted(path.rglob("*")) if not any(part.startswith(".") for part in p.relative_to(path).parts))
    for file in [path] if path.is_file() else inside:
        if not file.is_file():
            continue
        with intact(file), open(file, "rb") as stream:
            head = stream.read(132)
            header = parse(file, head + stream.read(), pixels=False) if has_magic(head) else None
        if header is not None and "Rows" in header and series in (None, text(file, header, "SeriesInstanceUID")):
            return file, header
    raise FileNotFoundError(f"{path}: series {series} was read and is gone")
