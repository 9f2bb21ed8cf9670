"""Photographs and their masks: read, checked, and brought to one form.

Pillow decodes and leaves much unsaid: it does not compare a PNG's checksums when it decodes pixels, and it
turns an image only on request. What it leaves out is checked here, so that a damaged file is an error and
never an image.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageChops, ImageFile, ImageOps

from msa2net_lib.errors import InputError

IMAGE_FORMATS: dict[str, tuple[str, ...]] = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    "BMP": (".bmp",),
}
"""Pillow's name of each format that is read -> the file names' endings."""

MAX_PIXELS = 80_000_000
"""Larger images are refused before a pixel is decoded; ISIC's largest has 30 million."""

_DEEP = ("I", "I;16", "I;16B", "I;16L")

_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, struct.error, zlib.error)
"""What Pillow raises on damaged files, in its decoders and in its reading of metadata."""


class Decoded(NamedTuple):
    """An image or mask, upright. orientation: what its EXIF data said, 1 if nothing. is_ones: a mask of 0 and 1."""

    pixels: NDArray
    orientation: int = 1
    is_ones: bool = False


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Read a PNG, JPEG or BMP file as (H, W, 3) uint8 RGB, turned as its EXIF orientation says.

    Gray and palette images become RGB; of 16 bits a channel the upper 8 are kept; color profiles are not
    applied. JPEG and BMP carry no checksums: a changed byte in the middle of one need not be noticed. Raises
    InputError, in one line with the file's name, if the file is missing, of another format, cut short or
    damaged, larger than ``MAX_PIXELS``, animated, transparent, CMYK or 16-bit gray.
    """
    return decode_image(path).pixels


def decode_image(path: str | Path) -> Decoded:
    """Read a file as `read_image` does, and its EXIF orientation."""
    path = Path(path)
    with _opened(path) as (image, orientation):
        return Decoded(np.array(_in_mode(_opaque(image, path), "RGB")), orientation)


def read_upright(path: Path, stream: BinaryIO) -> tuple[NDArray, bool]:
    """Read an open file as ``read_image`` does, but gray of 16 bits as (H, W) uint16; and whether EXIF turned it."""
    with _opened(path, stream, _DEEP) as (image, orientation):
        if image.mode in _DEEP:
            return np.array(image).astype(np.uint16), orientation > 1
        return np.array(_in_mode(_opaque(image, path), "RGB")), orientation > 1


def read_mask(path: str | Path, *, threshold: int | None = None) -> NDArray[np.bool_]:
    """Read a mask as (H, W) bool: True where it is 255 (or 1, in a mask of zeros and ones).

    With ``threshold`` (0 to 254) any other gray values are allowed, and a pixel is True above it. Raises
    InputError as ``read_image`` does, and for a mask that is colored, or has other values than 0 and 255
    and no ``threshold``, as one that was saved as JPEG has.
    """
    return decode_mask(path, threshold).pixels


def decode_mask(path: str | Path, threshold: int | None = None) -> Decoded:
    """Read a mask as `read_mask` does, its EXIF orientation, and whether it is one of 0 and 1."""
    path = Path(path)
    if threshold is not None and not 0 <= threshold <= 254:
        raise InputError(f"threshold={threshold}: give a gray value of 0 to 254, such as 127")
    with _opened(path) as (image, orientation):
        gray = _only_gray(_opaque(image, path), path)
        values = np.flatnonzero(gray.histogram())
        pixels = np.array(gray)
    for white in (255, 1):
        if np.isin(values, (0, white)).all():
            return Decoded(pixels == white, orientation, is_ones=white == 1)
    if threshold is not None:
        return Decoded(pixels > threshold, orientation)
    stray = int(values[(values > 0) & (values < 255)][0])
    raise InputError(
        f"{path}: a mask has the values 0 and 255, this one has {len(values)}, such as {stray} (JPEG, or smooth "
        "edges); save it as black and white PNG, or give a threshold (threshold=127, --threshold 127)"
    )


def turn(mask: NDArray[np.bool_], orientation: int) -> NDArray[np.bool_]:
    """Turn a mask (H, W) as an image is turned whose EXIF data say so."""
    image = Image.fromarray(mask)
    image.getexif()[ExifTags.Base.Orientation] = orientation
    return np.array(ImageOps.exif_transpose(image))


def stored_image_size(path: str | Path) -> tuple[int, int]:
    """Return (height, width) as ``read_image`` will have them, from the file's header alone.

    Raises InputError if the file is missing, of another format or too large; damage beyond the header is
    not seen.
    """
    return read_header(path)[0]


def read_header(path: str | Path) -> tuple[tuple[int, int], int]:
    """Return the size as `stored_image_size` does, and the EXIF orientation."""
    path = Path(path)
    with _header(path) as image:
        width, height = image.size
        # Asked for EXIF data that it has not met, a PNG is decoded to its end to look for them there.
        known = image.format != "PNG" or "exif" in image.info
        orientation = _orientation(image) if known else 1
    # Orientations 5 to 8 put rows into columns.
    return ((width, height) if orientation >= 5 else (height, width)), orientation


@contextmanager
def _header(path: Path, stream: BinaryIO | None = None) -> Iterator[Image.Image]:
    """Open an image without decoding it, and turn whatever goes wrong inside into InputError."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise InputError("PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set, which hides damaged files; set it to False")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large images and odd metadata: both are dealt with here
            with (
                open(path, "rb") if stream is None else nullcontext(stream) as file,
                Image.open(file, formats=tuple(IMAGE_FORMATS)) as image,
            ):
                if image.width * image.height > MAX_PIXELS:
                    raise _too_large(path, f"{image.width} x {image.height}")
                yield image
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(path, "far more") from error
    except Image.UnidentifiedImageError as error:
        known = ", ".join(IMAGE_FORMATS)
        raise InputError(f"{path}: not an image of a known kind ({known}), or damaged; export it as PNG") from error
    except PermissionError as error:
        raise InputError(f"{path}: reading it is not permitted; change its permissions") from error
    except _DAMAGE as error:
        detail = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{path}: truncated or damaged ({detail}); copy or download it again") from error


