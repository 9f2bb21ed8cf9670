"""Heat maps of a study's organs, and what stands beside them in Figure B."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from einops import einsum, rearrange, reduce
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from msa2net_lib.analysis.grad_cam import Segmenter, grad_cam_layers
from msa2net_lib.analysis.layers import LAST
from msa2net_lib.analysis.network_field import logit_field
from msa2net_lib.data.datasets import Case
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.data.resize import normalize, resize_image, resize_label
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.slice_study import Study
from msa2net_lib.nn.network import MSA2Net

if TYPE_CHECKING:
    from numpy.typing import NDArray

LAYERS = (LAST, "level 0 block 2", "level 0 gate", "level 1 block 2", "level 2 block 2", "encoder stage 4")
"""Layers that the lesson compares, from the head downwards."""

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


def network_input(network: MSA2Net, images: NDArray) -> Tensor:
    """Slices (n, h, w) in [0, 1] at the network's input size, as it takes them, (n, 1, h, w) on its device."""
    return rearrange(torch.from_numpy(normalize(images)), "n h w -> n 1 h w").to(next(network.parameters()).device)


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
