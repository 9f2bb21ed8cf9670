"""Layers of a network by readable names, and a way to watch them as maps, tokens or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from msa2net_lib.errors import InputError
from msa2net_lib.inference import evaluation_mode
from msa2net_lib.nn.layout import TokenLayout, map_to_tokens, tokens_to_map
from msa2net_lib.nn.network import MSA2Net

LAST = "last decoder layer"
"""The map that enters the 1x1 convolution to classes, at the size of the input."""
LOGITS = "logits"


@dataclass(frozen=True, eq=False)
class Place:
    """A layer whose output is looked at: a map (b, c, h, w), or tokens (b, h*w, c) laid out on ``grid`` (h, w)."""

    module: nn.Module
    grid: tuple[int, int] | None = None
    layout: TokenLayout = "grid"


def places(network: MSA2Net) -> dict[str, Place]:
    """Layers of an MSA²Net that run, from the head down to the first encoder stage, by readable names.

    `LOGITS`, `LAST`; per decoder level (0 is finest) "level 0 block 2" and "block 1", "merged" (the norm of G + Y),
    "gate" (its output Y), "g" (gating features), and "expanded", the map that the next finer level starts from;
    "encoder stage 4" to "encoder stage 1". In presets with the token layout "reinterpreted" the maps of gated levels do
    not lie on their true grid (lesson 08), so that what is found there is not where it seems.
    """
    height, width = network.config.height_width
    levels: list[Any] = list(network.decoder.levels)
    found = {LOGITS: Place(network.decoder.head)}
    for index, level in enumerate(levels):
        unused, grid = level.config.unused, (height >> (index + 2), width >> (index + 2))
        expanded = (level.expand.scale * grid[0], level.expand.scale * grid[1])
        found[f"level {index} expanded" if index else LAST] = Place(level.expand, expanded)
        if "blocks" not in unused:
            blocks = list(enumerate(level.blocks, start=1))
            found |= {f"level {index} block {number}": Place(block, grid) for number, block in reversed(blocks)}
        if level.gate is None or index == len(levels) - 1:
            continue  # the deepest level merges no skip
        found[f"level {index} merged"] = Place(level.norm, grid)
        if "gate" not in unused:
            found[f"level {index} gate"] = Place(level.gate, grid)
        found[f"level {index} g"] = Place(level.linear, grid, level.layout)
    stages = network.encoder.backbone.stages
    return found | {f"encoder stage {index + 1}": Place(stages[index]) for index in reversed(range(len(stages)))}


def is_encoder(layer: str) -> bool:
    """Whether a name of `places` is of the encoder."""
    return layer.startswith("encoder")


def feature_maps(network: MSA2Net, pixels: Float[Tensor, "b ch h w"]) -> dict[str, Tensor]:
    """Run a batch through a network in evaluation mode: its `places`, as they are computed -> maps (b, c, h, w)."""
    found: dict[str, Tensor] = {}

    def keep(layer: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda _, __, output: found.update({layer: output})

    network = network.eval()
    with watched(places(network)) as probes, torch.inference_mode():
        for layer, probe in probes.items():
            probe.register_forward_hook(keep(layer))
        network(pixels)
    return found


def find_place(network: Callable[[Tensor], Tensor], layer: str | nn.Module | Place) -> Place:
    """Look a layer up: a name of `places`, a module of any network or its dotted name, or a `Place` as it is.

    Raises: `InputError`.
    """
    if isinstance(layer, Place):
        return layer
    if isinstance(layer, nn.Module):
        return Place(layer)
    known = places(network) if isinstance(network, MSA2Net) else {}
    if layer in known:
        return known[layer]
    named = dict(network.named_modules()) if isinstance(network, nn.Module) else {}
    if layer not in named:
        parts = [name for name in named if name.count(".") < 2 and name]
        use = ", ".join(known or parts) or "a module of the network"
        raise InputError(f"layer={layer!r} is unknown: use {use}")
    return Place(named[layer])


@contextmanager
def differentiable(network: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Evaluation mode, of a network that is a module, with gradients whatever the surroundings say."""
    mode = evaluation_mode(network) if isinstance(network, nn.Module) else nullcontext()  # pyright: ignore
    with mode, torch.inference_mode(False), torch.enable_grad():
        yield


@contextmanager
def watched(watch: Mapping[str, Place]) -> Iterator[dict[str, nn.Module]]:
    """Lead each layer's output, as a map (b, c, h, w), through an identity module of its own for a while.

    Hooks on these modules see maps where the layers give tokens. What the network computes stays the same. Errors:
    `InputError`, raised when the network runs, for an output that is no map and no tokens on the place's grid.
    """
    probes: dict[str, nn.Module] = {name: nn.Identity() for name in watch}
    hooks = [place.module.register_forward_hook(_through(probes[name], place, name)) for name, place in watch.items()]
    try:
        yield probes
    finally:
        for hook in hooks:
            hook.remove()


def _through(probe: nn.Module, place: Place, name: str) -> Callable[[nn.Module, Any, Any], Tensor]:
    def hook(module: nn.Module, inputs: Any, output: Any) -> Float[Tensor, ...]:
        who = name or type(module).__name__
        if not isinstance(output, Tensor) or output.ndim not in (3, 4):
            raise InputError(f"{who}: gives neither a map (b, c, h, w) nor tokens (b, n, c); take another layer")
        # The network goes on with copies: an activation in place would change what was kept of the layer.
        if output.ndim == 4:
            return probe(output).clone()
        height, width = place.grid or (0, 0)
        if height * width != output.shape[1]:
            raise InputError(
                f"{who}: gives {output.shape[1]} tokens; say on which grid, Place(module, (height, width))"
            )
        return map_to_tokens(probe(tokens_to_map(output, height, width, place.layout)), place.layout).clone()

    return hook


def capture(run: Callable[[], Any], modules: Mapping[Any, nn.Module]) -> dict[Any, tuple[tuple[Tensor, ...], Tensor]]:
    """Call ``run`` and note inputs and output of each module by its name; hooks go whatever happens.

    Raises: `InputError` for a module that did not run.
    """
    came: dict[Any, tuple[Tensor, ...]] = {}
    seen: dict[Any, tuple[tuple[Tensor, ...], Tensor]] = {}

    def before(name: Any, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        came[name] = tuple(x.detach().clone() for x in inputs)  # copies: what follows may work in place

    def after(name: Any, _: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen[name] = came[name], output.detach().clone()

    with ExitStack() as undo:
        for name, module in modules.items():
            undo.callback(module.register_forward_pre_hook(partial(before, name)).remove)
            undo.callback(module.register_forward_hook(partial(after, name)).remove)
        run()
    if unused := [str(name) for name in modules if name not in seen]:
        raise InputError(f"{', '.join(unused)} did not run: only modules that the forward pass calls can be captured")
    return seen
