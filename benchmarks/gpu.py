"""What does one GPU make of the networks? All that needs one, in ten minutes at most; on a CPU only rehearsed.

In this order, each part only where time is left: a training step of every preset at 224 pixels (eager float32, then
bf16, as CUDA graphs, compiled), with images a second, share of the device's peak and memory; `published` and `paper` at
batch 20 and 24; the tests that need a GPU; ten epochs of the paper's schedule on the virtual cohort of Synapse's size,
from which 700 are extrapolated; inference by `inference.py`; a step of the other rows of Tables 1 and 2. The cohort is
made meanwhile, if it is not there, by the other processor cores (`msa2net prepare virtual --like-synapse`, minutes).
What was not reached, or failed, is "not measured", with the reason; the record is written after each part, and
``--parts`` takes some of them, for a second time at the machine.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measure import NOT_MEASURED, RESULTS, Products, in_turn, parser_of, ratio, write_record
from torch import nn
from training_step import (
    CLASSES,
    PEAK_PRODUCT,
    Step,
    Way,
    count_operations,
    in_own_process,
    not_measured,
    peak_memory_mib,
    random_batch,
    reason_of,
)

from msa2net_lib.baselines.registry import build_network
from msa2net_lib.baselines.table import NETWORKS
from msa2net_lib.data.catalog import open_dataset, open_prepared
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training import train

FIRST = ("msa2net_published", "msa2net", "msa2net_released", "msa2net_tiny")
WAYS = (
    Way("eager, float32", "", channels_last=False),
    Way("eager, bf16", "", fused=True, bfloat16=True),
    Way("CUDA graphs, bf16", "", fused=True, bfloat16=True, graphed=True),
    Way("compiled, bf16", "", fused=True, bfloat16=True, compiled=True),
)
RECOMPUTED = Way("eager, bf16, recomputed", "", fused=True, bfloat16=True, recomputes=True)
EPOCHS, ALL_EPOCHS = 10, 700
DATA = RESULTS.parents[1] / "data"
SLOW = ("dermosegdiff",)
"""Networks of which a step takes minutes."""
COHORT: list[subprocess.Popen[bytes]] = []
"""The process that makes the virtual cohort, where it was not there."""


@dataclasses.dataclass(frozen=True)
class Case:
    """How large everything is: as the paper has it on a GPU, a tiny one on a CPU."""

    device: str
    size: int
    batch: int
    presets: tuple[str, ...]
    others: tuple[str, ...]
    batches: tuple[int, ...]
    steps: int = 0  # of the schedule, in place of its epochs


def main() -> int:
    """Measure as long as there is time, write after each part; return the exit status."""
    parser = parser_of(__doc__, RESULTS / "gpu.json")
    parser.add_argument("--minutes", type=float, default=10, help="(default 10)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="(default all)")
    parser.add_argument("--rehearse", action="store_true", help="a tiny case on the CPU, to see that all parts run")
    arguments = parser.parse_args()
    others = tuple(name for name in NETWORKS if name not in (*FIRST, *SLOW))
    case = Case("cuda", 224, 24, FIRST, others, (20, 24))
    if arguments.rehearse:
        case = Case("cpu", 64, 2, ("msa2net_tiny",), ("unet",), (2,), steps=2)
    elif not torch.cuda.is_available():
        parser.error("no CUDA device at hand; --rehearse runs a tiny case on the CPU")
    elif not (DATA / "virtual_synapse" / "prepared" / "dataset.json").is_file():
        words = ["prepare", "virtual", "--like-synapse", "--workers", str(max(1, (os.cpu_count() or 2) - 2))]
        command = [sys.executable, "-m", "msa2net_lib", *words]
        COHORT.append(subprocess.Popen(command, cwd=DATA.parent, stdout=subprocess.DEVNULL))
    until = time.monotonic() + 60 * arguments.minutes
    parts: dict[str, list[dict[str, Any]]] = {}
    for name in arguments.parts:
        parts[name] = []
        for title, measure in PARTS[name](case):
            if time.monotonic() > until:
                parts[name].append(not_measured(title, case.device, "no time left"))
                continue
            try:
                parts[name].append({"name": title, **measure()})
                print(parts[name][-1], flush=True)
            except Exception as error:  # no compiler, no memory, no data: whatever it is, it is this row's result
                parts[name].append(not_measured(title, case.device, reason_of(error)))
        content = {"case": dataclasses.asdict(case), "rehearsal": arguments.rehearse, **parts}
        write_record(arguments.output, "What one GPU makes of the networks", content)
    return 0


Rows = list[tuple[str, Callable[[], dict[str, Any]]]]


def step_rows(case: Case) -> Rows:
    """A training step of every preset, made in every way."""
    return [_step_row(name, way, case) for way in WAYS for name in case.presets]


def other_rows(case: Case) -> Rows:
    """A training step of every other network, made in every way."""
    return [_step_row(name, way, case) for way in WAYS for name in case.others]


def _step_row(name: str, way: Way, case: Case) -> tuple[str, Callable[[], dict[str, Any]]]:
    return f"{name}, {way.name}", partial(in_own_process, step, name, way, case, case.batch)


def memory_rows(case: Case) -> Rows:
    """Two presets at the batches of the paper and of the released script, also with cheap activations recomputed."""
    return [
        (f"{name}, batch {batch}, {way.name}", partial(in_own_process, step, name, way, case, batch))
        for name in case.presets[:2]
        for batch in case.batches
        for way in (WAYS[1], RECOMPUTED)
    ]


def step(name: str, way: Way, case: Case, batch: int) -> dict[str, Any]:
    """Time a network's step and the device's own products in turn."""
    device = torch.device(case.device)
    network = build(name, case)
    made = Step(network, *random_batch(batch, case.size, device), way)
    products = Products(device, way.dtype, 256 if case.steps else PEAK_PRODUCT[case.device])
    seconds = in_turn({"step": made, "products": products}, repeats=5, warm_up=2)
    operations = count_operations(build(name, case), case.size, batch)[1]
    own = sorted(seconds["step"])[2]
    return {
        "seconds": round(own, 5),
        "images_per_second": round(batch / own, 1),
        "share_of_peak": round(products.share(operations, seconds["step"], seconds["products"]), 4),
        "steps_a_product_round": round(ratio(seconds["products"], seconds["step"]), 3),
        "memory_mib": peak_memory_mib(device),
        "runs_on": way.name if made.forward is not made.network or not (way.graphed or way.compiled) else "eager",
    }


def build(name: str, case: Case) -> nn.Module:
    """A network of the table, with the same weights every time."""
    torch.manual_seed(0)
    return build_network(name, NETWORKS[name].classes or CLASSES, case.size)


def inference_rows(case: Case) -> Rows:
    """`inference.py`, which writes a record of its own."""
    words = ["--preset", "tiny", "--batch", "2", "--repeats", "1"] if case.steps else []
    return [("inference.py", partial(script, "inference.py", *words))]


def test_rows(case: Case) -> Rows:
    """The tests that need a GPU."""
    tests = Path(__file__).parents[1] / "tests" / "training" / "test_cuda.py"
    return [("test_cuda.py", partial(script, "-m", "pytest", "-q", str(tests)))]


def script(*words: str) -> dict[str, Any]:
    """Run a script beside this one, or a module; what it says last, or an error."""
    command = (
        [sys.executable, *words]
        if words[0] == "-m"
        else [sys.executable, str(Path(__file__).parent / words[0]), *words[1:]]
    )
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"exit status {done.returncode}: {(done.stdout + done.stderr)[-300:]}")
    return {"seconds": round(time.monotonic() - started, 1), "said": done.stdout.strip().splitlines()[-1]}


def schedule_rows(case: Case) -> Rows:
    """Some epochs of the paper's schedule on virtual patients."""
    return [(f"{EPOCHS} of {ALL_EPOCHS} epochs, published", partial(schedule, case))]


