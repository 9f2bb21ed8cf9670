"""CT volumes and label volumes: read into one orientation, check, window, write.

In memory a volume is an array in the order (Z, Y, X) in LPS orientation: z grows towards the head, y towards
the back, x towards the patient's left. ``read_volume`` brings any file there, whatever its own orientation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import ArrayLike, NDArray

from msa2net_lib.data.formats import metaimage, nifti, nrrd
from msa2net_lib.data.formats.grid import axes_of, check_3d, from_lps, quiet_itk, to_lps, voxel_size_notes
from msa2net_lib.data.formats.stream import DICOM_SUFFIXES, has_magic, is_bare, last_line, open_file
from msa2net_lib.data.labels import BTCV_IDS, whole_labels
from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import atomic_path

WINDOW_HU: tuple[float, float] = (-125.0, 275.0)
"""The field's soft-tissue window for Synapse, in Hounsfield units."""

_FORMATS = {suffix: module for module in (nifti, nrrd, metaimage) for suffix in module.SUFFIXES}

SUFFIXES: tuple[str, ...] = tuple(_FORMATS)
"""Endings of the volume files that ``read_volume`` reads; beside them, folders of DICOM slices."""


@dataclass(frozen=True, eq=False)
class Volume:
    """A scalar volume with its place in the scanner, in LPS orientation, and what its file says beside that.

    ``array`` (Z, Y, X); ``spacing`` of its axes (z, y, x) in mm. ``origin`` is the (x, y, z) position of
    voxel [0, 0, 0] in mm and ``direction`` the nine direction cosines row by row, both as SimpleITK has them.
    ``file_axes``: where the axes x, y, z of the file itself run, as "RAS" for right, front and head (`on_file_axes`).
    ``modality``: as DICOM names it, "" where the file does not. ``series``: which one it is of several in a DICOM
    folder. ``is_segmentation``: drawn in 3D Slicer, and perhaps cropped to its segments (`label_on_image`).
    ``notes``: what was assumed or left out while it was read, to be told.
    """

    array: NDArray
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    file_axes: str = "LPS"
    modality: str = ""
    is_dicom: bool = False
    series: str = ""
    path: Path | None = None
    is_segmentation: bool = False
    notes: tuple[str, ...] = ()

    @property
    def affine(self) -> NDArray[np.float64]:
        """Index (x, y, z) -> LPS mm, (3, 4)."""
        return np.column_stack([np.reshape(self.direction, (3, 3)) * self.spacing[::-1], self.origin])

    def on_file_axes(self, array: NDArray) -> Volume:
        """Turn an array (z, y, x) that lies on this volume to the file's own axes; voxels keep their places."""
        return _placed(*from_lps(array, self.affine, self.file_axes))


def read_volume(path: str | Path, *, series: str | None = None) -> Volume:
    """Read a 3-D scalar volume, reoriented to LPS: NIfTI, NRRD, MetaImage, or a folder of DICOM slices.

    For DICOM, ``path`` is the folder (folders within it included) or one of its files, and ``series`` the
    Series Instance UID or the description of the one to take where there are several; left out, they are listed.
    The array is in the file's unit (HU for a CT) and keeps its dtype where that is exact. Raises InputError, in one
    line with the file's name, if the file is missing, of another format, cut short or corrupt, 2-D, 4-D, RGB or
    complex, or holds non-finite voxels; if DICOM slices are missing, doubled or do not belong together.
    """
    path = Path(path)
    if path.is_dir():
        return decode_volume(path, None, series)
    with open_file(path) as stream:
        return decode_volume(path, stream, series, flat=False)


def decode_volume(path: Path, stream: BinaryIO | None, series: str | None = None, *, flat: bool = True) -> Volume:
    """Read the open file ``path``, or a folder of DICOM slices where ``stream`` is None, as `read_volume` does.

    A NIfTI file of two dimensions is a volume of one slice, which its ``notes`` say, if ``flat`` ones are allowed.
    """
    reader, told = None if stream is None else _reader_of(path, stream), {}
    if reader is None:
        from msa2net_lib.data.formats import dicom

        stored, found, is_one_of_several = dicom.read(path, series, stream)
        told = {"modality": found.modality, "is_dicom": True}
        told["series"] = (found.description or found.uid) if is_one_of_several else ""
    elif series is not None:
        raise InputError(f"{path}: is no DICOM, so there is no series {series} to choose; leave `series` out")
    else:
        stored = reader.read(path, stream)
        told = {"is_segmentation": stored.is_segmentation}
    array = stored.array
    if array.dtype.kind == "f" and (bad := array.size - np.count_nonzero(np.isfinite(array))):
        raise InputError(f"{path}: {bad} voxels are not finite (nan or inf); replace them and save it again")
    if stored.is_flat and not flat:
        check_3d(path, array.shape[:0:-1])
    axes = axes_of(stored.affine)
    notes = (*stored.notes, *voxel_size_notes(path, stored))
    in_lps = to_lps(array, stored.affine, axes)
    return _placed(*in_lps, file_axes=axes, path=path, notes=notes, **told)


