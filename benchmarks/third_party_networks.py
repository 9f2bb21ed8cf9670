"""Does MASAG help in networks that it was not made for, and what does it cost there?

Puts MASAG, and as a control the same last step with a constant map, on the skip connections of four U-Nets:
segmentation_models_pytorch's Unet, MONAI's AttentionUnet (in place of its own gates) and BasicUNet, and the plain U-Net
of lesson 15. Trains each with several seeds on the shipped virtual cohort, scores the last step's weights on the
held-out virtual patients, and times a training step with and without gate in turn. Finished runs are kept, so a
measurement that was stopped goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from measure import training_parser, write_record

from msa2net_lib.data.catalog import open_dataset
from msa2net_lib.lessons.l15_integration.study import (
    THIRD_PARTY,
    WITHOUT,
    compare_third_party,
    cost_table,
    effects,
    sentences,
)
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.utils.system_info import versions

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "third_party_networks.json"


def main() -> int:
    """Run what is missing, print the tables and write them; return the exit status."""
    arguments = _parse_arguments()
    chosen = [THIRD_PARTY[name] for name in arguments.networks]
    dataset = open_dataset("virtual", ROOT / "data")
    config = TrainConfig.from_recipe("smoke", steps=arguments.steps)
    costs = cost_table(chosen, arguments.image_size, config.batch_size, arguments.repeats, arguments.device)
    print(costs.to_string(index=False), flush=True)
    seeds, size = range(1, arguments.seeds + 1), arguments.image_size
    for seed in seeds:  # runs are kept, so that those of one seed can be shown when they are done
        done = compare_third_party(chosen, config, [seed], dataset, size, arguments.runs, device=arguments.device)
        print(done[["network", "variant", "seed", "dsc"]].to_string(index=False), flush=True)
    runs = compare_third_party(chosen, config, seeds, dataset, size, arguments.runs, device=arguments.device)
    print(*sentences(effects(runs)), sep="\n")
    record = {
        "data": "virtual cohort, 6 patients to train on, 4 held out, all made from one real CT",
        "image_size": arguments.image_size,
        "training": config.to_dict() | {"seed": "see runs"},
        "selection": "none: last step",
        "baseline": WITHOUT,
        "device": arguments.device,
        "costs": costs.to_dict("records"),
        "runs": runs.round(5).to_dict("records"),
        "versions": versions() | _third_party_versions(),
    }
    write_record(
        arguments.output,
        "What MASAG adds to other U-Nets in parameters, time and DSC, beside a control without map",
        record,
        indent=1,
    )
    return 0


def _third_party_versions() -> dict[str, str]:
    import monai
    import segmentation_models_pytorch as smp

    return {"segmentation_models_pytorch": str(smp.__version__), "monai": str(monai.__version__)}


def _parse_arguments() -> argparse.Namespace:
    names = list(THIRD_PARTY)
    parser = training_parser(__doc__, RESULT, seeds=3)
    parser.add_argument("--repeats", type=int, default=20, help="rounds in which training steps are timed")
    parser.add_argument("--networks", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
