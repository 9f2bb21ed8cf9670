"""How much faster is Dice and HD95 on the pair's bounding box than on the whole volume?

Both ways score the same synthetic abdomen in one run: 512 x 512 voxels by 120 slices, eight ellipsoids of
the sizes abdominal organs have, and a prediction of them that is shifted, rescaled and ragged at its
surface, with one stray island. The numbers must be identical; times and ratio go to a JSON file.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from measure import parser_of, write_record
from medpy.metric import binary
from scipy import ndimage

from msa2net_lib.metrics import score_volume
from msa2net_lib.utils.system_info import hardware, versions

RESULT = Path(__file__).parent / "results" / "hd95_bounding_box.json"
HARDWARE = ("processor", "cores")  # what decides these numbers: no accelerator, little memory
VERSIONS = ("python", "system", "numpy", "scipy", "medpy")
REPEATS = 3  # of the fast side, whose single run is short enough to be noisy
IN_PLANE, FULL_DEPTH = 512, 120

# Center and semi-axes (z, y, x) in voxels of about 2.5 x 0.75 x 0.75 mm, in label scheme A.
ORGANS = {
    "aorta": ((60, 290, 262), (58, 14, 14)),
    "gallbladder": ((62, 205, 175), (8, 20, 16)),
    "left kidney": ((52, 320, 350), (23, 38, 34)),
    "right kidney": ((48, 325, 165), (23, 38, 34)),
    "liver": ((80, 235, 150), (30, 95, 110)),
    "pancreas": ((66, 262, 285), (12, 22, 70)),
    "spleen": ((80, 300, 395), (20, 55, 38)),
    "stomach": ((82, 195, 325), (20, 45, 60)),
}


def main() -> int:
    """Measure, compare, print and write; return the exit status."""
    arguments = _parse_arguments()
    num_classes = arguments.organs + 1
    pred, target = make_case(arguments.organs, arguments.depth, arguments.seed)
    print(f"case of {pred.shape} voxels, {arguments.organs} organs; the whole-volume side takes minutes")

    runs = [_timed(lambda: score_volume(pred, target, num_classes)) for _ in range(REPEATS)]
    box_scores, box_seconds, box_cpu_seconds = sorted(runs, key=lambda run: run[1])[REPEATS // 2]
    print(f"bounding boxes  {box_seconds:8.2f} s (median of {REPEATS})")
    whole_scores, whole_seconds, whole_cpu_seconds = _timed(lambda: score_whole(pred, target, num_classes))
    print(f"whole volumes   {whole_seconds:8.2f} s")

    difference = float(np.abs(box_scores - whole_scores).max())
    ratio = whole_seconds / box_seconds
    print(f"ratio           {ratio:8.1f}\nlargest difference between the scores {difference:.1e}")
    record = {
        "case": {
            "shape_zyx": list(pred.shape),
            "organs": list(ORGANS)[: arguments.organs],
            "seed": arguments.seed,
            "data": "synthetic ellipsoids",
        },
        "ratio": round(ratio, 1),
        "ratio_of_cpu_seconds": round(whole_cpu_seconds / box_cpu_seconds, 1),
        "bounding_box_seconds": round(box_seconds, 3),
        "bounding_box_cpu_seconds": round(box_cpu_seconds, 3),
        "bounding_box_runs": REPEATS,
        "whole_volume_seconds": round(whole_seconds, 2),
        "whole_volume_cpu_seconds": round(whole_cpu_seconds, 2),
        "whole_volume_runs": 1,
        "largest_score_difference": difference,
        "scores": {
            name: {"dice": round(row[0], 4), "hd95_voxels": round(row[1], 3)}
            for name, row in zip(ORGANS, box_scores.tolist(), strict=False)
        },
        "hardware": _chosen(hardware(), HARDWARE),
        "versions": _chosen(versions(), VERSIONS),
    }
    if arguments.output is not None:
        write_record(arguments.output, "Dice and HD95 on the pair's bounding box against whole-volume medpy", record)
    if difference > 0:
        print("the two ways disagree: the bounding box is not faithful", file=sys.stderr)
        return 1
    return 0


def make_case(organs: int, depth: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return prediction and target, uint8 labels of (depth, 512, 512), with labels 1..organs in both.

    A smaller ``depth`` squeezes the organs along z, so that all of them stay in the volume.
    """
    rng = np.random.default_rng(seed)
    pred, target = np.zeros((2, depth, IN_PLANE, IN_PLANE), dtype=np.uint8)
    squeeze = np.array([depth / FULL_DEPTH, 1.0, 1.0])
    for label, (center, radii) in enumerate(list(ORGANS.values())[:organs], start=1):
        center, radii = np.array(center) * squeeze, np.maximum(np.array(radii) * squeeze, 1.5)
        _paint(target, label, center, radii)
        shift = rng.normal(0.0, 0.06, 3) * radii
        _paint(pred, label, center + shift, radii * rng.uniform(0.9, 1.1, 3), rng)
    # A false-positive island, as networks leave them; it widens the common box of the last organ.
    island = np.array([90.0, 400.0, 250.0]) * squeeze
    _paint(pred, organs, island, np.maximum(np.array([3.0, 7.0, 7.0]) * squeeze, 1.5))
    return pred, target


def _paint(
    labels: np.ndarray,
    label: int,
    center: np.ndarray,
    radii: np.ndarray,
    rng: np.random.Generator | None = None,
) -> None:
    """Write one ellipsoid into the background of ``labels``; with ``rng`` its surface is ragged."""
    low = np.maximum(np.floor(center - 1.2 * radii).astype(int), 0)
    high = np.minimum(np.ceil(center + 1.2 * radii).astype(int) + 1, labels.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    grid = np.ogrid[box]
    level = sum(((axis - c) / r) ** 2 for axis, c, r in zip(grid, center, radii, strict=True))
    if rng is not None:
        noise = ndimage.gaussian_filter(rng.standard_normal(np.shape(level)), (1, 3, 3))
        level = level + 0.1 * noise / noise.std()
    region = labels[box]
    region[(level <= 1) & (region == 0)] = label


def score_whole(pred: np.ndarray, target: np.ndarray, num_classes: int) -> np.ndarray:
    """Score as the released code does: medpy on a whole-volume mask of each class."""
    scores = np.empty((num_classes - 1, 2))
    for label in range(1, num_classes):
        pair = pred == label, target == label
        scores[label - 1] = binary.dc(*pair), binary.hd95(*pair)
    return scores


def _chosen(facts: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return those of the facts that matter here, in this order."""
    return {name: facts[name] for name in names}


def _timed(function: Callable[[], np.ndarray]) -> tuple[np.ndarray, float, float]:
    """Return the function's result, its wall-clock seconds and this process's CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def _parse_arguments() -> argparse.Namespace:
    """Read the command line and refuse sizes the case cannot have."""
    parser = parser_of(__doc__)
    parser.add_argument(
        "--organs", type=int, default=len(ORGANS), metavar="N", help="score the first N of the 8 organs"
    )
    parser.add_argument("--depth", type=int, default=FULL_DEPTH, help="number of slices (default 120)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the prediction's errors (default 0)")
    arguments = parser.parse_args()
    if arguments.output is None and (arguments.organs, arguments.depth) == (len(ORGANS), FULL_DEPTH):
        arguments.output = RESULT
    if not 1 <= arguments.organs <= len(ORGANS):
        parser.error(f"--organs: {arguments.organs} is outside 1..{len(ORGANS)}")
    if arguments.depth < 12:
        parser.error(f"--depth: {arguments.depth} slices cannot hold the organs; give at least 12")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
