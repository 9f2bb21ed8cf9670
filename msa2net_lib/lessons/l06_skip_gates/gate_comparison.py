"""Skip gates trained alike, their maps, and a number for how far a map follows the organs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from einops import rearrange, reduce
from scipy.stats import mannwhitneyu

from msa2net_lib.analysis.randomization import reinitialized
from msa2net_lib.config import NetworkConfig
from msa2net_lib.data.datasets import Case, PreparedDataset
from msa2net_lib.data.resize import normalize, resize_image, resize_label
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.experiments import compare
from msa2net_lib.evaluation.intervals import excludes_zero
from msa2net_lib.nn.gates import GATES as FAMILY
from msa2net_lib.nn.masag import MASAG
from msa2net_lib.nn.network import MSA2Net, count_parameters
from msa2net_lib.train_config import TrainConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

Maps = dict[str, dict[int, "NDArray[np.float32]"]]
"""Kind of map -> decoder level (0 is finest) -> maps (slices, h, w)."""

BASELINE = "addition"
RIVALS = tuple(gate.name for gate in FAMILY.values() if gate.kind != "control" and gate.dims == 2)
"""Without masag_3d, which computes on a slice what masag does: its other kernel planes meet padding only."""
CONTROLS = tuple(gate.name for gate in FAMILY.values() if gate.kind == "control")
"""Gates whose map is spoilt by design."""
GATES = RIVALS + CONTROLS
SELECTION = "masag, weight of X"
"""Name of MASAG's selection weight among the maps, beside its attention map."""


def gate_variants(base: NetworkConfig, gates: Sequence[str] = GATES) -> dict[str, NetworkConfig]:
    """One network per gate, by the gate's name."""
    return {gate: base.with_gate(gate) for gate in gates}


def gate_parameters(network: MSA2Net) -> int:
    """Parameters of all gates of a network."""
    levels: list[Any] = list(network.decoder.levels)
    return sum(count_parameters(level.gate) for level in levels if level.gate is not None)


