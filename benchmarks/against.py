"""What do readers wait for less than in another checkout of this repository, such as a worktree of an earlier commit?

Each row is one thing that somebody waits for. Both sides do it in turn, round by round, each time in a process of its
own, with this Python and its packages, the library of its own checkout, and one thread where it says so. Ratios are
medians over rounds, of wall time and of CPU time: the second hardly feels what else the machine does. What both sides
print (scores, losses, label maps) must be equal within the row's tolerance, else the benchmark fails.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from measure import NOT_MEASURED, RESULTS, parser_of, ratio, write_record

from msa2net_lib.cli.main import COMMANDS

RESULT = RESULTS / "against.json"
HERE = RESULTS.parents[1]
SCAN = HERE / "data" / "example_ct" / "img" / "img0002.nii.gz"
SIDES = ("before", "now")

SCORE = """
import json, sys, time
import numpy as np
from msa2net_lib.metrics import measure_volume
with np.load(sys.argv[1]) as case:
    pair = case["pred"], case["target"]
measure_volume(pair[0][:4], pair[1][:4], 9, (3.0, 0.72, 0.72))
started = time.perf_counter(), time.process_time()
found = measure_volume(*pair, 9, (3.0, 0.72, 0.72))
seconds = time.perf_counter() - started[0], time.process_time() - started[1]
print(json.dumps([*seconds, [*found.dice, *found.hd95["voxels"], *found.hd95["mm"]]]))
"""

STEP = """
import json, sys, time
import torch
from msa2net_lib.losses import BoundaryDoULoss
from msa2net_lib.nn.lka import train_on_grids
from msa2net_lib.nn.network import MSA2Net
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training import optimizer, trainer
try:
    from msa2net_lib.training.recompute import forward_pass
except ImportError:  # a checkout from before it
    from contextlib import nullcontext as forward_pass
preset, size, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
torch.manual_seed(0)
network = MSA2Net.from_preset(preset, image_size=size, num_classes=9)
network = network.to(memory_format=torch.channels_last).train()
train_on_grids(network, torch.device("cpu"))
trainer.keep_freed_memory(torch.device("cpu"))
context = forward_pass(network)
images = (torch.rand(4, 1, size, size) * 2 - 1).contiguous(memory_format=torch.channels_last)
target, loss = torch.randint(9, (4, size, size)), BoundaryDoULoss(9, check_values=False)
moves = optimizer.build_optimizer(network, TrainConfig.from_recipe("smoke"))
losses, seconds = [], []
for number in range(steps):
    torch.manual_seed(number)
    started = time.perf_counter(), time.process_time()
    moves.zero_grad(set_to_none=True)
    with context:
        value = loss(network(images), target)
    value.backward()
    moves.step()
    seconds.append((time.perf_counter() - started[0], time.process_time() - started[1]))
    losses.append(value.item())
