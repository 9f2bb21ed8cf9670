"""Training samples as tensors: one by one from a memory-mapped cache, or all at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from msa2net_lib.data.cache import CacheUnavailable, SliceCache, decode_all, open_cache
from msa2net_lib.data.datasets import TrainingData

WORTH_CACHING = 1000
"""From so many samples on, tensors are read through a cache on disk; fewer decode in seconds anyway."""


class SliceDataset(Dataset):
    """Training samples one by one: (image (c, h, w) float32 normalized, label (h, w) int64), in list order.

    The same samples as ``load_training_tensors``, for data that do not fit in memory or for a DataLoader, whose
    workers each map the files again. They come from the cache in ``folder`` (see ``cache.open_cache``, also
    for the default and the errors), which is built on first use.
    """

    def __init__(
        self,
        prepared: TrainingData,
        image_size: int | tuple[int, int],
        *,
        folder: str | Path | None = None,
        workers: int | None = None,
        progress: bool = True,
    ) -> None:
        self.cache = open_cache(prepared, image_size, folder=folder, workers=workers, progress=progress)

    def __len__(self) -> int:
        return len(self.cache)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        # Copies: what a sample's user writes to must not be the map.
        return torch.from_numpy(self.cache.images[index].copy()), _label_tensor(self.cache.labels[index])


def load_training_tensors(
    prepared: TrainingData, image_size: int | tuple[int, int], progress: bool = True
) -> tuple[Tensor, Tensor]:
    """Return all training samples, resized, in list order: (images, labels).

    Images (N, c, h, w) float32, normalized to about [-1, 1]; labels (N, h, w) int64. From ``WORTH_CACHING``
    samples on they come through the cache in the data's own folder, if one can be kept there: the next
    start is quicker, the tensors are the same. Raises InputError if there is no training sample.
    """
    cache = decode_training_data(prepared, image_size, progress=progress)
    images = cache.images if cache.folder is None else np.array(cache.images)
    return torch.from_numpy(images), _label_tensor(cache.labels)


def decode_training_data(
    prepared: TrainingData, image_size: int | tuple[int, int], *, progress: bool = True
) -> SliceCache:
    """Return all training samples as arrays, from the cache or decoded now as `load_training_tensors` says."""
    if len(prepared.train_ids) >= WORTH_CACHING:
        try:
            return open_cache(prepared, image_size, progress=progress)
        except CacheUnavailable:
            pass  # here the cache only saves time
    return decode_all(prepared, image_size, progress=progress)


def _label_tensor(label: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(label.astype(np.int64))
