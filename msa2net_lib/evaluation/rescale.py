"""A case brought to another pixel size and field of view: what explains a network's failure on another scanner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from msa2net_lib.data.datasets import Case
from msa2net_lib.data.resize import resize_images, resize_labels
from msa2net_lib.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def rescaled_case(case: Case, pixel_mm: Sequence[float], height_width: tuple[int, int]) -> Case:
    """Resample a case in the slice plane to another pixel size and cut out one field of view.

    pixel_mm: (y, x). The result's slices have ``height_width`` pixels, centered on the body (whatever is
    brighter than a twentieth of the window), padded with air where the scan ends. Slices are neither added nor
    dropped. Raises: `InputError` for a case without spacing.
    """
    if case.spacing is None:
        raise InputError(f"{case.name}: no spacing is stored with it; prepare it from the original scan")
    size = tuple(
        max(1, round(pixels * old / new))
        for pixels, old, new in zip(case.image.shape[1:], case.spacing[1:], pixel_mm, strict=True)
    )
    image = resize_images(case.image, (size[0], size[1])).clip(0, 1)
    label = resize_labels(case.label, (size[0], size[1]))
    middle = [round(float(np.median(axis))) for axis in np.nonzero(image > 0.05)[1:]]
    image, label = (_crop_around(array, middle, height_width) for array in (image, label))
    return Case(case.name, image, label, (case.spacing[0], float(pixel_mm[0]), float(pixel_mm[1])))


def _crop_around(array: NDArray, middle: Sequence[int], height_width: tuple[int, int]) -> NDArray:
    """Cut (z, *height_width) out of (z, y, x) with ``middle`` (y, x) in the center; zeros beyond the edge."""
    pads = [(length // 2, length - length // 2) for length in height_width]
    padded = np.pad(array, [(0, 0), *pads])
    (top, left), (height, width) = middle, height_width
    return padded[:, top : top + height, left : left + width]