def read_pair(image_path: str | Path, label_path: str | Path) -> tuple[Volume, Volume]:
    """Read an image in HU and its raw BTCV labels (as uint8) and check that they belong together.

    Raises InputError, naming the file, for what ``read_volume`` refuses, for label values other than 0 to
    13, and when the two lie on different voxels.
    """
    image, label = read_volume(image_path), read_volume(label_path)
    label = label_on_image(image, label, image_path, label_path)
    try:
        ids = whole_labels(label.array, max(BTCV_IDS.values()), "raw BTCV ids")
    except InputError as error:
        raise InputError(f"{label_path}: {error}; renumber them to the BTCV ids") from error
    return image, replace(label, array=ids)


def write_volume(volume: Volume, path: str | Path) -> Path:
    """Write ``volume`` to ``path`` atomically (``.nii.gz`` is compressed) and return the path."""
    path = Path(path)
    image = to_itk(volume)
    with quiet_itk(), atomic_path(path) as temporary:
        try:
            sitk.WriteImage(image, str(temporary), useCompression=path.name.endswith(".gz"))
        except RuntimeError as error:
            raise InputError(f"{path}: cannot be written: {last_line(error)}") from error
    return path


def to_itk(volume: Volume) -> sitk.Image:
    """Return a volume as SimpleITK's image, at its place."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.array))
    image.SetSpacing(volume.spacing[::-1])
    image.SetOrigin(volume.origin)
    image.SetDirection(volume.direction)
    return image


def window(hu: ArrayLike, low: float = WINDOW_HU[0], high: float = WINDOW_HU[1]) -> NDArray[np.float32]:
    """Clip Hounsfield units to [low, high] and scale them to [0, 1]; any shape in, float32 out.

    The default is the field's recipe for Synapse (TransUNet's preparation). Raises InputError unless
    low < high.
    """
    if not low < high:
        raise InputError(f"window [{low}, {high}] is empty: low must be smaller than high")
    clipped = np.clip(np.asarray(hu, dtype=np.float32), low, high)
    return (clipped - np.float32(low)) / np.float32(high - low)


def label_on_image(image: Volume, label: Volume, image_path: str | Path, label_path: str | Path) -> Volume:
    """Return a label on the voxels of its image, background around a segmentation that was cropped to its segments.

    Raises InputError as `check_same_geometry` does, and where labeled voxels lie outside of the image.
    """
    to_index = np.linalg.inv(image.affine[:, :3])
    first = (to_index @ np.subtract(label.origin, image.origin))[::-1]
    start = np.rint(first).astype(int)
    steps = to_index @ label.affine[:, :3]
    on_grid = np.allclose(first, start, atol=0.1) and np.allclose(steps, np.eye(3), atol=1e-3)
    if label.is_segmentation and label.array.shape != image.array.shape and on_grid:
        stop = np.minimum(start + label.array.shape, image.array.shape)
        there = tuple(slice(max(0, a), max(0, b)) for a, b in zip(start, stop, strict=True))
        here = tuple(slice(max(0, -a), max(0, b - a)) for a, b in zip(start, stop, strict=True))
        array = np.zeros(image.array.shape, label.array.dtype)
        array[there] = label.array[here]
        if lost := np.count_nonzero(label.array) - np.count_nonzero(array):
            raise InputError(
                f"{label_path}: {lost} of its labeled voxels lie outside of {image_path}; take its own image"
            )
        notes = (*label.notes, "cropped to its segments: put in its place by its origin")
        label = replace(label, array=array, origin=image.origin, notes=notes)
    check_same_geometry(image, label, image_path, label_path)
    return label


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


def _reader_of(path: Path, stream: BinaryIO) -> ModuleType | None:
    """Return the module that reads an open file, None for DICOM."""
    name, head = path.name.lower(), stream.read(132)
    stream.seek(0)
    if has_magic(head):
        return None
    for suffix, module in _FORMATS.items():
        if name.endswith(suffix):
            return module
    if name.endswith(DICOM_SUFFIXES) or is_bare(head):
        return None
    raise InputError(f"{path}: not a format that is read; give {', '.join(SUFFIXES)}, or a folder of DICOM slices")


def _placed(array: NDArray, affine: NDArray[np.float64], **told: Any) -> Volume:
    x, y, z = np.linalg.norm(affine[:, :3], axis=0).tolist()
    direction = (affine[:, :3] / (x, y, z)).ravel().tolist()
    return Volume(array, (z, y, x), tuple(affine[:, 3].tolist()), tuple(direction), **told)


def _shown(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"
