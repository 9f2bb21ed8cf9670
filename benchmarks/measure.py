"""What the benchmarks share: ways timed in turn in one run, the machine's own peak, and the record of it all."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import torch

from msa2net_lib.utils.files import write_text
from msa2net_lib.utils.system_info import hardware, versions

RESULTS = Path(__file__).resolve().parent / "results"
NOT_MEASURED = "not measured"

Name = TypeVar("Name", bound=Hashable)


def in_turn(ways: Mapping[Name, Callable[[], Any]], repeats: int, warm_up: int = 1) -> dict[Name, list[float]]:
    """Time every way once per round, round after round: seconds by name.

    In turn, because a shared machine's clock drifts by more than the differences sought: ratios are then taken
    round by round (`ratio`). CUDA work is waited for.
    """
    seconds: dict[Name, list[float]] = {name: [] for name in ways}
    for round_number in range(warm_up + repeats):
        for name, way in ways.items():
            synchronize()
            start = time.perf_counter()
            way()
            synchronize()
            if round_number >= warm_up:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def synchronize() -> None:
    """Wait until the CUDA device, if there is one, has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def ratio(slow: list[float], fast: list[float]) -> float:
    """Return how many times faster ``fast`` is: the median over rounds of the ratio within each round."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


class Products:
    """Large square products, a machine's practical peak; to be timed `in_turn` with what is compared to it."""

    COUNT = 5
    """How many make one round: one alone is too short to be timed well."""
    LONGEST = 1.0
    """Seconds of one product at most; where it would take longer (bfloat16 on CPUs that lack it) it is smaller."""

    def __init__(self, device: torch.device, dtype: torch.dtype, most: int) -> None:
        self.size = 256
        self._make(device, dtype)
        while self.size < most and 8 * self._seconds_of_one() <= self.LONGEST:
            self.size *= 2
            self._make(device, dtype)
        self.operations = self.COUNT * 2 * self.size**3

    def _make(self, device: torch.device, dtype: torch.dtype) -> None:
        self.left, self.right = (torch.randn(self.size, self.size, device=device, dtype=dtype) for _ in range(2))

    def _seconds_of_one(self) -> float:
        return in_turn({"one": lambda: torch.mm(self.left, self.right)}, repeats=1)["one"][0]

    def __call__(self) -> None:
        for _ in range(self.COUNT):
            torch.mm(self.left, self.right)

    def per_second(self, seconds: list[float]) -> float:
        """Return the operations a second of their seconds: the median over rounds."""
        return self.operations / statistics.median(seconds)

    def share(self, operations: int, seconds: list[float], own_seconds: list[float]) -> float:
        """Return the share of the peak, 0 to 1, of so many operations: the median over rounds of that in each round."""
        return operations / self.operations * ratio(own_seconds, seconds)


def parser_of(doc: str | None, output: Path | None = None) -> argparse.ArgumentParser:
    """Return a benchmark's command line: its own words as help, and ``--output``, the JSON file to write.

    output: where the record goes; by default nowhere; a benchmark sets it where nothing else was asked for.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = "JSON file to write" + ("" if output else " (default: none, but the recorded result for the defaults)")
    parser.add_argument("--output", type=Path, metavar="JSON", default=output, help=words)
    return parser


def training_parser(doc: str | None, output: Path, *, seeds: int, image_size: int = 64) -> argparse.ArgumentParser:
    """Return the command line of a benchmark that trains: seeds, steps, image size, device, and a folder for its runs.

    The runs go to ``results/NAME`` of the checkout, NAME being the record's.
    """
    parser = parser_of(doc, output)
    parser.add_argument("--seeds", type=int, default=seeds, help="runs of each variant, with seeds 1, 2, ...")
    parser.add_argument("--steps", type=int, default=300, help="training steps of each run")
    parser.add_argument("--image-size", type=int, default=image_size, help="pixels, a multiple of 32")
    parser.add_argument("--device", default="auto")
    runs = RESULTS.parents[1] / "results" / output.stem
    parser.add_argument("--runs", type=Path, default=runs, help="folder of finished runs")
    return parser


def write_record(path: Path, question: str, content: Mapping[str, Any], indent: int | None = 2) -> Path:
    """Write a benchmark's result as JSON, with date, hardware and versions unless it names its own."""
    measured_on = {"hardware": hardware(), "versions": versions()} | dict(content)
    record = {"question": question, "date": datetime.now(UTC).date().isoformat(), **content, **measured_on}
    return write_text(path, json.dumps(record, indent=indent, ensure_ascii=False, allow_nan=False) + "\n")
