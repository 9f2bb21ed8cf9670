"""Augmentation of a batch on its own device, with every random number drawn on the CPU before.

Drawing and applying are apart, so that a process that holds a part of the batch can draw for all of it and apply
its own rows: ``augmentation.apply(images, labels, augmentation.draw(count, shape)[rows])``.
"""

from __future__ import annotations

from msa2net_lib.data.augment.affine import AffineAugmentation
from msa2net_lib.data.augment.draws import Augmentation
from msa2net_lib.data.augment.policy import TRANSFORMS, ReleasedDraws
from msa2net_lib.data.augment.released import INTENDED_NOISE, RELEASED_NOISE, ReleasedAugmentation
from msa2net_lib.errors import InputError

__all__ = [
    "AUGMENTATIONS",
    "INTENDED_NOISE",
    "RELEASED_NOISE",
    "TRANSFORMS",
    "AffineAugmentation",
    "ReleasedAugmentation",
    "ReleasedDraws",
    "build_augmentation",
]

AUGMENTATIONS: tuple[str, ...] = ("none", "affine", "released", "released_small_noise")
"""What `build_augmentation` takes; the last two are the released policy with its noise as released or as intended."""


def build_augmentation(name: str) -> Augmentation | None:
    """Return the augmentation of that name, None for "none". Raises: `InputError` for an unknown name."""
    if name not in AUGMENTATIONS:
        raise InputError(f"augment={name!r} is unknown: give one of {', '.join(AUGMENTATIONS)}")
    if name == "none":
        return None
    if name == "affine":
        return AffineAugmentation()
    return ReleasedAugmentation(RELEASED_NOISE if name == "released" else INTENDED_NOISE)
