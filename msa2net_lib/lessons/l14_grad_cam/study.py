"""Heat maps of a study's organs, what stands beside them in Figure B, and what they are worth.

Worth: scores beside baselines, other regions, and reinitialized weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from einops import einsum, reduce
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from msa2net_lib.analysis.grad_cam import HeatMap, Segmenter, grad_cam_layers
from msa2net_lib.analysis.layers import LAST
from msa2net_lib.analysis.network_field import logit_field
from msa2net_lib.analysis.randomization import Mode, reinitialize_parts, reinitialized_steps
from msa2net_lib.analysis.saliency import edge_map, pointing, rank_correlation, share_inside, structural_similarity
from msa2net_lib.analysis.slice_study import Study, network_input
from msa2net_lib.data.datasets import Case
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.data.resize import resize_image, resize_label
from msa2net_lib.errors import InputError
from msa2net_lib.nn.network import MSA2Net

if TYPE_CHECKING:
    from numpy.typing import NDArray

LAYERS = (LAST, "level 0 block 2", "level 0 gate", "level 1 block 2", "level 2 block 2", "encoder stage 4")
"""Layers that the lesson compares, from the head downwards."""

PROBABILITY, EDGES, FLAT = "probability (baseline)", "edges of the image (baseline)", "the same everywhere (baseline)"
"""What stands beside the layers in `localization`."""

Targets = dict[str, tuple[int, "NDArray[np.bool_]"]]
"""Organ -> its class and its region (h, w)."""


@dataclass(frozen=True, eq=False)
class OrganView:
    """An organ in a study's slice as Figure B shows it: all maps are (h, w) on the slice's grid.

    heat: Grad-CAM at the layer asked for, own_grid the same on the layer's grid. attention: the gate's own map at level
    0, mean over channels; it is the same for all organs. field: |gradient| of the organ's logit at ``center`` (row,
    column) with respect to the image.
    """

    organ: str
    truth: NDArray[np.bool_]
    predicted: NDArray[np.bool_]
    heat: NDArray[np.float32]
    own_grid: NDArray[np.float32]
    probability: NDArray[np.float32]
    attention: NDArray[np.float32]
    field: NDArray[np.float32]
    center: tuple[int, int]


def organ_class(organ: str) -> int:
    """An organ's class in the logits. Raises: `InputError` for a name that is none of the eight."""
    if organ not in ORGANS:
        raise InputError(f"organ {organ!r} is unknown: use {', '.join(ORGANS)}")
    return ORGANS.index(organ) + 1


def organ_targets(label: NDArray, organs: Sequence[str] | None = None) -> Targets:
    """Each organ of a label map (h, w) or (b, h, w) with its region; organs: these, or all that are there."""
    chosen = [organ for organ in ORGANS if (label == organ_class(organ)).any()] if organs is None else organs
    found = {organ: (organ_class(organ), label == organ_class(organ)) for organ in chosen}
    if missing := [organ for organ, (_, region) in found.items() if not region.any()]:
        raise InputError(f"{missing[0]}: is not in this slice; choose another slice or organ")
    return found


def innermost(mask: NDArray) -> tuple[int, int]:
    """The pixel (row, column) of a mask (h, w) that is farthest from its border."""
    depth = np.asarray(ndimage.distance_transform_edt(np.pad(mask, 1)))
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    return int(row) - 1, int(column) - 1


def study_heat(study: Study, layers: Sequence[str] = LAYERS, organs: Sequence[str] | None = None) -> dict:
    """Grad-CAM of a study's organs: organ -> layer -> `HeatMap`, batch of one; the truth is the region."""
    pixels = network_input(study.network, study.image[None])
    return grad_cam_layers(study.network, pixels, organ_targets(study.label, organs), {name: name for name in layers})


def organ_views(study: Study, layer: str = LAST, organs: Sequence[str] | None = None) -> list[OrganView]:
    """The organs of a study, smallest first as in the paper's figure. Raises: `InputError`, organ not in the slice."""
    targets = organ_targets(study.label, organs)
    heat = study_heat(study, [layer], list(targets))
    pixels = network_input(study.network, study.image[None])
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
                as_array(heat[organ][layer].values[0]),
                as_array(heat[organ][layer].own[0]),
                as_array(logits.softmax(dim=0)[class_index]),
                gate_map(study),
                logit_field(study.network, pixels, center, class_index),
                center,
            )
        )
    return views


