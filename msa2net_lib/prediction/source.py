"""Reading what is to be predicted on: a scan as a `Volume`, or an image. Every file is opened once.

What a file is, its first bytes say: a name says little about a download or an export.
"""

from __future__ import annotations

import codecs
import os
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from msa2net_lib.data.formats import metaimage, nrrd
from msa2net_lib.data.formats.stream import DICOM_SUFFIXES, has_magic, open_file
from msa2net_lib.data.images.read import IMAGE_FORMATS, read_upright
from msa2net_lib.data.volumes import SUFFIXES, Volume, decode_volume
from msa2net_lib.errors import InputError
from msa2net_lib.utils.names import LONGEST

IMAGE_SUFFIXES: tuple[str, ...] = tuple(suffix for endings in IMAGE_FORMATS.values() for suffix in endings)
READ = "NIfTI, NRRD, MetaImage, a folder of DICOM slices, PNG or JPEG"
"""What can be predicted on, in words."""

JPEG = b"\xff\xd8\xff"
"""How a JPEG begins."""

_IMAGE_MAGIC = (b"\x89PNG\r\n\x1a\n", JPEG)
_FRAME = "save the frame you mean as PNG"
_AS_PNG = "save it as PNG"
_OTHERS: tuple[tuple[int, bytes, str, str], ...] = (
    # where, what stands there, what that is, what to do
    (8, b"AVI ", "a video (AVI)", _FRAME),
    (0, b"\x1a\x45\xdf\xa3", "a video (Matroska or WebM)", _FRAME),
    (0, b"\x00\x00\x01\xba", "a video (MPEG)", _FRAME),
    (0, b"\x00\x00\x01\xb3", "a video (MPEG)", _FRAME),
    (0, b"FLV\x01", "a video (Flash)", _FRAME),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a video (Windows Media)", _FRAME),
    (4, b"moov", "a video (QuickTime)", _FRAME),
    (4, b"mdat", "a video (QuickTime)", _FRAME),
    (8, b"WEBP", "a WebP image", _AS_PNG),
    (0, b"GIF8", "a GIF", _AS_PNG),
    (0, b"II*\x00", "a TIFF image", _AS_PNG),
    (0, b"MM\x00*", "a TIFF image", _AS_PNG),
    (0, b"%PDF", "a PDF", "export the image in it as PNG"),
    (0, b"PK\x03\x04", "a ZIP archive", "unpack it, and give the scan in it"),
    (0, b"\x89HDF", "an HDF5 file", "prepared data are scored by `msa2net evaluate`; give the original scan here"),
    (0, b"\x93NUMPY", "a NumPy array, which stores no geometry", "save it as NIfTI"),
)
_STILL_BRANDS = (b"hei", b"hev", b"mif", b"avi", b"msf")  # HEIC and AVIF images share the MP4 container
_VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".m4v", ".flv")
_TEXT_HEADERS = (*nrrd.SUFFIXES, *metaimage.SUFFIXES)

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
    with nullcontext() if path.is_dir() else open_file(path) as stream:
        if stream is not None and _is_image(path, stream):
            if series is not None:
                raise InputError(f"{path}: is an image, so there is no series {series!r} to choose; leave it out")
            return _read_image(path, stream)
        try:
            return decode_volume(path, stream, series)
        except InputError as error:
            if stream is None and "holds no DICOM images" in str(error):
                _name_another_scan(path, error)
            raise


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


def _name_another_scan(folder: Path, error: InputError) -> None:
    """Raise InputError with the name of a scan of another format that lies in the folder, if one does."""
    inside = next((file for file in sorted(folder.iterdir()) if file.name.lower().endswith(SUFFIXES)), None)
    if inside is not None:
        raise InputError(
            f"{folder}: holds no DICOM images; to predict on {inside.name} in it, name that file"
        ) from error


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


def _is_image(path: Path, stream: BinaryIO) -> bool:
    """Tell whether an open file is to be read as an image (PNG, JPEG or BMP) and not as a scan.

    Raises: `InputError`, saying what it is, for a file that is neither: a video, a text file, an archive and so on,
    whatever its name.
    """
    head = stream.read(4096)
    stream.seek(0)
    if not head:
        raise InputError(f"{path}: is empty; copy or download it again")
    if has_magic(head):
        return False
    if head.startswith(_IMAGE_MAGIC):
        return True
    name = path.name.lower()
    if (other := _other(head, name)) is not None:
        what, advice = other
        raise InputError(f"{path}: is {what}, and no image or scan; {advice}")
    if name.endswith(IMAGE_SUFFIXES):
        return True
    if not name.endswith((*SUFFIXES, *DICOM_SUFFIXES)):
        raise InputError(f"{path}: not a format that is read; give {READ}")
    return False


def _other(head: bytes, name: str) -> tuple[str, str] | None:
    """What a file is that cannot be read here, and what to do about it; None if nothing speaks against it."""
    if head[4:8] == b"ftyp":
        still = head[8:11] in _STILL_BRANDS
        return ("a HEIC or AVIF image", _AS_PNG) if still else ("a video (MP4)", _FRAME)
    for offset, magic, what, advice in _OTHERS:
        if head[offset:].startswith(magic):
            return what, advice
    if name.endswith(_VIDEO_SUFFIXES):
        return "a video", _FRAME
    if not name.endswith(_TEXT_HEADERS) and _is_text(head):
        return "a text file", f"give {READ}"
    return None


def _is_text(head: bytes) -> bool:
    """Whether a file that begins so is text: UTF-8 without zeros, of which the last letter may be cut."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return b"\0" not in head
