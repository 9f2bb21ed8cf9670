"""Augmentation of a batch on its own device, with every random number drawn on the CPU before.

Drawing and applying are apart, so that a process that holds a part of the batch can draw for all of it and apply
its own rows: ``augmentation.apply(images, labels, augmentation.draw(count, shape)[rows])``.
"""

from __future__ import annotations

from msa2net_lib.data.augment.affine import AffineAugmentation
from msa2net_lib.data.augment.draws import Augmentation
from msa2net_lib.data.augment.policy import TRANSFORMS, ReleasedDraws
from msa2net_lib.data.augment.released import INTENDED_NOISE, RELEASED_NOISE, RELEASED_SIDE, ReleasedAugmentation
from msa2net_lib.data.augment.right_angles import RightAngleAugmentation
from msa2net_lib.errors import InputError
from msa2net_lib.train_choices import CHOICES

AUGMENTATIONS = CHOICES["augment"]
"""What `build_augmentation` takes; three are the released policy, with three kinds of noise.

released: standard deviation 1.275, made at 512 x 512 and resized with the image, as the released code does: 1.108 is
left at 224 x 224. released_strong_noise: 1.275 at the network's own size, 15 % more. released_small_noise: 0.005, what
the factor of 255 was probably meant to give. right_angles: TransUNet's.
"""


def build_augmentation(name: str) -> Augmentation | None:
    """Return the augmentation of that name, None for "none". Raises: `InputError` for an unknown name."""
    if name not in AUGMENTATIONS:
        raise InputError(f"augment={name!r} is unknown: give one of {', '.join(AUGMENTATIONS)}")
    if name == "none":
        return None
    if name == "affine":
        return AffineAugmentation()
    if name == "right_angles":
        return RightAngleAugmentation()
    if name == "released_small_noise":
        return ReleasedAugmentation(INTENDED_NOISE)
    return ReleasedAugmentation(RELEASED_NOISE, noise_side=RELEASED_SIDE if name == "released" else None)