print(json.dumps([*(sorted(one)[len(one) // 2] for one in zip(*seconds[2:])), losses[:20]]))
"""


@dataclass(frozen=True)
class Row:
    """What is measured. words: for Python, with {place} for a folder of this side's.

    inside: whether the process times itself and prints seconds, CPU seconds and values. tolerance: of the values.
    once: whether it is done once, and not several times of which the first does not count. scored: where the command
    leaves a score, beside its folder.
    """

    name: str
    words: tuple[str, ...]
    inside: bool = False
    threads: int = 0
    tolerance: float = 0.0
    prepare: Callable[[Path], None] | None = None
    once: bool = False
    scored: tuple[str, ...] = ()


def make_case(folder: Path) -> None:
    """The case of `evaluation.py`, as a file for both sides."""
    from evaluation import make_case

    pred, target = make_case(148, 0)
    np.savez(folder / "case.npz", pred=pred, target=target)


def make_long_scan(folder: Path) -> None:
    """A scan of 512 x 512 x 120 and a `published` network with random weights."""
    import torch

    from msa2net_lib import MSA2Net, save_network
    from msa2net_lib.data.resize import resize_image
    from msa2net_lib.data.volumes import Volume, read_volume, write_volume

    slices = read_volume(SCAN).array
    large = [resize_image(slices[z % len(slices)].astype(np.float32), 512) for z in range(120)]
    write_volume(Volume(np.rint(large).astype(np.int16), (3.0, 0.7, 0.7)), folder / "long.nii.gz")
    torch.manual_seed(0)
    network = MSA2Net.from_preset("published", num_classes=9)
    with torch.no_grad():  # its batch norms have to have seen something
        network.train()(torch.rand(4, 1, 224, 224) * 2 - 1)
    save_network(network.eval(), folder / "published.safetensors")


def predict(*words: str) -> tuple[str, ...]:
    """The command that predicts into this side's folder."""
    return ("-m", "msa2net_lib", "predict", *words, "--output", "{place}", "--device", "cpu")


ROWS = {
    **{
        f"help_{command}": Row(f"msa2net {command} --help", ("-m", "msa2net_lib", command, "--help"))
        for command in COMMANDS
        if command not in ("lessons", "data")  # which a checkout from before lacks
    },
    "doctor": Row("msa2net doctor", ("-m", "msa2net_lib", "doctor", "--data", str(HERE / "data"))),
    "predict": Row("msa2net predict, the shipped scan of 20 slices and the shipped network", predict(str(SCAN))),
    "long": Row(
        "msa2net predict, 512 x 512 x 120, published (from the second time on)",
        predict("{shared}/long.nii.gz", "--checkpoint", "{shared}/published.safetensors", "--field-of-view", "as-is"),
        tolerance=1e-4,
        prepare=make_long_scan,
    ),
    "score": Row("score 512 x 512 x 148, 8 organs", ("-c", SCORE, "{shared}/case.npz"), True, 1, 1e-12, make_case),
    "tiny": Row("training step of tiny, 128 pixels, batch 4", ("-c", STEP, "tiny", "128", "24"), True, 1, 1e-5),
    "published": Row("training step of published, batch 4", ("-c", STEP, "published", "224", "6"), True, 0, 1e-4),
    "batch": Row(
        "msa2net reproduce, profile smoke, after installation (mean DSC on held-out virtual patients within 0.02)",
        ("-m", "msa2net_lib", "reproduce", "--profile", "smoke", "--output", "{place}"),
        tolerance=0.02,
        once=True,
        scored=("smoke/jobs/evaluate-1234/record.json", "mean DSC, last step"),
    ),
}
"""What can be measured, by the name that the command line takes."""


def main() -> int:
    """Measure, print, write; return the exit status."""
    parser = parser_of(__doc__)
    parser.add_argument("checkout", type=Path, metavar="DIR", help="the other checkout: what was before")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="(default all)")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="rounds that count (default 5)")
    arguments = parser.parse_args()
    if not (arguments.checkout / "msa2net_lib").is_dir() or arguments.repeats < 1:
        parser.error("give another checkout of this repository, and at least one round")
    homes: dict[str, Path] = dict(zip(SIDES, (arguments.checkout.resolve(), HERE), strict=True))
    sides = {side: commit_of(homes[side]) for side in SIDES}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for key in arguments.rows:
            rows.append(measure(ROWS[key], homes, Path(folder, key), arguments.repeats))
            shown = "  ".join(f"{name} {value}" for name, value in rows[-1].items() if name != "name")
            print(f"{rows[-1]['name']}: {shown}", flush=True)
            repeats = 1 if ROWS[key].once else arguments.repeats
            rows[-1] |= sides | {"date": f"{date.today()}", "repeats": repeats}
    content = {
        "ratio": "median over rounds of before's seconds over now's, within each round",
        "rows": beside(rows, arguments.output or RESULT),
    }
    write_record(arguments.output or RESULT, "What readers wait for, against another checkout", content)
    return int(not all(row["equal"] for row in rows))


def beside(rows: list[dict[str, Any]], path: Path) -> list[dict[str, Any]]:
    """The rows of a record, these in the place of those of the same name; a row says itself of which commits it is."""
    kept = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    by_name = {row["name"]: row for row in (*kept, *rows)}
    return [by_name[row.name] for row in ROWS.values() if row.name in by_name]


def measure(row: Row, homes: dict[str, Path], folder: Path, repeats: int) -> dict[str, Any]:
    """Return a row's record: seconds, CPU seconds and peak memory of both sides, ratios, and whether they agree."""
    folder.mkdir()
    if row.prepare is not None:
        row.prepare(folder)
    taken: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    for _ in range(1 if row.once else repeats + 1):
        for side in SIDES:
            taken[side].append(run(row, homes[side], folder, folder / side))
    values = [taken[side][-1]["values"] for side in SIDES]
    counted = {side: rounds if row.once else rounds[1:] for side, rounds in taken.items()}  # the first fills caches
    record: dict[str, Any] = {"name": row.name, "threads": row.threads or os.cpu_count()}
    for kind in ("seconds", "cpu_seconds"):
        both = {side: [one[kind] for one in counted[side]] for side in SIDES}
        record[f"{kind.removesuffix('seconds')}ratio"] = round(ratio(*(both[side] for side in SIDES)), 2)
        record |= {f"{side}_{kind}": round(statistics.median(both[side]), 4) for side in SIDES}
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # a process begins with its parent's as its peak
    for side in SIDES:
        memory = max(one["memory_mib"] for one in counted[side])
        record[f"{side}_memory_mib"] = memory if memory > own else NOT_MEASURED
    if row.scored:
        record |= {f"{side}_score": value[0] for side, value in zip(SIDES, values, strict=True)}
    difference: Any = difference_of(*values)
    return record | {"difference": difference, "equal": difference == NOT_MEASURED or difference <= row.tolerance}


def run(row: Row, home: Path, shared: Path, place: Path) -> dict[str, Any]:
    """Do it once in a process of its own; raise `RuntimeError` with what it said where it fails."""
    words = [word.replace("{shared}", str(shared)).replace("{place}", str(place)) for word in row.words]
    environment = os.environ | {"PYTHONPATH": str(home), "MSA2NET_CACHE": str(shared / "cache"), "TQDM_DISABLE": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # a user's second run compiles nothing
    if row.threads:
        environment |= {"OMP_NUM_THREADS": str(row.threads)}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *words], cwd=home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    told = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    taken = time.perf_counter() - started, usage.ru_utime + usage.ru_stime
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{row.name} in {home}: exit status {process.returncode}\n{told[-2000:]}")
    values: Any = labels_of(place)
    if row.scored:
        file, name = row.scored
        values = [json.loads((place / file).read_text(encoding="utf-8"))["numbers"][name]]
    if row.inside:
        *taken, values = json.loads(told.splitlines()[-1])
    return {
        "seconds": taken[0],
        "cpu_seconds": taken[1],
        "memory_mib": usage.ru_maxrss // 1024,
        "values": values,
    }


def labels_of(place: Path) -> Any:
    """The label map that was written, or None."""
    from msa2net_lib.data.volumes import read_volume

    found = sorted(place.glob("*_labels.nii.gz"))
    return read_volume(found[0]).array if found else None


def difference_of(one: Any, other: Any) -> float | str:
    """The largest difference of two lists, the share of labels that differ of two maps, or that there is nothing."""
    if one is None or other is None:
        return NOT_MEASURED
    if isinstance(one, list):
        return float(f"{np.abs(np.subtract(one, other)).max():.2g}")
    return float(f"{np.mean(one != other):.2g}")


def commit_of(home: Path) -> str:
    """The checkout's commit, or its sources' checksum where git does not know it."""
    done = subprocess.run(
        ["git", "-C", home, "describe", "--always", "--dirty=-changed"], capture_output=True, text=True
    )
    if done.returncode == 0:
        return done.stdout.strip()
    sources = sorted((home / "msa2net_lib").rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]


if __name__ == "__main__":
    sys.exit(main())
