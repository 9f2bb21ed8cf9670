"""Reading what is to be predicted on: a scan with its own geometry, or a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from msa2net_lib.data.formats.dicom import Series, list_series
from msa2net_lib.data.formats.dicom_slice import parse, text
from msa2net_lib.data.formats.stream import intact
from msa2net_lib.data.images.read import read_image, stored_image_size
from msa2net_lib.data.volumes import SUFFIXES, Volume, read_volume
from msa2net_lib.errors import InputError
from msa2net_lib.prediction.flat_nifti import is_flat_nifti, read_flat_nifti
from msa2net_lib.prediction.geometry import Direction, file_direction
from msa2net_lib.prediction.kinds import is_image_file

SAME_GRAY = 8
"""Differences between a picture's channels up to this (of 255) are rounding, as JPEG leaves it in gray pictures."""

_DEEP = ("I", "I;16", "I;16B", "I;16L")


@dataclass(frozen=True, eq=False)
class Scan:
    """A volume in LPS as `read_volume` gives it, and ``direction``, how the file's own axes lie.

    modality: as DICOM says it, "" where a file does not.
    """

    name: str
    volume: Volume
    direction: Direction
    modality: str = ""
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        slices, height, width = self.volume.array.shape
        z, y, x = self.volume.spacing
        some = "1 slice" if slices == 1 else f"{slices} slices"
        apart = "thick" if slices == 1 else "apart"
        return f"{some} of {height} x {width} pixels, {y:.3g} x {x:.3g} mm each, {z:.3g} mm {apart}"


@dataclass(frozen=True, eq=False)
class Photo:
    """A picture, upright: (H, W, 3) uint8 RGB, or gray (H, W) in uint8 or, of more bits, uint16."""

    name: str
    pixels: NDArray
    warnings: tuple[str, ...] = ()

    @property
    def is_gray(self) -> bool:
        """Whether it has one channel."""
        return self.pixels.ndim == 2

    def __str__(self) -> str:
        height, width = self.pixels.shape[:2]
        return f"{height} x {width} pixels, {f'gray, {8 * self.pixels.itemsize} bits' if self.is_gray else 'color'}"


def read_source(path: str | Path, series: str | None = None) -> Scan | Photo:
    """Read a scan (NIfTI, NRRD, MetaImage, a folder of DICOM slices) or a picture (PNG, JPEG, BMP).

    series: which one of a DICOM folder, by its UID or its description. Raises: `InputError`, in one line, for all that
    `read_volume` and `read_image` refuse, for what is neither (a video, a text file), and for a folder
    with several series of which none is named, listing them.
    """
    path = Path(path)
    if is_image_file(path):
        if series is not None:
            raise InputError(f"{path}: is a picture, so there is no series {series!r} to choose; leave it out")
        return _read_photo(path)
    if path.is_dir():
        return _read_folder(path, series)
    if series is None and is_flat_nifti(path):
        flat = ("2-D NIfTI: taken as a volume of one axial slice",)
        return Scan(_stem(path), *read_flat_nifti(path), warnings=flat)
    volume = read_volume(path, series=series)
    if path.name.lower().endswith(SUFFIXES):
        return Scan(_stem(path), volume, file_direction(path))
    with intact(path):
        modality = text(path, parse(path, path.read_bytes(), pixels=False), "Modality")
    return Scan(_stem(path), volume, file_direction(path), modality)


def _read_folder(path: Path, series: str | None) -> Scan:
    try:
        found = list_series(path)
    except InputError as error:
        inside = next((file for file in sorted(path.iterdir()) if file.name.lower().endswith(SUFFIXES)), None)
        if inside is None or "holds no DICOM images" not in str(error):
            raise
        raise InputError(f"{path}: holds no DICOM images; to predict on {inside.name} in it, name that file") from error
    chosen = _choose(path, found, series)
    volume = read_volume(path, series=chosen.uid)
    name = _stem(path.resolve())
    if len(found) > 1:
        name += "_" + _plain(chosen.description or chosen.uid)
    return Scan(name, volume, file_direction(path, chosen.uid), chosen.modality)


def _choose(path: Path, found: list[Series], series: str | None) -> Series:
    if series is None and len(found) == 1:
        return found[0]
    wanted = (series or "").strip()
    for matches in ([one for one in found if one.uid == wanted], [one for one in found if _called(one, wanted)]):
        if series is not None and len(matches) == 1:
            return matches[0]
    listed = "; ".join(map(str, found[:20]))
    if series is None:
        raise InputError(f"{path}: holds {len(found)} series; name one by its UID or description (--series): {listed}")
    several = "more than one series" if sum(_called(one, wanted) for one in found) > 1 else "no series"
    raise InputError(f"{path}: has {several} {series!r}; there is {listed}")


def _called(series: Series, name: str) -> bool:
    return bool(name) and series.description.casefold() == name.casefold()


def _read_photo(path: Path) -> Photo:
    stored_image_size(path)  # refuses what is no picture, and what is too large
    with Image.open(path) as image:
        deep = image.mode in _DEEP
    pixels = _read_deep(path) if deep else read_image(path)
    if not deep and int(np.ptp(pixels, axis=2).max()) <= SAME_GRAY:
        pixels = pixels[..., 1]
    with Image.open(path) as image:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
    upright = ("turned upright as its EXIF orientation says; the label map belongs to the upright picture",)
    return Photo(_stem(path), np.ascontiguousarray(pixels), upright if turned else ())


def _read_deep(path: Path) -> NDArray[np.uint16]:
    """Read a gray PNG of 16 bits, upright; `read_image` takes 8 bits only."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            image.verify()  # compares the checksums, which decoding does not
        with Image.open(path, formats=("PNG",)) as image:
            pixels = np.array(ImageOps.exif_transpose(image))
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path}: truncated or damaged 16-bit picture; copy or download it again") from error
    return pixels.astype(np.uint16)


def _stem(path: Path) -> str:
    """A name for the results: that of the file without its endings, or of the folder."""
    name = path.name
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix) and not path.is_dir():
            return _plain(name[: -len(suffix)])
    return _plain(name if path.is_dir() else path.stem)


def _plain(text: str) -> str:
    """The text with what cannot be part of every system's file names replaced."""
    kept = "".join(letter if letter.isalnum() or letter in "-_. +()" else "_" for letter in text).strip(" .")
    return kept or "image"
