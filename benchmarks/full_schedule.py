"""How long does the paper's whole schedule take here: 700 epochs of 2211 slices, nothing left out?

A rehearsal: some epochs of `msa2net_lib.training.train` with the recipe `synapse` on virtual patients of Synapse's own
size, made here unless a prepared cohort is given. The first epoch holds what is done once (slices read, network built
and compiled) and counts once; the rest of the schedule is the mean of the later epochs, saving included, times their
number. The result says that it is extrapolated. The learning rate falls over the epochs that are run, which changes no
time.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from measure import NOT_MEASURED, RESULTS, parser_of, write_record

from msa2net_lib.config import PRESETS, NetworkConfig
from msa2net_lib.data.catalog import open_prepared
from msa2net_lib.data.datasets import TrainingData
from msa2net_lib.data.synapse import prepare_synapse
from msa2net_lib.data.virtual.cohort import SYNAPSE_SIZE, write_virtual_cohort
from msa2net_lib.errors import InputError
from msa2net_lib.train_config import Compilation, Precision, TrainConfig
from msa2net_lib.training import History, TrainResult, choose_device, train
from msa2net_lib.utils.system_info import peak_memory_gib

ROOT = Path(__file__).resolve().parents[1]
EPOCHS = 700  # the README of the released code; the recipe's length
NAME = "full schedule, rehearsed"


class EpochClock:
    """Notes the time at the end of every epoch; `train` calls it with its log."""

    def __init__(self, steps_per_epoch: int) -> None:
        self.steps_per_epoch = steps_per_epoch
        self.started = time.perf_counter()
        self.ends: list[float] = []

    def __call__(self, history: History) -> None:
        if history[-1]["step"] == self.steps_per_epoch * (len(self.ends) + 1):
            self.ends.append(time.perf_counter() - self.started)

    def seconds(self) -> list[float]:
        """Return the length of each epoch; the first holds everything before it as well."""
        return [end - start for start, end in zip([0.0, *self.ends], self.ends, strict=False)]


def make_cohort(folder: Path, patients: int) -> TrainingData:
    """Make and prepare virtual patients of Synapse's size to train on, and one more held out."""
    running: dict[str, Any] = {"progress": sys.stderr.isatty()}
    source = ROOT / "data" / "example_ct"
    ids = write_virtual_cohort(source, folder / "raw", train=patients, test=1, size=SYNAPSE_SIZE, **running)
    return prepare_synapse(folder / "raw", folder / "prepared", train_cases=ids[0], test_cases=ids[1], **running)


def rehearse(arguments: argparse.Namespace, data: TrainingData, folder: Path) -> tuple[TrainResult, list[float]]:
    """Train for some epochs; return what came of it and the seconds of each epoch."""
    steps = math.ceil(len(data.train_ids) / arguments.batch_size)
    network = NetworkConfig.from_preset(arguments.preset, image_size=arguments.size)
    changes = {name: getattr(arguments, name) for name in ("batch_size", "epochs", "precision", "compilation")}
    config, clock = TrainConfig.from_recipe("synapse", log_every=steps, **changes), EpochClock(steps)
    bar = sys.stderr.isatty()
    result = train(network, config, data, folder / "run", device=arguments.device, on_log=clock, progress=bar)
    return result, clock.seconds()


def extrapolated_minutes(epochs: Sequence[float], wanted: int = EPOCHS) -> float:
    """Return the minutes of ``wanted`` epochs, given the seconds of the first few (the first holds the start)."""
    return (epochs[0] + (wanted - 1) * statistics.fmean(epochs[1:])) / 60