@torch.inference_mode()
def gate_maps(network: MSA2Net, images: NDArray[np.float32], name: str) -> Maps:
    """The maps of a network's gates on slices (n, h, w) in [0, 1] at its input size, as means over channels.

    name: what to call the attention map. MASAG has its selection weight of X beside it (`SELECTION`); addition and
    concatenation have no map, and give {}.
    """
    found: Maps = {}

    def keep(kind: str, level: int, values: torch.Tensor | None) -> None:
        if values is not None:
            found.setdefault(kind, {})[level] = reduce(values.float().cpu(), "n c h w -> n h w", "mean").numpy()

    def look(level: int, gate: Any, inputs: tuple[torch.Tensor, torch.Tensor]) -> None:
        x, g = inputs
        keep(name, level, gate.attention(x, g))
        if isinstance(gate, MASAG):
            keep(SELECTION, level, gate.selection.weights(gate.fusion(x, g))[:, :1])

    network = network.eval()
    levels: list[Any] = list(network.decoder.levels)
    hooks = [
        level.gate.register_forward_pre_hook(lambda gate, inputs, index=index: look(index, gate, inputs))
        for index, level in enumerate(levels)
        if level.gate is not None and "gate" not in level.config.unused
    ]
    try:
        pixels = rearrange(torch.from_numpy(normalize(images)), "n h w -> n 1 h w")
        network(pixels.to(next(network.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def agreement(maps: NDArray, label: NDArray) -> float:
    """How well a map tells organ from background: the area under the ROC curve (AUROC), all slices together.

    maps: (n, h, w) or (h, w); label: the same, or larger, then brought to the map's grid by the nearest neighbor; any
    organ counts. It is the probability that an organ pixel has the higher value than a background pixel, a tie
    counting half: 1 all organ above all background, 0.5 as a coin, 0 all below. nan if there is nothing to tell.
    """
    maps, label = (array[None] if array.ndim == 2 else array for array in (maps, label))
    organ = np.stack([resize_label(one, maps.shape[1:]) for one in label]) > 0
    if organ.all() or not organ.any():
        return float("nan")
    inside, outside = maps[organ], maps[~organ]
    return float(mannwhitneyu(inside, outside).statistic / (len(inside) * len(outside)))


def slices_at(case: Case, size: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """All slices of a case that hold an organ, (n, h, w) at a network's input size, and their labels."""
    occupied = [z for z in range(len(case.label)) if case.label[z].any()]
    images = np.stack([resize_image(case.image[z], size) for z in occupied])
    return images, np.stack([resize_label(case.label[z], size) for z in occupied])


@dataclass(frozen=True, eq=False)
class GateRuns:
    """Training runs of several gates: one row per run, and the networks of the first seed by the gate's name."""

    runs: pd.DataFrame
    networks: dict[str, MSA2Net]


def compare_gates(
    variants: Mapping[str, NetworkConfig],
    config: TrainConfig,
    seeds: Sequence[int],
    dataset: PreparedDataset,
    output_dir: str | Path | None = None,
    *,
    device: str = "auto",
) -> GateRuns:
    """Train and score every gate with every seed, and look at its maps.

    `evaluation.experiments.compare` with a look at each network. Besides its columns, a row has per map and level
    ``agreement KIND, LEVEL`` on the first test case (see `agreement`). Raises: `InputError` without variants or seeds.
    """
    networks: dict[str, MSA2Net] = {}
    if not variants:
        raise InputError("variants is empty: give at least one gate")
    images, label = slices_at(dataset.load_case(dataset.test_cases[0]), next(iter(variants.values())).height_width)

    def look(name: str, network: MSA2Net) -> dict[str, float]:
        networks.setdefault(name, network)
        return _agreements(gate_maps(network, images, name), label)

    runs = compare(variants, config, seeds, dataset, output_dir, device=device, progress=False, look=look)
    return GateRuns(runs, networks)


def agreement_table(runs: pd.DataFrame, level: int) -> pd.DataFrame:
    """Mean and standard deviation of the agreement over seeds, one row per map, at a decoder level."""
    before, after = "agreement ", f", {level}"
    kinds = [name for name in runs.columns if name.startswith(before) and name.endswith(after)]
    columns = runs[kinds].set_axis([name.removeprefix(before).removesuffix(after) for name in kinds], axis=1)
    return pd.DataFrame({"mean": columns.mean(), "sd": columns.std(ddof=1)})


def verdicts(summary: pd.DataFrame, baseline: str = BASELINE) -> pd.DataFrame:
    """Which variants differ from the baseline: those whose 95 % interval of the mean difference leaves out zero.

    summary: from `evaluation.intervals.summarize` with the same baseline. With one seed nothing is known and
    nothing differs. Each row is one comparison; among many, one in twenty leaves out zero by chance.
    """
    rows = summary.drop(index=baseline)
    return rows[["difference", "low", "high"]].assign(differs=excludes_zero(rows.low, rows.high))


def sanity_table(network: MSA2Net, case: Case, level: int, seeds: Sequence[int]) -> pd.DataFrame:
    """Agreement of MASAG's maps with the organs: trained, with the gates reinitialized, with all reinitialized.

    Over all slices of the case that hold an organ, at a decoder level. One row per network and map; columns ``AUROC``
    (mean over ``seeds`` of reinitialized weights), ``lowest``, ``highest``, and ``from a coin``, the largest distance
    from 0.5, whatever the side. See `reinitialized` and `agreement`.
    """
    images, label = slices_at(case, network.config.height_width)
    networks = {"trained": [network]}
    titles: dict[str, Any] = {"gates untrained": "gates", "nothing trained": "all"}
    for title, part in titles.items():
        networks[title] = [reinitialized(network, part, seed) for seed in seeds]
    rows = {"image itself": [agreement(images, label)]}
    for title, copies in networks.items():
        found = [gate_maps(copy, images, "masag") for copy in copies]
        for kind in ("masag", SELECTION):
            rows[f"{title}: {kind}"] = [agreement(maps[kind][level], label) for maps in found]
    return pd.DataFrame(
        {
            title: {
                "AUROC": np.mean(values),
                "lowest": min(values),
                "highest": max(values),
                "from a coin": max(abs(value - 0.5) for value in values),
            }
            for title, values in rows.items()
        }
    ).T


def maps_to_json(maps: Maps) -> dict[str, dict[str, list]]:
    """Maps as plain lists of three decimals, for a measurement's file."""
    return {
        kind: {str(level): np.round(values.astype(float), 3).tolist() for level, values in levels.items()}
        for kind, levels in maps.items()
    }


def maps_from_json(stored: Mapping[str, Mapping[str, list]]) -> Maps:
    """Maps as `maps_to_json` wrote them."""
    return {
        kind: {int(level): np.asarray(values, dtype=np.float32) for level, values in levels.items()}
        for kind, levels in stored.items()
    }


def _agreements(maps: Maps, label: NDArray) -> dict[str, float]:
    return {
        f"agreement {kind}, {level}": round(agreement(values, label), 4)
        for kind, levels in maps.items()
        for level, values in levels.items()
    }
