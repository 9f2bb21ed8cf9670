"""Where a network's skips join its decoder, read off one forward pass of the live module: nothing is typed here.

Every operation is recorded with what it takes (`record_operations`); what that means for the skips follows from the
shapes and from what depends on what (`trace_skips`). Networks are on torch's "meta" device: no memory, no arithmetic.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from msa2net_lib.analysis.complexity import evaluating
from msa2net_lib.baselines.spec import config_of
from msa2net_lib.errors import InputError

Place = tuple[int, int]
"""Stride, in pixels of the image a cell, and channels of a map."""
BATCH = 3
"""Images of the traced pass: what has another first axis are windows or weights, and no map of the image."""
JOINS = {
    **dict.fromkeys(("add", "add_", "addmm", "baddbmm"), "+"),
    **dict.fromkeys(("mul", "mul_"), "×"),
    **dict.fromkeys(("bmm", "mm", "matmul"), "@"),
    "cat": "cat",
}
"""Operations that can bring two maps together, as a card writes them; "@" is a matrix product."""


@dataclass(frozen=True)
class Operation:
    """One operation as it ran: its name, its part (a direct child of the network, "" outside), numbers of tensors.

    places: of what it gives, see `place_of`.
    """

    name: str
    part: str
    takes: tuple[int, ...]
    gives: tuple[int, ...]
    places: tuple[Place | None, ...]


class Role(NamedTuple):
    """What a tensor is to the U: "encoder", "bridge" (of a part), "skip" or "joined" (of a stride), or "decoder"."""

    kind: str
    stride: int = 0
    part: str = ""


@dataclass
class Skip:
    """Encoder features of one stride that join the decoder: how, by which operations, and what they went through.

    stride: pixels of the image a cell; a bridge gives maps of several. channels: of the encoder's map. joins: the
    operations that take the skip and the decoder's features, in their order. through: parts of the network that the
    skip passed before. bridge: that of them in which maps of several strides meet. inside: parts that hold the joins.
    """

    stride: int
    channels: int
    joins: list[str] = field(default_factory=list)
    through: list[str] = field(default_factory=list)
    bridge: str = ""
    inside: set[str] = field(default_factory=set)

    @property
    def words(self) -> str:
        """The operations, those that repeat counted: "2+ 3× cat"."""
        runs: list[list[Any]] = []
        for join in self.joins:
            if runs and runs[-1][0] == join:
                runs[-1][1] += 1
            else:
                runs.append([join, 1])
        return " ".join(join if count == 1 else f"{count}{join}" for join, count in runs)


@dataclass(frozen=True)
class Trace:
    """A network's U: channels of the encoder's maps by stride, the coarsest grid's stride, its skips, finest first."""

    maps: dict[int, int]
    coarsest: int
    skips: list[Skip]
    bridges: tuple[str, ...]


