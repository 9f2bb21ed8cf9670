"""How fast could a training step be on this machine, if each of its operations ran at the machine's own limit?

The roofline: an operation can be no faster than its arithmetic at the speed of large products of its type, than the
bytes of its inputs and outputs at the speed at which memory is read and written, and than a call that does nothing.
Each operation of one step, as `msa2net train` makes it on a CPU, is counted while the step runs; the slowest of its
three limits is its own, and their sum the step's. Speed of memory is measured for sizes from 64 KiB on, since what fits
into a cache moves faster, and taken at the size that an operation moves. The limit and the steps themselves are timed
in one run.

What stays below the limit is the operations' own inefficiency; the limit itself falls only with fewer operations or
with fused ones, which read and write less.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from measure import RESULTS, Products, in_turn, parser_of, write_record
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, shape_wrapper
from training_step import KEPT, PEAK_PRODUCT, TOLERANCE, WAYS, build_step, convolution_backward_operations

RESULT = RESULTS / "roofline.json"
BFLOAT16 = "+ bf16 autocast"
SIZES = [2**power for power in range(16, 29)]
"""Bytes that a copy moves, read and written together."""
CASES = {
    "published": ("published", 224, 4, 0, KEPT),
    "tiny": ("tiny", 128, 4, 1, KEPT),
    "published_bf16": ("published", 224, 4, 0, BFLOAT16),
}
"""Name -> preset, size in pixels, batch, threads (0: all), and how a step is made (`training_step.WAYS`)."""
BOUNDS = ("arithmetic", "bytes", "calls")


@dataclass
class Ledger(TorchDispatchMode):
    """While it is entered: every operation on tensors that is not a view, by name.

    Beside the name: arithmetic operations, bytes, and whether one of its tensors is bfloat16.
    """

    entries: list[tuple[str, int, int, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Set up the mode itself, and torch's formulas for products and convolutions with this project's correction."""
        super().__init__()
        corrected = {torch.ops.aten.convolution_backward: shape_wrapper(convolution_backward_operations)}
        self.formulas = {**flop_registry, **corrected}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and note it."""
        kwargs = kwargs or {}
        found = func(*args, **kwargs)
        packet, returned = func.overloadpacket, func._schema.returns
        # A view moves nothing; one operation makes one and does not say so.
        view = packet is torch.ops.aten._unsafe_view or any(
            r.alias_info and not r.alias_info.is_write for r in returned
        )
        if not view:
            formula = self.formulas.get(packet)
            operations = formula(*args, **kwargs, out_val=found) if formula else 0
            tensors = [one for one in tree_leaves((args, kwargs, found)) if isinstance(one, torch.Tensor)]
            moved = sum(one.numel() * one.element_size() for one in tensors)
            low = any(one.dtype == torch.bfloat16 for one in tensors)
            self.entries.append((packet.__name__, operations, moved, low))
        return found


class Copies:
    """The speed of memory by size: one tensor copied to another, many times."""

    def __init__(self) -> None:
        self.pairs = {size: torch.ones(2, size // 8) for size in SIZES}
        self.times = {size: max(1, 2**24 // size) for size in SIZES}

    def ways(self) -> dict[str, Any]:
        """Return what `in_turn` is to time, by name."""
        return {f"copy {size}": lambda size=size: self._copy(size) for size in SIZES}

    def _copy(self, size: int) -> None:
        source, target = self.pairs[size]
        for _ in range(self.times[size]):
            target.copy_(source)

    def seconds_of(self, moved: Any, seconds: dict[str, list[float]]) -> Any:
        """Return the seconds in which so many bytes are moved, from the fastest copies of that size."""
        fastest = [min(seconds[f"copy {size}"]) / self.times[size] / size for size in SIZES]
        return moved * np.interp(np.log2(np.maximum(moved, 1)), np.log2(SIZES), fastest)


def one_call() -> None:
    """Add to one number, a thousand times."""
    one = torch.ones(1)
    for _ in range(1000):
        one.add_(1)


def measure(name: str, repeats: int) -> dict[str, Any]:
    """Return the record of one case: the step, its limit, and which operations make it up."""
    preset, size, batch, threads, wanted = CASES[name]
    torch.set_num_threads(threads or os.cpu_count() or 1)
    way = next(way for way in WAYS["cpu"] if way.name == wanted)
    step = build_step(way, preset, batch, size, "cpu")
    step()
    with Ledger() as ledger:
        step()
    products = {str(dtype): Products(torch.device("cpu"), dtype, PEAK_PRODUCT["cpu"]) for dtype in TOLERANCE}
    copies = Copies()
    seconds = in_turn({"step": step, "calls": one_call} | products | copies.ways(), repeats)
    names, operations, moved, low = (np.array(column) for column in zip(*ledger.entries, strict=True))
    peaks = {dtype: product.operations / min(seconds[dtype]) for dtype, product in products.items()}
    peak = peaks[str(way.dtype)]
    speeds = np.where(low, peaks[str(torch.bfloat16)], peaks[str(torch.float32)])
    a_call = np.full(len(names), min(seconds["calls"]) / 1000)
    limits = np.stack([operations / speeds, copies.seconds_of(moved, seconds), a_call])
    limit, by = limits.max(axis=0), limits.argmax(axis=0)
    shares = Counter({str(name): float(limit[names == name].sum() / limit.sum()) for name in np.unique(names)})
    median = statistics.median(seconds["step"])
    record = {
        "preset": preset,
        "step": f"as {way.name!r} of training_step.json",
        "size": size,
        "batch": batch,
        "threads": torch.get_num_threads(),
        "operations_on_tensors": len(names),
        "arithmetic_operations": int(operations.sum()),
        "gigabytes_moved": round(moved.sum() / 1e9, 2),
        "peak_operations_per_second": round(peak),
        "gigabytes_per_second_by_size": {
            str(one): round(one / float(copies.seconds_of(one, seconds)) / 1e9, 1) for one in SIZES
        },
        "seconds": round(median, 4),
        "limit_seconds": round(float(limit.sum()), 4),
        "share_of_the_limit": round(float(limit.sum()) / median, 3),
        "share_of_peak": round(operations.sum() / peak / median, 3),
        "share_of_peak_at_the_limit": round(operations.sum() / peak / float(limit.sum()), 3),
        "limited_by": {name: round(float(limit[by == i].sum() / limit.sum()), 3) for i, name in enumerate(BOUNDS)},
        "largest_shares": {name: round(share, 3) for name, share in shares.most_common(10)},
    }
    print(
        f"{name}: {record['seconds']} s, at the limit {record['limit_seconds']} s; share of the peak "
        f"{record['share_of_peak']}, at the limit {record['share_of_peak_at_the_limit']}; {record['limited_by']}"
    )
    return record


def main() -> int:
    """Measure, print, write; return the exit status."""
    parser = parser_of(__doc__)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="(default all)")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="rounds that count (default 5)")
    arguments = _checked(parser)
    rows = [measure(name, arguments.repeats) for name in arguments.cases]
    if arguments.output is not None:
        content = {"repeats": arguments.repeats, "rows": rows}
        write_record(arguments.output, "How fast a training step could be on this machine", content)
    return 0


def _checked(parser: argparse.ArgumentParser) -> argparse.Namespace:
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        parser.error("--repeats: give at least 1")
    if arguments.output is None and (arguments.cases, arguments.repeats) == (list(CASES), 5):
        arguments.output = RESULT
    return arguments


if __name__ == "__main__":
    sys.exit(main())
