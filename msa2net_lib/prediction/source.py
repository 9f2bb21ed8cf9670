"""Reading what is to be predicted on: a scan as a `Volume`, or an image. Every file is opened once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from msa2net_lib.data.formats.stream import open_file
from msa2net_lib.data.images.read import read_upright
from msa2net_lib.data.volumes import SUFFIXES, Volume, decode_volume
from msa2net_lib.errors import InputError
from msa2net_lib.prediction.kinds import JPEG, is_image
from msa2net_lib.utils.names import LONGEST

SAME_GRAY = 8
"""Differences between the channels of a JPEG up to this (of 255) are rounding; elsewhere none are."""


@dataclass(frozen=True, eq=False)
class FlatImage:
    """An image, upright: (H, W, 3) uint8 RGB, or gray (H, W) in uint8 or, of more bits, uint16."""

    pixels: NDArray
    path: Path
    notes: tuple[str, ...] = ()

    @property
    def is_gray(self) -> bool:
        """Whether it has one channel."""
        return self.pixels.ndim == 2


def read_source(path: str | Path, series: str | None = None) -> Volume | FlatImage:
    """Read a scan (NIfTI, NRRD, MetaImage, a folder of DICOM slices) or an image (PNG, JPEG, BMP).

    series: which one of a DICOM folder, by its UID or its description. Raises: `InputError`, in one line, for all that
    `read_volume` and `read_image` refuse, for what is neither (a video, a text file), and for a folder
    with several series of which none is named, listing them.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path, series)
    with open_file(path) as stream:
        if not is_image(path, stream):
            return decode_volume(path, stream, series)
        if series is not None:
            raise InputError(f"{path}: is an image, so there is no series {series!r} to choose; leave it out")
        return _read_image(path, stream)


def result_name(source: Volume | FlatImage) -> str:
    """A name for the results: that of the file without its endings, or of the folder, and of the series among several.

    What cannot be part of every system's file names is replaced, and what is too long for them cut off.
    """
    path = Path() if source.path is None else source.path
    is_folder = path.is_dir()
    name = path.resolve().name if is_folder else path.name
    ending = max((one for one in SUFFIXES if name.lower().endswith(one)), key=len, default=path.suffix)
    parts = [name if is_folder else name[: len(name) - len(ending)]]
    if isinstance(source, Volume) and is_folder and source.series:
        parts.append(source.series)
    return os.fsencode("_".join(map(_plain, parts)))[:LONGEST].decode(errors="ignore")


def describe_source(source: Volume | FlatImage) -> str:
    """What was read, in words: its size, its pixels."""
    if isinstance(source, FlatImage):
        height, width = source.pixels.shape[:2]
        return f"{height} x {width} pixels, {f'gray, {8 * source.pixels.itemsize} bits' if source.is_gray else 'color'}"
    slices, height, width = source.array.shape
    z, y, x = source.spacing
    some, apart = ("1 slice", "thick") if slices == 1 else (f"{slices} slices", "apart")
    return f"{some} of {height} x {width} pixels, {y:.3g} x {x:.3g} mm each, {z:.3g} mm {apart}"


def _read_folder(path: Path, series: str | None) -> Volume:
    try:
        return decode_volume(path, None, series)
    except InputError as error:
        inside = next((file for file in sorted(path.iterdir()) if file.name.lower().endswith(SUFFIXES)), None)
        if inside is None or "holds no DICOM images" not in str(error):
            raise
        raise InputError(f"{path}: holds no DICOM images; to predict on {inside.name} in it, name that file") from error


def _read_image(path: Path, stream: BinaryIO) -> FlatImage:
    is_lossy = stream.read(len(JPEG)) == JPEG
    stream.seek(0)
    pixels, is_turned = read_upright(path, stream)
    if pixels.ndim == 3 and int(np.ptp(pixels, axis=2).max()) <= (SAME_GRAY if is_lossy else 0):
        pixels = pixels[..., 1]
    upright = ("turned upright as its EXIF orientation says; the label map belongs to the upright image",)
    return FlatImage(np.ascontiguousarray(pixels), path, upright if is_turned else ())


def _plain(text: str) -> str:
    kept = "".join(letter if letter.isalnum() or letter in "-_. +()" else "_" for letter in text).strip(" .")
    return kept or "image"