def place_of(shape: Sequence[int], size: int) -> Place | None:
    """(stride, channels) of a map (b, c, h, w) or (b, h, w, c), or of tokens (b, n, c), of square images; else None.

    A side may miss a cell, as TransUNet's 55 of 56 does; strides are powers of two up to 32.
    """
    if len(shape) not in (3, 4) or shape[0] != BATCH:
        return None
    if len(shape) == 3:
        is_grid = math.isqrt(shape[1]) ** 2 == shape[1] and shape[2] > 1  # one number a channel is no map
        sides = [(math.isqrt(shape[1]), shape[2])] if is_grid else []
    else:
        sides = [(shape[2], shape[1])] * (shape[2] == shape[3]) + [(shape[1], shape[3])] * (shape[1] == shape[2])
    for side, channels in sides:
        for stride in (1, 2, 4, 8, 16, 32):
            if abs(side - size // stride) <= (side > 50):
                return stride, channels
    return None


class _Recorder(TorchDispatchMode):
    """Notes operations on tensors that come from the image; tensors are kept, so that a number is never used twice."""

    def __init__(self, size: int):
        super().__init__()
        self.size, self.operations, self.part = size, [], [""]
        self._numbers: dict[int, tuple[int, Tensor]] = {}

    def number(self, tensor: Tensor) -> int:
        """The number of a tensor, a new one the first time."""
        return self._numbers.setdefault(id(tensor), (len(self._numbers), tensor))[0]

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        takes = tuple(self.number(t) for t in given if id(t) in self._numbers)
        result = func(*args, **(kwargs or {}))
        found = [t for t in tree_leaves(result) if isinstance(t, Tensor)] if takes else []
        if found:
            places = tuple(place_of(tensor.shape, self.size) for tensor in found)
            gives = tuple(map(self.number, found))
            self.operations.append(Operation(func.overloadpacket.__name__, self.part[-1], takes, gives, places))
        return result


def one_pass(network: Any) -> nn.Module:
    """What makes logits of an image in one call: the network, or of DermoSegDiff its denoiser, which takes one step."""
    denoiser = getattr(network, "denoiser", None)
    if denoiser is None:
        return network
    denoiser.config = network.config
    denoiser.register_forward_pre_hook(
        lambda _, image: (image[0][:, :1], image[0].expand(-1, 3, -1, -1), image[0].new_zeros(len(image[0])))
    )
    return denoiser


def record_operations(network: nn.Module) -> tuple[list[Operation], dict[str, list[tuple[int, ...]]]]:
    """Run one pass in evaluation mode; its operations, and what each direct child put out, by calls.

    Of a network that is one module within another, the inner one's children count. Raises: `InputError` for a network
    whose images are not square: grids are known by their sides.
    """
    like, (height, width) = next(network.parameters()), config_of(network).height_width
    if height != width:
        raise InputError(f"image_size={(height, width)}: skips are traced on square images; build it for one")
    images = torch.zeros(BATCH, 3, height, width, device=like.device, dtype=like.dtype)
    recorder = _Recorder(width)
    outputs: dict[str, list[tuple[int, ...]]] = defaultdict(list)
    home = network
    while len(children := dict(home.named_children())) == 1:
        (home,) = children.values()

    def leave(name: str, child: nn.Module, part: nn.Module, _: Any, result: Any) -> None:
        recorder.part.pop()
        if part is child:
            found = [tensor for tensor in tree_leaves(result) if isinstance(tensor, Tensor)]
            outputs[name].append(tuple(map(recorder.number, found)))

    with evaluating(network) as undo, torch.no_grad():
        for name, child in children.items():
            # Several networks call the parts of a child, and not the child.
            for part in child.modules():
                enter = part.register_forward_pre_hook(lambda *_, name=name: recorder.part.append(name))
                undo.callback(enter.remove)
                undo.callback(part.register_forward_hook(partial(leave, name, child)).remove)
        recorder.number(images)
        with recorder:
            network(images)
    return recorder.operations, outputs


def trace_skips(network: nn.Module) -> Trace:
    """Follow the encoder's features through one pass to where they meet what has come up from the coarsest grid.

    The encoder is every part that has run when the coarsest grid is first reached. A bridge is another part that puts
    out maps of several strides in one call. Decoder features depend on the coarsest map; a skip is what left the
    encoder or a bridge on a finer grid and does not. An operation of `JOINS` that brings both together is a join, and
    so is one that brings its result together with either once more, as a gate does. What joins on the coarsest grid
    itself is no skip. Raises: `InputError` as `record_operations`, and where no grid is known.
    """
    operations, outputs = record_operations(network)
    made = {number: place for one in operations for number, place in zip(one.gives, one.places, strict=True)}
    if not any(made.values()):
        raise InputError("no map of the image was found: a cell has to be 1, 2, 4, 8, 16 or 32 pixels wide")
    coarsest = max(place[0] for place in made.values() if place is not None)
    first = next(i for i, one in enumerate(operations) if coarsest in [place[0] for place in one.places if place])
    encoder = {one.part for one in operations[: first + 1]} - {""}
    several = {
        name: max(len({place[0] for n in call if (place := made.get(n))}) for call in calls)
        for name, calls in outputs.items()
    }
    bridges = tuple(name for name, strides in several.items() if strides > 1 and name not in encoder)
    maps: dict[int, int] = {}
    skips: dict[int, Skip] = {}
    roles: dict[int, Role] = {}
    for index, one in enumerate(operations):
        if one.part in encoder or (not one.part and index <= first):
            roles |= dict.fromkeys(one.gives, Role("encoder"))
            continue
        taken = []
        for number in one.takes:
            role = roles.get(number)
            if role is not None and role.kind in ("encoder", "bridge"):
                # Where the shape says nothing, as of windows, what is made of it may.
                place = made.get(number) or one.places[0]
                role = _outside(role, place, coarsest, maps, skips) if place else None
            if role is not None:
                taken.append(role)
        if one.part in bridges:
            roles |= dict.fromkeys(one.gives, Role("bridge", part=one.part))
        elif taken:
            on_coarsest = one.places[0] is not None and one.places[0][0] == coarsest
            roles |= dict.fromkeys(one.gives, _joined(one, taken, skips, on_coarsest))
    found = [skip for _, skip in sorted(skips.items()) if skip.joins]
    for skip in found:
        skip.through = [part for part in skip.through if part not in skip.inside]
    return Trace(dict(sorted(maps.items())), coarsest, found, bridges)


def _outside(role: Role, place: Place, coarsest: int, maps: dict[int, int], skips: dict[int, Skip]) -> Role:
    """What a tensor counts as outside the part that made it: a skip where it is finer than the coarsest grid."""
    stride, channels = place
    if role.kind == "encoder":
        maps.setdefault(stride, channels)
    if stride == coarsest:
        return Role("decoder")
    skip = skips.setdefault(stride, Skip(stride, channels))
    if role.kind == "bridge" and role.part not in skip.through:
        skip.bridge, skip.through = role.part, [role.part]
    return Role("skip", stride)


def _joined(one: Operation, taken: list[Role], skips: dict[int, Skip], on_coarsest: bool) -> Role:
    """The role of what an operation gives; a join is noted with its skip, the finest of those that it takes."""
    strides = [role.stride for role in taken if role.kind in ("skip", "joined")]
    if not strides or (on_coarsest and Role("decoder") in taken):
        return Role("decoder")
    stride = min(strides)
    skip, kinds = skips[stride], {role.kind if role.stride == stride else "decoder" for role in taken}
    if kinds == {"skip"} or not any(role.kind != "skip" for role in taken):
        if one.part and one.part not in skip.through:
            skip.through.append(one.part)
        return Role("skip", stride)
    if len(kinds) > 1 and one.name in JOINS:
        skip.joins.append(JOINS[one.name])
        skip.inside.add(one.part)
    return Role("joined", stride)
