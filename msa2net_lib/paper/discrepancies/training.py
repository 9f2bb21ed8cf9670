"""Differences in training: rate, schedule, augmentation, randomness, loss and selection."""

from __future__ import annotations

import multiprocessing
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import integrate, stats
from torch.utils.data import DataLoader, Dataset

from msa2net_lib.config import PRESETS
from msa2net_lib.data.augment import RELEASED_SIDE, ReleasedAugmentation
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.data.resize import resize_image
from msa2net_lib.losses import BoundaryDoULoss
from msa2net_lib.nn.network import MSA2Net
from msa2net_lib.paper import reference_implementation as released
from msa2net_lib.paper.discrepancies.evidence import Evidence, patient_2


def effective_rate(_: Path) -> Evidence:
    batches = (10, 16, released.PAPER_BATCH, 24, 40)
    rates = {batch: released.effective_rate(released.PAPER_RATE, batch) for batch in batches}
    table = pd.DataFrame({"learning rate": rates}).rename_axis("batch size")
    found = rates[released.PAPER_BATCH]
    says = f"batch {released.PAPER_BATCH} trains at {found:.6f}, not at {released.PAPER_RATE}; 16 and 24 do not move it"
    return Evidence(says, table, found != released.PAPER_RATE)


def initialization(_: Path) -> Evidence:
    tiny = PRESETS["tiny"]
    spreads = {}
    for start in ("torch", "xavier"):
        torch.manual_seed(0)
        decoder = MSA2Net(replace(tiny, decoder_init=start, image_size=64)).decoder
        level: Any = decoder.levels[0]
        layers = {"linear before G": level.linear, "pointwise in LKA": level.blocks[0].feed_forward.expand,
                  "depthwise in the gate": level.gate.fusion.local_context.depthwise}  # fmt: skip
        spreads[start] = {name: float(layer.weight.detach().std()) for name, layer in layers.items()}
    table = pd.DataFrame(spreads)
    ratio = (table["xavier"] / table["torch"]).to_dict()
    says = "Xavier's weights are " + ", ".join(f"{value:.1f} times ({name})" for name, value in ratio.items())
    return Evidence(f"{says} as wide as torch's own, in the tiny network", table, max(ratio.values()) > 1.05)


def schedule_length(_: Path) -> Evidence:
    runs = (released.README_EPOCHS, released.DEFAULT_EPOCHS)
    base = released.effective_rate(released.PAPER_RATE, released.PAPER_BATCH)  # both runs with the paper's batch
    epochs = [0, 100, 200, 300, 399]
    rates = {f"rate, {run} epochs": [released.poly_rate(base, epoch, run) for epoch in epochs] for run in runs}
    table = pd.DataFrame(rates, index=epochs).rename_axis("epoch")
    readme, default = (released.poly_rate(base, epochs[-1], run) for run in runs)
    says = (
        f"with batch {released.PAPER_BATCH} and the default epochs the last rate is {default:.6f}; with the README's "
        f"it is {readme:.4f} at that epoch"
    )
    return Evidence(says, table, runs[0] != runs[1])


