"""What heat maps are worth: scores beside baselines, other regions, and reinitialized weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from msa2net_lib.analysis.grad_cam import HeatMap, grad_cam_layers
from msa2net_lib.analysis.randomization import Mode, reinitialize_parts, reinitialized_steps
from msa2net_lib.analysis.saliency import edge_map, pointing, rank_correlation, share_inside, structural_similarity
from msa2net_lib.data.datasets import Case
from msa2net_lib.lessons.l14_grad_cam.grad_cam_study import (
    LAYERS,
    as_array,
    network_input,
    organ_targets,
    organ_views,
    slices_of,
    study_heat,
)
from msa2net_lib.lessons.slice_study import Study
from msa2net_lib.nn.network import MSA2Net

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROBABILITY, EDGES, FLAT = "probability (baseline)", "edges of the image (baseline)", "the same everywhere (baseline)"


def localization(network: MSA2Net, case: Case, count: int = 12, layers: Sequence[str] = LAYERS) -> pd.DataFrame:
    """How well maps find the organ they were asked about, slice by slice, and maps that need no explanation beside.

    Columns: organ, map (a layer or a baseline), z, inside (`share_inside`) and pointing (`pointing`), nan for a map
    without heat. The organ's true region is both what is asked about and what is scored. An organ that a slice does not
    have gives no row. count: slices, spread over the case.
    """
    images, labels, chosen = slices_of(case, network.config.height_width, count)
    pixels, targets = network_input(network, images), organ_targets(labels)
    heat = grad_cam_layers(network, pixels, targets, {name: name for name in layers})
    with torch.inference_mode():
        probabilities = network.eval()(pixels).softmax(dim=1)
    rows = []
    for organ, (class_index, regions) in targets.items():
        maps: dict[str, NDArray] = {name: as_array(one.values) for name, one in heat[organ].items()}
        maps[PROBABILITY] = as_array(probabilities[:, class_index])
        maps[EDGES] = np.stack([edge_map(image) for image in images])
        maps[FLAT] = np.ones(images.shape)
        for index, z in enumerate(chosen):
            region = regions[index]
            if region.any():
                rows += [
                    (organ, name, z, share_inside(values[index], region), pointing(values[index], region))
                    for name, values in maps.items()
                ]
    return pd.DataFrame(rows, columns=["organ", "map", "z", "inside", "pointing"])


def localization_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Mean over slices, then over organs, so that organs count alike: inside, pointing, and the share without heat.

    A map without heat counts as 0 in both.
    """
    filled = table.assign(empty=table.inside.isna().astype(float)).fillna({"inside": 0.0, "pointing": 0.0})
    by_organ: Any = filled.groupby(["map", "organ"], sort=False)[["inside", "pointing", "empty"]].mean()
    return by_organ.groupby("map", sort=False).mean()


def localization_sentence(table: pd.DataFrame, name: str) -> str:
    """In words, how well a map finds its organ: peaks inside, and the range over organs of the share of heat inside.

    table: `localization`. name: of its maps. Shares are means over an organ's slices; a map without heat counts as 0.
    """
    rows: pd.DataFrame = table.loc[table["map"] == name].fillna({"inside": 0.0, "pointing": 0.0})
    shares: Any = rows.groupby("organ", sort=False).inside.mean()
    peaks = f"its largest value lies in the organ in {(rows.pointing == 1).sum()} of {len(rows)} maps"
    least, most = shares.idxmin(), shares.idxmax()
    heat = f"{shares[least]:.0%} ({least}) to {shares[most]:.0%} ({most}), {shares.mean():.0%} on average"
    return f"{name}: {peaks}; of its heat, what lies inside is {heat}"


