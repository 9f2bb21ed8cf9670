"""What do the differences between paper and released code change, in the same small training run?

Trains the `tiny` network on the shipped virtual cohort as the paper writes it and with each variant of the
reference implementation (see `msa2net_lib.paper.discrepancies.variants`), with several seeds, and scores the last step
on the held-out virtual patients. Finished runs are kept, so an interrupted measurement goes on where it stopped.
"""

from __future__ import annotations

import sys
from pathlib import Path

from measure import training_parser, write_record

from msa2net_lib.config import NetworkConfig
from msa2net_lib.data.catalog import open_dataset
from msa2net_lib.evaluation.experiments import compare
from msa2net_lib.evaluation.intervals import summarize
from msa2net_lib.paper.discrepancies.variants import AS_WRITTEN, discrepancy_variants
from msa2net_lib.train_config import TrainConfig

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "discrepancy_effects.json"


def main() -> int:
    """Run what is missing, print the table and write it; return the exit status."""
    parser = training_parser(__doc__, RESULT, seeds=5, image_size=128)
    parser.set_defaults(steps=TrainConfig.from_recipe("smoke").steps)
    arguments = parser.parse_args()
    dataset = open_dataset("virtual", ROOT / "data")
    network = NetworkConfig.from_preset("tiny", image_size=arguments.image_size)
    config = TrainConfig.from_recipe("smoke", steps=arguments.steps)
    variants, seeds = discrepancy_variants(network), range(1, arguments.seeds + 1)
    runs = compare(variants, config, seeds, dataset, arguments.runs, device=arguments.device)
    summary = summarize(runs, AS_WRITTEN)
    print(summary.round(4).to_string())
    record = {
        "data": "virtual cohort, 6 patients to train on, 4 held out, all made from one real CT",
        "network": network.to_dict(),
        "training": config.to_dict() | {"seed": "see runs"},
        "selection": "none: last step",
        "baseline": AS_WRITTEN,
        "runs": runs.round(5).to_dict("records"),
    }
    write_record(arguments.output, "Effect on DSC of three differences between paper and released code", record)
    return 0


if __name__ == "__main__":
    sys.exit(main())
