"""How an image and its mask become what the network sees: size, filter, range; one recipe per lineage.

The paper's authors released no ISIC code. Two preparations are in circulation in their group's repositories,
and they differ in both filters; both stretch each image to its own darkest and brightest value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from msa2net_lib.data.resize import height_width
from msa2net_lib.errors import InputError
from msa2net_lib.utils.tables import read_table


@dataclass(frozen=True)
class ImageRecipe:
    """One way to prepare images.

    image_filter: "area" averages over what shrinks into one pixel (bilinear weights, as Pillow resizes),
    "bilinear" mixes the four nearest pixels only. mask_filter: "area" likewise, above one half is lesion;
    "nearest" takes one pixel. intensity: "stretched" maps the darkest value of a resized image to 0 and the
    brightest to 1, over all channels together; "as stored" divides by 255. notes: the source of each field.
    """

    name: str
    image_filter: Literal["area", "bilinear"]
    mask_filter: Literal["area", "nearest"]
    intensity: Literal["stretched", "as stored"]
    notes: dict[str, str] = field(default_factory=dict)


RECIPES: dict[str, ImageRecipe] = {
    name: ImageRecipe(name, **fields) for name, fields in read_table("image_recipes").items()
}


def image_recipe(recipe: str | ImageRecipe) -> ImageRecipe:
    """Return a recipe by its name, or the one given; InputError for an unknown name."""
    if isinstance(recipe, ImageRecipe):
        return recipe
    if recipe not in RECIPES:
        raise InputError(f"recipe {recipe!r} is unknown: use one of {', '.join(RECIPES)}")
    return RECIPES[recipe]


def resize_color(image: NDArray[np.uint8], size: int | tuple[int, int], recipe: ImageRecipe) -> NDArray[np.uint8]:
    """Resize (H, W, 3) uint8 to (h, w, 3) with the recipe's filter; rounded, as both lineages store it."""
    height, width = height_width(size)
    if image.shape[:2] == (height, width):
        return image.copy()
    if recipe.image_filter == "area":
        return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    return _four_neighbors(image, height, width)


def resize_mask(mask: NDArray, size: int | tuple[int, int], recipe: ImageRecipe) -> NDArray[np.uint8]:
    """Resize a mask (H, W), bool or 0 and 1, to (h, w) uint8, 0 and 1, with the recipe's filter."""
    height, width = height_width(size)
    if mask.shape == (height, width):
        return mask.astype(np.uint8)
    if recipe.mask_filter == "area":
        white = Image.fromarray(np.where(mask, np.uint8(255), np.uint8(0)))
        soft = np.asarray(white.resize((width, height), Image.Resampling.BILINEAR))
        return (soft > 127).astype(np.uint8)
    rows, columns = (np.arange(n) * old // n for n, old in zip((height, width), mask.shape, strict=True))
    return mask[np.ix_(rows, columns)].astype(np.uint8)


def scale_image(image: NDArray[np.uint8], recipe: ImageRecipe) -> NDArray[np.float32]:
    """Map uint8 values to float32 in [0, 1] as the recipe says; any shape. One color all over becomes 0."""
    low, high = (int(image.min()), int(image.max())) if recipe.intensity == "stretched" else (0, 255)
    return (image.astype(np.float32) - np.float32(low)) / np.float32(max(high - low, 1))


def _four_neighbors(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Interpolate between the four pixels around each new pixel's center, however far the image shrinks."""
    (top, bottom, down), (left, right, across) = _between(image.shape[0], height), _between(image.shape[1], width)
    down, across = down[:, None, None], across[None, :, None]
    # Rows first: all later work is on images that are already small.
    upper, lower = (image[rows][:, np.stack([left, right])].astype(np.float32) for rows in (top, bottom))
    rows = upper * (1 - down[:, None]) + lower * down[:, None]
    mixed = rows[:, 0] * (1 - across) + rows[:, 1] * across
    return np.rint(mixed).astype(np.uint8)


def _between(old: int, new: int) -> tuple[NDArray, NDArray, NDArray[np.float32]]:
    """Return, for each new pixel, the old ones on both sides of its center and the weight of the second."""
    center = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
    first = np.floor(center).astype(int)
    return first, np.minimum(first + 1, old - 1), (center - first).astype(np.float32)
