"""The network for a page that shows the gate at work: its stages' tensors as outputs, its interventions as inputs.

Four modules, the encoder and one for each level with a gate, so that a change to a gate runs only what follows from it.
Each has one output, all its tensors in a row, and `LiveLevel.layout` says where each lies: a page reads them without a
copy.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
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
from msa2net_lib.nn.layout import map_to_tokens, tokens_to_map
from msa2net_lib.nn.masag import MASAG, STEPS, MASAGTrace
from msa2net_lib.nn.network import MSA2Net

CONTROLS = ("scale of G", "X shuffled", "attention gate", *STAGES)
"""What a level's controls say, in order: a factor, then 0 or 1 each. "attention gate" puts it in MASAG's place."""
LEVELS = (2, 1, 0)
"""The levels with a gate, in the order in which they run."""
_ONE_CHANNEL = ("channel_mean", "channel_max", "global_context", "weight_x", "weight_g")


class Place(NamedTuple):
    """Where a tensor lies in a level's output: its first number, and its shape (c, h, w)."""

    start: int
    shape: tuple[int, int, int]

    def of(self, row: Float[Tensor, "b n"]) -> Float[Tensor, "b c h w"]:
        """The tensor."""
        return row[:, self.start : self.start + torch.Size(self.shape).numel()].unflatten(1, self.shape)


