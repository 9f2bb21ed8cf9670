"""Where training samples lie: all of them on the device if they fit, else read from the cache by workers."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import psutil
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from msa2net_lib.data.datasets import TrainingData
from msa2net_lib.data.parallel import usable_cores
from msa2net_lib.data.resize import height_width
from msa2net_lib.data.training_slices import SliceDataset, decode_training_data
from msa2net_lib.errors import InputError
from msa2net_lib.training.failures import FREE_DEVICE, told_out_of_memory
from msa2net_lib.utils.interrupts import ignore_stopping

Batch = tuple[Tensor, Tensor]
_SHARE_OF_MEMORY = 0.4  # the rest is for the network
_MOST_WORKERS = 8
_CHUNK = 256


class Samples(Protocol):
    """Gives the batches of lists of indices, in their order: images (b, c, h, w) float32, labels (b, h, w) int64."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        ...

    def batches(self, order: Iterable[Tensor]) -> Iterator[Batch]:
        """Yield batch after batch, on the device."""
        ...


@dataclass(frozen=True)
class HeldSamples:
    """All samples in memory: images float32 on a CPU, float16 (rounded by up to 5e-4) elsewhere; labels uint8."""

    images: Tensor
    labels: Tensor

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        _, *shape = self.images.shape
        return shape[0], shape[1], shape[2]

    def batches(self, order: Iterable[Tensor]) -> Iterator[Batch]:
        """Yield batch after batch, on the samples' device."""
        for indices in order:
            chosen = indices.to(self.images.device, non_blocking=True)
            yield self.images[chosen].float(), self.labels[chosen].long()


@dataclass(frozen=True)
class StreamedSamples:
    """Samples read from the memory-mapped cache while the device computes."""

    dataset: SliceDataset
    device: torch.device
    workers: int

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        _, *shape = self.dataset.cache.images.shape
        return shape[0], shape[1], shape[2]

    def batches(self, order: Iterable[Tensor]) -> Iterator[Batch]:
        """Yield batch after batch, on the device; the order is read ahead of what is yielded."""
        loader = DataLoader(
            self.dataset,
            batch_sampler=(indices.tolist() for indices in order),  # pyright: ignore[reportArgumentType]
            num_workers=self.workers,
            generator=torch.Generator(),  # its seeds for workers must not come from the run's own random numbers
            pin_memory=self.device.type == "cuda",
            worker_init_fn=_become_worker,
            multiprocessing_context="spawn" if self.workers else None,  # a forked process must not use CUDA
        )
        for images, labels in loader:
            here = images.to(self.device, non_blocking=True)
            # As in `HeldSamples`: what is trained on must not depend on the memory that was free.
            rounded = here if self.device.type == "cpu" else here.half().float()
            yield rounded, labels.to(self.device, non_blocking=True)


def _become_worker(worker: int) -> None:
    """Leave Ctrl-C and its like to the process that trains; it still needs batches until it has stopped."""
    ignore_stopping()


def load_samples(
    data: TrainingData, size: int | tuple[int, int], num_classes: int, device: torch.device, progress: bool
) -> Samples:
    """Return a data set's training samples for a device, held in its memory if at most 40 % of what is free is needed.

    Raises: `InputError` without training samples, where memory does not suffice after all, and for a label outside
    the network's classes (among samples that are held; of the others the loss checks each batch).
    """
    if not data.train_ids:
        raise InputError(f"{data.root}: has no training sample; prepare it with training cases")
    if not fits(data, size, device):
        return StreamedSamples(
            SliceDataset(data, size, progress=progress), device, min(_MOST_WORKERS, usable_cores() - 1)
        )
    height, width = height_width(size)
    holding = f"holding {len(data.train_ids)} samples of {height} x {width} on {device}"
    with told_out_of_memory(holding, FREE_DEVICE, "in a new run a smaller image_size"):
        return _held(data, size, num_classes, device, progress)


def _held(
    data: TrainingData, size: int | tuple[int, int], num_classes: int, device: torch.device, progress: bool
) -> HeldSamples:
    decoded = decode_training_data(data, size, progress=progress)
    if (highest := int(decoded.labels.max())) >= num_classes:
        raise InputError(
            f"{data.root}: has the class {highest}, the network {num_classes} classes from 0 on; "
            f"give it num_classes={len(data.class_names) + 1}"
        )
    dtype = torch.float32 if device.type == "cpu" else torch.float16
    images = torch.empty(decoded.images.shape, dtype=dtype, device=device)
    for start in range(0, len(images), _CHUNK):  # a copy of all of them would need the memory twice
        images[start : start + _CHUNK] = torch.from_numpy(np.array(decoded.images[start : start + _CHUNK]))
    return HeldSamples(images, torch.from_numpy(np.array(decoded.labels)).to(device))


def fits(data: TrainingData, size: int | tuple[int, int], device: torch.device) -> bool:
    """Whether all training samples may be held in the memory of a device."""
    height, width = height_width(size)
    image, _ = data.training_sample(data.train_ids[0], (height, width))
    pixel_bytes = len(image) * (4 if device.type == "cpu" else 2) + 1
    needed = len(data.train_ids) * height * width * pixel_bytes
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # processes that share this machine's memory
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available / here
    return needed <= _SHARE_OF_MEMORY * free
