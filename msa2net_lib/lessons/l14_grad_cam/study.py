"""Heat maps of a study's organs, what stands beside them in Figure B, and what they are worth.

Worth: scores beside baselines, other regions, and reinitialized weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from einops import einsum, reduce
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from msa2net_lib.analysis.grad_cam import Segmenter, grad_cam_layers
from msa2net_lib.analysis.layers import LAST, feature_maps
from msa2net_lib.analysis.network_field import logit_field
from msa2net_lib.analysis.randomization import Mode, reinitialize_parts, reinitialized_steps
from msa2net_lib.analysis.saliency import (
    chance_likeness,
    edge_map,
    pointing,
    rank_correlation,
    share_inside,
    structural_similarity,
)
from msa2net_lib.analysis.slice_study import Study, network_input
from msa2net_lib.data.datasets import Case
from msa2net_lib.data.resize import resize_image, resize_label
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.intervals import t_interval
from msa2net_lib.nn.network import MSA2Net

LAYERS = (LAST, "level 0 block 2", "level 0 gate", "level 1 block 2", "level 2 block 2", "encoder stage 4")
"""Layers that the lesson compares, from the head downwards."""

PROBABILITY, EDGES, FLAT = "probability (baseline)", "edges of the image (baseline)", "the same everywhere (baseline)"
"""What stands beside the layers in `localization`."""

Targets = dict[str, tuple[int, "NDArray[np.bool_]"]]
"""Organ -> its class and its region (h, w)."""


@dataclass(frozen=True, eq=False)
class OrganView:
    """An organ in a study's slice as Figure B shows it: all maps are (h, w) on the slice's grid.

    heat: Grad-CAM at the layer asked for. attention: the gate's own map at level 0, mean over channels; it is the same
    for all organs. field: |gradient| of the organ's logit at ``center`` (row, column) with respect to the image.
    """

    organ: str
    truth: NDArray[np.bool_]
    predicted: NDArray[np.bool_]
    heat: NDArray[np.float32]
    probability: NDArray[np.float32]
    attention: NDArray[np.float32]
    field: NDArray[np.float32]
    center: tuple[int, int]


def organ_targets(label: NDArray, class_names: Sequence[str], organs: Sequence[str] | None = None) -> Targets:
    """Each organ of a label map (h, w) or (b, h, w) with its region; organs: these, or all that are there.

    Raises: `InputError` for an organ that the data set has not, or the label.
    """
    found = {organ: (index, label == index) for index, organ in enumerate(class_names, start=1)}
    if organs is None:
        return {organ: target for organ, target in found.items() if target[1].any()}
    for organ in organs:
        if organ not in found:
            raise InputError(f"organ {organ!r} is unknown: use {', '.join(class_names)}")
        if not found[organ][1].any():
            raise InputError(f"{organ}: is not in this slice; choose another slice or organ")
    return {organ: found[organ] for organ in organs}


def study_targets(study: Study, organs: Sequence[str] | None = None) -> Targets:
    """`organ_targets` of a study's slice."""
    return organ_targets(study.label, study.class_names, organs)


def innermost(mask: NDArray) -> tuple[int, int]:
    """The pixel (row, column) of a mask (h, w) that is farthest from its border."""
    depth = np.asarray(ndimage.distance_transform_edt(np.pad(mask, 1)))
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    return int(row) - 1, int(column) - 1


def heat_maps(
    network: MSA2Net, pixels: Tensor, targets: Targets, layers: Sequence[str] = LAYERS
) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Grad-CAM as plain numbers: target -> layer -> maps (b, h, w) on the input's grid."""
    found = grad_cam_layers(network, pixels, targets, {layer: layer for layer in layers})
    return {
        target: {layer: as_array(heat.values) for layer, heat in by_layer.items()} for target, by_layer in found.items()
    }


