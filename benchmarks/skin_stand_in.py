"""Are the synthetic skin pictures good enough to rehearse with: learnt in minutes, and not by a threshold?

Draws pictures, prepares them, trains the `tiny` network on them for a fixed number of steps, and scores its last
step on held-out ones, beside Otsu's threshold (darker is lesion) on the same pictures. Good enough means a
pooled DSC of at least 0.90 where the threshold stays clearly below.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
import time
from pathlib import Path

import numpy as np
import torch
from measure import parser_of, write_record
from skimage.filters import threshold_otsu

from msa2net_lib.config import NetworkConfig
from msa2net_lib.data.images.dataset import ImageDataset
from msa2net_lib.data.isic import prepare_isic
from msa2net_lib.data.skin.images import write_skin_images
from msa2net_lib.data.skin.parts import LUMINANCE
from msa2net_lib.evaluation.images import evaluate_images
from msa2net_lib.metrics import pixel_scores
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training import train
from msa2net_lib.utils.system_info import versions

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "skin_stand_in.json"
WANTED_DSC, WANTED_LEAD = 0.90, 0.10
CHANNELS = {
    "gray": lambda image: image @ LUMINANCE,
    "green": lambda image: image[..., 1],
    "blue": lambda image: image[..., 2],
}


def main() -> int:
    """Draw, prepare, train, score, print and write; return the exit status."""
    arguments = _parse_arguments()
    drawn, seconds = _timed(lambda: write_skin_images(arguments.folder / "raw", count=arguments.count))
    dataset = prepare_isic(
        arguments.folder / "raw", arguments.folder / "prepared", split=(0.7, 0.1, 0.2), size=arguments.image_size
    )
    threshold = {name: score_otsu(dataset, name) for name in CHANNELS}
    network = NetworkConfig.from_preset("tiny", num_classes=2, image_size=arguments.image_size)
    config = TrainConfig.from_recipe("smoke", steps=arguments.steps, seed=arguments.seed)
    result = train(network, config, dataset, device=arguments.device)
    evaluation = evaluate_images(result.network, dataset)
    pooled = {name: float(value) for name, value in evaluation.scores.loc["pooled"].items()}
    best_threshold = max(scores["dsc"] for scores in threshold.values())
    print(f"tiny, {config.steps} steps, {result.minutes:.1f} minutes: pooled DSC {pooled['dsc']:.4f}")
    for name, scores in threshold.items():
        print(f"Otsu's threshold on {name}: pooled DSC {scores['dsc']:.4f}")
    record = {
        "data": "synthetic skin pictures drawn by msa2net_lib.data.skin.images; not dermoscopy",
        "pictures": {part: len(ids) for part, ids in dataset.ids.items()},
        "recipe": dataset.recipe.name,
        "share_of_lesion_pixels": dataset.manifest["prevalence"],
        "drawing_seconds_a_picture": round(seconds / len(drawn), 3) if seconds > 1 else "drawn before",
        "network": network.to_dict(),
        "training": config.to_dict(),
        "selection": "none: last step",
        "training_minutes": round(result.minutes, 2),
        "threads": torch.get_num_threads(),
        "scores": {average: _rounded(row) for average, row in evaluation.scores.to_dict("index").items()},
        "worst_picture_dsc": round(float(np.min(evaluation.by_image["dsc"])), 4),
        "otsu_pooled": {name: _rounded(scores) for name, scores in threshold.items()},
        "versions": versions() | {name: importlib.metadata.version(name) for name in ("pillow", "scikit-image")},
    }
    write_record(arguments.output, "Are the synthetic skin pictures learnt in minutes, and not by a threshold?", record)
    if pooled["dsc"] < WANTED_DSC or pooled["dsc"] - best_threshold < WANTED_LEAD:
        print(f"not good enough: wanted {WANTED_DSC:.2f} and {WANTED_LEAD:.2f} above the threshold", file=sys.stderr)
        return 1
    return 0


def score_otsu(dataset: ImageDataset, channel: str) -> dict[str, float]:
    """Return the pooled scores of a threshold on one channel of the test pictures, each with its own threshold."""
    found, true = [], []
    for name in dataset.test_ids:
        picture = dataset.load(name)
        values = np.asarray(CHANNELS[channel](picture.image))
        found.append(values < threshold_otsu(values))
        true.append(picture.mask)
    return pixel_scores(found, true)


def _rounded(scores: dict) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in scores.items()}


def _timed(function):
    started = time.perf_counter()
    result = function()
    return result, time.perf_counter() - started


def _parse_arguments() -> argparse.Namespace:
    parser = parser_of(__doc__, RESULT)
    parser.add_argument("--count", type=int, default=400, help="pictures: 70 %% to train on, 20 %% to score on")
    parser.add_argument("--steps", type=int, default=TrainConfig.from_recipe("smoke").steps)
    parser.add_argument("--image-size", type=int, default=128, help="pixels, a multiple of 32")
    parser.add_argument("--seed", type=int, default=1234, help="of the training run")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path, default=ROOT / "results" / "skin_stand_in", help="where pictures go")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