def mixed_classes(network: MSA2Net, weights: Mapping[str, float]) -> Segmenter:
    """A network with one output in place of its classes: organs' logits summed with these weights, (b, 1, h, w).

    Explaining it by class 0 explains the mixture. Raises: `InputError` for an organ that there is not.
    """
    mixture = torch.zeros(network.config.num_classes)
    for organ, weight in weights.items():
        mixture[organ_class(organ)] = weight
    return lambda pixels: einsum(network(pixels), mixture.to(pixels), "b k h w, k -> b h w")[:, None]


def pixel_spacing(case: Case, size: tuple[int, int]) -> tuple[float, float] | None:
    """Height and width in mm of a pixel at a network's input size; None where the case stores no voxel size."""
    if case.spacing is None:
        return None
    rows, columns = case.image.shape[1:]
    return case.spacing[1] * rows / size[0], case.spacing[2] * columns / size[1]


def gate_map(study: Study, level: int = 0) -> NDArray[np.float32]:
    """The attention map of a level's gate, mean over channels, on the slice's grid by bilinear interpolation (h, w)."""
    study.gate(level)  # names what is wrong with a level without one
    mean = reduce(study.traces[level].attention, "1 c h w -> 1 1 h w", "mean")
    wide = F.interpolate(mean, study.image.shape, mode="bilinear", align_corners=False)
    return as_array(wide[0, 0])


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


def survivors(table: pd.DataFrame, part: str) -> pd.Series:
    """Mean rank correlation (sign ignored) with the trained map at one step, by layer, the likest first."""
    means: Any = table[table.part == part].groupby("layer", sort=False)["rank"].mean()
    return means.sort_values(ascending=False)


def verdict_table(
    localized: pd.DataFrame, cascade: pd.DataFrame, regions: pd.DataFrame, layers: tuple[str, ...] = LAYERS
) -> pd.DataFrame:
    """What each layer's map can be trusted for, one row per layer, from three tests.

    localized: `localization_summary`. cascade: `randomization_table`, cascading. regions: `region_dependence`. Columns:
    pointing, beside the probability's; after all weights are drawn anew, ``reinitialized`` (rank, sign ignored),
    mean over organs of the ``lowest`` and ``highest`` seed; ``corner``, similarity with the map for a region in the
    picture's corner; and three verdicts: it finds the organ (pointing above one half), the weights matter (highest seed
    below one half; None where one half lies between lowest and highest), the region matters (corner below 0.9).
    """
    last = list(dict.fromkeys(cascade.part))[-1]
    groups: Any = cascade[cascade.part == last].groupby(["layer", "seed"], sort=False)["rank"]
    of_last = groups.mean().unstack()
    rows = {
        layer: {
            "pointing": localized.pointing[layer],
            "of the probability": localized.pointing[PROBABILITY],
            "reinitialized": of_last.loc[layer].mean(),
            "lowest": of_last.loc[layer].min(),
            "highest": of_last.loc[layer].max(),
            "corner": regions.corner[layer],
            "finds the organ": bool(localized.pointing[layer] > 0.5),
            "weights matter": _below(of_last.loc[layer], 0.5),
            "region matters": bool(regions.corner[layer] < 0.9),
        }
        for layer in layers
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def _below(by_seed: pd.Series, threshold: float) -> bool | None:
    """Whether all seeds are below a threshold; None where some are and some are not."""
    below = by_seed < threshold
    return bool(below.all()) if below.nunique() == 1 else None


def sentences(verdicts: pd.DataFrame) -> list[str]:
    """One sentence per layer of `verdict_table`."""
    weights = {
        True: "needs the trained weights",
        False: "looks alike with random weights",
        None: "not clear whether it needs the trained weights",
    }
    told = []
    for layer, row in verdicts.to_dict("index").items():
        finds = "finds its organ" if row["finds the organ"] else "does not find its organ"
        region = (
            "depends on the region asked about"
            if row["region matters"]
            else "is the same whatever region is asked about"
        )
        told.append(f"{layer}: {finds}, {weights[row['weights matter']]}, {region}")
    return told


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
