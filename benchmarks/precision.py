"""What does training in bfloat16 cost in score, and what does it save in time?

Trains the `tiny` network on the shipped virtual cohort, from the same seeds and samples, in float32 and under bfloat16
autocast (weights, optimizer and loss stay float32), and scores the last step's weights on the held-out patients in
float32. The difference is paired by seed. A run that has ended is kept, so a measurement that was stopped goes on.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measure import RESULTS, training_parser, write_record

from msa2net_lib.data.catalog import open_dataset
from msa2net_lib.evaluation.experiments import cached_run
from msa2net_lib.evaluation.intervals import difference_row
from msa2net_lib.evaluation.volumes import evaluate
from msa2net_lib.nn.network import MSA2Net
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training import train

RESULT = RESULTS / "precision.json"
PRECISIONS = ("fp32", "bf16")


def main() -> int:
    """Train what is missing, compare, print and write; return the exit status."""
    arguments = training_parser(__doc__, RESULT, seeds=3).parse_args()
    dataset = open_dataset("virtual", RESULTS.parents[1] / "data")
    rows: list[dict[str, Any]] = []
    for seed in range(1, arguments.seeds + 1):
        for precision in PRECISIONS:  # in turn: a shared machine's clock drifts
            config = TrainConfig.from_recipe("smoke", steps=arguments.steps, precision=precision, seed=seed)
            make = partial(run, config, dataset, arguments.image_size, arguments.device)
            row = cached_run(make, [config.to_dict(), arguments.image_size, dataset.digest()], arguments.runs)
            rows.append({"precision": precision, "seed": seed} | row)
            print(f"{precision} seed {seed}: DSC {row['dsc']:.4f}, {row['seconds_a_step']:.3f} s a step", flush=True)
    by_precision = {name: [row for row in rows if row["precision"] == name] for name in PRECISIONS}
    pairs = list(zip(*by_precision.values(), strict=True))
    record = {
        "data": "virtual cohort, 6 patients to train on, 4 held out, all made from one real CT",
        "network": f"msa2net_tiny at {arguments.image_size} pixels",
        "training": TrainConfig.from_recipe("smoke", steps=arguments.steps).to_dict()
        | {"seed": "see runs", "precision": "see runs"},
        "selection": "none: last step; scored in float32",
        "threads": torch.get_num_threads(),
        "bf16_minus_fp32": difference_row([bf16["dsc"] - fp32["dsc"] for fp32, bf16 in pairs]),
        "times_as_fast": [round(fp32["seconds_a_step"] / bf16["seconds_a_step"], 3) for fp32, bf16 in pairs],
        "runs": rows,
    }
    write_record(arguments.output, "What does training in bfloat16 cost in score, and save in time?", record)
    return 0


def run(config: TrainConfig, dataset: Any, size: int, device: str, state: Path | None) -> tuple[dict[str, Any], Any]:
    """Train once; return mean DSC and HD95 of the held-out cases, and the seconds of a step."""
    torch.manual_seed(config.seed)
    result = train(MSA2Net.from_preset("tiny", image_size=size).config, config, dataset, state, device=device)
    dsc, hd95 = evaluate(result.network, dataset, protocols=("paper",)).mean("paper")
    seconds = result.minutes * 60 / config.steps
    return {"dsc": round(dsc, 5), "hd95": round(hd95, 4), "seconds_a_step": round(seconds, 4)}, result.network


if __name__ == "__main__":
    sys.exit(main())
