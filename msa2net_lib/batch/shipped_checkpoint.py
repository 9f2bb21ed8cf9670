"""The one command that makes the shipped checkpoint: train `tiny` by the smoke recipe, score, record."""

from __future__ import annotations

import json
from pathlib import Path

from msa2net_lib.checkpoints import SHIPPED_TINY, load_network, save_network
from msa2net_lib.config import NetworkConfig
from msa2net_lib.data.catalog import open_dataset
from msa2net_lib.data.fingerprint import describe
from msa2net_lib.evaluation.volumes import evaluate
from msa2net_lib.lessons.execute import find_checkout
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training import train
from msa2net_lib.utils.files import sha256, write_text
from msa2net_lib.utils.system_info import hardware, versions


def ship(data_dir: str | Path, destination: Path = SHIPPED_TINY) -> Path:
    """Train from the configs' defaults, write the weights and beside them ``.json`` with how and how well.

    Scores are those of the stored float16 file on the held-out virtual patients: last step, no selection.
    """
    dataset = open_dataset("virtual", data_dir)
    network, config = NetworkConfig.from_preset("tiny"), TrainConfig.from_recipe("smoke")
    result = train(network, config, dataset)
    save_network(result.network, destination, half=True, class_names=dataset.class_names, fingerprint=describe(dataset))
    evaluation = evaluate(load_network(destination), dataset)
    by_organ = evaluation.by_organ("paper")
    record = {
        "made_by": "make checkpoint",
        "sha256": sha256(destination),
        "network": network.to_dict(),
        "training": config.to_dict(),
        "data": "6 virtual patients to train, 4 held out, made from the shipped real CT of patient 1",
        "selection": "none: the last step's weights",
        "held_out": {
            "protocol": "paper (HD95 in voxels); not comparable with the paper's tables",
            "mean_dsc": round(evaluation.mean("paper")[0], 4),
            "mean_hd95_voxels": round(evaluation.mean("paper")[1], 2),
            "dsc": {organ: round(float(value), 4) for organ, value in by_organ.dsc.items()},
        },
        "minutes": round(result.minutes, 2),
        "hardware": hardware(),
        "versions": versions(),
    }
    return write_text(destination.with_suffix(".json"), json.dumps(record, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    print(ship(find_checkout() / "data").read_text())
