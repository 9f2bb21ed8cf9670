"""The data randomization test: networks trained on labels of other slices, and their heat maps beside true ones.

Source: Adebayo et al., "Sanity Checks for Saliency Maps" (NeurIPS 2018), the data randomization test. There each
image gets the class of another; here each slice gets the label map of another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from msa2net_lib.analysis.network_field import holding_radius, logit_field
from msa2net_lib.analysis.slice_study import network_input
from msa2net_lib.config import NetworkConfig
from msa2net_lib.data.datasets import Case, PreparedDataset, TrainingData
from msa2net_lib.data.resize import resize_image, resize_label
from msa2net_lib.evaluation.intervals import holm
from msa2net_lib.evaluation.volumes import evaluate
from msa2net_lib.lessons.l14_grad_cam.study import (
    LAYERS,
    heat_maps,
    localization,
    localization_summary,
    organ_targets,
    similarity,
    slices_of,
)
from msa2net_lib.nn.network import MSA2Net
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training import train

TRUE, PERMUTED, ADDITION = "true labels", "labels of other slices", "true labels, gate: addition"
VARIANTS = (TRUE, PERMUTED, ADDITION)
SAME, CROSSED = "true, two seeds", "true and permuted"
"""Kinds of pairs in `pair_table`."""
POOLED = "mean over layers"
MEASURE_NAMES = {"rank": "rank correlation", "ssim": "SSIM"}
SHARES = (0.5, 0.95)
"""Shares of the effective receptive field whose radius is measured."""


@dataclass(frozen=True)
class PermutedLabels:
    """Training data in which every slice has the label map of another, a fixed permutation by ``seed``.

    It can be trained on like the data set it is made of; labels keep their frequencies and their places in the image.
    """

    data: TrainingData
    seed: int

    @property
    def root(self) -> Path:
        """Folder of the true data."""
        return self.data.root

    @property
    def train_ids(self) -> Sequence[str]:
        """Ids of the slices, as in the true data."""
        return self.data.train_ids

    @property
    def class_names(self) -> Sequence[str]:
        """Names of the classes without the background."""
        return self.data.class_names

    def digest(self) -> str:
        """What tells these data from the true ones and from other seeds."""
        return hashlib.sha256(f"{self.data.digest()} permuted {self.seed}".encode()).hexdigest()

    def training_sample(
        self, sample_id: str, size: int | tuple[int, int]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """The image of one slice, (c, h, w), and the label map of another, (h, w)."""
        image, _ = self.data.training_sample(sample_id, size)
        _, label = self.data.training_sample(self.label_from[sample_id], size)
        return image, label

    @cached_property
    def label_from(self) -> dict[str, str]:
        """Slice whose image is taken -> slice whose label map it gets; none keeps its own."""
        shuffled = np.random.default_rng(self.seed).permutation(np.asarray(self.train_ids))
        # One cycle through all slices: no slice is followed by itself.
        return {str(one): str(other) for one, other in zip(shuffled, np.roll(shuffled, 1), strict=True)}


def train_variant(
    variant: str,
    base: NetworkConfig,
    config: TrainConfig,
    dataset: PreparedDataset,
    folder: Path | None = None,
    *,
    device: str = "auto",
) -> MSA2Net:
    """Train one of `VARIANTS` by a recipe; the last step's network. folder: keeps its state, to go on after a stop."""
    network = base.with_gate("addition") if variant == ADDITION else base
    data = PermutedLabels(dataset, config.seed) if variant == PERMUTED else dataset
    return train(network, config, data, folder, device=device, progress=False).network.eval()


def variant_row(network: MSA2Net, dataset: PreparedDataset, case: Case, count: int) -> dict[str, Any]:
    """What a trained network's heat maps and field are like on a held-out case, and its DSC on all of them."""
    summary = localization_summary(localization(network, case, count))
    evaluation = evaluate(network, dataset, protocols=("paper",), progress=False)
    return {
        "dsc": evaluation.mean("paper")[0],
        **{f"inside {name}": float(row.inside) for name, row in summary.iterrows()},
        **{f"pointing {name}": float(row.pointing) for name, row in summary.iterrows()},
        **field_radii(network, case, count),
    }


