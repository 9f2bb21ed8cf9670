"""How fast could a training step be on this machine, if each of its operations ran at the machine's own limit?

The roofline: an operation can be no faster than its arithmetic at the speed of large products, than the bytes of its
inputs and outputs at the speed at which memory is read and written, and than a call that does nothing. Each operation
of one step, as `msa2net train` makes it on a CPU, is counted while the step runs; the slowest of its three limits is
its own, and their sum the step's. Speed of memory is measured for sizes from 64 KiB on, since what fits into a cache
moves faster, and taken at the size that an operation moves. The limit and the steps themselves are timed in one run.

What stays below the limit is the operations' own inefficiency; the limit itself falls only with fewer operations or
with fused ones, which read and write less.
"""

from __future__ import annotations

import argparse
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
from training_step import KEPT, PEAK_PRODUCT, WAYS, build_step, convolution_backward_operations

RESULT = RESULTS / "roofline.json"
WAY = next(way for way in WAYS["cpu"] if way.name == KEPT)
SIZES = [2**power for power in range(16, 29)]
"""Bytes that a copy moves, read and written together."""
CASES = {"published": (224, 4, 0), "tiny": (128, 4, 1)}
"""Preset -> size in pixels, batch, threads (0: all)."""
BOUNDS = ("arithmetic", "bytes", "calls")


@dataclass
class Ledger(TorchDispatchMode):
    """While it is entered: name, arithmetic operations and bytes of every operation on tensors that is not a view."""

    entries: list[tuple[str, int, int]] = field(default_factory=list)

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
            self.entries.append((packet.__name__, operations, moved))
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


def measure(preset: str, repeats: int) -> dict[str, Any]:
    """Return the record of one preset: the step, its limit, and which operations make it up."""
    size, batch, threads = CASES[preset]
    torch.set_num_threads(threads or torch.get_num_threads())
    step = build_step(WAY, preset, batch, size, "cpu")
    step()
    with Ledger() as ledger:
        step()
    products, copies = Products(torch.device("cpu"), torch.float32, PEAK_PRODUCT["cpu"]), Copies()
    seconds = in_turn({"step": step, "products": products, "calls": one_call} | copies.ways(), repeats)
    names, operations, moved = (np.array(column) for column in zip(*ledger.entries, strict=True))
    peak = products.operations / min(seconds["products"])
    limits = np.stack(
        [operations / peak, copies.seconds_of(moved, seconds), np.full(len(names), min(seconds["calls"]) / 1000)]
    )
    limit, by = limits.max(axis=0), limits.argmax(axis=0)
    shares = Counter({str(name): float(limit[names == name].sum() / limit.sum()) for name in np.unique(names)})
    median = statistics.median(seconds["step"])
    record = {
        "preset": preset,
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
        f"{preset}: {record['seconds']} s, at the limit {record['limit_seconds']} s; share of the peak "
        f"{record['share_of_peak']}, at the limit {record['share_of_peak_at_the_limit']}; {record['limited_by']}"
    )
    return record


def main() -> int:
    """Measure, print, write; return the exit status."""
    parser = parser_of(__doc__)
    parser.add_argument("--presets", nargs="+", choices=CASES, default=list(CASES), help="(default all)")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="rounds that count (default 5)")
    arguments = _checked(parser)
    rows = [measure(preset, arguments.repeats) for preset in arguments.presets]
    if arguments.output is not None:
        content = {"step": f"as {WAY.name!r} of training_step.json", "repeats": arguments.repeats, "rows": rows}
        write_record(arguments.output, "How fast a training step could be on this machine", content)
    return 0


def _checked(parser: argparse.ArgumentParser) -> argparse.Namespace:
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        parser.error("--repeats: give at least 1")
    if arguments.output is None and (arguments.presets, arguments.repeats) == (list(CASES), 5):
        arguments.output = RESULT
    return arguments


if __name__ == "__main__":
    sys.exit(main())
