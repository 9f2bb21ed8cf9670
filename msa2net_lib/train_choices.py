"""What the named settings of a training run may be: light to import, for ``msa2net train --help``."""

from __future__ import annotations

from typing import Literal, get_args

Optimizer = Literal["sgd", "adam", "adamw"]
Schedule = Literal["poly", "one_cycle", "constant", "cosine_restarts"]
Loss = Literal[
    "boundary_dou",
    "boundary_dou+balanced_cross_entropy",
    "cross_entropy",
    "cross_entropy_0.5+dice_0.5",
    "cross_entropy_0.4+dice_0.6",
    "cross_entropy_0.3+dice_0.7, every head",
    "balanced_cross_entropy_0.5+dice_0.5",
]
Augmentation = Literal["none", "affine", "released", "released_strong_noise", "released_small_noise", "right_angles"]
Precision = Literal["auto", "fp32", "bf16"]
Compilation = Literal["auto", "on", "off"]
Selection = Literal["last", "validation", "test"]

CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": get_args(Optimizer),
    "schedule": get_args(Schedule),
    "loss": get_args(Loss),
    "augment": get_args(Augmentation),
    "precision": get_args(Precision),
    "compilation": get_args(Compilation),
    "selection": get_args(Selection),
}
"""What the fields of `TrainConfig` that are names may be."""