def organ_views(study: Study, layer: str = LAST, organs: Sequence[str] | None = None) -> list[OrganView]:
    """The organs of a study, smallest first as in the paper's figure. Raises: `InputError`, organ not in the slice."""
    targets, pixels = study_targets(study, organs), network_input(study.network, study.image[None])
    heat, attention = heat_maps(study.network, pixels, targets, [layer]), gate_map(study)
    with torch.inference_mode():
        logits = study.network(pixels)[0]
    views = []
    for organ, (class_index, truth) in sorted(targets.items(), key=lambda item: item[1][1].sum()):
        center = innermost(truth)
        views.append(
            OrganView(
                organ,
                truth,
                (logits.argmax(dim=0) == class_index).cpu().numpy(),
                heat[organ][layer][0],
                as_array(logits.softmax(dim=0)[class_index]),
                attention,
                logit_field(study.network, pixels, center, class_index),
                center,
            )
        )
    return views


def mixed_classes(study: Study, weights: Mapping[str, float]) -> Segmenter:
    """A study's network with one output in place of its classes: organs' logits summed with weights, (b, 1, h, w).

    Explaining it by class 0 explains the mixture. Raises: `InputError` for an organ that there is not.
    """
    mixture = torch.zeros(study.network.config.num_classes)
    for organ, weight in weights.items():
        mixture[study.organ_id(organ)] = weight
    return lambda pixels: einsum(study.network(pixels), mixture.to(pixels), "b k h w, k -> b h w")[:, None]


def gate_map(study: Study, level: int = 0) -> NDArray[np.float32]:
    """The attention map of a level's gate, mean over channels, on the slice's grid by bilinear interpolation (h, w)."""
    study.gate(level)  # names what is wrong with a level without one
    mean = reduce(study.traces[level].attention, "1 c h w -> 1 1 h w", "mean")
    wide = F.interpolate(mean, study.image.shape, mode="bilinear", align_corners=False)
    return as_array(wide[0, 0])


def pixel_spacing(case: Case, size: tuple[int, int]) -> tuple[float, float] | None:
    """Height and width in mm of a pixel at a network's input size; None where the case stores no voxel size."""
    if case.spacing is None:
        return None
    rows, columns = case.image.shape[1:]
    return case.spacing[1] * rows / size[0], case.spacing[2] * columns / size[1]


def slices_of(
    case: Case, size: tuple[int, int], count: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8], list[int]]:
    """Slices of a case spread evenly over those with organs, at a network's input size: images, labels, z of each."""
    occupied = [z for z in range(len(case.label)) if case.label[z].any()]
    chosen = [occupied[int(at)] for at in np.linspace(0, len(occupied) - 1, min(count, len(occupied)))]
    images = np.stack([resize_image(case.image[z], size) for z in chosen])
    return images, np.stack([resize_label(case.label[z], size) for z in chosen]), chosen


def as_array(tensor: Tensor) -> NDArray[np.float32]:
    """A tensor as float32 numbers on the CPU."""
    return tensor.float().cpu().numpy()


def localization(network: MSA2Net, case: Case, count: int = 12, layers: Sequence[str] = LAYERS) -> pd.DataFrame:
    """How well maps find the organ they were asked about, slice by slice, and maps that need no explanation beside.

    Columns: organ, map (a layer or a baseline), z, inside (`share_inside`) and pointing (`pointing`), nan for a map
    without heat. The organ's true region is both what is asked about and what is scored. An organ that a slice does not
    have gives no row. count: slices, spread over the case.
    """
    images, labels, chosen = slices_of(case, network.config.height_width, count)
    pixels, targets = network_input(network, images), organ_targets(labels, case.class_names)
    heat = heat_maps(network, pixels, targets, layers)
    with torch.inference_mode():
        probabilities = as_array(network.eval()(pixels).softmax(dim=1))
    edges, flat = np.stack([edge_map(image) for image in images]), np.ones(images.shape)
    rows = []
    for organ, (class_index, regions) in targets.items():
        maps = heat[organ] | {PROBABILITY: probabilities[:, class_index], EDGES: edges, FLAT: flat}
        for index, z in enumerate(chosen):
            region = regions[index]
            if region.any():
                rows += [
                    (organ, name, z, share_inside(values[index], region), pointing(values[index], region))
                    for name, values in maps.items()
                ]
    return pd.DataFrame(rows, columns=["organ", "map", "z", "inside", "pointing"])


