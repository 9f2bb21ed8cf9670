"""Do the six rows of Table 3 differ in the same small training run, by more than their seeds do?

Trains the `tiny` network on the shipped virtual cohort as each row of Table 3 (see `paper.ablation.comparison`), with
several seeds, and scores the last step on the held-out virtual patients. Four rows leave a kind of block out; they are
trained by both readings of what that means. Finished runs are kept, so an interrupted measurement goes on where it
stopped.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from measure import training_parser, write_record

from msa2net_lib.data.catalog import open_dataset
from msa2net_lib.paper.ablation.comparison import FULL, Reading, differences, parameter_table, row_contrasts
from msa2net_lib.paper.ablation.runs import ablation_plan, run_ablation

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "ablation.json"


def main() -> int:
    """Run what is missing, print the differences and write all runs; return the exit status."""
    arguments = _parse_arguments()
    dataset = open_dataset("virtual", ROOT / "data")
    plan = ablation_plan("smoke", seed=1, seeds=arguments.seeds, steps=arguments.steps, image_size=arguments.image_size)
    plan = replace(plan, cases=None)
    rows: list[dict[str, Any]] = []
    for reading in arguments.readings:
        runs = run_ablation(
            replace(plan, reading=reading), dataset, arguments.runs, device=arguments.device, progress=True
        )
        print(f"\n{reading}:\n{differences(runs, row_contrasts()).round(2).to_string()}")
        # Without the minutes: how long a run took is not the question, and other work may have run beside it.
        rows += runs.drop(columns="minutes").assign(reading=reading).round(5).to_dict("records")
    record = {
        "data": "virtual cohort, 6 patients to train on, 4 held out, all made from one real CT",
        "network": plan.network.to_dict(),
        "parameters": {r: parameter_table(plan.network, r).parameters.to_dict() for r in arguments.readings},
        "training": plan.training.to_dict() | {"seed": "see runs"},
        "selection": "none: last step",
        "baseline": FULL,
        "runs": rows,
    }
    write_record(
        arguments.output,
        "Effect of MASAG, LKA and DAE-Former blocks on DSC and HD95, as in Table 3",
        record,
        indent=None,
    )
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = training_parser(__doc__, RESULT, seeds=5)
    readings = get_args(Reading)
    parser.add_argument("--readings", nargs="+", choices=readings, default=readings, help="of blocks that are out")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
