"""How long does augmenting a sample take on one core: batched as here, and sample by sample by MONAI or albumentations?

Each way augments the same batch of noise-like images with nine labels, in turn, with new random draws every round.
The released policy chooses 0 to 4 of ten transforms a sample; the other libraries compose the nearest transforms
they have: both move the lines of a grid in place of its nodes; albumentations' own piecewise affine map, which is
slow, has a row of its own. Their noise is the intended one. What is not installed is "not measured".
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import math
import statistics
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from measure import NOT_MEASURED, RESULTS, in_turn, parser_of, ratio, write_record
from torch import Tensor

from msa2net_lib.data.augment import AUGMENTATIONS, INTENDED_NOISE, build_augmentation
from msa2net_lib.errors import InputError

LIMIT = 5.0
"""Milliseconds a sample that the released policy may cost."""
LIBRARIES = ("monai", "albumentations")
PIECEWISE = "released, PiecewiseAffine"
OURS = AUGMENTATIONS[1:]
Batch = tuple[Tensor, Tensor]


def main() -> int:
    """Measure, compare, print and write; return the exit status."""
    arguments = _parse_arguments()
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    size, count = arguments.size, arguments.batch
    batch = torch.rand(count, 1, size, size) * 2 - 1, torch.randint(0, 9, (count, size, size))
    ways: dict[str, Callable[[], Any]] = {name: _ours(name, batch) for name in OURS}
    for library, build in (("monai", _monai), ("albumentations", _albumentations)):
        if importlib.util.find_spec(library) is not None:
            ways |= build(batch, arguments.seed)
    # What is slower by far gets a tenth of the rounds, in turn with the same of ours.
    slow = {name: ways.pop(name) for name in [f"albumentations, {PIECEWISE}"] if name in ways}
    seconds = in_turn(ways, arguments.repeats, warm_up=2)
    twin = _twin("released")
    slow_seconds = in_turn({**slow, twin: ways[twin]}, max(1, arguments.repeats // 10)) if slow else {}
    cost = {name: _cost(times, count) for name, times in (slow_seconds | seconds).items()}
    rivals = [(f"{library}, {kind}", _twin(kind)) for library in LIBRARIES for kind in ("affine", "released")]
    found = {name: ratio(seconds[name], seconds[ours]) for name, ours in rivals if name in seconds}
    found |= {name: ratio(slow_seconds[name], slow_seconds[twin]) for name in slow}
    names = [*(name for name, _ in rivals), f"albumentations, {PIECEWISE}"]
    rows = [_row(name, cost.get(name), found.get(name)) for name in [*OURS, *names]]
    for row in rows:
        print(f"{row['name']:42} {row['milliseconds']} ms a sample, {row['ratio']} times as fast as ours")
    within = all(cost[name]["mean"] <= LIMIT for name in OURS)
    if arguments.output is not None:
        content = {
            "case": {"batch": count, "size": size, "threads": 1, "rounds": arguments.repeats, "seed": arguments.seed},
            "baseline": "this workbook's of the same kind",
            "rows": rows,
            "ours_within_limit": {"limit_milliseconds": LIMIT, "held": within},
            "libraries": {name: _version(name) for name in ("kornia", *LIBRARIES)},
        }
        write_record(arguments.output, "Milliseconds to augment a sample on one core", content)
    return 0 if within else 1


def _row(name: str, cost: dict[str, float] | None, times_ours: float | None) -> dict[str, Any]:
    """One way's milliseconds a sample, and how many times as fast as ours of its kind it is."""
    spread = NOT_MEASURED if cost is None else {"mean": cost["mean"], "worst": cost["worst"]}
    return {
        "name": name,
        "device": "cpu",
        "milliseconds": NOT_MEASURED if cost is None else cost["median"],
        "spread": spread,
        "ratio": 1.0 if name in OURS else NOT_MEASURED if times_ours is None else round(1 / times_ours, 3),
    }


def _twin(kind: str) -> str:
    """Our augmentation that a library's is compared with: where noise is drawn, with the same noise."""
    return "affine" if kind == "affine" else "released_small_noise"


def _ours(name: str, batch: Batch) -> Callable[[], Batch]:
    augment = build_augmentation(name)
    assert augment is not None
    return lambda: augment(*batch)


