"""What a gate does, as a graph of operations that is read off its own code by `torch.export`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from msa2net_lib.errors import InputError

BATCH, HEIGHT, WIDTH = 17, 13, 11
"""Sizes that a gate is traced with, which are no usual number of channels: so each axis is known by its length."""
INPUTS = {"x": "X: skip", "g": "G: decoder"}

_SAME_VALUES = {
    *("view", "reshape", "unsqueeze", "squeeze", "expand", "expand_as", "permute", "transpose", "chunk", "split"),
    *("to", "_to_copy", "clone", "contiguous", "alias", "detach", "detach_", "lift_fresh_copy"),
}
"""Operations that arrange the same values otherwise; not drawn, what they hand on is."""
_TAKES_ONE = {"conv2d", "conv3d", "batch_norm", "expand_as"}
"""Operations of one input; what else they are given are weights, statistics or a shape."""
_WORDS = {
    "batch_norm": "batch norm",
    "relu": "ReLU",
    "sigmoid": "sigmoid",
    "softmax": "softmax",
    "add": "+",
    "mul": "×",
    "cat": "concatenate",
    "upsample_bicubic2d": "stretch to h × w",
    "index": "permute pixels",
    "rsub": "1 minus",
}


@dataclass(frozen=True)
class Step:
    """One operation, or a source of values: its name in the traced graph, in words, and the steps that it takes from.

    shape: of its values without the batch, "24 × h × w".
    """

    name: str
    words: str
    shape: str
    takes: tuple[str, ...]


@dataclass(frozen=True)
class Box:
    """Steps that follow each other with no other way in or out, under the name of the last one."""

    name: str
    steps: tuple[Step, ...]
    takes: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        """What to write into it: each step, then the shape of what comes out."""
        words = [step.words for step in self.steps]
        return words if words in (["+"], ["×"], ["1 minus"]) else [*words, self.steps[-1].shape]


def trace_steps(gate: nn.Module, channels: int) -> dict[str, Step]:
    """Trace a gate in evaluation mode; the steps by name in the order of computation, the last one is "y".

    Weights and statistics belong to their layer's step; a learned or fixed tensor that is computed with by itself is a
    step of its own. What depends on no input and no such tensor is a constant, part of the step that uses it. Errors:
    `InputError` for a number of channels that would be taken for another axis.
    """
    if channels in (BATCH, HEIGHT, WIDTH):
        raise InputError(f"channels={channels} is taken for another axis in the drawing: use another number")
    features = torch.zeros(BATCH, channels, HEIGHT, WIDTH)
    was = gate.training
    try:
        program = torch.export.export(gate.eval(), (features, features.clone()), strict=False)
    finally:
        gate.train(was)
    steps: dict[str, Step] = {}
    origins: dict[Any, tuple[str, ...]] = {}
    stored = _stored(program)
    for node in program.graph.nodes:
        if node.op == "placeholder":
            if node.name in INPUTS:
                steps[node.name] = Step(node.name, INPUTS[node.name], _shape(node), ())
                origins[node] = (node.name,)
        elif node.op == "output":
            result = node.args[0][0]
            steps["y"] = Step("y", "Y", _shape(result), origins[result])
        elif node.meta.get("val") is not None:
            operation = _operation(node)
            inputs = node.all_input_nodes[:1] if operation in _TAKES_ONE else node.all_input_nodes
            for given in inputs:
                if given.name in stored and given not in origins:
                    steps[given.name] = Step(given.name, stored[given.name], _shape(given), ())
                    origins[given] = (given.name,)
            takes = tuple(name for given in inputs for name in origins.get(given, ()))
            if takes and operation not in _SAME_VALUES:
                steps[node.name] = Step(node.name, _words(node, operation), _shape(node), takes)
                takes = (node.name,)
            origins[node] = takes
    return steps


def boxes_of(steps: dict[str, Step]) -> dict[str, Box]:
    """Join steps that only hand on to each other; inputs and the output stay alone."""
    users = Counter(name for step in steps.values() for name in step.takes)
    found: dict[str, list[Step]] = {}
    for step in steps.values():
        before = step.takes[0] if len(step.takes) == 1 else ""
        joined = before and before not in INPUTS and step.name != "y" and users[before] == 1
        found[step.name] = [*found.pop(before), step] if joined else [step]
    return {name: Box(name, tuple(chain), chain[0].takes) for name, chain in found.items()}


def edges_of(boxes: dict[str, Box]) -> Iterator[tuple[str, str]]:
    """Arrows from box to box, one for each value that is taken."""
    return ((start, box.name) for box in boxes.values() for start in box.takes)


def _stored(program: ExportedProgram) -> dict[str, str]:
    signature = program.graph_signature
    learned, fixed = signature.inputs_to_parameters, signature.inputs_to_buffers
    words = {name: f"{target.split('.')[-1]}, learned" for name, target in learned.items()}
    return words | {name: f"{target.split('.')[-1]}, fixed" for name, target in fixed.items()}


def _operation(node: Any) -> str:
    packet = getattr(node.target, "overloadpacket", None)
    return packet.__name__ if packet is not None else getattr(node.target, "__name__", str(node.target))


def _words(node: Any, operation: str) -> str:
    if operation in ("conv2d", "conv3d"):
        return _convolution(node)
    if operation in ("mean", "amax"):
        over = "channels" if node.args[1] == [1] else "pixels"
        return f"{'mean' if operation == 'mean' else 'maximum'} over {over}"
    if operation in ("getitem", "select"):
        return f"part {node.args[-1] + 1}"
    return _WORDS.get(operation, operation)


def _convolution(node: Any) -> str:
    names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    given = dict(zip(names, node.args, strict=False)) | node.kwargs
    out, _, *kernel = given["weight"].meta["val"].shape
    channels, groups = given["input"].meta["val"].shape[1], given.get("groups", 1)
    words = f"conv {'×'.join(map(str, kernel))}"
    if groups > 1:
        words += " depthwise" if groups == channels else f" in {groups} groups"
    if max(given.get("dilation", [1])) > 1:
        words += f", dilation {given['dilation'][0]}"
    return words if out == channels else f"{words}, {channels} → {out}"


def _shape(node: Any) -> str:
    value = node.meta["val"]
    names = {HEIGHT: "h", WIDTH: "w", HEIGHT * WIDTH: "hw"}
    sizes = (value[0] if isinstance(value, list | tuple) else value).shape
    return " × ".join(str(names.get(size, size)) for size in sizes if size != BATCH)
