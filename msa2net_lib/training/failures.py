"""What is said and kept when training goes wrong: a loss that is no number, memory that does not suffice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import torch
from accelerate.utils.memory import should_reduce_batch_size
from torch import Tensor, nn

from msa2net_lib.errors import InputError
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training.files import BATCH_FILE
from msa2net_lib.utils.files import atomic_path

FREE_DEVICE = "a device that other programs leave free"
"""What to try where the batch is not what needs the memory."""


class NotFiniteError(InputError, FloatingPointError):
    """The loss or a weight became infinite or no number."""


class FirstNotFinite:
    """Remembers the first step whose loss was not finite, without waiting for the device at each step."""

    def __init__(self, device: torch.device) -> None:
        self._step = torch.full((), -1, dtype=torch.int64, device=device)

    def watch(self, loss: Tensor, step: int) -> None:
        """Take note of a step's loss."""
        first = (self._step < 0) & ~loss.isfinite()
        self._step = torch.where(first, step, self._step)

    def step(self) -> int | None:
        """Return that step, or None; waits for the device."""
        step = int(self._step)
        return None if step < 0 else step


def save_batch(folder: Path, images: Tensor, labels: Tensor, ids: list[str], step: int) -> Path:
    """Write the batch of a step for a later look; `torch.load(path, weights_only=True)` reads it."""
    with atomic_path(folder / BATCH_FILE) as temporary:
        torch.save({"images": images.cpu(), "labels": labels.cpu(), "ids": ids, "step": step}, temporary)
    return folder / BATCH_FILE


def is_finite(network: nn.Module) -> bool:
    """Whether all weights and batch-norm statistics are finite numbers; waits for the device once."""
    numbers = [value for value in network.state_dict().values() if value.is_floating_point()]
    return bool(torch.stack([value.isfinite().all() for value in numbers]).all())


def not_finite(what: str, step: int, config: TrainConfig, precision: str, batch: Path | None) -> NotFiniteError:
    """The error to raise about the loss or the weights; step counts from 1 as in the log."""
    kept = "" if batch is None else f"; its batch is in {batch}"
    return NotFiniteError(
        f"{what} not finite from step {step} on{kept}: lower learning_rate={config.learning_rate}"
        f"{', or try precision=fp32' if precision == 'bf16' else ''}"
    )


@contextmanager
def told_out_of_memory(doing: str, *tries: str) -> Iterator[None]:
    """Turn a lack of memory in the block, the device's or the machine's, into an `InputError` that says what to try."""
    try:
        yield
    except Exception as error:
        if not (isinstance(error, MemoryError) or should_reduce_batch_size(error)):
            raise
        raise InputError(f"out of memory {doing}: try {', or '.join(tries)}") from error


def told_large_step(
    step: int, config: TrainConfig, precision: str, size: tuple[int, int], processes: int
) -> AbstractContextManager[None]:
    """The same for a training step, which counts from 1; what needs no new run is named first."""
    together = -(-config.batch_size // config.accumulate)
    tries = []
    if together > processes:
        more = min(config.accumulate * 2, config.batch_size)
        tries.append(f"accumulate={more} (the same batch in passes of {-(-config.batch_size // more)})")
    if precision == "fp32":
        tries.append("precision='bf16'")
    anew = [f"batch_size={config.batch_size // 2}"] if together > processes else []
    tries.append(f"in a new run {' or '.join([*anew, 'a smaller image_size'])}")
    share = "a pass" if processes == 1 else "a pass and process"
    count = -(-together // processes)
    samples = f"{count} sample{'s' if count > 1 else ''} of {size[0]} x {size[1]}"
    return told_out_of_memory(f"in step {step} with {samples} {share}", *tries)


@contextmanager
def told_lost_process(processes: int, folder: Path | None) -> Iterator[None]:
    """Turn what the exchange between processes raises, when one of them is gone, into an `InputError`."""
    try:
        yield
    except RuntimeError as error:
        lost = type(error).__name__.startswith("Dist") or re.search(r"gloo|nccl|Connection (closed|reset)", str(error))
        if processes == 1 or not lost:
            raise
        where = "" if folder is None else f"; start the same command again to go on from the state in {folder}"
        raise InputError(f"one of the {processes} processes of this run is gone{where}") from error
