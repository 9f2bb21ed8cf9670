"""Do heat maps depend on what the labels taught, and does MASAG change how far a logit looks?

Trains the `tiny` network on the shipped virtual cohort, with several seeds, in three ways: as it is, with every slice's
label map taken from another slice, and with addition in place of MASAG. Then compares Grad-CAM maps on a held-out
virtual patient between networks of two seeds and between true and permuted labels, and measures the effective
receptive field. Each run keeps its state, so an interrupted measurement goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from measure import training_parser, write_record

from msa2net_lib.config import NetworkConfig
from msa2net_lib.data.catalog import open_dataset
from msa2net_lib.lessons.l14_grad_cam.shuffled_study import (
    ADDITION,
    VARIANTS,
    pair_table,
    shown_maps,
    train_variant,
    variant_row,
)
from msa2net_lib.lessons.l14_grad_cam.study import LAYERS
from msa2net_lib.nn.network import MSA2Net
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.viz.plots import busiest_slices

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "shuffled_labels.json"
SHOWN = ("liver", "spleen", "left kidney")


def main() -> int:
    """Train what is missing, compare, print and write; return the exit status."""
    arguments = _parse_arguments()
    dataset = open_dataset("virtual", ROOT / "data")
    base = NetworkConfig.from_preset("tiny", image_size=arguments.image_size)
    config = TrainConfig.from_recipe("smoke", steps=arguments.steps)
    seeds, case = range(1, arguments.seeds + 1), dataset.load_case(dataset.test_cases[0])
    networks: dict[tuple[str, int], MSA2Net] = {}
    rows: list[dict[str, Any]] = []
    for seed in seeds:
        for variant in VARIANTS:
            folder = arguments.runs / f"{VARIANTS.index(variant)}_{seed}_{arguments.steps}_{arguments.image_size}"
            network = train_variant(
                variant, base, replace(config, seed=seed), dataset, folder, device=arguments.device
            ).cpu()
            networks[variant, seed] = network
            rows.append({"variant": variant, "seed": seed} | variant_row(network, dataset, case, arguments.slices))
            print(variant, seed, f"DSC {rows[-1]['dsc']:.3f}", flush=True)
    pairs = pair_table(networks, case, arguments.slices)
    means: Any = pairs.groupby(["layer", "pair"], sort=False)[["rank", "ssim"]].mean()
    print(means.round(3).to_string())
    z = busiest_slices(case.label, 1)[0]
    record = {
        "data": "virtual cohort, 6 patients to train on, 4 held out, all made from one real CT",
        "looked_at": f"{arguments.slices} slices of {case.name}, spread evenly over those with organs",
        "network": base.to_dict(),
        "training": config.to_dict() | {"seed": "see runs"},
        "selection": "none: last step",
        "slice": {"case": case.name, "z": z, "seed": seeds[0]},
        "maps": {
            variant: shown_maps(networks[variant, seeds[0]], case, z, SHOWN, LAYERS[:1] + LAYERS[3:4])
            for variant in VARIANTS
            if variant != ADDITION
        },
        "pairs": pairs.round(4).to_dict("records"),
        "runs": [
            {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()} for row in rows
        ],
    }
    write_record(
        arguments.output,
        "Do Grad-CAM maps depend on what the labels taught? Does MASAG change how far a logit looks?",
        record,
        indent=None,
    )
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = training_parser(__doc__, RESULT, seeds=3)
    parser.add_argument("--slices", type=int, default=12, help="slices of the held-out patient that are looked at")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
