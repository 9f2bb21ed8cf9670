"""Grad-CAM for segmentation: where a layer's features speak for the logits of one class in a region.

Source: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization" (ICCV
2017); the paper's Figure B. A classifier has one score per class, a segmentation has one per class and pixel: the
score here is the sum of a class's logits over a region, as Vinogradova et al. do in Seg-Grad-CAM (AAAI 2020).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import torch
from einops import einsum, rearrange, reduce
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from msa2net_lib.analysis.layers import LAST, Place, differentiable, find_place, watched
from msa2net_lib.errors import InputError
from msa2net_lib.utils.system_info import how_to_install, lessons_extra

Evidence = Literal["positive", "both"]
"""What stays of a map: "positive" is Grad-CAM's ReLU, which drops what speaks against the class; "both" keeps it."""
Segmenter = Callable[[Tensor], Tensor]
"""Images (b, ch, h, w) -> logits (b, k, h, w): a module, or a function that calls one."""


@dataclass(frozen=True, eq=False)
class HeatMap:
    """A Grad-CAM: ``values`` (b, h, w) on the input's grid, bilinear, and ``own`` (b, h', w') as the layer made it."""

    values: Float[Tensor, "b h w"]
    own: Float[Tensor, "b h2 w2"]


def grad_cam(
    network: Segmenter,
    image: Float[Tensor, "b ch h w"],
    target_mask: Float[Tensor, "b h w"] | NDArray,
    class_index: int,
    layer: str | nn.Module | Place = LAST,
    evidence: Evidence = "positive",
) -> HeatMap:
    """Grad-CAM of a class's logits, summed over a region, at one layer; computed by Captum's `LayerGradCam`.

    image: as the network takes it. target_mask: (h, w), or (b, h, w) with one region per image; numbers other than 0
    and 1 weigh pixels. layer: a name of `layers.places`, a module of any network that gives maps, or a `Place`.
    Modules run in evaluation mode. Unit: logits, summed over the region, as far as the layer's features carry
    them linearly, per pixel of the layer. Raises: `InputError` for shapes, classes and layers that do not fit, and
    without Captum.
    """
    if importlib.util.find_spec("captum") is None:
        raise InputError(f"captum is not installed: {how_to_install(lessons_extra())}")
    from captum.attr import LayerGradCam

    _check_evidence(evidence)

    def score(pixels: Tensor) -> Tensor:
        return region_score(network(pixels), target_mask, class_index)

    with differentiable(network), watched({"": find_place(network, layer)}) as probes:
        attributed = LayerGradCam(score, probes[""]).attribute(
            _leaf(image),
            relu_attributions=evidence == "positive",
            grad_kwargs={"materialize_grads": True},  # zeros for a class that the layer does not reach
        )
    assert isinstance(attributed, Tensor)
    return _on_input_grid(rearrange(attributed.detach(), "b 1 h w -> b h w"), image)


def region_score(
    logits: Float[Tensor, "b k h w"], target_mask: Float[Tensor, "b h w"] | NDArray, class_index: int
) -> Float[Tensor, " b"]:
    """Sum of one class's logits over a region, per image. Raises: `InputError`, class or mask do not fit the logits."""
    if not 0 <= class_index < logits.shape[1]:
        raise InputError(f"class_index={class_index}: the network has the classes 0 to {logits.shape[1] - 1}")
    mask = torch.as_tensor(target_mask).to(logits)
    if mask.shape[-2:] != logits.shape[-2:] or mask.ndim > 3 or (mask.ndim == 3 and len(mask) not in (1, len(logits))):
        raise InputError(
            f"target_mask of shape {tuple(mask.shape)} does not fit logits of shape {tuple(logits.shape)}: "
            "give (h, w), or (b, h, w) with one region per image"
        )
    return reduce(logits[:, class_index] * mask, "b h w -> b", "sum")


def combine(
    activations: Float[Tensor, "b c h w"], gradients: Float[Tensor, "b c h w"], evidence: Evidence = "positive"
) -> Float[Tensor, "b h w"]:
    """Grad-CAM's formula: channels summed with their mean gradients as weights, then ReLU.

    activations: a layer's maps. gradients: of the score, with respect to them. Source: Equations 1 and 2 of Grad-CAM.
    """
    weights = reduce(gradients, "b c h w -> b c", "mean")
    summed = einsum(weights, activations, "b c, b c h w -> b h w")
    return summed.relu() if evidence == "positive" else summed


def grad_cam_layers(
    network: Segmenter,
    image: Float[Tensor, "b ch h w"],
    targets: Mapping[str, tuple[int, Tensor | NDArray]],
    layers: Mapping[str, str | nn.Module | Place],
    evidence: Evidence = "positive",
) -> dict[str, dict[str, HeatMap]]:
    """The same as `grad_cam` for many targets and layers: target -> layer -> map, from one forward pass.

    targets: name -> (class_index, target_mask). layers: name -> layer. Captum passes through the whole network once
    per target and layer; here each target costs one backward pass. Raises: as `grad_cam`.
    """
    _check_evidence(evidence)
    maps: dict[str, Tensor] = {}
    with differentiable(network), watched({name: find_place(network, one) for name, one in layers.items()}) as probes:
        for name, probe in probes.items():
            probe.register_forward_hook(partial(_keep, maps, name))
        logits = network(_leaf(image))
        if unused := [name for name in layers if name not in maps]:
            raise InputError(f"layer {unused[0]!r} did not run: take one that does")
        found: dict[str, dict[str, HeatMap]] = {}
        for target, (class_index, mask) in targets.items():
            score = region_score(logits, mask, class_index).sum()
            features = [maps[name] for name in layers]
            gradients = torch.autograd.grad(score, features, retain_graph=True, materialize_grads=True)
            found[target] = {
                name: _on_input_grid(combine(one, gradient, evidence).detach(), image)
                for name, one, gradient in zip(layers, features, gradients, strict=True)
            }
    return found


def _keep(maps: dict[str, Tensor], name: str, probe: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
    maps[name] = output


def disc(height: int, width: int, row: int, column: int, radius: float) -> Tensor:
    """A clicked region: 1 within ``radius`` pixels of a pixel, 0 elsewhere, (h, w) float32. Raises: `InputError`."""
    if not (0 <= row < height and 0 <= column < width) or radius < 0:
        raise InputError(f"row={row}, column={column}, radius={radius}: give a pixel of the {height} x {width} image")
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return ((rows - row).square() + (columns - column).square() <= radius**2).float()


def _leaf(image: Tensor) -> Tensor:
    """The image as the start of a graph, so that frozen weights do no harm."""
    if image.ndim != 4:
        raise InputError(f"image of shape {tuple(image.shape)}: give (batch, channels, height, width)")
    return image.detach().clone().requires_grad_()


def _on_input_grid(own: Float[Tensor, "b h2 w2"], image: Tensor) -> HeatMap:
    size = (image.shape[-2], image.shape[-1])
    wide = F.interpolate(rearrange(own, "b h w -> b 1 h w"), size, mode="bilinear", align_corners=False)
    return HeatMap(rearrange(wide, "b 1 h w -> b h w"), own)


def _check_evidence(evidence: str) -> None:
    if evidence not in get_args(Evidence):
        raise InputError(f"evidence={evidence!r} is unknown: use {' or '.join(get_args(Evidence))}")