@contextmanager
def _opened(
    path: Path, stream: BinaryIO | None = None, modes: tuple[str, ...] = ()
) -> Iterator[tuple[Image.Image, int]]:
    """Open, check and decode an image of the usual modes and these; yield it upright, and its EXIF orientation."""
    with _header(path, stream) as image:
        if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:  # MPO: a JPEG with previews behind it
            raise InputError(f"{path}: holds several images; save the one you mean on its own")
        if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", *modes):
            raise InputError(f"{path}: has pixels of kind {image.mode!r}; save it as RGB or gray, 8 bits a channel")
        if image.format == "PNG":
            # Decoding compares none of the checksums, and stops at the last pixel.
            file: Any = image.fp  # pyright: ignore[reportAttributeAccessIssue]
            image.verify()
            file.seek(0)
            image = Image.open(file, formats=("PNG",))
        image.load()
        if image.mode == "P" and np.asarray(image).max() >= _palette_length(image):
            raise InputError(f"{path}: its pixels name colors that its palette lacks; copy it again, or save it as RGB")
        orientation = _orientation(image)
        ImageOps.exif_transpose(image, in_place=True)
        yield image, orientation


def _palette_length(image: Image.Image) -> int:
    return 0 if image.palette is None else len(image.palette.palette) // len(image.palette.mode)


def _orientation(image: Image.Image) -> int:
    said = image.getexif().get(ExifTags.Base.Orientation, 1)
    return said if said in range(2, 9) else 1


def _opaque(image: Image.Image, path: Path) -> Image.Image:
    """Return the image without its alpha channel, if that hides nothing."""
    if not image.has_transparency_data:
        return image
    image = _in_mode(image, "RGBA")
    lowest, _ = image.getchannel("A").getextrema()
    if lowest != 255:
        raise InputError(f"{path}: has transparent pixels; flatten it onto a background and save it without alpha")
    return image


def _only_gray(image: Image.Image, path: Path) -> Image.Image:
    """Return the image with one channel; InputError if its channels differ anywhere."""
    if image.mode in ("1", "L"):
        return _in_mode(image, "L")
    red, green, blue = _in_mode(image, "RGB").split()
    if any(ImageChops.difference(red, other).getbbox() for other in (green, blue)):
        raise InputError(f"{path}: is colored; a mask is black (0) and white (255), save it so")
    return red


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    """Convert an image; one that is in that mode already is not copied, as large ones are hundreds of MB."""
    return image if image.mode == mode else image.convert(mode)


def _too_large(path: Path, size: str) -> InputError:
    return InputError(f"{path}: {size} pixels, more than {MAX_PIXELS:,} in all; shrink it, or its header is damaged")
