"""What does each optimization of a training step gain, added one after the other to a plain loop?

A step is forward, BoundaryDoULoss, backward and SGD (momentum 0.9, weight decay 1e-4) on random images. The baseline is
the loop that one writes first: eager, NCHW, float32, an optimizer that updates tensor by tensor. Every row adds one
optimization to another row, up to what `msa2net train` does on that device; its optimizer is fused on CUDA only. All
rows, each in a process of its own, and large products for the machine's peak are timed in turn; a ratio is the median
over rounds. All rows start from the same weights and must agree on the first loss.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from measure import NOT_MEASURED, RESULTS, Products, in_turn, ratio, synchronize, write_record
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from msa2net_lib.baselines.spec import has_own_loss
from msa2net_lib.config import PRESETS
from msa2net_lib.losses import BoundaryDoULoss
from msa2net_lib.nn.lka import train_on_grids
from msa2net_lib.nn.network import MSA2Net
from msa2net_lib.training.engine import capture_graphs
from msa2net_lib.training.recompute import RecomputedActivations
from msa2net_lib.utils.devices import keep_freed_memory
from msa2net_lib.utils.system_info import peak_memory_gib

CLASSES = 9
BATCH = {"cpu": 4, "cuda": 20}  # a CPU's for patience, a GPU's is the recipe's
PEAK_PRODUCT = {"cpu": 2048, "cuda": 8192}  # a side of the square product at most; a GPU needs the larger one
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2}  # of the first loss, which is near 1
NO_CUDA = "no CUDA device at hand"


@dataclass(frozen=True)
class Way:
    """How a step is made: which optimizations are on, and the row that it adds one to ("" for none)."""

    name: str
    added_to: str
    channels_last: bool = True
    on_grids: bool = False
    keeps_memory: bool = False
    recomputes: bool = False
    fused: bool = False
    bfloat16: bool = False
    compiled: bool = False
    graphed: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """The type that products are computed in."""
        return torch.bfloat16 if self.bfloat16 else torch.float32


PLAIN, ON_GRIDS = "plain eager loop", "+ dilated convolutions on grids"
# One row on a CPU: what a process kept stays its own, and the processes of all rows have to fit into memory together.
KEPT, RECOMPUTED = "+ freed memory kept, GELU and layer norms recomputed", "+ cheap activations recomputed"
FIRST = (Way(PLAIN, "", channels_last=False), Way("+ channels last", PLAIN))
WAYS = {
    "cpu": (
        *FIRST,
        Way(ON_GRIDS, "+ channels last", on_grids=True),
        Way(KEPT, ON_GRIDS, on_grids=True, keeps_memory=True, recomputes=True),
        Way("+ torch.compile, float32", KEPT, on_grids=True, keeps_memory=True, compiled=True),
        Way("+ bf16 autocast", KEPT, on_grids=True, keeps_memory=True, recomputes=True, bfloat16=True),
    ),
    "cuda": (
        *FIRST,
        Way("+ fused optimizer", "+ channels last", fused=True),
        Way(RECOMPUTED, "+ fused optimizer", fused=True, recomputes=True),
        Way("+ torch.compile, float32", "+ fused optimizer", fused=True, compiled=True),
        Way("+ bf16 autocast", "+ fused optimizer", fused=True, bfloat16=True),
        Way("+ bf16 autocast and torch.compile", "+ bf16 autocast", fused=True, bfloat16=True, compiled=True),
    ),
}
"""How a step is made on each device, one optimization after the other."""


class Step:
    """One optimization step of a network on one batch, which calling it makes; weights move, gradients do not stay."""

    def __init__(self, network: nn.Module, images: Tensor, target: Tensor, way: Way = FIRST[0]) -> None:
        layout = torch.channels_last if way.channels_last else torch.contiguous_format
        self.network = network.to(images.device, memory_format=layout).train()  # pyright: ignore[reportCallIssue]
        if way.on_grids:
            train_on_grids(self.network, images.device)
        if way.keeps_memory:
            keep_freed_memory(images.device)
        self.images, self.target, self.way = images.contiguous(memory_format=layout), target, way
        self.forward: Callable[[Tensor], Tensor] = torch.compile(self.network) if way.compiled else self.network
        if way.graphed:
            with torch.autocast(images.device.type, torch.bfloat16, enabled=way.bfloat16, cache_enabled=False):
                self.forward = capture_graphs(self.network, self.images)
        self.forward_pass = RecomputedActivations(self.network) if way.recomputes else nullcontext()
        self.loss = BoundaryDoULoss(CLASSES)
        self.own_target = [(target > 0).long()] if has_own_loss(network) else []
        self.optimizer = torch.optim.SGD(
            network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4, foreach=False, fused=way.fused
        )
        self.first_loss: float | None = None

    def __call__(self) -> None:
        with self.forward_pass, torch.autocast(self.images.device.type, torch.bfloat16, enabled=self.way.bfloat16):
            output = self.forward(self.images, *self.own_target)
        loss = output if self.own_target else self.loss(output.float(), self.target)
        loss.backward()
        self.optimizer.step()
        if self.own_target:
            self.network.after_step()  # pyright: ignore[reportCallIssue]
        self.optimizer.zero_grad(set_to_none=True)
        if self.first_loss is None:
            self.first_loss = loss.item()


def random_batch(count: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return gray images (b, 1, h, w), normalized, and label maps (b, h, w), always the same ones."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 1, size, size, generator=generator) * 2 - 1
    return images.to(device), torch.randint(CLASSES, (count, size, size), generator=generator).to(device)


def count_operations(network: nn.Module, size: int, batch: int = 1) -> tuple[int, int]:
    """Return the operations of products and convolutions for a batch: forward, and forward with backward.

    Two for each multiply-add, counted by torch on a network of shapes without numbers (its "meta" device); on the CPU
    where it takes its own training step.
    """
    own = has_own_loss(network)
    device = "cpu" if own else "meta"
    network, images = network.to(device), torch.zeros(batch, 1, size, size, device=device)
    target = [images[:, 0].long()] if own else []
    mapping = {torch.ops.aten.convolution_backward: convolution_backward_operations}
    with FlopCounterMode(display=False) as forward:
        network.eval()(images)
    with FlopCounterMode(display=False, custom_mapping=mapping) as both:
        network.train()(images, *target).sum().backward()
    return forward.get_total_flops(), both.get_total_flops()


def convolution_backward_operations(
    gradient: Sequence[int], x: Sequence[int], w: Sequence[int], *rest: Any, **_: Any
) -> int:
    """Count a convolution's backward: as much as forward for each of the two gradients that are asked for.

    torch's own count takes a grouped convolution's weight gradient for that of a full one, many times too much.
    """
    transposed, asked_for = rest[4], rest[7]
    return sum(asked_for[:2]) * conv_flop_count(list(x), list(w), list(gradient), transposed=transposed)


def in_own_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of a module in a fresh process and return its result; its exceptions come here too."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def peak_memory_mib(device: torch.device) -> int:
    """Return the most memory so far: of tensors on a GPU, of this whole process (libraries too) on a CPU."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20)
    return round(peak_memory_gib() * 2**10)


