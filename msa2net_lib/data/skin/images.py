"""Synthetic dermoscopic images in ISIC's own file layout, for where the real ones are not at hand.

Every pixel is drawn by a program from random numbers: no photograph and no patient is in them. They let the
whole path (read, prepare, train, score) run in minutes and be checked against masks that are exactly right; a score on
them says nothing about people.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from msa2net_lib.data.isic import IMAGES, MASKS
from msa2net_lib.data.made import MadeFiles
from msa2net_lib.data.prepare import claimed
from msa2net_lib.data.skin.artifacts import add_artifacts
from msa2net_lib.data.skin.lesion import Lesion, draw_lesion
from msa2net_lib.data.skin.parts import BLOOD, LUMINANCE, MELANIN, Canvas, Map, SkinRecipe, draw_skin
from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import atomic_path, writable_folder
from msa2net_lib.utils.progress import progress_bar

FIRST_ID, MOST = 9_000_000, 1_000_000
"""Ids are ISIC_9000000 and up: none of ISIC 2018's, which end below 40000 (ISIC 2020 reaches this range)."""

_SAVE_EVERY = 25


@dataclass(frozen=True, eq=False)
class SkinImage:
    """A drawn image: ``image`` (H, W, 3) uint8 RGB, ``mask`` (H, W) bool, and what it shows.

    kind: one of ``SkinRecipe.kinds``. typology_deg: the skin's individual typology angle.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    kind: str
    typology_deg: float


def draw_skin_image(
    seed: int, number: int, size: tuple[int, int] = (240, 320), recipe: SkinRecipe | None = None
) -> SkinImage:
    """Draw the image of this number, of (height, width) pixels; the same arguments give the same image.

    Skin tones are uniform in the typology angle, from dark (-50 degrees) to very light (70). Raises
    InputError for a side below 64 pixels.
    """
    if min(size) < 64:
        raise InputError(f"size={size}: give at least 64 pixels a side")
    recipe, canvas = recipe or SkinRecipe(), Canvas(*size)
    # Independent streams: changing how hairs are drawn leaves lesions as they were.
    skin, inner, outer, camera = np.random.default_rng([seed, number]).spawn(4)
    typology = float(skin.uniform(*recipe.typology_deg))
    healthy = draw_skin(canvas, skin, typology)
    lesion = draw_lesion(canvas, inner, recipe)
    image = add_artifacts(canvas, outer, _with_lesion(healthy, lesion), recipe)
    return SkinImage(_photograph(canvas, camera, image), lesion.mask, lesion.kind, typology)


def write_skin_images(
    destination: str | Path,
    *,
    count: int = 300,
    size: tuple[int, int] = (240, 320),
    seed: int = 2024,
    recipe: SkinRecipe | None = None,
    progress: bool = True,
) -> list[str]:
    """Write drawn images and their masks in ISIC 2018's layout and return their ids, from ISIC_9000000 on.

    ``size`` is (height, width) in pixels. ``destination`` gets the two folders of the ISIC release and
    ``synthetic.json``: that they are synthetic, seed, parameters, and each image's kind, skin tone and
    checksums. Images that match it are not drawn again; a larger ``count`` adds to them. Raises InputError
    for numbers out of range, or if the destination holds images that were not written here.
    """
    destination = Path(destination)
    if not 1 <= count <= MOST:
        raise InputError(f"count={count}: ask for 1 to {MOST} images")
    if seed < 0:
        raise InputError(f"seed={seed}: choose a seed of 0 or more")
    recipe, numbers = recipe or SkinRecipe(), {f"ISIC_{FIRST_ID + number}": number for number in range(count)}
    plan = {"generator": __name__, "format": 2, "seed": seed, "height_width": size, "recipe": asdict(recipe)}

    def files(name: str) -> dict[str, Path]:
        image, mask = destination / IMAGES / f"{name}.jpg", destination / MASKS / f"{name}_segmentation.png"
        return {"image": image, "mask": mask}

    record = destination / "synthetic.json"
    listed = partial(MadeFiles, record, plan, numbers, files, synthetic="drawn by a program; no photographs")
    if listed().is_complete:
        return list(numbers)
    writable_folder(destination)
    with claimed(destination, destination / ".lock"):
        images = listed()
        images.clear()
        todo = images.missing
        bar = progress_bar(todo, desc="drawing skin", unit="image", enabled=progress and bool(todo))
        for drawn, name in enumerate(bar, start=1):
            image = draw_skin_image(seed, numbers[name], size, recipe)
            paths = files(name)
            with atomic_path(paths["image"]) as temporary:
                Image.fromarray(image.image).save(temporary, quality=92)
            with atomic_path(paths["mask"]) as temporary:
                Image.fromarray(np.where(image.mask, np.uint8(255), np.uint8(0))).save(temporary)
            images.add(name, {"kind": image.kind, "typology_deg": round(image.typology_deg, 1)})
            if drawn % _SAVE_EVERY == 0 or drawn == len(todo):
                images.save()
    return list(numbers)


def _with_lesion(healthy: Map, lesion: Lesion) -> Map:
    image = healthy * np.exp(-lesion.melanin[..., None] * MELANIN - lesion.blood[..., None] * BLOOD)
    luminance = healthy.mean(axis=(0, 1)) @ LUMINANCE
    for color, share in lesion.layers:
        image = image + (luminance * color - image) * share[..., None]
    return image


def _photograph(canvas: Canvas, rng: np.random.Generator, image: Map) -> NDArray[np.uint8]:
    """Return what a camera makes of linear light: white balance, exposure, blur, noise, sRGB."""
    gain = np.exp(rng.normal(0, 0.04, 3))
    gain = gain * (rng.uniform(0.8, 0.98) / np.quantile(image @ LUMINANCE, 0.99)) ** 0.35
    blur = rng.uniform(0.0004, 0.0022) * canvas.short
    seen = ndimage.gaussian_filter((image * gain).astype(np.float32), (blur, blur, 0))
    grain = rng.uniform(0.002, 0.012) * np.sqrt(seen.clip(0.01))
    seen = (seen + grain * rng.standard_normal(seen.shape, dtype=np.float32)).clip(0, 1)
    encoded = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    return np.rint(255 * encoded).astype(np.uint8)