def region_dependence(study: Study, layers: Sequence[str] = LAYERS) -> pd.DataFrame:
    """How like a map stays if the same class is asked about elsewhere: in the picture's corner, in another organ.

    One row per layer: mean over organs of the size of `rank_correlation` with the map for the organ's own region; 0
    where a map is empty. Columns: "corner", "largest other organ".
    """
    targets, pixels = organ_targets(study.label), network_input(study.network, study.image[None])
    names = {name: name for name in layers}
    own = grad_cam_layers(study.network, pixels, targets, names)
    corner = np.zeros_like(study.label, dtype=bool)
    corner[: len(corner) // 16, : len(corner) // 16] = True
    by_size = sorted(targets, key=lambda organ: -int(targets[organ][1].sum()))
    moved = {
        "corner": {organ: (index, corner) for organ, (index, _) in targets.items()},
        "largest other organ": {
            organ: (index, targets[next((o for o in by_size if o != organ), organ)][1])
            for organ, (index, _) in targets.items()
        },
    }
    columns = {}
    for title, elsewhere in moved.items():
        other = grad_cam_layers(study.network, pixels, elsewhere, names)
        columns[title] = {
            name: np.mean([_similarity(own[o][name], other[o][name])[0] for o in targets]) for name in layers
        }
    return pd.DataFrame(columns)


def randomization_table(
    study: Study, mode: Mode, seeds: Sequence[int], layers: Sequence[str] = LAYERS, organs: Sequence[str] | None = None
) -> pd.DataFrame:
    """How like maps stay to the trained network's when weights are drawn anew, part by part; one row per map.

    Columns: mode, part (see `reinitialized_steps`), seed, organ, layer, rank (size of
    `rank_correlation`: a map turned over counts as like) and ssim (`structural_similarity`), both with the trained
    network's map; inside (`share_inside` of the organ), empty (no heat). Of an empty map rank and ssim are 0: it
    resembles nothing. The region is the organ's true one throughout.
    """
    targets, pixels = organ_targets(study.label, organs), network_input(study.network, study.image[None])
    names = {name: name for name in layers}
    trained = grad_cam_layers(study.network, pixels, targets, names)
    rows = []
    for part, reinitialized in reinitialized_steps(study.network, mode).items():
        for seed in seeds:
            found = grad_cam_layers(reinitialize_parts(study.network, reinitialized, seed), pixels, targets, names)
            for organ, (_, region) in targets.items():
                for layer in layers:
                    heat = found[organ][layer]
                    rank, ssim = _similarity(trained[organ][layer], heat)
                    inside = share_inside(as_array(heat.values[0]), region)
                    rows.append((mode, part, seed, organ, layer, rank, ssim, inside, bool(heat.values.eq(0).all())))
    return pd.DataFrame(rows, columns=["mode", "part", "seed", "organ", "layer", "rank", "ssim", "inside", "empty"])


def baseline_similarity(study: Study, layers: Sequence[str] = LAYERS) -> pd.DataFrame:
    """How like the trained network's maps are to what needs no explanation: one row per layer, means over organs.

    Columns: rank correlation and SSIM with the organ's probability and with the edges of the image.
    """
    edges, rows = edge_map(study.image), {}
    views = {view.organ: view for view in organ_views(study)}
    heat = study_heat(study, layers)
    for layer in layers:
        maps = {organ: as_array(found[layer].values[0]) for organ, found in heat.items()}
        rows[layer] = {
            "rank, probability": _mean(_rank(values, views[o].probability) for o, values in maps.items()),
            "rank, edges": _mean(_rank(values, edges) for values in maps.values()),
            "ssim, probability": _mean(_ssim(values, views[o].probability) for o, values in maps.items()),
            "ssim, edges": _mean(_ssim(values, edges) for values in maps.values()),
        }
    return pd.DataFrame(rows).T


def similarity(first: Mapping[Any, NDArray], second: Mapping[Any, NDArray]) -> tuple[float, float]:
    """Mean size of the rank correlation, and mean SSIM, of two sets of maps (h, w) by name; 0 for an empty map."""
    pairs = [(first[name], second[name]) for name in first]
    return _mean(abs(_rank(*pair)) for pair in pairs), _mean(_ssim(*pair) for pair in pairs)


def _similarity(first: HeatMap, second: HeatMap) -> tuple[float, float]:
    one, other = as_array(first.values[0]), as_array(second.values[0])
    return abs(_rank(one, other)), _ssim(one, other)


def _rank(one: NDArray, other: NDArray) -> float:
    return float(np.nan_to_num(rank_correlation(one, other)))


def _ssim(one: NDArray, other: NDArray) -> float:
    return structural_similarity(one, other) if np.ptp(one) and np.ptp(other) else 0.0


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