def localization_over(
    network: MSA2Net, cases: Sequence[Case], count: int = 12, layers: Sequence[str] = LAYERS
) -> pd.DataFrame:
    """`localization` of several cases with a first column ``case``; count: slices of all together, a share of each."""
    share = max(1, count // len(cases))
    tables = [localization(network, case, share, layers).assign(case=case.name) for case in cases]
    return pd.concat(tables, ignore_index=True)


def over_cases(table: pd.DataFrame, name: str) -> dict[str, tuple[float, float, float]]:
    """A map's `localization_summary` case by case: inside and pointing -> mean over cases and 95 % interval (t)."""
    by_case = [localization_summary(rows).loc[name] for _, rows in table.groupby("case", sort=False)]
    values: Any = pd.DataFrame(by_case)
    return {key: (float(values[key].mean()), *t_interval(values[key])) for key in ("inside", "pointing")}


def layer_chances(network: MSA2Net, layers: Sequence[str] = LAYERS) -> dict[str, float]:
    """`chance_likeness` on each layer's own grid."""
    maps = feature_maps(network, network_input(network, np.zeros((1, *network.config.height_width), np.float32)))
    return {layer: chance_likeness((maps[layer].shape[-2], maps[layer].shape[-1])) for layer in layers}


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
    """How like a map stays if the same class is asked about in the image's corner, or in another organ.

    One row per layer: mean over organs of the size of `rank_correlation` with the map for the organ's own region; 0
    where a map is empty. Columns: "corner", "largest other organ".
    """
    targets, pixels = study_targets(study), network_input(study.network, study.image[None])
    own = heat_maps(study.network, pixels, targets, layers)
    corner = np.zeros_like(study.label, dtype=bool)
    corner[: len(corner) // 16, : len(corner) // 16] = True
    largest = {organ: next((other for other in study.organs if other != organ), organ) for organ in targets}
    regions = {
        "corner": {organ: (index, corner) for organ, (index, _) in targets.items()},
        "largest other organ": {organ: (index, targets[largest[organ]][1]) for organ, (index, _) in targets.items()},
    }
    columns = {}
    for title, asked in regions.items():
        other = heat_maps(study.network, pixels, asked, layers)
        columns[title] = {
            layer: similarity({o: own[o][layer][0] for o in targets}, {o: other[o][layer][0] for o in targets})[0]
            for layer in layers
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
    targets, pixels = study_targets(study, organs), network_input(study.network, study.image[None])
    trained = heat_maps(study.network, pixels, targets, layers)
    rows = []
    for seed in seeds:
        for part, reinitialized in reinitialized_steps(study.network, mode).items():
            found = heat_maps(reinitialize_parts(study.network, reinitialized, seed), pixels, targets, layers)
            for organ, (_, region) in targets.items():
                for layer in layers:
                    heat, before = found[organ][layer][0], trained[organ][layer][0]
                    scores = *similarity({"": before}, {"": heat}), share_inside(heat, region), not heat.any()
                    rows.append((mode, part, seed, organ, layer, *scores))
    return pd.DataFrame(rows, columns=["mode", "part", "seed", "organ", "layer", "rank", "ssim", "inside", "empty"])


def cascade_maps(
    study: Study, organ: str, layers: Sequence[str], steps: Sequence[str], seed: int
) -> dict[str, dict[str, NDArray[np.float32]]]:
    """An organ's maps while weights are drawn anew from the head downwards: step -> layer -> (h, w), trained first.

    Raises: `InputError` for a step that is none of `reinitialized_steps`.
    """
    targets, pixels = study_targets(study, [organ]), network_input(study.network, study.image[None])
    parts, networks = reinitialized_steps(study.network, "cascading"), {"as trained": study.network}
    for step in steps:
        if step not in parts:
            raise InputError(f"step {step!r} is unknown: use {', '.join(parts)}")
        networks[f"reinitialized down to:\n{step}"] = reinitialize_parts(study.network, parts[step], seed)
    return {
        step: {layer: heat[0] for layer, heat in heat_maps(network, pixels, targets, layers)[organ].items()}
        for step, network in networks.items()
    }


def baseline_similarity(study: Study, layers: Sequence[str] = LAYERS) -> pd.DataFrame:
    """How like the trained network's maps are to what needs no explanation: one row per layer, means over organs.

    Columns: rank correlation and SSIM with the organ's probability and with the edges of the image.
    """
    targets, pixels = study_targets(study), network_input(study.network, study.image[None])
    heat = heat_maps(study.network, pixels, targets, layers)
    with torch.inference_mode():
        probabilities = as_array(study.network(pixels)[0].softmax(dim=0))
    baselines = {
        "probability": {organ: probabilities[index] for organ, (index, _) in targets.items()},
        "edges": dict.fromkeys(targets, edge_map(study.image)),
    }
    return pd.DataFrame(
        {
            f"{name}, {title}": {
                layer: np.mean([score(heat[organ][layer][0], maps[organ]) for organ in targets]) for layer in layers
            }
            for name, score in {"rank": _rank, "ssim": _ssim}.items()
            for title, maps in baselines.items()
        }
    )


def similarity(first: Mapping[Any, NDArray], second: Mapping[Any, NDArray]) -> tuple[float, float]:
    """Mean size of the rank correlation, and mean SSIM, of two sets of maps (h, w) by name; 0 for an empty map."""
    pairs = [(first[name], second[name]) for name in first]
    return float(np.mean([abs(_rank(*pair)) for pair in pairs])), float(np.mean([_ssim(*pair) for pair in pairs]))


def _rank(one: NDArray, other: NDArray) -> float:
    return float(np.nan_to_num(rank_correlation(one, other)))


def _ssim(one: NDArray, other: NDArray) -> float:
    return structural_similarity(one, other) if np.ptp(one) and np.ptp(other) else 0.0


def survivors(table: pd.DataFrame, part: str) -> pd.Series:
    """Mean rank correlation (sign ignored) with the trained map at one step, by layer, the likest first."""
    means: Any = table[table.part == part].groupby("layer", sort=False)["rank"].mean()
    return means.sort_values(ascending=False)


def conclusions(localized: pd.DataFrame, cascade: pd.DataFrame, regions: pd.DataFrame) -> pd.DataFrame:
    """What each layer's map can be trusted for, one row per layer, from three tests.

    localized: `localization_summary`. cascade: `randomization_table`, cascading. regions: `region_dependence`. Columns:
    pointing, beside the probability's; after all weights are drawn anew, ``reinitialized`` (rank, sign ignored),
    mean over organs of the ``lowest`` and ``highest`` seed; ``corner``, similarity with the map for a region in the
    image's corner; and three conclusions: it finds the organ (pointing above one half), the weights matter (highest
    seed below one half; None where one half lies between lowest and highest), the region matters (corner below 0.9).
    """
    groups: Any = cascade[cascade.part == cascade.part.iloc[-1]].groupby(["layer", "seed"], sort=False)["rank"]
    by_layer = groups.mean().groupby("layer", sort=False)
    lowest, highest = by_layer.min(), by_layer.max()
    return pd.DataFrame(
        {
            "pointing": localized.pointing[regions.index],
            "of the probability": localized.pointing[PROBABILITY],
            "reinitialized": by_layer.mean(),
            "lowest": lowest,
            "highest": highest,
            "corner": regions.corner,
            "finds the organ": localized.pointing[regions.index] > 0.5,
            "weights matter": (highest < 0.5).astype(object).mask((lowest < 0.5) & (highest >= 0.5), None),
            "region matters": regions.corner < 0.9,
        }
    ).loc[regions.index]


def sentences(concluded: pd.DataFrame) -> list[str]:
    """One sentence per layer of `conclusions`."""
    finds = {True: "finds its organ", False: "does not find its organ"}
    weights = {
        True: "needs the trained weights",
        False: "looks alike with random weights",
        None: "not clear whether it needs the trained weights",
    }
    region = {True: "depends on the region asked about", False: "is the same whatever region is asked about"}
    return [
        f"{layer}: {finds[row['finds the organ']]}, {weights[row['weights matter']]}, {region[row['region matters']]}"
        for layer, row in concluded.to_dict("index").items()
    ]
