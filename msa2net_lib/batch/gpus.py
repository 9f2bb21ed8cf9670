"""Which GPU a job of a batch run gets: one that no other job of the run has."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from msa2net_lib.batch.plan import Plan

WAIT_SECONDS = 1.0


@contextmanager
def one_gpu(plan: Plan, folder: Path = Path("jobs")) -> Iterator[str | None]:
    """Show CUDA one GPU that is free, as long as the block runs; yields its number as CUDA_VISIBLE_DEVICES has it.

    Snakemake starts as many jobs as there are GPUs (``plan.gpus``), but does not say which is whose. Nothing is done
    without GPUs, and on a cluster, whose batch system gives each job its own.
    """
    if not plan.gpus or plan.on_cluster:
        yield None
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    numbers = visible.split(",") if visible else [str(index) for index in range(plan.gpus)]
    lock, number = _first_free(folder, numbers[: plan.gpus])
    os.environ["CUDA_VISIBLE_DEVICES"] = number
    try:
        yield number
    finally:
        lock.release()
        if visible is None:
            del os.environ["CUDA_VISIBLE_DEVICES"]
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = visible


def _first_free(folder: Path, numbers: list[str]) -> tuple[FileLock, str]:
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        for number in numbers:
            lock = FileLock(folder / f".gpu_{number}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            return lock, number
        time.sleep(WAIT_SECONDS)