def noise(data_dir: Path) -> Evidence:
    image, _ = patient_2(data_dir)
    clean, rng = image[len(image) // 2], np.random.default_rng(0)
    rows = {}
    for sigma in (released.NOISE_SIGMA / 255, released.NOISE_SIGMA):
        noisy = clean + rng.normal(0, sigma, clean.shape)
        rows[f"{sigma:g}"] = {
            "pixels moved by more than 0.1": float((np.abs(noisy - clean) > 0.1).mean()),
            "correlation with the slice": float(np.corrcoef(clean.ravel(), noisy.ravel())[0, 1]),
        }
    table = pd.DataFrame(rows).T.rename_axis("standard deviation")
    moved, alike = (float(value) for value in table.iloc[-1])
    says = (
        f"noise of standard deviation {released.NOISE_SIGMA:g} on real patient 2 in [0, 1] moves {moved:.0%} of the "
        f"pixels by more than a tenth of that range and leaves a correlation of {alike:.2f} with the slice"
    )
    return Evidence(says, table, alike < 0.5)


def noise_after_resize(_: Path) -> Evidence:
    size, side = PRESETS["published"].image_size, RELEASED_SIDE
    field = np.random.default_rng(0).normal(0, released.NOISE_SIGMA, (side, side)).astype(np.float32)
    left = float(resize_image(field, size).std())
    table = pd.DataFrame({"standard deviation": {f"added at {side}": released.NOISE_SIGMA, f"left at {size}": left}})
    says = (
        f"of {released.NOISE_SIGMA:g}, added at {side} x {side}, the resize leaves {left:.3f} at {size} x {size}; the "
        f"same number at that size is {released.NOISE_SIGMA / left - 1:.0%} stronger"
    )
    return Evidence(says, table, abs(left / released.NOISE_SIGMA - 1) > 0.01)


def contrast(data_dir: Path) -> Evidence:
    image, _ = patient_2(data_dir)
    middle = torch.from_numpy(image[len(image) // 2])
    augment = ReleasedAugmentation()
    height, width = middle.shape
    draws = augment.draw(1, (1, height, width)).only("linear contrast", contrast=1.5)
    empty = torch.zeros(1, *middle.shape, dtype=torch.int64)
    changed = (augment.apply(2 * middle[None, None] - 1, empty, draws)[0][0, 0] + 1) / 2
    stretched = middle.mean() + 1.5 * (middle - middle.mean())
    forms = {"the slice": middle, "times 1.5 about 0": changed, "about its mean": stretched}
    table = pd.DataFrame({name: {"mean": float(a.mean()), "sd": float(a.std())} for name, a in forms.items()}).T
    brighter, wider = (float(column.iloc[1] / column.iloc[0]) for column in (table["mean"], table.sd / table["mean"]))
    says = (
        f"a factor of 1.5 makes a slice of real patient 2 {brighter:.2f} times as bright on average, and its spread "
        f"relative to that {wider:.2f} times as wide: no contrast; about its mean the brightness would stay"
    )
    return Evidence(says, table, abs(brighter - 1) > 0.01)


def augmentation(_: Path) -> Evidence:
    rng, draws = np.random.default_rng(0), 20_000
    counts = rng.integers(0, released.MOST_OPERATIONS + 1, draws)
    names = list(released.AUGMENTATIONS)
    share, same = np.zeros(len(names)), 0.0
    for count in counts:
        drawn = rng.choice(len(names), count, replace=False)
        acts = drawn[(drawn >= released.FLIPS) | (rng.random(count) < released.FLIP_PROBABILITY)]
        share[acts] += 1 / draws
        same += (len(acts) == 0) / draws
    table = pd.DataFrame({"range": list(released.AUGMENTATIONS.values()), "share of samples": share}, index=names)
    says = (
        f"{len(names)} operations, 0 to {released.MOST_OPERATIONS} of them on a sample: a flip changes {share[0]:.0%} "
        f"of them, each other {share[-1]:.0%}, and {same:.0%} stay as they are"
    )
    return Evidence(says, table, bool((share > 0).all()))


class _Draws(Dataset):
    """Each item is what two generators draw: Python's own, and one that lives in the augmentation's memory."""

    def __init__(self) -> None:
        self.own = np.random.default_rng(1234)

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[int, float, float]:
        worker = torch.utils.data.get_worker_info()
        return (0 if worker is None else worker.id), random.random(), float(self.own.random())


def _seed_as_released(worker: int) -> None:
    random.seed(1234 + worker)


def repeated_random_state(_: Path) -> Evidence:
    # Forked workers start from a copy of the parent's memory, as on Linux by default; elsewhere it is sent as a copy.
    methods = multiprocessing.get_all_start_methods()
    context = "fork" if "fork" in methods else methods[0]
    loader = DataLoader(
        _Draws(), batch_size=None, num_workers=2, worker_init_fn=_seed_as_released, multiprocessing_context=context
    )
    rows = [(epoch, *(value for value in item)) for epoch in (1, 2) for item in loader]
    table = pd.DataFrame(rows, columns=["epoch", "worker", "seeded by the script", "augmentation's own"])
    first = table.groupby(["epoch", "worker"]).first()
    seeded, own = (len(set(first[name])) for name in ("seeded by the script", "augmentation's own"))
    says = (
        f"a stand-in for the augmentation: of {len(first)} first draws, 2 workers in 2 epochs, {own} is different with "
        f"its own generator and {seeded} are with Python's, seeded by worker and so alike in every epoch"
    )
    return Evidence(says, first, own == 1)


def selection(_: Path) -> Evidence:
    epochs = released.scored_epochs(released.README_EPOCHS)
    counts = sorted({1, 2, 5, len(epochs)})
    table = pd.DataFrame({"best is above the mean by (standard deviations)": {n: _expected_best(n) for n in counts}})
    says = (
        f"in {released.README_EPOCHS} epochs the test cases are scored {len(epochs)} times, after epoch {epochs[0]} to "
        f"{epochs[-1]}; the best of {len(epochs)} equals, were they independent, would lie "
        f"{_expected_best(len(epochs)):.2f} standard deviations above their mean"
    )
    return Evidence(says, table.rename_axis("times scored"), len(epochs) > 1)


def _expected_best(count: int) -> float:
    """Expected largest of ``count`` standard normal values."""
    return float(integrate.quad(lambda x: x * count * stats.norm.pdf(x) * stats.norm.cdf(x) ** (count - 1), -9, 9)[0])


def absent_class(data_dir: Path) -> Evidence:
    _, label = patient_2(data_dir)
    classes = len(ORGANS) + 1
    rows = {}
    for index in (0, len(label) // 2):
        target = torch.from_numpy(label[index].astype(np.int64))[None]
        perfect = 50 * torch.nn.functional.one_hot(target, classes).permute(0, 3, 1, 2).float()
        rows[f"slice {index}"] = {
            "classes in it": target.unique().numel(),
            "loss of a perfect prediction": round(float(BoundaryDoULoss(classes)(perfect, target)), 4),
        }
    table = pd.DataFrame(rows).T
    worst = float(table.iloc[:, 1].max())
    says = f"a perfect prediction of a slice of patient 2 costs {worst:.4f}: a {classes}th for each class not in it"
    return Evidence(says, table, worst > 0)
