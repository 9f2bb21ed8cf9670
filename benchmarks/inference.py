"""How fast is inference: the plain eager network, its channels last in memory, and `optimize_for_inference`?

The same network and slices in float32, evaluation mode and `torch.inference_mode`, timed in turn in one run, on the
CPU and, where there is one, on CUDA. Peak memory is that of a process of its own for each way. Seconds, ratios
and the largest difference of the logits from the plain network's go to a JSON file; a difference above 1e-4 fails.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from measure import NOT_MEASURED, RESULTS, in_turn, parser_of, ratio, synchronize, write_record
from torch import Tensor

from msa2net_lib import MSA2Net, optimize_for_inference
from msa2net_lib.config import PRESETS
from msa2net_lib.utils.system_info import peak_memory_gib

RESULT = RESULTS / "inference.json"
TOLERANCE = 1e-4
WAYS = ("plain", "channels_last", "optimize_for_inference")
DEFAULTS = ("published", 4, 20)  # preset, batch, repeats of the recorded result

Predict = Callable[[Tensor], Tensor]


def main() -> int:
    """Measure on every device, print, write; return the exit status."""
    arguments = _parse_arguments()
    if arguments.memory_of:
        print(json.dumps(_memory_gib(arguments)))
        return 0
    torch.backends.cudnn.allow_tf32 = False  # float32 is what is compared, for the plain network as well
    # Memory first: a process starts with its parent's peak as its own, and this one is still small.
    memory = {(device, way): _memory_in_own_process(arguments, device, way) for device in _devices() for way in WAYS}
    rows = [row for device in ("cpu", "cuda") for row in _rows(arguments, device, memory)]
    _print_table(rows)
    if arguments.output is not None:
        content = {
            "network": {"preset": arguments.preset, "image_size": PRESETS[arguments.preset].image_size},
            "batch": arguments.batch,
            "repeats": arguments.repeats,
            "threads": torch.get_num_threads(),
            "input": "gray, random; weights random, in the preset's own start",
            "ratio": "median over rounds of the plain network's seconds over this way's, within each round",
            "peak_memory": "CPU: resident memory of a process with this way alone; CUDA: allocated by torch there",
            "tolerance": TOLERANCE,
            "baseline": WAYS[0],
            "rows": rows,
        }
        write_record(arguments.output, "Seconds of inference by the way the network is run", content)
    different = [row["name"] for row in rows if _is_above_tolerance(row["largest_difference"])]
    if different:
        print(f"the logits of {', '.join(different)} differ by more than {TOLERANCE}", file=sys.stderr)
    return 1 if different else 0


def _is_above_tolerance(difference: float | str | None) -> bool:
    # A difference that is no number (nan) is above every tolerance.
    return isinstance(difference, float) and not difference <= TOLERANCE


def _devices() -> tuple[str, ...]:
    return ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)


def _rows(arguments: argparse.Namespace, device: str, memory: dict[tuple[str, str], Any]) -> list[dict[str, Any]]:
    """Return one row per way for a device, "not measured" where the device is missing."""
    if device not in _devices():
        missing = ("seconds", "fastest_seconds", "slices_per_second", "ratio", "largest_difference")
        missing += ("preparation_seconds", "peak_memory_gib")
        return [{"device": device, "name": way, **dict.fromkeys(missing, NOT_MEASURED)} for way in WAYS]
    network, image = _network_and_image(arguments, device)
    predict: dict[str, Predict] = {}
    preparation: dict[str, float] = {}
    names: dict[str, str] = {}
    for way in WAYS:
        start = time.perf_counter()
        predict[way], names[way] = _prepare(way, copy.deepcopy(network))
        predict[way](image)  # what is compiled or packed at the first call belongs to the preparation
        synchronize()
        preparation[way] = time.perf_counter() - start
    expected = predict["plain"](image)
    seconds = in_turn({way: lambda way=way: predict[way](image) for way in WAYS}, arguments.repeats)
    return [
        {
            "device": device,
            "name": way,
            "runs_on": names[way],
            "seconds": round(statistics.median(seconds[way]), 4),
            "fastest_seconds": round(min(seconds[way]), 4),
            "slices_per_second": round(arguments.batch / statistics.median(seconds[way]), 2),
            "ratio": round(ratio(seconds["plain"], seconds[way]), 2),
            "largest_difference": float(f"{(predict[way](image) - expected).abs().max().item():.2g}"),
            "preparation_seconds": round(preparation[way], 1),
            "peak_memory_gib": memory[device, way],
        }
        for way in WAYS
    ]


def _network_and_image(arguments: argparse.Namespace, device: str) -> tuple[MSA2Net, Tensor]:
    torch.manual_seed(0)
    network = MSA2Net.from_preset(arguments.preset).eval().to(device)
    return network, torch.randn(arguments.batch, 1, *network.config.height_width).to(device)


def _prepare(way: str, network: MSA2Net) -> tuple[Predict, str]:
    """Return how to get the logits of a batch, and what it runs on; may change ``network``."""
    if way == "optimize_for_inference":
        optimized = optimize_for_inference(network)
        return optimized, optimized.way
    memory_format = torch.channels_last if way == "channels_last" else torch.contiguous_format
    network.to(memory_format=memory_format)

    @torch.inference_mode()
    def predict(image: Tensor) -> Tensor:
        return network(image.contiguous(memory_format=memory_format))

    return predict, "eager"


def _memory_in_own_process(arguments: argparse.Namespace, device: str, way: str) -> float | str:
    command = [sys.executable, __file__, "--memory-of", device, way]
    command += ["--preset", arguments.preset, "--batch", str(arguments.batch)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        print(f"memory of {way} on {device}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return NOT_MEASURED
    return json.loads(done.stdout.splitlines()[-1])


def _memory_gib(arguments: argparse.Namespace) -> float:
    """Run one way a few times, alone in this process, and return the process's peak in GiB."""
    device, way = arguments.memory_of
    network, image = _network_and_image(arguments, device)
    predict, _ = _prepare(way, network)
    del network  # a user who wants one way keeps one network
    for _ in range(3):
        predict(image)
    peak = torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else peak_memory_gib()
    return round(peak, 2)


def _print_table(rows: list[dict[str, Any]]) -> None:
    columns = ("seconds", "slices_per_second", "ratio", "largest_difference", "preparation_seconds", "peak_memory_gib")
    print(f"{'device':7}{'way':24}" + "".join(f"{column:>21}" for column in columns))
    for row in rows:
        print(f"{row['device']:7}{row['name']:24}" + "".join(f"{row[column]!s:>21}" for column in columns))


def _parse_arguments() -> argparse.Namespace:
    parser = parser_of(__doc__)
    preset, batch, repeats = DEFAULTS
    parser.add_argument("--preset", choices=sorted(PRESETS), default=preset, help=f"(default {preset})")
    parser.add_argument("--batch", type=int, default=batch, metavar="N", help=f"slices (default {batch})")
    parser.add_argument("--repeats", type=int, default=repeats, metavar="N", help=f"rounds (default {repeats})")
    parser.add_argument("--memory-of", nargs=2, metavar=("DEVICE", "WAY"), help="only measure the memory of one way")
    arguments = parser.parse_args()
    if arguments.batch < 1 or arguments.repeats < 1:
        parser.error("give at least one slice and one round")
    if arguments.output is None and (arguments.preset, arguments.batch, arguments.repeats) == DEFAULTS:
        arguments.output = RESULT
    return arguments


if __name__ == "__main__":
    sys.exit(main())