class LiveEncoder(nn.Module):
    """Images (b, 1, h, w) in [0, 1] to what no gate changes, in a row (b, n).

    X of levels 0 to 2, then the tokens that the deepest level, which has no gate, hands to level 2.
    """

    def __init__(self, network: MSA2Net):
        super().__init__()
        self.encoder, self.deepest = network.encoder, network.decoder.levels[3]

    def forward(self, image: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b n"]:
        *maps, last = self.encoder((image - 0.5) / 0.5)
        tokens = self.deepest(map_to_tokens(last), (last.shape[-2], last.shape[-1]))
        return torch.cat([tensor.flatten(1) for tensor in (*maps, tokens)], dim=1)


class LiveLevel(nn.Module):
    """A decoder level whose gate obeys: X, the tokens from below and controls (b, 11) to all tensors in a row (b, m).

    First what follows the gate: the tokens for the next level, "next" (b, 1, n, c), of level 0 the logits. Then every
    tensor of `MASAGTrace`. Controls are `CONTROLS`; `analysis.interventions.STAGES` says what a stage is when off.
    """

    def __init__(self, network: MSA2Net, number: int, other: AttentionGate):
        super().__init__()
        self.level: Any = copy.deepcopy(network.decoder.levels[number]).eval()
        self.head = copy.deepcopy(network.decoder.head) if number == 0 else None
        self.other = copy.deepcopy(other).eval()
        channels = network.encoder.channels[number]
        height, width = (side // 2 ** (number + 2) for side in network.config.height_width)
        self.size = channels, height, width
        cells = torch.arange(height * width).reshape(1, 1, height, width)
        self.register_buffer("order", shuffle_pixels(cells).flatten(), persistent=False)
        """Which cell's numbers each cell of a shuffled X has."""
        made = {f"{number}/next": (1, 4 * height * width, channels // 2)}
        if self.head is not None:
            made = {"logits": (network.config.num_classes, 4 * height, 4 * width)}
        for name in ("x", "g", *STEPS):
            made[f"{number}/{name}"] = (1 if name in _ONE_CHANNEL else channels, height, width)
        starts = torch.tensor([0, *(torch.Size(shape).numel() for shape in made.values())]).cumsum(0).tolist()
        self.layout = {name: Place(start, shape) for start, (name, shape) in zip(starts, made.items(), strict=False)}

    def forward(
        self, x: Float[Tensor, "b c h w"], tokens: Float[Tensor, "b n c"], controls: Float[Tensor, "b k"]
    ) -> Float[Tensor, "b m"]:
        traces: list[MASAGTrace] = []

        def run(gate: MASAG, inputs: tuple[Tensor, Tensor], _: Tensor) -> Tensor:
            traces.append(self._traced(gate, *inputs, controls))
            return traces[0].output

        _, height, width = self.size
        hook = self.level.gate.register_forward_hook(run)
        try:
            made = self.level(tokens, (height, width), x)
        finally:
            hook.remove()
        if self.head is not None:
            made = self.head(tokens_to_map(made, 4 * height, 4 * width))
        return torch.cat([tensor.flatten(1) for tensor in (made, *(t for _, t in traces[0].items()))], dim=1)

    def _traced(self, gate: MASAG, x: Tensor, g: Tensor, controls: Tensor) -> MASAGTrace:
        """One pass through the gate, changed as the controls say."""
        switch = {name: controls[:, place, None, None, None] for place, name in enumerate(CONTROLS)}
        shuffled = x.flatten(2)[..., cast(Tensor, self.order)].unflatten(2, x.shape[-2:])
        x = torch.where(switch["X shuffled"] > 0.5, shuffled, x)

        def choose(name: str, gate: MASAG, t: SimpleNamespace) -> Tensor:
            value = STEPS[name](gate, t)
            for stage, (_, rules) in STAGES.items():
                if name in rules:
                    value = torch.where(switch[stage] > 0.5, rules[name](gate, t), value)
            if name in instead:
                value = torch.where(switch["attention gate"] > 0.5, instead[name](gate, t), value)
            return value

        instead: Mapping[str, Rule] = {
            "attention": lambda gate, t: self.other.attention(t.x, t.g).expand_as(t.x),
            "output": lambda gate, t: t.x_attended,
        }
        return gate.trace(x, switch["scale of G"] * g, {name: partial(choose, name) for name in STEPS})


class LiveNetwork:
    """The parts, and how one feeds the next.

    Args:
        network: a network with MASAG at levels 0 to 2; it stays as it is.
        others: an attention gate for each of these levels, trained in MASAG's place.

    Raises:
        InputError: another network, or another number of gates.

    Example:
        >>> import torch
        >>> from msa2net_lib import MSA2Net, build_gate
        >>> network = MSA2Net.from_preset("tiny", image_size=64)
        >>> live = LiveNetwork(network, [build_gate("attention", c) for c in network.encoder.channels[:3]])
        >>> live.tensors(torch.rand(1, 1, 64, 64), as_trained())["1/weight_x"].shape
        torch.Size([1, 1, 8, 8])

    Source: this project.
    """

    def __init__(self, network: MSA2Net, others: list[AttentionGate]):
        there = [level.gate == "masag" and "gate" not in level.unused for level in network.config.levels[:3]]
        if not all(there) or len(others) != 3:
            raise InputError("network: give one with MASAG at levels 0 to 2, and an attention gate for each of these")
        self.encoder = LiveEncoder(copy.deepcopy(network)).eval()
        self.levels = [LiveLevel(network, number, other).eval() for number, other in enumerate(others)]

    @torch.no_grad()
    def steps(
        self, image: Float[Tensor, "b 1 h w"], controls: Float[Tensor, "b 3 k"]
    ) -> Iterator[tuple[str, nn.Module, dict[str, Tensor], Tensor]]:
        """Name, module, inputs by name and output of each part, in the order in which they run."""
        row = self.encoder(image)
        yield "encoder", self.encoder, {"image": image}, row
        channels, height, width = self.levels[2].size
        sizes = [*(level.size for level in self.levels), (1, height * width, channels)]
        *maps, tokens = (
            part.unflatten(1, size)
            for part, size in zip(row.split([torch.Size(s).numel() for s in sizes], 1), sizes, strict=True)
        )
        for number in LEVELS:
            level = self.levels[number]
            inputs = {"x": maps[number], "tokens": tokens[:, 0], "controls": controls[:, number]}
            row = level(**inputs)
            yield f"level_{number}", level, inputs, row
            tokens = next(iter(level.layout.values())).of(row)

    def tensors(self, image: Float[Tensor, "b 1 h w"], controls: Float[Tensor, "b 3 k"]) -> dict[str, Tensor]:
        """Every tensor of a pass by its name in the layouts."""
        found = {}
        for _, module, _, row in self.steps(image, controls):
            if isinstance(module, LiveLevel):
                found |= {name: place.of(row) for name, place in module.layout.items()}
        return found


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
