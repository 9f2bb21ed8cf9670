"""What a training run is made of: a dataclass, validated, saved beside every result; recipes and profiles by name."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from msa2net_lib.errors import InputError
from msa2net_lib.train_choices import (
    CHOICES,
    Augmentation,
    Compilation,
    Loss,
    Optimizer,
    Precision,
    Schedule,
    Selection,
)
from msa2net_lib.utils.plain import override, require_choice, take_plain
from msa2net_lib.utils.tables import read_table

MOST_SAMPLES = 65536
"""In a batch: a slip of the hand is told at once, and not by hours or by memory that runs out."""
_REFERENCE_BATCH = 24  # the batch size for which the released script's base rate is meant


@dataclass(frozen=True)
class TrainConfig:
    """One training run; every field is saved with the checkpoint.

    Args:
        recipe: the name in `RECIPES` that it started from.
        steps: of the optimizer; or ``epochs``: one of the two is 0.
        epochs: passes over the training data.
        batch_size: samples a step, over all processes and over ``accumulate`` parts.
        accumulate: parts of a batch, of which each is one forward and backward pass with a loss and batch norms of its
            own.
        optimizer: "sgd", "adam" or "adamw".
        learning_rate: the peak, or the start for "poly".
        scale_rate: multiply it by batch / 24 under the reference implementation's condition (see ``peak_rate``).
        weight_decay: of the optimizer.
        momentum: of "sgd".
        beta_1: of "adam" and "adamw".
        beta_2: of "adam" and "adamw".
        schedule: "poly", "one_cycle", "constant" or "cosine_restarts".
        poly_power: exponent of "poly".
        restart_epochs: from one restart of "cosine_restarts" to the next.
        least_rate: share of the rate at which "cosine_restarts" ends before each.
        loss: a name of `losses.LOSSES`.
        augment: see `data.augment`.
        precision: "auto" is bf16 on a CUDA device that has it, else fp32; weights, loss and optimizer stay float32 in
            both.
        compilation: "auto" is torch.compile on CUDA.
        selection: which weights are kept beside the last step's: none ("last"), the best on validation data taken out
            of the training data ("validation"), or the best on the test data ("test", which makes their scores
            optimistic).
        validate_every: epochs from one selection to the next.
        seed: of everything random, from 0 to 2**32 - 1.
        checkpoint_every: steps from one saved state to the next.
        log_every: steps from one entry of the log to the next.
        notes: where values come from, by field.

    Raises:
        InputError: a value that none of these can be, or steps and epochs both given.

    Example:
        >>> from msa2net_lib import TrainConfig
        >>> config = TrainConfig.from_recipe("synapse", batch_size=10)
        >>> config.epochs, config.total_steps(samples=2211), round(config.peak_rate, 4)
        (700, 155400, 0.0208)

    Source: paper, section 4.2, and the reference implementation; ``notes`` say which, field by field.
    """

    recipe: str = "smoke"
    steps: int = 700
    epochs: int = 0
    batch_size: int = 4
    accumulate: int = 1
    optimizer: Optimizer = "adamw"
    learning_rate: float = 5e-3
    scale_rate: bool = False
    weight_decay: float = 1e-2
    momentum: float = 0.9
    beta_1: float = 0.9
    beta_2: float = 0.999
    schedule: Schedule = "one_cycle"
    poly_power: float = 0.9
    restart_epochs: int = 10
    least_rate: float = 0.1
    loss: Loss = "boundary_dou+balanced_cross_entropy"
    augment: Augmentation = "affine"
    precision: Precision = "auto"
    compilation: Compilation = "auto"
    selection: Selection = "last"
    validate_every: int = 20
    seed: int = 1234
    checkpoint_every: int = 100
    log_every: int = 5
    notes: dict[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        take_plain(self)
        for name in ("batch_size", "accumulate", "restart_epochs", "validate_every", "checkpoint_every", "log_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)}: give at least 1")
        if min(self.steps, self.epochs) < 0 or (self.steps > 0) == (self.epochs > 0):
            raise InputError(f"steps={self.steps}, epochs={self.epochs}: give one of them, at least 1; the other is 0")
        if self.batch_size > MOST_SAMPLES:
            raise InputError(f"batch_size={self.batch_size}: give at most {MOST_SAMPLES}")
        if self.accumulate > self.batch_size:
            raise InputError(f"accumulate={self.accumulate}: give at most batch_size={self.batch_size}")
        if self.learning_rate <= 0:
            raise InputError(f"learning_rate={self.learning_rate}: give a positive number")
        if not 0 <= self.seed < 2**32:  # NumPy's bound
            raise InputError(f"seed={self.seed}: give a whole number from 0 to {2**32 - 1}")
        for name in ("weight_decay", "momentum", "poly_power"):
            if getattr(self, name) < 0:
                raise InputError(f"{name}={getattr(self, name)}: give 0 or more")
        for name in ("beta_1", "beta_2", "least_rate"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name}={getattr(self, name)}: give a number from 0 to less than 1")
        for name, choices in CHOICES.items():
            require_choice(name, getattr(self, name), choices)

    @property
    def peak_rate(self) -> float:
        """The learning rate after scaling: by batch / 24 if the batch is a multiple of 5 (released script)."""
        scaled = self.scale_rate and self.batch_size != _REFERENCE_BATCH and self.batch_size % 5 == 0
        return self.learning_rate * self.batch_size / _REFERENCE_BATCH if scaled else self.learning_rate

    def epoch_steps(self, samples: int) -> int:
        """Steps in an epoch of so many training samples; its last batch may be smaller."""
        return -(-samples // self.batch_size)

    def total_steps(self, samples: int) -> int:
        """Steps in the whole run on so many training samples."""
        return self.steps or self.epochs * self.epoch_steps(samples)

    @classmethod
    def from_recipe(cls, recipe: str, **overrides: Any) -> TrainConfig:
        """Look up a recipe and change the named fields; naming steps unsets its epochs, and the other way round.

        Raises: `InputError` for an unknown recipe or field.
        """
        if recipe == "own":
            raise InputError(
                "recipe='own' is that of a network's repository: msa2net train --network NAME --recipe own"
            )
        require_choice("recipe", recipe, tuple(RECIPES))
        for given, other in (("steps", "epochs"), ("epochs", "steps")):
            if overrides.get(given) and other not in overrides:
                overrides = overrides | {other: 0}
        return override(RECIPES[recipe], overrides)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainConfig:
        """Rebuild a config from `to_dict` or its JSON."""
        return override(cls(), values)

    def to_dict(self) -> dict[str, Any]:
        """The config as plain values, ready for JSON."""
        return dataclasses.asdict(self)


RECIPES: dict[str, TrainConfig] = {
    name: TrainConfig(recipe=name, **fields) for name, fields in read_table("recipes").items()
}


@dataclass(frozen=True)
class Profile:
    """What a profile of the notebooks trains: network preset, recipe and data set by name.

    pretrained: start the encoder from ImageNet weights, which timm downloads. images, images_recipe: what rows of Table
    2 are trained on, and how. row_size, row_steps: of the networks of Tables 1 and 2; 0 steps for the recipe's own.
    """

    preset: str
    recipe: str
    dataset: str
    pretrained: bool = False
    images: str = "skin"
    images_recipe: str = "gpu"
    row_size: int = 224
    row_steps: int = 0

    def with_preset(self, preset: str) -> Profile:
        """The same with another network; "auto" for its own."""
        return self if preset == "auto" else dataclasses.replace(self, preset=preset)


PROFILES: dict[str, Profile] = {
    "smoke": Profile("tiny", "smoke", "virtual", images_recipe="smoke", row_size=64, row_steps=30),
    "gpu": Profile("paper", "gpu", "virtual"),
    "paper": Profile("published", "synapse", "synapse", pretrained=True, images="isic", images_recipe="isic"),
}
