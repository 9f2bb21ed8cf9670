"""A folder of images and a folder of masks: which mask belongs to which image."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from msa2net_lib.data.images.read import IMAGE_FORMATS, Decoded, decode_image, decode_mask, read_header, turn
from msa2net_lib.errors import InputError
from msa2net_lib.utils.names import check_id

MASK_SUFFIXES: tuple[str, ...] = ("_segmentation", "_mask")
"""What is taken off a mask's name to find its image, in letters of either case; ISIC's is the first."""

_ENDINGS = {ending for endings in IMAGE_FORMATS.values() for ending in endings}
_PASSED_OVER = re.compile(r"(?i)\..*|.*_superpixels")
"""Names without ending to pass over: hidden files, and what ISIC 2016 and 2017 put beside the images."""


@dataclass(frozen=True)
class Pair:
    """An image and its mask. ``id`` is the image's file name without its ending."""

    id: str
    image: Path
    mask: Path


def pair_images(images: str | Path, masks: str | Path, *, mask_suffix: str | None = None) -> list[Pair]:
    """Pair the images of one folder with the masks of another, or of the same, by name; sorted by id.

    The mask of ``lesion1.jpg`` is ``lesion1.png``, ``lesion1_segmentation.png`` or ``lesion1_mask.png``; give
    ``mask_suffix`` for any other addition. Masks without an image and files of other kinds are passed over.
    Raises InputError, naming the file, for a folder without images, an image without mask, two files of
    one id, and a mask of another size (by the files' headers).
    """
    images, masks = Path(images), Path(masks)
    suffixes = MASK_SUFFIXES if mask_suffix is None else (mask_suffix,)
    found, candidates = _image_files(images), _image_files(masks)
    if images.resolve() == masks.resolve():
        found = [path for path in found if not _is_marked(path, suffixes)]
        candidates = [path for path in candidates if _is_marked(path, suffixes)]
    by_id = _by_id(images, ((path.stem, path) for path in found))
    if not by_id:
        raise InputError(f"{images}: holds no image ({', '.join(sorted(_ENDINGS))}); check the folder")
    mask_of = _by_id(masks, ((_image_id(path.stem, suffixes, by_id), path) for path in candidates))
    missing = [name for name in by_id if name not in mask_of]
    if missing:
        raise InputError(_missing(missing, len(by_id), masks, suffixes))
    pairs = [Pair(name, by_id[name], mask_of[name]) for name in sorted(by_id)]
    for pair in pairs:
        image, mask = read_header(pair.image), read_header(pair.mask)
        if turned_like(image, mask) == 1:
            check_same_size(pair, image[0], mask[0])
    return pairs


def left_over(folder: str | Path, pairs: Iterable[Pair]) -> list[str]:
    """Return the names of the files in a folder of images or masks that are in no pair; hidden ones apart."""
    taken = {path.name for pair in pairs for path in (pair.image, pair.mask) if path.parent == Path(folder)}
    files = (path.name for path in Path(folder).iterdir() if path.is_file() and not path.name.startswith("."))
    return sorted({*files} - taken)


def turned_like(image: tuple[tuple[int, int], int], mask: tuple[tuple[int, int], int]) -> int:
    """Return the EXIF orientation by which a mask is to be turned as its image was; 1 for none.

    image, mask: (height, width) upright and own orientation. It is the image's, where the mask has none and has the
    size of the image as it is stored only.
    """
    (size, orientation), (mask_size, own) = image, mask
    return orientation if own == 1 and orientation >= 5 and mask_size == size[::-1] != size else 1


def read_pair(pair: Pair, threshold: int | None = None) -> tuple[Decoded, Decoded, int, list[str]]:
    """Read an image and its mask: both, the orientation by which the mask was turned like it, and what to look at.

    Raises: `InputError` as `read_image`, `read_mask` and `check_same_size` do.
    """
    image, mask = decode_image(pair.image), decode_mask(pair.mask, threshold)
    shape, mask_shape = image.pixels.shape[:2], mask.pixels.shape
    turned = turned_like(((shape[0], shape[1]), image.orientation), ((mask_shape[0], mask_shape[1]), mask.orientation))
    notes = []
    if turned > 1:
        mask = mask._replace(pixels=turn(mask.pixels, turned))
        notes.append("EXIF turns the image; its mask, of the size of the stored pixels, was turned alike")
    elif image.orientation != mask.orientation:
        which = "mask and not its image" if image.orientation == 1 else "image and not its mask"
        notes.append(f"EXIF turns the {which}; if they do not fit now, save both upright and without EXIF")
    if mask.is_ones and threshold:
        notes.append("the mask holds 0 and 1 only: 1 was taken as lesion, and the threshold not applied")
    check_same_size(pair, image.pixels.shape, mask.pixels.shape)
    return image, mask, turned, notes


def check_same_size(pair: Pair, image: tuple[int, ...], mask: tuple[int, ...]) -> None:
    """Raise InputError, naming both files, unless the two have as many rows and columns."""
    if image[:2] != mask[:2]:
        raise InputError(
            f"{pair.mask}: has {mask[0]} rows and {mask[1]} columns, but {pair.image} has {image[0]} and {image[1]}; "
            "use the mask drawn on this image"
        )


def _image_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; check the path")
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in _ENDINGS and not _PASSED_OVER.fullmatch(path.stem) and path.is_file()
    )


def _is_marked(path: Path, suffixes: Iterable[str]) -> bool:
    return any(suffix and path.stem.lower().endswith(suffix.lower()) for suffix in suffixes)


def _image_id(mask: str, suffixes: Iterable[str], ids: Iterable[str]) -> str:
    """Return the id of the image that a mask of this name belongs to; the name itself if it is one's."""
    if mask in ids:
        return mask
    marks = (suffix for suffix in suffixes if suffix and mask.lower().endswith(suffix.lower()))
    return next((mask[: -len(mark)] for mark in marks), mask)


def _by_id(folder: Path, named: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name, path in named:
        if check_id(name, path) in found:
            raise InputError(f"{folder}: {found[name].name} and {path.name} are both {name!r}; remove one of them")
        found[name] = path
    return found


def _missing(missing: list[str], count: int, masks: Path, suffixes: tuple[str, ...]) -> str:
    looked = ", ".join(f"{missing[0]}{suffix}.png" for suffix in dict.fromkeys(("", *suffixes)))
    if len(missing) == count:
        return f"{masks}: no mask matches any of the {count} images (looked for {looked}); give mask_suffix"
    return f"{masks}: {missing[0]} has no mask ({len(missing)} of {count} have none; looked for {looked}); add it"
