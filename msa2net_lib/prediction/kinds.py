"""What a file is, by its first bytes: a name says little about a download or an export."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import BinaryIO

from msa2net_lib.data.formats import metaimage, nrrd
from msa2net_lib.data.formats.stream import DICOM_SUFFIXES, has_magic
from msa2net_lib.data.images.read import IMAGE_FORMATS
from msa2net_lib.data.volumes import SUFFIXES
from msa2net_lib.errors import InputError

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


def is_image(path: Path, stream: BinaryIO) -> bool:
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
