"""MASAG on a block of a scan: features of neighboring slices as a volume, and what the third dimension changes."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from einops import rearrange
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from msa2net_lib.data.datasets import Case
from msa2net_lib.data.resize import normalize, resize_images
from msa2net_lib.errors import InputError
from msa2net_lib.nn.gates import inflated
from msa2net_lib.nn.masag import MASAG
from msa2net_lib.nn.network import MSA2Net
from msa2net_lib.viz.plots import figure_grid, stamp

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class GateBlock:
    """Consecutive slices of a case as one gate of a network met them; make one with `gate_block`.

    image: (d, h, w) in about [0, 1] at the network's input size. x, g: (1, c, d, h', w') at the gate. gate: the 2-D
    gate. slices: z indices.
    """

    name: str
    image: NDArray[np.float32]
    x: Tensor
    g: Tensor
    gate: MASAG
    slices: range

    def slice_by_slice(self) -> Tensor:
        """The 2-D gate's attention maps of all slices, one after the other: (1, c, d, h', w')."""
        x, g = (rearrange(features, "1 c d h w -> d c h w") for features in (self.x, self.g))
        with torch.inference_mode():
            return rearrange(self.gate.attention(x, g), "d c h w -> 1 c d h w")

    def in_3d(self, gate: MASAG) -> Tensor:
        """A 3-D gate's attention maps of the whole block: (1, c, d, h', w')."""
        with torch.inference_mode():
            return gate.attention(self.x, self.g)


def gate_block(network: MSA2Net, case: Case, slices: range, level: int = 0) -> GateBlock:
    """Run consecutive slices of a case through a network and keep what one of its gates got.

    Raises: `InputError` for slices that the case does not have, and a level without MASAG.
    """
    if not slices or slices.step != 1 or slices[0] < 0 or slices[-1] >= len(case.image):
        raise InputError(f"{slices}: {case.name} has slices 0 to {len(case.image) - 1}; give a range of them")
    height, width = network.config.height_width
    image = resize_images(case.image[slices[0] : slices[-1] + 1], (height, width))
    pixels = rearrange(torch.from_numpy(normalize(image)).float(), "d h w -> d 1 h w")
    with torch.inference_mode():
        traces = network.eval().trace_gates(pixels.to(next(network.parameters()).device))
    if level not in traces:
        raise InputError(f"level {level} has no MASAG: use one of {', '.join(map(str, sorted(traces)))}")
    gate = network.decoder.levels[level].gate
    assert isinstance(gate, MASAG)
    trace = traces[level]
    # Copies outside of inference mode: influence is measured by gradient.
    x, g = (rearrange(features, "d c h w -> 1 c d h w").clone().cpu() for features in (trace.x, trace.g))
    return GateBlock(case.name, image, x, g, copy.deepcopy(gate).cpu().eval(), slices)


def with_depth(gate: MASAG, share: float = 0.25) -> MASAG:
    """A 3-D gate from a 2-D one whose two 3x3x3 kernels take ``share`` of their weight from the slice on either side.

    Made by hand and not trained: share 0 is `inflated`, 1/3 weighs three slices alike. Raises: `InputError` for a share
    outside 0 to 0.5.
    """
    if not 0 <= share <= 0.5:
        raise InputError(f"share={share}: give 0 to 0.5, the weight of the slice on either side")
    volume = inflated(gate)
    local = volume.fusion.local_context
    with torch.no_grad():
        for layer in (local.depthwise, local.dilated):
            middle = layer.weight[:, :, 1].clone()
            for plane, part in enumerate((share, 1 - 2 * share, share)):
                layer.weight[:, :, plane] = part * middle
    return volume


def slice_influence(gate: MASAG, block: GateBlock, z: int) -> pd.Series:
    """How much a slice's attention map hangs on x of every slice: mean absolute gradient, by distance in slices.

    z: position in the block. The largest value is set to 1.
    """
    with torch.inference_mode(False):
        x = block.x.clone().requires_grad_()
        gate.attention(x, block.g.clone())[:, :, z].sum().backward()
    assert x.grad is not None
    size = x.grad.abs().mean(dim=(0, 1, 3, 4)).numpy()
    return pd.Series(size / size.max(), index=np.arange(len(size)) - z)


def flicker(attention: Tensor) -> float:
    """Mean absolute difference of an attention map (1, c, d, h, w) from one slice to the next."""
    return float(attention.diff(dim=2).abs().mean())


def draw_gate_block(block: GateBlock, volume_gate: MASAG, source: str) -> Figure:
    """A coronal section: the scan, the map slice by slice, the map in 3-D, their difference; and who has a say.

    Maps are means over channels. The last panel is `slice_influence` at the middle of the block for both. Sections are
    stretched along the patient, for a block is thin.
    """
    row = block.x.shape[-2] // 2
    flat, deep = (
        attention.mean(dim=1)[0, :, row].numpy() for attention in (block.slice_by_slice(), block.in_3d(volume_gate))
    )
    change = deep - flat
    low, high, most = min(flat.min(), deep.min()), max(flat.max(), deep.max()), max(float(np.abs(change).max()), 1e-6)
    picture = block.image[:, round(row * block.image.shape[-2] / block.x.shape[-2])]
    figure, axes = figure_grid(1, 5, width=2.5, height=2.1)
    sections = (
        ("the scan", picture, 0.0, 1.0),
        ("map, 2-D slice by slice", flat, low, high),
        ("map, 3-D", deep, low, high),
        ("3-D minus 2-D", change, -most, most),
    )
    for ax, (title, values, black, white) in zip(axes[0, :4], sections, strict=True):
        drawn = _section(ax, block, values, title, black, white)
        figure.colorbar(drawn, ax=ax, orientation="horizontal", shrink=0.8).ax.tick_params(labelsize=6)
    axes[0, 0].set_ylabel("slice", fontsize=8)
    _draw_influence(axes[0, 4], block, volume_gate)
    return stamp(figure, f"{block.name}, coronal section, stretched; depth set by hand, not trained\n{source}")


def _section(ax: Axes, block: GateBlock, values: NDArray, title: str, black: float, white: float) -> AxesImage:
    extent = (0.0, 1.0, block.slices[0] - 0.5, block.slices[-1] + 0.5)
    drawn = ax.imshow(
        values, "gray", aspect="auto", interpolation="nearest", vmin=black, vmax=white, origin="lower", extent=extent
    )
    for x, letter in ((0.04, "R"), (0.96, "L")):
        box = {"facecolor": "black", "edgecolor": "none", "pad": 1}
        ax.text(x, 0.5, letter, transform=ax.transAxes, color="white", ha="center", va="center", fontsize=8, bbox=box)
    ax.set_title(title, fontsize=8)
    ax.set_xticks([])
    ax.tick_params(labelsize=7)
    return drawn


def _draw_influence(ax: Axes, block: GateBlock, volume_gate: MASAG) -> None:
    middle = len(block.slices) // 2
    for gate, style, color, label in (
        (inflated(block.gate), "s--", "0.55", "2-D"),
        (volume_gate, "o-", "black", "3-D"),
    ):
        influence = slice_influence(gate, block, middle).loc[-5:5]
        ax.plot(influence.index, influence, style, color=color, label=label, markersize=4)
    ax.set_yscale("symlog", linthresh=1e-2)
    ax.set_title("influence of x on the map", fontsize=8)
    ax.set_xlabel("slices away", fontsize=8)
    ax.tick_params(labelsize=7)
    ax.legend(fontsize=7, frameon=False)