def schedule(case: Case) -> dict[str, Any]:
    """Train, and say how long the whole schedule would take: an extrapolation, without the first epoch's start."""
    from msa2net_lib.config import NetworkConfig

    if case.steps:
        dataset: Any = open_dataset("virtual", DATA, progress=False, train=1, test=1)
    else:
        for process in COHORT:
            process.wait()
        dataset = open_prepared(DATA / "virtual_synapse" / "prepared")
    preset = "tiny" if case.steps else "published"
    length = {"steps": case.steps, "epochs": 0, "batch_size": case.batch} if case.steps else {"epochs": EPOCHS}
    config = TrainConfig.from_recipe("synapse", **length)
    network = NetworkConfig.from_preset(preset, image_size=case.size, num_classes=len(dataset.class_names) + 1)
    made = train(network, config, dataset, device=case.device, progress=False)
    steps = config.total_steps(len(dataset.train_slices))
    whole = made.minutes * ALL_EPOCHS / EPOCHS
    return {
        "minutes": round(made.minutes, 2),
        "steps": steps,
        "extrapolated_minutes": NOT_MEASURED if case.steps else round(whole, 1),
    }


PARTS: dict[str, Callable[[Case], Rows]] = {
    "steps": step_rows,
    "memory": memory_rows,
    "tests": test_rows,
    "schedule": schedule_rows,
    "inference": inference_rows,
    "others": other_rows,
}
"""What is measured, in this order."""


if __name__ == "__main__":
    sys.exit(main())