def build_step(way: Way, preset: str, batch: int, size: int, device: str) -> Step:
    """Build a preset with the same weights every time, and its step."""
    torch.manual_seed(0)
    network = MSA2Net.from_preset(preset, image_size=size, num_classes=CLASSES)
    return Step(network, *random_batch(batch, size, torch.device(device)), way)


class StepElsewhere:
    """A step in a process of its own, which calling it makes: what one does to its process another does not see.

    Two steps are made on building: momentum is there from the second on. memory: the most that they took, in MiB.
    """

    def __init__(self, way: Way, *case: Any) -> None:
        self.way, self._pool = way, ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        try:
            self.first_loss, self.memory = self._pool.submit(_begin, way, *case).result()
        except BaseException:
            self._pool.shutdown()
            raise

    def __call__(self) -> None:
        self._pool.submit(_go_on).result()


_steps: list[Step] = []
"""In the process of a `StepElsewhere`: its step."""


def _begin(way: Way, preset: str, batch: int, size: int, device: str) -> tuple[float | None, int]:
    _steps.append(build_step(way, preset, batch, size, device))
    _go_on()
    _go_on()
    return _steps[0].first_loss, peak_memory_mib(torch.device(device))


def _go_on() -> None:
    _steps[0]()
    synchronize()


def reason_of(error: BaseException) -> str:
    """Return why something could not be measured, in one line."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:150]}"


def not_measured(name: str, device: str, reason: str) -> dict[str, Any]:
    """Return the row of something that could not be measured here."""
    print(f"{device:5}{name:36}{NOT_MEASURED}: {reason}", flush=True)
    return {"name": name, "device": device, "seconds": NOT_MEASURED, "reason": reason}


def measure_device(device: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return one row per way of making a step on this device."""
    if device == "cuda" and not torch.cuda.is_available():
        return [not_measured(way.name, device, NO_CUDA) for way in WAYS[device]]
    batch = arguments.batch_size or BATCH[device]
    case = (arguments.preset, batch, arguments.size, device)
    compiling = device == "cuda" if arguments.compile is None else arguments.compile
    rows: dict[str, dict[str, Any]] = {}
    steps: dict[str, StepElsewhere] = {}
    for way in WAYS[device]:
        if way.compiled and not compiling:
            rows[way.name] = not_measured(
                way.name, device, "compiling takes minutes on a CPU: ask for it with --compile"
            )
            continue
        if way.bfloat16 and device == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            rows[way.name] = not_measured(way.name, device, "this CPU has no instructions for bf16: minutes a step")
            continue
        try:
            steps[way.name] = StepElsewhere(way, *case)
        except Exception as error:  # no compiler, no memory, ...: whatever it is, it is this row's result
            rows[way.name] = not_measured(way.name, device, reason_of(error))
    products = {dtype: Products(torch.device(device), dtype, PEAK_PRODUCT[device]) for dtype in TOLERANCE}
    seconds = in_turn(steps | {str(dtype): product for dtype, product in products.items()}, arguments.repeats)
    network = MSA2Net.from_preset(arguments.preset, image_size=arguments.size, num_classes=CLASSES)
    operations = count_operations(network, arguments.size, batch)[1]
    for name, step in steps.items():
        rows[name] = _row(step, seconds, operations, products[step.way.dtype], batch) | {
            "device": device,
            "batch": batch,
            "peak_memory_mib": step.memory,
        }
        _show(rows[name])
    return [rows[way.name] for way in WAYS[device]]


