"""Do skip gates differ in the same small training run, and does a map that looks right go with a better score?

Trains the `tiny` network on the shipped virtual cohort with each skip gate (see `msa2net_lib.nn.gates`), six
rivals and three negative controls, with several seeds, scores the last step on the held-out virtual patients, and
measures how far each map follows the organs. The maps of the first seed's networks on one slice are kept too. Each
run keeps its state, so an interrupted measurement goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from measure import training_parser, write_record

from msa2net_lib.config import NetworkConfig
from msa2net_lib.data.catalog import open_dataset
from msa2net_lib.data.resize import resize_image
from msa2net_lib.evaluation.intervals import summarize
from msa2net_lib.lessons.l06_skip_gates.study import BASELINE, GATES, compare_gates, gate_maps
from msa2net_lib.nn.network import count_parameters
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.viz.plots import busiest_slices

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "skip_gates.json"


def main() -> int:
    """Run what is missing, print the table and write it; return the exit status."""
    arguments = _parse_arguments()
    dataset = open_dataset("virtual", ROOT / "data")
    network = NetworkConfig.from_preset("tiny", image_size=arguments.image_size)
    config = TrainConfig.from_recipe("smoke", steps=arguments.steps)
    seeds, variants = list(range(1, arguments.seeds + 1)), {gate: network.with_gate(gate) for gate in GATES}
    runs, networks = compare_gates(variants, config, seeds, dataset, arguments.runs, device=arguments.device)
    print(summarize(runs, BASELINE).round(4).to_string())
    case = dataset.load_case(dataset.test_cases[0])
    z = busiest_slices(case.label, 1)[0]
    image = resize_image(case.image[z], network.height_width)[None]
    maps = {}
    for gate in GATES:
        for kind, levels in gate_maps(networks[gate], image, gate).items():
            maps[kind] = {level: values.astype(float).round(3).tolist() for level, values in levels.items()}
    plain = count_parameters(networks[BASELINE])
    record = {
        "data": "virtual cohort, 6 patients to train on, 4 held out, all made from one real CT",
        "network": network.to_dict(),
        "training": config.to_dict() | {"seed": "see runs"},
        "selection": "none: last step",
        "baseline": BASELINE,
        "gate_parameters": {gate: count_parameters(networks[gate]) - plain for gate in GATES},
        "slice": {"case": case.name, "z": z, "seed": seeds[0]},
        "maps": maps,
        "runs": runs.round(5).to_dict("records"),
    }
    # nan is not JSON: a run of a gate has no agreement for another gate's map.
    record["runs"] = [{key: value for key, value in row.items() if value == value} for row in record["runs"]]
    write_record(
        arguments.output,
        "Effect of the skip gate on DSC, and agreement of its map with the organs",
        record,
        indent=None,
    )
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = training_parser(__doc__, RESULT, seeds=5)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
