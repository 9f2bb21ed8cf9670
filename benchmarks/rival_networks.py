"""How do the rows of Tables 1 and 2 do under one protocol on the data that ship?

Trains every network of the table of networks, at its own width and depth and at one small size, from random weights:
the same recipe, the same samples in the same order, the last step's weights. On the virtual cohort (9 classes, scored
under the paper's protocol, by case) or on drawn pictures of skin (2 classes, pooled and by picture), where those that
take 2 classes only are trained. Cheap ones come first, and the record is written after each run, so a measurement
that was stopped goes on where it stopped. What these numbers can show is that thirteen networks train, score and
compare under one protocol; a network that needs pretraining or many epochs has had neither.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measure import RESULTS, training_parser, write_record

from msa2net_lib.baselines.registry import build_network
from msa2net_lib.baselines.spec import config_of
from msa2net_lib.baselines.table import NETWORKS
from msa2net_lib.data.catalog import open_dataset
from msa2net_lib.data.isic import prepare_isic
from msa2net_lib.data.skin.images import write_skin_images
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.experiments import cached_run
from msa2net_lib.evaluation.images import evaluate_images
from msa2net_lib.evaluation.volumes import evaluate
from msa2net_lib.lessons.l17_rival_networks.study import multiply_adds
from msa2net_lib.nn.network import count_parameters
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training import train

ROOT = RESULTS.parents[1]
CHEAP_FIRST = (
    *("unet_nitr", "msa2net_tiny", "swin_unet", "hiformer_b", "fatnet", "pvt_cascade", "unet", "attunet", "missformer"),
    *("daeformer", "transunet", "msa2net_published", "dermosegdiff_small", "msa2net", "msa2net_released"),
    *("scaleformer", "uctransnet", "dlka_2d"),
)
WHY_NOT = {"dermosegdiff": "321 G multiply-adds a call at 224 pixels: not trained at full size; see dermosegdiff_small"}
CLASSES = {"virtual": 9, "skin": 2}
PICTURES = 120


def main() -> int:
    """Run what is missing, write what there is after each run; return the exit status."""
    arguments = _parse_arguments()
    data, output = arguments.data, arguments.output or RESULTS / _file_of(arguments.data)
    config = TrainConfig.from_recipe("smoke", steps=arguments.steps, learning_rate=arguments.learning_rate)
    dataset = open_dataset("virtual", ROOT / "data") if data == "virtual" else _skin(arguments)
    chosen = [name for name in CHEAP_FIRST if name in arguments.networks and name in _rows_of(data)]
    missing = [{"network": name, "seed": 1, "why": why} for name, why in WHY_NOT.items() if name in arguments.networks]
    missing += [
        {"network": name, "seed": 1, "why": f"takes {NETWORKS[name].classes} classes; trained on the skin pictures"}
        for name in arguments.networks
        if data == "virtual" and NETWORKS[name].classes and name not in WHY_NOT
    ]
    runs: list[dict[str, Any]] = []
    for seed in range(1, arguments.seeds + 1):
        for name in chosen:
            settings = config.to_dict() | {"seed": seed}
            make = partial(_run, name, TrainConfig.from_dict(settings), dataset, data, arguments)
            row = cached_run(make, [name, settings, arguments.image_size, data, dataset.digest()], arguments.runs)
            counted = {"multiply_adds": sum(multiply_adds(name, arguments.image_size, CLASSES[data]))}
            runs.append({"network": name, "seed": seed, "image_size": arguments.image_size} | row | counted)
            print(f"{name:20} seed {seed} DSC {row['dsc']:.4f} {row['minutes']:.1f} minutes", flush=True)
            record = {
                "data": data,
                "data_in_words": IN_WORDS[data],
                "training": config.to_dict() | {"seed": "see runs"},
                "selection": "none: last step",
                "pretrained": False,
                "threads": torch.get_num_threads(),
                "runs": [*runs, *missing],
            }
            write_record(output, "How the rows of Tables 1 and 2 do under one protocol on data that ship", record, 1)
    return 0


IN_WORDS = {
    "virtual": "virtual cohort, 6 patients to train on, 4 held out, all made from one real CT",
    "skin": "pictures of skin drawn by msa2net_lib.data.skin.images; not dermoscopy",
}


def _rows_of(data: str) -> list[str]:
    """Names of the networks that are trained on these data: those of Table 2, and MSA²Nets, on the skin pictures."""
    if data == "virtual":
        return [name for name, entry in NETWORKS.items() if entry.classes in (None, CLASSES[data])]
    table_2 = [name for name, entry in NETWORKS.items() if "2" in entry.tables]
    return [*table_2, "msa2net_tiny", "unet_nitr", "dermosegdiff_small"]


def _run(
    name: str, config: TrainConfig, dataset: Any, data: str, arguments: argparse.Namespace, state: Path | None
) -> tuple[dict[str, Any], Any]:
    torch.manual_seed(config.seed)
    network = config_of(build_network(name, CLASSES[data], arguments.image_size))
    result = train(network, config, dataset, state, device=arguments.device)
    score: Callable[..., dict[str, Any]] = _score_cases if data == "virtual" else _score_pictures
    row = score(result.network, dataset) | {
        "loss": result.history[-1]["loss"],
        "parameters": count_parameters(result.network),
        "minutes": round(result.minutes, 2),
    }
    return row, result.network


def _score_cases(network: Any, dataset: Any) -> dict[str, Any]:
    evaluation = evaluate(network, dataset, protocols=("paper",))
    dsc, hd95 = evaluation.mean("paper")
    table = evaluation.case_table("paper")
    return {
        "dsc": round(dsc, 5),
        "hd95": round(hd95, 4),
        "organs": evaluation.by_organ("paper")["dsc"].round(4).to_dict(),
        "cases": table.mean(axis=1).round(5).to_dict(),
    }


def _score_pictures(network: Any, dataset: Any) -> dict[str, Any]:
    evaluation = evaluate_images(network, dataset)
    by_image: Any = evaluation.by_image
    return {
        "dsc": round(float(evaluation.scores.loc["pooled", "dsc"]), 5),
        "pooled": {name: round(float(value), 5) for name, value in evaluation.scores.loc["pooled"].items()},
        "cases": {str(name): round(float(value), 5) for name, value in by_image["dsc"].items()},
    }


def _skin(arguments: argparse.Namespace) -> Any:
    folder = arguments.runs / "skin"
    write_skin_images(folder / "raw", count=PICTURES)
    return prepare_isic(folder / "raw", folder / "prepared", split=(0.7, 0.1, 0.2), size=arguments.image_size)


def _file_of(data: str) -> str:
    return "rival_networks.json" if data == "virtual" else f"rival_networks_{data}.json"


def _parse_arguments() -> argparse.Namespace:
    parser = training_parser(__doc__, RESULTS / "rival_networks.json", seeds=1)
    parser.set_defaults(steps=150, output=None)
    parser.add_argument("--data", choices=tuple(CLASSES), default="virtual", help="(default virtual)")
    parser.add_argument("--learning-rate", type=float, default=5e-4, help="peak, for all (default 5e-4)")
    names = list(NETWORKS)
    parser.add_argument("--networks", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    arguments = parser.parse_args()
    if unplaced := set(names) - set(CHEAP_FIRST) - set(WHY_NOT):
        raise InputError(f"{', '.join(sorted(unplaced))}: name them in CHEAP_FIRST, where their cost puts them")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