def _monai(batch: Batch, seed: int) -> dict[str, Callable[[], Any]]:
    mt: Any = importlib.import_module("monai.transforms")
    both, size = ["image", "label"], batch[0].shape[-1]
    modes = {"mode": ("bilinear", "nearest"), "padding_mode": "zeros"}
    noise = mt.RandGaussianNoised("image", prob=1, std=INTENDED_NOISE, sample_std=False)
    shift = 0.05 * size
    affine = mt.Compose(
        [
            mt.RandAffined(
                both, prob=1, rotate_range=math.radians(8), scale_range=0.15, translate_range=shift, **modes
            ),
            mt.RandScaleIntensityd("image", 0.15, prob=1),
            noise,
        ]
    )
    blur = (size / 512, size / 512)
    policy = mt.SomeOf(
        [
            mt.RandFlipd(both, prob=0.5, spatial_axis=0),
            mt.RandFlipd(both, prob=0.5, spatial_axis=1),
            noise,
            mt.RandGaussianSmoothd("image", blur, blur, prob=1),
            mt.RandScaleIntensityd("image", 0.5, prob=1),
            mt.RandAffined(both, prob=1, scale_range=[(-0.5, 1.0), (-0.5, 1.0)], **modes),
            mt.RandAffined(both, prob=1, rotate_range=math.radians(40), **modes),
            mt.RandAffined(both, prob=1, shear_range=math.tan(math.radians(16)), **modes),
            mt.RandGridDistortiond(both, num_cells=3, prob=1, distort_limit=(-0.03, 0.03), **modes),
            mt.RandAffined(both, prob=1, translate_range=0.2 * size, **modes),
        ],
        num_transforms=(0, 4),
    )
    # In its natural use: a sample is a dict of tensors, channel first.
    samples = [{"image": image, "label": label[None].float()} for image, label in zip(batch[0], batch[1], strict=True)]
    for transform in (affine, policy):
        transform.set_random_state(seed)
    return {
        "monai, affine": lambda: [affine(dict(sample)) for sample in samples],
        "monai, released": lambda: [policy(dict(sample)) for sample in samples],
    }


def _albumentations(batch: Batch, seed: int) -> dict[str, Callable[[], Any]]:
    al: Any = importlib.import_module("albumentations")
    importlib.import_module("cv2").setNumThreads(1)
    noise = al.GaussNoise(std_range=(INTENDED_NOISE, INTENDED_NOISE), p=1)
    shift = {"x": (-0.05, 0.05), "y": (-0.05, 0.05)}
    affine = al.Compose(
        [
            al.Affine(rotate=(-8, 8), scale=(1 / 1.15, 1.15), translate_percent=shift, p=1),
            al.RandomBrightnessContrast(0, 0.15, p=1),
            noise,
        ],
        seed=seed,
    )
    sigma = batch[0].shape[-1] / 512
    shift = {"x": (-0.2, 0.2), "y": (-0.2, 0.2)}
    policy = [
        al.VerticalFlip(p=0.5),
        al.HorizontalFlip(p=0.5),
        noise,
        al.GaussianBlur(blur_limit=5, sigma_limit=(sigma, sigma), p=1),
        al.RandomBrightnessContrast(0, 0.5, p=1),
        al.Affine(scale={"x": (0.5, 2), "y": (0.5, 2)}, p=1),
        al.Affine(rotate=(-40, 40), p=1),
        al.Affine(shear=(-16, 16), p=1),
        al.Affine(translate_percent=shift, p=1),
    ]
    moved = al.GridDistortion(num_steps=3, distort_limit=0.03, p=1)
    piecewise = al.PiecewiseAffine(scale=(0.008, 0.03), nb_rows=(2, 4), nb_cols=(2, 4), p=1)
    # It takes a fixed number of transforms: samples get 0, 1, 2, 3 and 4 by turns.
    some, exact = (
        [al.Compose([al.SomeOf([*policy, last], n=n)] if n else [], seed=seed + n) for n in range(5)]
        for last in (moved, piecewise)
    )
    # In its natural use: NumPy arrays in [0, 1], channel last.
    samples = [
        {"image": ((image + 1) / 2).permute(1, 2, 0).numpy().copy(), "mask": label.numpy().astype(np.uint8)}
        for image, label in zip(batch[0], batch[1], strict=True)
    ]
    return {
        "albumentations, affine": lambda: [affine(**sample) for sample in samples],
        "albumentations, released": lambda: [some[index % 5](**sample) for index, sample in enumerate(samples)],
        f"albumentations, {PIECEWISE}": lambda: [exact[index % 5](**sample) for index, sample in enumerate(samples)],
    }


def _cost(seconds: list[float], count: int) -> dict[str, float]:
    milliseconds = [1e3 * value / count for value in seconds]
    named = {
        "median": statistics.median(milliseconds),
        "mean": statistics.mean(milliseconds),
        "worst": max(milliseconds),
    }
    return {name: round(value, 3) for name, value in named.items()}


def _version(package: str) -> str:
    return importlib.metadata.version(package) if importlib.util.find_spec(package) else "not installed"


def _parse_arguments() -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--batch", type=int, default=20, metavar="N", help="samples (default 20)")
    parser.add_argument("--size", type=int, default=224, help="pixels a side (default 224)")
    parser.add_argument("--repeats", type=int, default=30, metavar="N", help="rounds (default 30)")
    parser.add_argument("--seed", type=int, default=0, help="of all draws (default 0)")
    arguments = parser.parse_args()
    if min(arguments.batch, arguments.repeats) < 1 or arguments.size < 16:
        parser.error("give at least one sample, one round and 16 pixels")
    defaults = all(
        getattr(arguments, name) == parser.get_default(name) for name in ("batch", "size", "repeats", "seed")
    )
    if arguments.output is None and defaults:
        arguments.output = RESULTS / "augmentation.json"
    return arguments


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f"error: {error}")
