"""The network for a page that shows the gate at work: its stages' tensors as outputs, its interventions as inputs.

Two modules, so that a change to the gate does not run the encoder again. Both have one output, all tensors in a row,
and `LiveDecoder.layout` says where each lies: a page reads them without a copy.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from msa2net_lib.analysis.interventions import STAGES, Rule, shuffle_pixels
from msa2net_lib.errors import InputError
from msa2net_lib.nn.gates import AttentionGate
from msa2net_lib.nn.masag import MASAG, STEPS, MASAGTrace
from msa2net_lib.nn.network import MSA2Net

CONTROLS = ("scale of G", "X shuffled", "attention gate", *STAGES)
"""What a level's controls say, in order: a factor, then 0 or 1 each. "attention gate" puts it in MASAG's place."""


class Place(NamedTuple):
    """Where a tensor lies in the decoder's output: its first number, and its shape (c, h, w)."""

    start: int
    shape: tuple[int, int, int]


class LiveEncoder(nn.Module):
    """Images (b, 1, h, w) in [0, 1], as a page has them, to the encoder's four maps in a row (b, n)."""

    def __init__(self, network: MSA2Net):
        super().__init__()
        self.encoder = network.encoder

    def forward(self, image: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b n"]:
        return torch.cat([features.flatten(1) for features in self.encoder((image - 0.5) / 0.5)], dim=1)


class LiveDecoder(nn.Module):
    """The decoder with gates that obey: (b, n) of `LiveEncoder` and controls (b, 3, 11) to all tensors in a row.

    Controls are those of `CONTROLS` at each level with a gate, finest first; what a stage is when it is off is said by
    `analysis.interventions.STAGES`. With `as_trained` it computes what the network does.

    Args:
        network: a network with MASAG at levels 0 to 2; it stays as it is.
        others: an attention gate for each of these levels, trained in MASAG's place.

    Returns:
        Called with both: the logits, then every tensor of `MASAGTrace` level by level, (b, m); see `layout`.

    Raises:
        InputError: another network, or another number of gates.

    Example:
        >>> from msa2net_lib import MSA2Net, build_gate
        >>> network = MSA2Net.from_preset("tiny", image_size=64)
        >>> others = [build_gate("attention", channels) for channels in network.encoder.channels[:3]]
        >>> decoder = LiveDecoder(network, others)
        >>> decoder.layout["1/weight_x"].shape
        (1, 8, 8)

    Source: this project.
    """

    def __init__(self, network: MSA2Net, others: list[AttentionGate]):
        super().__init__()
        there = [level.gate == "masag" and "gate" not in level.unused for level in network.config.levels[:3]]
        if not all(there) or len(others) != 3:
            raise InputError("network: give one with MASAG at levels 0 to 2, and an attention gate for each of these")
        self.decoder = copy.deepcopy(network.decoder).eval()
        self.others = nn.ModuleList(copy.deepcopy(others)).eval()
        height, width = network.config.height_width
        self.sizes = [
            (c, height // s, width // s) for c, s in zip(network.encoder.channels, (4, 8, 16, 32), strict=True)
        ]
        for level, (_, rows, columns) in enumerate(self.sizes[:3]):
            cells = torch.arange(rows * columns).reshape(1, 1, rows, columns)
            self.register_buffer(f"order_{level}", shuffle_pixels(cells).flatten(), persistent=False)
        self.layout = self._layout(network.config.num_classes, height, width)

    def order(self, level: int) -> Tensor:
        """Which cell's numbers each cell of a shuffled X has, (h * w,)."""
        return cast(Tensor, getattr(self, f"order_{level}"))

    def forward(self, features: Float[Tensor, "b n"], controls: Float[Tensor, "b 3 k"]) -> Float[Tensor, "b m"]:
        maps = [
            part.unflatten(1, size)
            for part, size in zip(features.split([c * h * w for c, h, w in self.sizes], 1), self.sizes, strict=True)
        ]
        traces: dict[int, MASAGTrace] = {}

        def run(level: int, gate: MASAG, inputs: tuple[Tensor, Tensor], _: Tensor) -> Tensor:
            traces[level] = self._traced(level, gate, *inputs, controls[:, level])
            return traces[level].output

        levels: Any = self.decoder.levels
        hooks = [levels[level].gate.register_forward_hook(partial(run, level)) for level in range(3)]
        try:
            logits = self.decoder(maps)
        finally:
            for hook in hooks:
                hook.remove()
        tensors = [logits] + [tensor for level in range(3) for _, tensor in traces[level].items()]
        return torch.cat([tensor.flatten(1) for tensor in tensors], dim=1)

    def _traced(self, level: int, gate: MASAG, x: Tensor, g: Tensor, controls: Tensor) -> MASAGTrace:
        """One pass through a gate, changed as the controls (b, k) say."""
        switch = {name: controls[:, place, None, None, None] for place, name in enumerate(CONTROLS)}
        shuffled = x.flatten(2)[..., self.order(level)].unflatten(2, x.shape[-2:])
        x = torch.where(switch["X shuffled"] > 0.5, shuffled, x)
        other = self.others[level]

        def choose(name: str, gate: MASAG, t: SimpleNamespace) -> Tensor:
            value = STEPS[name](gate, t)
            for stage, (_, rules) in STAGES.items():
                if name in rules:
                    value = torch.where(switch[stage] > 0.5, rules[name](gate, t), value)
            if name in instead:
                value = torch.where(switch["attention gate"] > 0.5, instead[name](gate, t), value)
            return value

        instead: Mapping[str, Rule] = {
            "attention": lambda gate, t: cast(AttentionGate, other).attention(t.x, t.g).expand_as(t.x),
            "output": lambda gate, t: t.x_attended,
        }
        return gate.trace(x, switch["scale of G"] * g, {name: partial(choose, name) for name in STEPS})

    def _layout(self, classes: int, height: int, width: int) -> dict[str, Place]:
        """Name -> place: "logits", then "level/tensor"."""
        single = {"channel_mean", "channel_max", "global_context", "weight_x", "weight_g"}
        shapes = {"logits": (classes, height, width)}
        for level, (channels, rows, columns) in enumerate(self.sizes[:3]):
            for name in ("x", "g", *STEPS):
                shapes[f"{level}/{name}"] = (1 if name in single else channels, rows, columns)
        layout, start = {}, 0
        for name, (c, h, w) in shapes.items():
            layout[name] = Place(start, (c, h, w))
            start += c * h * w
        return layout


def as_trained(batch: int = 1) -> Tensor:
    """Controls (b, 3, 11) that change nothing."""
    controls = torch.zeros(batch, 3, len(CONTROLS))
    controls[..., CONTROLS.index("scale of G")] = 1
    return controls


def store_half(path: Path) -> int:
    """Store as 16-bit what 16 bits hold without a change of value, in an ONNX file, in place; returns its bytes.

    The shipped weights are such numbers. The file computes in 32 bits as before, bit for bit.
    """
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(path)
    kept, casts = [], []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        half = values.astype(np.float16) if values.dtype == np.float32 and values.size >= 64 else None
        if half is None or not np.array_equal(half.astype(np.float32), values):
            kept.append(tensor)
            continue
        kept.append(numpy_helper.from_array(half, f"{tensor.name}.half"))
        casts.append(helper.make_node("Cast", [f"{tensor.name}.half"], [tensor.name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    onnx.save(model, path)
    return path.stat().st_size


def affine(convolution: Any, norm: Any) -> dict[str, Tensor]:
    """A convolution and its norm in evaluation as a page writes them: scale * (weights . inputs) + shift."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    shift = norm.bias + scale * ((convolution.bias if convolution is not None else 0) - norm.running_mean)
    weights = {} if convolution is None else {"weight": convolution.weight.flatten(1)}
    return weights | {"scale": scale, "shift": shift}


def gate_weights(gate: MASAG, other: AttentionGate) -> dict[str, dict[str, Tensor]]:
    """Every number that a page needs to write a cell's arithmetic out, by layer; `affine` says how they are used."""
    local, mixed, last = gate.fusion.local_context, gate.fusion.global_context, gate.recalibration
    select = gate.selection.project
    theta, phi, psi = (cast(Any, part) for part in (other.theta_x, other.phi_g, other.psi))
    return {
        "depthwise": affine(local.depthwise, local.depthwise_norm),
        "dilated": affine(local.dilated, local.dilated_norm),
        "pointwise": affine(local.pointwise, local.pointwise_norm),
        "mix": affine(mixed.mix, mixed.norm),
        "fused": affine(None, gate.fusion.norm),
        "select": {"weight": select.weight.flatten(1), "scale": torch.ones(2), "shift": cast(Tensor, select.bias)},
        "attend": affine(last.attend, last.attend_norm),
        "project": affine(last.project, last.project_norm),
        "theta": affine(*theta),
        "phi": affine(*phi),
        "psi": affine(*psi),
    }
