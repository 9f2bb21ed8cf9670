"""How many training slices a second does one core load: from the cache, and decoded from the prepared files?

Both ways fill the same batch tensors with real CT slices of 512 x 512 pixels, resized as the field does: those
of the shipped patient 2, listed again and again until there are enough of them. The cache is read in random
order; its files are in the system's memory, as they are from the second epoch on. Batches must be identical;
rates and ratio go to a JSON file.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from measure import parser_of, write_record
from numpy.typing import NDArray
from torch import Tensor

from msa2net_lib.data.datasets import PreparedDataset
from msa2net_lib.data.synapse import prepare_synapse
from msa2net_lib.data.training_slices import SliceDataset

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "slice_loading.json"
QUESTION = "Training slices a second on one core: memory-mapped cache against prepared files"
REPEATS = 3
BATCH = 24
DECODED = 120  # slices decoded per repeat: enough for a rate, and few enough to wait for


@dataclass(frozen=True)
class Repeated:
    """A prepared data set whose training slices are listed until there are ``count`` of them."""

    prepared: PreparedDataset
    count: int

    @property
    def root(self) -> Path:
        return self.prepared.root

    @property
    def train_ids(self) -> list[str]:
        ids = self.prepared.train_ids
        return [ids[index % len(ids)] for index in range(self.count)]

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.prepared.class_names

    def digest(self) -> str:
        return self.prepared.digest()

    def training_sample(
        self, sample_id: str, size: int | tuple[int, int]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        return self.prepared.training_sample(sample_id, size)


def main() -> int:
    """Measure, compare, print and write; return the exit status."""
    arguments = _parse_arguments()
    size = arguments.size
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare_synapse(ROOT / "data" / "example_ct", folder, train_cases=["0002"], progress=False)
        data = Repeated(prepared, arguments.slices)
        start = time.perf_counter()
        cached = SliceDataset(data, size, progress=sys.stderr.isatty())
        build_seconds = time.perf_counter() - start
        megabytes = (cached.cache.images.nbytes + cached.cache.labels.nbytes) / 1e6
        _on_one_core()
        ids, order = data.train_ids, np.random.default_rng(0).permutation(arguments.slices)

        def decode(index: int) -> tuple[Tensor, Tensor]:
            image, label = prepared.training_sample(ids[index], size)
            return torch.from_numpy(image), torch.from_numpy(label.astype(np.int64))

        same = all(torch.equal(*pair) for i in order[:DECODED] for pair in zip(decode(i), cached[i], strict=True))
        from_cache = _median([_seconds(cached.__getitem__, order, size) for _ in range(REPEATS)]) / len(order)
        decoded = _median([_seconds(decode, order[:DECODED], size) for _ in range(REPEATS)]) / DECODED
    ratio = decoded / from_cache
    print(
        f"from the cache {1 / from_cache:8.0f} slices a second\ndecoded        {1 / decoded:8.1f}\nratio {ratio:17.1f}"
    )
    content = {
        "case": {
            "data": "the 20 slices of the shipped real patient 2, 512 x 512, listed repeatedly",
            "slices": arguments.slices,
            "size": size,
            "batch": BATCH,
            "order": "random",
            "page_cache": "warm",
        },
        "baseline": "decoded from the prepared files",
        "rows": [
            {
                "name": "decoded from the prepared files",
                "device": "cpu",
                "slices_per_second": round(1 / decoded, 1),
                "ratio": 1.0,
            },
            {
                "name": "from the memory-mapped cache",
                "device": "cpu",
                "slices_per_second": round(1 / from_cache),
                "ratio": round(ratio, 1),
            },
        ],
        "runs": REPEATS,
        "cache_megabytes": round(megabytes, 1),
        "build_seconds_on_all_cores": round(build_seconds, 1),
        "identical": same,
    }
    if arguments.output is not None:
        write_record(
            arguments.output,
            "Training slices a second on one core: memory-mapped cache against prepared files",
            content,
        )
    if not same:
        print("the two ways disagree: the cache is not faithful", file=sys.stderr)
        return 1
    return 0


def _seconds(load: Callable[[int], tuple[Tensor, Tensor]], order: NDArray, size: int) -> float:
    """Return how long it takes to copy all slices of ``order`` into batch after batch."""
    images, labels = torch.empty(BATCH, 1, size, size), torch.empty(BATCH, size, size, dtype=torch.int64)
    start = time.perf_counter()
    for place, index in enumerate(order):
        images[place % BATCH], labels[place % BATCH] = load(index)
    return time.perf_counter() - start


def _median(seconds: list[float]) -> float:
    return sorted(seconds)[len(seconds) // 2]


def _on_one_core() -> None:
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def _parse_arguments() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--slices", type=int, default=1000, metavar="N", help="in the cache (default 1000)")
    parser.add_argument("--size", type=int, default=224, help="pixels a side (default 224)")
    arguments = parser.parse_args()
    if arguments.slices < DECODED or arguments.size < 1:
        parser.error(f"give at least {DECODED} slices and one pixel")
    if arguments.output is None and (arguments.slices, arguments.size) == (1000, 224):
        arguments.output = RESULT
    return arguments


if __name__ == "__main__":
    sys.exit(main())
