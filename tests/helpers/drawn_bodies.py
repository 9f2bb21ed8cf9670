"""Drawn bodies in files of SimpleITK: an elliptic body of 40 HU with an organ of 90 HU, and what people make of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

ORGAN_HU = 90

NOT_HU = {
    "plus_1024": lambda hu: (hu + 1024).astype(np.uint16),
    "zero_to_one": lambda hu: np.clip((hu + 125) / 400, 0, 1).astype(np.float32),
    "z_score": lambda hu: ((hu - hu.mean()) / hu.std()).astype(np.float32),
    "eight_bit": lambda hu: (np.clip((hu + 125) / 400, 0, 1) * 255).astype(np.uint8),
    "mr": lambda hu: np.where(hu < 0, 0, hu * 6 + 300).astype(np.int16),
    "mr_slightly_negative": lambda hu: np.where(hu < 0, -5, hu * 6).astype(np.int16),
    "label_map": lambda hu: (hu > 0).astype(np.uint8),
    "padded_plus_1024": lambda hu: np.where(np.indices(hu.shape)[2] < 3, -2000, hu + 1024).astype(np.int16),
}
"""Ways to keep a CT, or an MR, that are not HU: kind -> of HU (z, y, x)."""


def body(shape: tuple[int, int, int] = (6, 64, 64)) -> np.ndarray:
    """HU (z, y, x), int16."""
    _, y, x = np.indices(shape)
    inside = ((y - 32) / 22) ** 2 + ((x - 32) / 26) ** 2 < 1
    values = np.where(inside, 40, -1000).astype(np.int16)
    values[:, 20:40, 14:26] = np.where(inside[:, 20:40, 14:26], ORGAN_HU, -1000)
    return values


def save(path: Path, values: np.ndarray, spacing=(2.0, 2.0, 5.0), direction=None, origin=(-64.0, -50.0, 100.0)):
    """Write an array (z, y, x) of a file's own axes by SimpleITK; spacing and origin are (x, y, z)."""
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(np.ravel(np.eye(3) if direction is None else direction).tolist())
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


def save_pair(folder: Path, case: str, values: np.ndarray, organ: np.ndarray, **geometry) -> dict[str, Path]:
    """Write ``images/CASE.nii.gz`` and ``labels/CASE.nii.gz``, and return the two folders."""
    for kind, array in (("images", values), ("labels", organ.astype(np.uint8))):
        save(folder / kind / f"{case}.nii.gz", array, **geometry)
    return {"images": folder / "images", "labels": folder / "labels"}


def organ_points(path: Path) -> np.ndarray:
    """Where the centers of all labeled voxels of a file are, in mm, sorted; read by SimpleITK."""
    image = sitk.ReadImage(str(path))
    indices = np.argwhere(sitk.GetArrayFromImage(image))[:, ::-1].tolist()
    points = np.array([image.TransformIndexToPhysicalPoint(index) for index in indices])
    return points[np.lexsort(np.round(points, 2).T)]
