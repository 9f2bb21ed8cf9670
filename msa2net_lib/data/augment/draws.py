"""What every augmentation draws: random parameters, small tensors on the CPU, one row for each sample."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import Any, Self

from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Draws:
    """Random parameters of some samples: every field is a CPU tensor whose first axis is the sample."""

    def __len__(self) -> int:
        return len(getattr(self, dataclasses.fields(self)[0].name))

    def __getitem__(self, rows: slice | Tensor) -> Self:
        """Return the parameters of the samples that a slice, a mask or positions name, as a process's own part."""
        parts = {field.name: getattr(self, field.name)[rows] for field in dataclasses.fields(self)}
        return dataclasses.replace(self, **parts)


class Augmentation(ABC):
    """What training asks of an augmentation: to draw for the whole batch, and to apply a part of it."""

    @abstractmethod
    def draw(self, count: int, image_shape: tuple[int, int, int]) -> Any:
        """Draw `Draws` for ``count`` samples of shape (c, h, w) from torch's global CPU generator."""

    @abstractmethod
    def apply(self, images: Tensor, labels: Tensor, draws: Any) -> tuple[Tensor, Tensor]:
        """Return augmented images (b, c, h, w) and labels (b, h, w); row i of ``draws`` belongs to sample i."""

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Draw and apply."""
        channels, height, width = images.shape[1:]
        return self.apply(images, labels, self.draw(len(images), (channels, height, width)))