def measured_row(arguments: argparse.Namespace, data: TrainingData, folder: Path) -> dict[str, Any]:
    """Rehearse, and return the row of what was measured and what it would come to."""
    result, epochs = rehearse(arguments, data, folder)
    device, per_epoch = choose_device(arguments.device), statistics.fmean(epochs[1:])
    on_device = torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else peak_memory_gib() * 2**10
    return {
        "name": NAME,
        "device": device.type,
        "minutes": round(extrapolated_minutes(epochs), 2),
        "extrapolated": True,
        "epochs_of_schedule": EPOCHS,
        "training_slices": len(data.train_ids),
        "epochs_measured": len(epochs),
        "minutes_measured": round(result.minutes, 2),
        "first_epoch_seconds": round(epochs[0], 2),
        "epoch_seconds": round(per_epoch, 3),
        "images_per_second": round(len(data.train_ids) / per_epoch, 1),
        "peak_memory_mib": round(on_device),
        "last_loss": result.history[-1]["loss"],
        "all_epoch_seconds": [round(epoch, 3) for epoch in epochs],
    }


def main() -> int:
    """Rehearse where it is sensible, print and write; return the exit status."""
    arguments = _parse_arguments()
    if arguments.device == "auto" and not torch.cuda.is_available():
        reason = "no CUDA device at hand; a CPU needs days: ask for it with --device cpu"
        row = {"name": NAME, "device": "cuda", "minutes": NOT_MEASURED, "reason": reason}
    else:
        with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
            cohort = arguments.cohort
            data = make_cohort(Path(folder), arguments.patients) if cohort is None else open_prepared(cohort)
            row = measured_row(arguments, data, Path(folder))
    said = row.get("reason", f"minutes for {EPOCHS} epochs, extrapolated")
    print(f"{row['device']} {NAME}: {row['minutes']}, {said}")
    content = {
        "case": {
            "data": "virtual patients of Synapse's size" if arguments.cohort is None else "a prepared cohort",
            "preset": arguments.preset,
            "recipe": "synapse",
            "batch": arguments.batch_size,
            "precision": arguments.precision,
            "compilation": arguments.compilation,
            "size": arguments.size,
            "note": "the learning rate falls over the epochs that were run, not over the whole schedule",
        },
        "baseline": NAME,
        "rows": [row],
    }
    if arguments.output is not None:
        write_record(arguments.output, "Minutes of the paper's whole schedule, from a rehearsal", content)
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--cohort", type=Path, metavar="DIR", help="prepared data (default: make the cohort, ~2 min)")
    patients = len(SYNAPSE_SIZE.train_slices)
    parser.add_argument(
        "--patients", type=int, default=patients, metavar="N", help=f"of a cohort made here, 1 to {patients} (default)"
    )
    parser.add_argument("--epochs", type=int, default=10, metavar="N", help="to run, at least 2 (default 10)")
    parser.add_argument("--preset", choices=tuple(PRESETS), default="published", help="(default published)")
    parser.add_argument("--batch-size", type=int, default=20, metavar="N", help="slices a step (default 20)")
    parser.add_argument("--size", type=int, default=224, metavar="PIXELS", help="a side, in pixels (default 224)")
    for name, kind in (("precision", Precision), ("compilation", Compilation)):
        parser.add_argument(
            f"--{name}", choices=get_args(kind), default="auto", help="as in TrainConfig (default auto)"
        )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, ...; auto measures on CUDA only")
    parser.add_argument("--scratch", type=Path, metavar="DIR", help="where to work (default: the system's)")
    arguments = parser.parse_args()
    if arguments.epochs < 2 or arguments.batch_size < 1 or not 1 <= arguments.patients <= patients:
        parser.error(f"--epochs: at least 2; --batch-size: at least 1; --patients: 1 to {patients}")
    given = {key for key, value in vars(arguments).items() if value != parser.get_default(key)}
    if arguments.output is None and arguments.device != "cpu" and given <= {"cohort", "epochs", "scratch", "device"}:
        # On a machine with a GPU under a name of its own: a record that says "not measured" must not replace it.
        suffix = "_cuda" if torch.cuda.is_available() else ""
        arguments.output = RESULTS / f"full_schedule{suffix}.json"
    return arguments


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f"error: {error}")
