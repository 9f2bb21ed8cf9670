"""Skip gates trained alike, their maps, and a number for how far a map follows the organs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from einops import reduce
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

from msa2net_lib.analysis.layers import capture
from msa2net_lib.analysis.randomization import reinitialized
from msa2net_lib.analysis.slice_study import network_input
from msa2net_lib.config import NetworkConfig
from msa2net_lib.data.datasets import Case, PreparedDataset
from msa2net_lib.data.resize import resize_image, resize_label
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.experiments import compare
from msa2net_lib.evaluation.intervals import BEYOND, corrected, difference_row
from msa2net_lib.nn.gates import GATES as FAMILY
from msa2net_lib.nn.masag import MASAG
from msa2net_lib.nn.network import MSA2Net
from msa2net_lib.train_config import TrainConfig

Maps = dict[str, dict[int, "NDArray[np.float32]"]]
"""Kind of map -> decoder level (0 is finest) -> maps (slices, h, w)."""

BASELINE = "addition"
RIVALS = tuple(gate.name for gate in FAMILY.values() if gate.kind != "control" and gate.dims == 2)
"""Without masag_3d, which computes on a slice what masag does: its other kernel planes meet padding only."""
CONTROLS = tuple(gate.name for gate in FAMILY.values() if gate.kind == "control")
"""Negative controls: gates whose map cannot be of use."""
GATES = RIVALS + CONTROLS
SELECTION = "masag, weight of X"
"""Name of MASAG's selection weight among the maps, beside its attention map."""


@torch.inference_mode()
def gate_maps(network: MSA2Net, images: NDArray[np.float32], name: str) -> Maps:
    """The maps of a network's gates on slices (n, h, w) in [0, 1] at its input size, as means over channels.

    name: what to call the attention map. MASAG has its selection weight of X beside it (`SELECTION`); addition and
    concatenation have no map, and give {}.
    """
    levels: list[Any] = list(network.decoder.levels)
    gates = {i: one.gate for i, one in enumerate(levels) if one.gate is not None and "gate" not in one.config.unused}
    found: Maps = {}
    for level, ((x, g), _) in capture(lambda: network.eval()(network_input(network, images)), gates).items():
        values = {name: gates[level].attention(x, g)}
        if isinstance(gates[level], MASAG):
            values[SELECTION] = gates[level].selection.weights(gates[level].fusion(x, g))[:, :1]
        for kind, one in values.items():
            if one is not None:
                found.setdefault(kind, {})[level] = reduce(one.float().cpu(), "n c h w -> n h w", "mean").numpy()
    return found


def agreement(maps: NDArray, label: NDArray) -> float:
    """How well a map tells organ from background: the area under the ROC curve (AUROC), all slices together.

    maps: (n, h, w) or (h, w); label: the same, or larger, then brought to the map's grid by the nearest neighbor; any
    organ counts. It is the probability that an organ cell has the higher value than a background cell, a tie
    counting half: 1 all organ above all background, 0.5 as a coin, 0 all below. nan if there is nothing to tell.
    """
    maps, label = (array[None] if array.ndim == 2 else array for array in (maps, label))
    organ = np.stack([resize_label(one, maps.shape[1:]) for one in label]) > 0
    if organ.all() or not organ.any():
        return float("nan")
    inside, outside = maps[organ], maps[~organ]
    return float(mannwhitneyu(inside, outside).statistic / (len(inside) * len(outside)))


@torch.inference_mode()
def channel_agreement(network: MSA2Net, case: Case, level: int) -> tuple[NDArray[np.float64], float]:
    """`agreement` of each channel of a gate's map, (c,), and of their mean, over a case's slices that hold an organ."""
    images, label = _slices(case, network.config.height_width)
    gate: Any = network.decoder.levels[level].gate
    (x, g), _ = capture(lambda: network.eval()(network_input(network, images)), {level: gate})[level]
    attention = gate.attention(x, g).float().cpu().numpy()
    single = [agreement(attention[:, channel], label) for channel in range(attention.shape[1])]
    return np.array(single), agreement(attention.mean(axis=1), label)


