"""Which sample is seen when: a function of the seed and the step alone, so that any step can be taken anew."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from msa2net_lib.errors import InputError
from msa2net_lib.train_config import TrainConfig


@dataclass(frozen=True)
class Part:
    """What one process sees in one forward and backward pass.

    indices: (n,) of the samples. rows: where they stand in the step's whole batch, of which ``share`` (0 to 1) are
    in this pass, all processes counted.
    """

    indices: Tensor
    rows: slice
    share: float


def step_seed(seed: int, step: int) -> int:
    """Return one seed per (run, step), spread so that neighboring runs share none."""
    return seed * 1_000_003 + step


def batch_indices(count: int, step: int, config: TrainConfig) -> Tensor:
    """Which of ``count`` samples step number ``step`` sees: epochs are seeded shuffles, the last batch may be smaller.

    Shape: (b,), int64, on the CPU.
    """
    epoch, batch = divmod(step, config.epoch_steps(count))
    generator = torch.Generator().manual_seed(step_seed(config.seed, epoch))
    return torch.randperm(count, generator=generator)[batch * config.batch_size :][: config.batch_size]


def batch_length(count: int, step: int, config: TrainConfig) -> int:
    """How many samples step number ``step`` sees, over all passes and processes."""
    batch = step % config.epoch_steps(count)
    return min(config.batch_size, count - batch * config.batch_size)


def step_parts(count: int, step: int, config: TrainConfig, rank: int = 0, processes: int = 1) -> list[Part]:
    """Split a step's batch into ``config.accumulate`` passes, and each pass among the processes.

    Together all processes see exactly the batch of `batch_indices`, whatever their number.
    """
    batch = batch_indices(count, step, config)
    parts, start = [], 0
    for length in _even(len(batch), min(config.accumulate, len(batch))):
        mine = _even(length, processes)
        first = start + sum(mine[:rank])
        rows = slice(first, first + mine[rank])
        parts.append(Part(batch[rows], rows, length / len(batch)))
        start += length
    return parts


def check_divisible(count: int, config: TrainConfig, processes: int, cells: int = 2) -> None:
    """Raise InputError if a process would have nothing to do in some pass: batch norm and gradients need a sample.

    cells: of the network's deepest map, of which batch norm needs two in a pass, all samples and processes counted.
    """
    if count == 0:
        raise InputError("the data set has no training sample; prepare it with training cases")
    full, last = min(config.batch_size, count), count % config.batch_size or min(config.batch_size, count)
    smallest = min(min(_even(batch, min(config.accumulate, batch))) for batch in (full, last))
    if smallest < processes:
        raise InputError(
            f"batch_size={config.batch_size}, accumulate={config.accumulate}: the smallest pass over {count} samples "
            f"has {smallest} for {processes} processes; use another batch size or fewer processes"
        )
    if smallest * cells < 2:
        raise InputError(
            f"batch_size={config.batch_size}, accumulate={config.accumulate}: the smallest pass over {count} samples "
            "has one, whose deepest map is a single cell, too little for batch norm; use another batch size or a "
            "larger image_size"
        )


def _even(total: int, parts: int) -> list[int]:
    """Split a count into parts that differ by one at most, the larger ones first."""
    return [total // parts + (index < total % parts) for index in range(parts)]
