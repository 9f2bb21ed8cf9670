"""What do the differences between paper and released code change, in the same small training run?

Trains the `tiny` network on the shipped virtual cohort as the paper writes it and with each variant of the
reference implementation (see `msa2net_lib.paper.discrepancies.variants`), with several seeds, and scores the last step
on the held-out virtual patients. Finished runs are kept, so an interrupted measurement goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from measure import parser_of, write_record

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
    arguments = _parse_arguments()
    dataset = open_dataset("virtual", ROOT / "data")
    network = NetworkConfig.from_preset("tiny", image_size=arguments.image_size)
    config = TrainConfig.from_recipe("smoke", steps=arguments.steps)
    runs = compare(
        discrepancy_variants(network), config, arguments.seeds, dataset, arguments.runs, device=arguments.device
    )
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


def _parse_arguments() -> argparse.Namespace:
    parser = parser_of(__doc__, RESULT)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5], help="one run per variant and seed")
    parser.add_argument("--steps", type=int, default=TrainConfig.from_recipe("smoke").steps)
    parser.add_argument("--image-size", type=int, default=128, help="pixels, a multiple of 32")
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--runs", type=Path, default=ROOT / "results" / "discrepancy_effects", help="folder of finished runs"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