def field_radii(network: MSA2Net, case: Case, count: int) -> dict[str, float]:
    """Pixels around the center that hold half and 95 % of its field: mean of |gradient| over slices and organs."""
    images, _, _ = slices_of(case, network.config.height_width, count)
    height, width = network.config.height_width
    pixels, center = network_input(network, images), (height // 2, width // 2)
    classes = range(1, len(case.class_names) + 1)
    field = np.mean([logit_field(network, pixels, center, index) for index in classes], axis=0)
    return {f"radius {share:.0%}": holding_radius(field, center, share) for share in SHARES}


def pair_table(networks: Mapping[tuple[str, int], MSA2Net], case: Case, count: int) -> pd.DataFrame:
    """How like the maps of two networks are: true labels with two seeds, and true beside permuted at each seed.

    networks: (variant, seed) -> network. Columns: pair, seeds, layer, rank, ssim (see `study.similarity`).
    If the first kind of pair is no more alike than the second, the maps do not show what the labels taught.
    """
    images, labels, _ = slices_of(case, next(iter(networks.values())).config.height_width, count)
    targets, maps = organ_targets(labels, case.class_names), {}
    present = [(organ, z) for organ, (_, regions) in targets.items() for z in np.flatnonzero(regions.any(axis=(1, 2)))]
    for key, network in networks.items():
        if key[0] != ADDITION:
            heat = heat_maps(network, network_input(network, images), targets)
            maps[key] = {layer: {(organ, z): heat[organ][layer][z] for organ, z in present} for layer in LAYERS}
    seeds = sorted({seed for _, seed in maps})
    pairs = [(SAME, f"{a}, {b}", (TRUE, a), (TRUE, b)) for a, b in combinations(seeds, 2)]
    pairs += [(CROSSED, str(seed), (TRUE, seed), (PERMUTED, seed)) for seed in seeds]
    rows = []
    for title, which, one, other in pairs:
        for layer in LAYERS:
            rows.append((title, which, layer, *similarity(maps[one][layer], maps[other][layer])))
    return pd.DataFrame(rows, columns=["pair", "seeds", "layer", "rank", "ssim"])


def shown_maps(network: MSA2Net, case: Case, z: int, organs: Sequence[str], layers: Sequence[str]) -> dict:
    """Maps of one slice for a measurement's file: layer -> organ -> whole numbers from 0 to 100, the map's maximum."""
    size = network.config.height_width
    pixels = network_input(network, resize_image(case.image[z], size)[None])
    targets = organ_targets(resize_label(case.label[z], size), case.class_names, organs)
    heat = heat_maps(network, pixels, targets, layers)
    found: dict[str, dict[str, list]] = {layer: {} for layer in layers}
    for layer in layers:
        for organ in organs:
            values = heat[organ][layer][0]
            found[layer][organ] = np.rint(100 * values / (values.max() or 1.0)).astype(int).tolist()
    return found


def pair_tests(pairs: pd.DataFrame) -> pd.DataFrame:
    """Are maps of true labels liker to each other than to those of wrong ones? One row per layer and measure.

    pairs: `pair_table`. Then the mean over layers, pair by pair. Columns: ``true`` and ``wrong`` (means), ``p`` (exact
    permutation of the pairs, one-sided), ``least_p`` that so many pairs can reach, and ``holm`` over the single layers.
    Pairs share networks, so that the tests are rather too bold than too shy. Layers without both kinds have no row.

    Source: Fisher 1935 (permutation); Holm 1979.
    """
    layers: dict[str, Any] = {layer: pairs[pairs.layer == layer] for layer in dict.fromkeys(pairs.layer)}
    groups: Any = pairs.groupby(["pair", "seeds"], sort=False)[["rank", "ssim"]]
    pooled = groups.mean().reset_index()
    rows = []
    for layer, own in (layers | {POOLED: pooled}).items():
        for key in ("rank", "ssim"):
            true, wrong = (own[own.pair == kind][key].to_numpy(float) for kind in (SAME, CROSSED))
            if len(true) and len(wrong):
                every = np.concatenate([true, wrong])
                drawn = [every[list(chosen)].sum() for chosen in combinations(range(len(every)), len(true))]
                p = float(np.mean(np.array(drawn) >= true.sum() - 1e-12))
                rows.append((layer, key, true.mean(), wrong.mean(), p, 1 / len(drawn)))
    table = pd.DataFrame(rows, columns=["layer", "measure", "true", "wrong", "p", "least_p"])
    single = table.layer != POOLED
    return table.assign(holm=pd.Series(holm(table.p[single].to_numpy()), table.index[single]))


def pair_sentences(pairs: pd.DataFrame) -> list[str]:
    """Per layer and measure what `pair_tests` found, then how many tests there were and the mean over layers."""
    told: list[str] = []
    tests: Any = pair_tests(pairs)
    for layer in dict.fromkeys(pairs.layer):
        parts = [
            f"{MEASURE_NAMES[row.measure]} {row.true:.2f} and {row.wrong:.2f}, p {row.p:.2f}"
            for row in tests[tests.layer == layer].itertuples()
        ]
        told.append(f"{layer}: {'; '.join(parts) or 'not measured, it takes two seeds of each kind'}")
    single, pooled = tests[tests.layer != POOLED], tests[tests.layer == POOLED]
    if len(single):
        least, best = single.least_p.iloc[0], int((single.p <= single.least_p + 1e-12).sum())
        told.append(
            f"{len(single)} tests, each p at least {least:.2f}: {best} reach it where {len(single) * least:.1f} would "
            f"by chance; after Holm's correction {int((single.holm < 0.05).sum())} are below 0.05"
        )
        told += [
            f"{POOLED}: {MEASURE_NAMES[row.measure]} {row.true:.2f} and {row.wrong:.2f}, p {row.p:.2f}"
            for row in pooled.itertuples()
        ]
    return told