def _row(
    step: StepElsewhere, seconds: dict[str, list[float]], operations: int, products: Products, batch: int
) -> dict[str, Any]:
    way, median, own = step.way, statistics.median(seconds[step.way.name]), seconds[str(step.way.dtype)]
    return {
        "name": way.name,
        "dtype": str(way.dtype).removeprefix("torch."),
        "seconds": round(median, 5),
        "images_per_second": round(batch / median, 2),
        "ratio": round(ratio(seconds[PLAIN], seconds[way.name]), 3),
        "added_to": way.added_to,
        "gain": round(ratio(seconds[way.added_to], seconds[way.name]), 3) if way.added_to in seconds else None,
        "operations": operations,
        "peak_operations_per_second": round(products.per_second(own)),
        "peak_product": products.size,
        "share_of_peak": round(products.share(operations, seconds[way.name], own), 4),
        "first_loss": step.first_loss,
        "all_seconds": [round(each, 5) for each in seconds[way.name]],
    }


def _show(row: dict[str, Any]) -> None:
    numbers = f"{row['seconds']:9.4f} s {row['images_per_second']:9.1f} images/s {row['ratio']:6.2f}x"
    share = f"{100 * row['share_of_peak']:5.1f} % of {row['peak_operations_per_second'] / 1e12:.3g} TFLOP/s"
    print(f"{row['device']:5}{row['name']:36}{numbers}  {share}  {row['peak_memory_mib']} MiB", flush=True)


def disagreements(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Name the rows whose first loss is not the plain loop's of the same device."""
    plain = {row["device"]: row["first_loss"] for row in rows if row["name"] == PLAIN and "first_loss" in row}
    allowed = {str(dtype).removeprefix("torch."): value for dtype, value in TOLERANCE.items()}
    measured = [row for row in rows if "first_loss" in row and row["device"] in plain]
    return [
        f"{row['name']} ({row['device']})"
        for row in measured
        if not abs(row["first_loss"] - plain[row["device"]]) <= allowed[row["dtype"]]
    ]


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of every benchmark that times steps."""
    parser.add_argument(
        "--batch-size", type=int, metavar="N", help=f"images a batch (default {BATCH['cpu']}; {BATCH['cuda']} on CUDA)"
    )
    parser.add_argument("--size", type=int, default=224, metavar="PIXELS", help="a side, in pixels (default 224)")
    parser.add_argument("--repeats", type=int, default=7, metavar="N", help="rounds that count (default 7)")
    parser.add_argument("--device", choices=("cpu", "cuda", "both"), default="both", help="(default both)")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="JSON",
        help="file to write (default, where nothing else is given: the recorded result; --device cuda has its own)",
    )


def devices_and_output(parser: argparse.ArgumentParser, name: str) -> argparse.Namespace:
    """Parse the options, and say which devices to measure and which file to write."""
    arguments = parser.parse_args()
    if min(arguments.repeats, 1 if arguments.batch_size is None else arguments.batch_size) < 1:
        parser.error("--repeats and --batch-size: give at least 1")
    arguments.devices = ("cpu", "cuda") if arguments.device == "both" else (arguments.device,)
    given = {key for key, value in vars(arguments).items() if value != parser.get_default(key)}
    if arguments.output is None and given <= {"device", "devices", "repeats", "compile"}:
        arguments.output = RESULTS / (f"{name}_cuda.json" if arguments.device == "cuda" else f"{name}.json")
    return arguments


def main() -> int:
    """Measure, compare, print and write; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=tuple(PRESETS), default="published", help="(default published)")
    parser.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, help="measure torch.compile too (default: on CUDA only)"
    )
    add_common_options(parser)
    arguments = devices_and_output(parser, "training_step")
    rows = [row for device in arguments.devices for row in measure_device(device, arguments)]
    wrong = disagreements(rows)
    content = {
        "case": {
            "preset": arguments.preset,
            "size": arguments.size,
            "loss": "BoundaryDoULoss, in float32",
            "optimizer": "SGD, momentum 0.9, weight decay 1e-4",
            "memory": "cpu: largest resident size of a process of its own, libraries included; cuda: its tensors",
            "float32_products": torch.get_float32_matmul_precision(),
            "float32_convolutions_in_tf32_on_cuda": torch.backends.cudnn.allow_tf32,
            "repeats": arguments.repeats,
        },
        "baseline": PLAIN,
        "rows": rows,
        "same_first_loss": not wrong,
    }
    if arguments.output is not None:
        write_record(arguments.output, "What each optimization of a training step gains", content)
    if wrong:
        print(f"the first loss is another than the plain loop's: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