def verdict_table(runs: pd.DataFrame, baselines: Sequence[str]) -> pd.DataFrame:
    """One row per gate: its difference from each baseline with the 95 % interval, and better, worse or unclear.

    The word is by p corrected for all comparisons of the table (Holm); the intervals are not corrected.
    """
    scores: Any = runs.pivot(index="seed", columns="variant", values="dsc")[list(dict.fromkeys(runs.variant))]
    tables = []
    for baseline in baselines:
        others = scores.drop(columns=baseline)
        rows = {name: difference_row((others[name] - scores[baseline]).dropna()) for name in others}
        tables.append(pd.DataFrame.from_dict(rows, orient="index"))
    columns = {}
    for baseline, table in zip(baselines, corrected(*tables), strict=True):
        words = np.where(table.significance != BEYOND, "unclear", np.where(table.difference > 0, "better", "worse"))
        columns[f"against {baseline}"] = {
            name: f"{row.difference:+.3f} ({row.low:+.3f} to {row.high:+.3f}) {word}"
            for (name, row), word in zip(table.iterrows(), words, strict=True)
        }
    return pd.DataFrame(columns).reindex(scores.columns).fillna("").rename_axis(None)


def compare_gates(
    variants: Mapping[str, NetworkConfig],
    config: TrainConfig,
    seeds: Sequence[int],
    dataset: PreparedDataset,
    output_dir: str | Path | None = None,
    *,
    device: str = "auto",
) -> tuple[pd.DataFrame, dict[str, MSA2Net]]:
    """Train and score every gate with every seed, and look at its maps: the runs, and the first seed's networks.

    `evaluation.experiments.compare` with a look at each network. Besides its columns, a row has per map and level
    ``agreement KIND, LEVEL`` on the first test case (see `agreement`). Raises: `InputError` without variants or seeds.
    """
    networks: dict[str, MSA2Net] = {}
    if not variants:
        raise InputError("variants is empty: give at least one gate")
    images, label = _slices(dataset.load_case(dataset.test_cases[0]), next(iter(variants.values())).height_width)

    def look(name: str, network: MSA2Net) -> dict[str, float]:
        networks.setdefault(name, network)
        return {
            f"agreement {kind}, {level}": round(agreement(values, label), 4)
            for kind, levels in gate_maps(network, images, name).items()
            for level, values in levels.items()
        }

    return compare(variants, config, seeds, dataset, output_dir, device=device, progress=False, look=look), networks


def agreement_table(runs: pd.DataFrame, level: int) -> pd.DataFrame:
    """Mean and standard deviation of the agreement over seeds, one row per map, at a decoder level."""
    before, after = "agreement ", f", {level}"
    kinds = [name for name in runs.columns if name.startswith(before) and name.endswith(after)]
    columns = runs[kinds].set_axis([name.removeprefix(before).removesuffix(after) for name in kinds], axis=1)
    return pd.DataFrame({"mean": columns.mean(), "sd": columns.std(ddof=1)})


def sanity_table(network: MSA2Net, case: Case, level: int, seeds: Sequence[int]) -> pd.DataFrame:
    """Agreement of MASAG's maps with the organs: trained, with the gates reinitialized, with all reinitialized.

    Over all slices of the case that hold an organ, at a decoder level. One row per network and map; columns ``AUROC``
    (mean over ``seeds`` of reinitialized weights), ``lowest``, ``highest``, and ``from a coin``, the largest distance
    from 0.5, whatever the side. See `reinitialized` and `agreement`.
    """
    images, label = _slices(case, network.config.height_width)
    rows = {"image itself": [agreement(images, label)]}
    parts: dict[str, Literal["gates", "all"]] = {"gates untrained": "gates", "nothing trained": "all"}
    drawn = [{title: reinitialized(network, part, seed) for title, part in parts.items()} for seed in seeds]
    networks = {title: [of_seed[title] for of_seed in drawn] for title in parts}
    for title, copies in {"trained": [network], **networks}.items():
        found = [gate_maps(copy, images, "masag") for copy in copies]
        rows |= {f"{title}: {kind}": [agreement(maps[kind][level], label) for maps in found] for kind in found[0]}
    columns = {
        "AUROC": np.mean,
        "lowest": min,
        "highest": max,
        "from a coin": lambda values: max(abs(value - 0.5) for value in values),
    }
    return pd.DataFrame({name: {title: take(rows[title]) for title in rows} for name, take in columns.items()})


def maps_from_json(stored: Mapping[str, Mapping[str, list]]) -> Maps:
    """Maps as the measurement's file holds them, in plain lists."""
    return {
        kind: {int(level): np.asarray(values, dtype=np.float32) for level, values in levels.items()}
        for kind, levels in stored.items()
    }


def _slices(case: Case, size: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """All slices of a case that hold an organ, (n, h, w) at a network's input size, and their labels."""
    occupied = [z for z in range(len(case.label)) if case.label[z].any()]
    images = np.stack([resize_image(case.image[z], size) for z in occupied])
    return images, np.stack([resize_label(case.label[z], size) for z in occupied])
