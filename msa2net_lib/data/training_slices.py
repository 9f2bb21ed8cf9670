"""Training samples as tensors: one by one from disk, or all at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from msa2net_lib.data.resize import height_width
from msa2net_lib.errors import InputError
from msa2net_lib.progress import progress_bar


class TrainingData(Protocol):
    """What `training.train` asks of a data set, of whatever kind."""

    @property
    def root(self) -> Path:
        """The folder it was opened from."""
        ...

    @property
    def train_ids(self) -> Sequence[str]:
        """Ids of the training samples, in list order."""
        ...

    def digest(self) -> str:
        """What tells this data set, as it is read, from any other: 64 hexadecimal digits."""
        ...

    def training_sample(
        self, sample_id: str, size: int | tuple[int, int]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return image (c, h, w), normalised, and label map (h, w) of one sample, resized to ``size``."""
        ...


class SliceDataset(Dataset):
    """Training slices read from disk one by one: (image (1, h, w) float32 normalised, label (h, w) int64).

    The same samples in the same order as ``load_training_tensors``, for data that do not fit in memory.
    """

    def __init__(self, prepared: TrainingData, image_size: int | tuple[int, int]) -> None:
        self.prepared = prepared
        self.image_size = image_size

    def __len__(self) -> int:
        return len(self.prepared.train_ids)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, label = self.prepared.training_sample(self.prepared.train_ids[index], self.image_size)
        return torch.from_numpy(image), torch.from_numpy(label.astype(np.int64))


def load_training_tensors(
    prepared: TrainingData, image_size: int | tuple[int, int], progress: bool = True
) -> tuple[Tensor, Tensor]:
    """Return all training slices, resized, in list order: (images, labels).

    Images (N, 1, h, w) float32, normalised to about [-1, 1]; labels (N, h, w) int64, 0 to 8. Raises
    InputError if there is no training slice.
    """
    slices = SliceDataset(prepared, image_size)
    if len(slices) == 0:
        raise InputError(f"{prepared.root}: lists no training slice; prepare it with training cases")
    height, width = height_width(image_size)
    images = torch.empty(len(slices), 1, height, width)
    labels = torch.empty(len(slices), height, width, dtype=torch.int64)
    for index in progress_bar(range(len(slices)), desc="training slices", unit="slice", enabled=progress):
        images[index], labels[index] = slices[index]
    return images, labels
