"""Synthetic dermoscopic pictures in ISIC's own file layout, for where the real ones are not at hand.

Every pixel is drawn by a program from random numbers: no photograph and no patient is in them. They let the
whole path (read, prepare, train, score) run in minutes and be checked against masks that are exactly right; a score on
them says nothing about people.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from msa2net_lib.data.isic import IMAGES, MASKS
from msa2net_lib.data.skin.artifacts import add_artifacts
from msa2net_lib.data.skin.lesion import Lesion, draw_lesion
from msa2net_lib.data.skin.parts import BLOOD, LUMINANCE, MELANIN, Canvas, Map, SkinRecipe, draw_skin
from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import atomic_path, sha256, write_text
from msa2net_lib.utils.progress import progress_bar

FIRST_ID, MOST = 9_000_000, 1_000_000
"""Ids are ISIC_9000000 and up: none of ISIC 2018's, which end below 40000 (ISIC 2020 reaches this range)."""

_SAVE_EVERY = 25


@dataclass(frozen=True, eq=False)
class SkinImage:
    """A drawn picture: ``image`` (H, W, 3) uint8 RGB, ``mask`` (H, W) bool, and what it shows.

    kind: one of ``SkinRecipe.kinds``. typology_deg: the skin's individual typology angle.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    kind: str
    typology_deg: float


def draw_skin_image(
    seed: int, number: int, size: tuple[int, int] = (240, 320), recipe: SkinRecipe | None = None
) -> SkinImage:
    """Draw the picture of this number, of (height, width) pixels; the same arguments give the same picture.

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
    picture = add_artifacts(canvas, outer, _with_lesion(healthy, lesion), recipe)
    return SkinImage(_photograph(canvas, camera, picture), lesion.mask, lesion.kind, typology)


def write_skin_images(
    destination: str | Path,
    *,
    count: int = 300,
    size: tuple[int, int] = (240, 320),
    seed: int = 2024,
    recipe: SkinRecipe | None = None,
    progress: bool = True,
) -> list[str]:
    """Write drawn pictures and their masks in ISIC 2018's layout and return their ids, from ISIC_9000000 on.

    ``size`` is (height, width) in pixels. ``destination`` gets the two folders of the ISIC release and
    ``synthetic.json``: that they are synthetic, seed, parameters, and each picture's kind, skin tone and
    checksums. Pictures that match it are not drawn again; a larger ``count`` adds to them. Raises InputError
    for numbers out of range, or if the destination holds pictures that were not written here.
    """
    destination = Path(destination)
    if not 1 <= count <= MOST:
        raise InputError(f"count={count}: ask for 1 to {MOST} pictures")
    if seed < 0:
        raise InputError(f"seed={seed}: choose a seed of 0 or more")
    recipe, ids = recipe or SkinRecipe(), [f"ISIC_{FIRST_ID + number}" for number in range(count)]
    plan = {"generator": "msa2net_lib.data.skin.images", "format": 1, "seed": seed, "height_width": size}
    plan = json.loads(json.dumps(plan | {"recipe": asdict(recipe)}))  # tuples become lists, as they will read back
    done = _resume(destination, plan, ids)
    todo = [(number, name) for number, name in enumerate(ids) if name not in done]
    bar = progress_bar(todo, desc="drawing skin", unit="picture", enabled=progress and bool(todo))
    for drawn, (number, name) in enumerate(bar, start=1):
        done[name] = _write_image(destination, name, draw_skin_image(seed, number, size, recipe))
        if drawn % _SAVE_EVERY == 0 or drawn == len(todo):
            _write_record(destination, plan, done)
    return ids


def _with_lesion(healthy: Map, lesion: Lesion) -> Map:
    picture = healthy * np.exp(-lesion.melanin[..., None] * MELANIN - lesion.blood[..., None] * BLOOD)
    luminance = healthy.mean(axis=(0, 1)) @ LUMINANCE
    for color, share in lesion.layers:
        picture = picture + (luminance * color - picture) * share[..., None]
    return picture


def _photograph(canvas: Canvas, rng: np.random.Generator, picture: Map) -> NDArray[np.uint8]:
    """Return what a camera makes of linear light: white balance, exposure, blur, noise, sRGB."""
    gain = np.exp(rng.normal(0, 0.04, 3))
    gain = gain * (rng.uniform(0.8, 0.98) / np.quantile(picture @ LUMINANCE, 0.99)) ** 0.35
    blur = rng.uniform(0.0004, 0.0022) * canvas.short
    seen = ndimage.gaussian_filter((picture * gain).astype(np.float32), (blur, blur, 0))
    grain = rng.uniform(0.002, 0.012) * np.sqrt(seen.clip(0.01))
    seen = (seen + grain * rng.standard_normal(seen.shape, dtype=np.float32)).clip(0, 1)
    encoded = np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)
    return np.rint(255 * encoded).astype(np.uint8)


def _files(destination: Path, name: str) -> dict[str, Path]:
    image, mask = destination / IMAGES / f"{name}.jpg", destination / MASKS / f"{name}_segmentation.png"
    return {"image": image, "mask": mask}


def _write_image(destination: Path, name: str, picture: SkinImage) -> dict[str, Any]:
    """Write the two files and return the picture's entry in the record."""
    paths = _files(destination, name)
    with atomic_path(paths["image"]) as temporary:
        Image.fromarray(picture.image).save(temporary, quality=92)
    with atomic_path(paths["mask"]) as temporary:
        Image.fromarray(np.where(picture.mask, np.uint8(255), np.uint8(0))).save(temporary)
    facts = {"kind": picture.kind, "typology_deg": round(picture.typology_deg, 1)}
    return facts | {"sha256": {kind: sha256(path) for kind, path in paths.items()}}


def _resume(destination: Path, plan: dict[str, Any], ids: list[str]) -> dict[str, dict[str, Any]]:
    """Make the destination ready and return the entries of the pictures that are there and match."""
    record_path = destination / "synthetic.json"
    if not record_path.exists():
        if any(any((destination / folder).glob("*")) for folder in (IMAGES, MASKS)):
            raise InputError(f"{destination}: holds pictures but no synthetic.json; choose an empty folder")
        _write_record(destination, plan, {})
        return {}
    try:
        record = json.loads(record_path.read_text(encoding="utf-8"))
        same, made = record["plan"] == plan, dict(record["pictures"])
        made = {name: entry for name, entry in made.items() if same and _is_whole(destination, name, entry)}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{record_path}: not a record of synthetic pictures; choose an empty folder") from error
    done = {name: entry for name, entry in made.items() if name in set(ids)}
    wanted = {path for name in done for path in _files(destination, name).values()}
    for folder in (IMAGES, MASKS):
        for path in [*(destination / folder).glob("ISIC_9*"), *(destination / folder).glob(".partial-*")]:
            if path not in wanted:
                path.unlink()
    _write_record(destination, plan, done)
    return done


def _is_whole(destination: Path, name: str, entry: dict[str, Any]) -> bool:
    paths = _files(destination, name)
    return all(path.is_file() and sha256(path) == entry["sha256"][kind] for kind, path in paths.items())


def _write_record(destination: Path, plan: dict[str, Any], done: dict[str, dict[str, Any]]) -> None:
    record = {"synthetic": "drawn by a program; no photographs", "plan": plan, "pictures": dict(sorted(done.items()))}
    write_text(destination / "synthetic.json", json.dumps(record, indent=1) + "\n")
