"""Experiments on a trained gate: change an input or switch a stage off, and see what the network makes of it.

Nothing is trained again: the network meets, at one place, something that it was not trained for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from msa2net_lib.analysis.slice_study import Study
from msa2net_lib.data.resize import normalize
from msa2net_lib.errors import InputError
from msa2net_lib.metrics import dice
from msa2net_lib.nn.layout import map_to_tokens, tokens_to_map
from msa2net_lib.nn.masag import MASAG, STEPS, MASAGTrace
from msa2net_lib.utils.torch_files import require_finite_logits

Inputs = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""What becomes of a gate's inputs: (x, g) -> (x, g)."""
Run = Callable[[Tensor, Tensor], MASAGTrace]
"""One pass through a gate, changed or not: (x, g) -> every tensor."""
Rule = Callable[[MASAG, Any], Tensor]
"""How one tensor is made: (gate, the tensors before it by name) -> the tensor."""

STAGES: dict[str, tuple[str, dict[str, Rule]]] = {
    "local context": ("U = BN(global context)", {"local_context": lambda gate, t: torch.zeros_like(t.x)}),
    "global context": ("U = BN(local context)", {"global_context": lambda gate, t: torch.zeros_like(t.channel_mean)}),
    "selection": (
        "both weights 1/2",
        {name: lambda gate, t: torch.full_like(t.channel_mean, 0.5) for name in ("weight_x", "weight_g")},
    ),
    "sigmoids": (
        "U' = X' G'",
        {name: lambda gate, t: torch.ones_like(t.x) for name in ("x_gate", "g_gate")},
    ),
    "modulation": ("U' = U", {"u_modulated": lambda gate, t: t.u}),
    "attention": ("attention 1 everywhere", {"attention": lambda gate, t: torch.ones_like(t.x)}),
    "gate": ("Y = X", {"output": lambda gate, t: t.x}),
    "skip": ("Y = 0", {"output": lambda gate, t: torch.zeros_like(t.x)}),
}
"""What to switch off: name -> (what stands in its place, the tensors replaced)."""


def shuffle_pixels(features: Float[Tensor, "b c h w"], seed: int = 0) -> Float[Tensor, "b c h w"]:
    """Move the pixels to random places, all channels of a pixel together: the same values, no anatomy left."""
    height, width = features.shape[-2:]
    order = torch.randperm(height * width, generator=torch.Generator().manual_seed(seed)).to(features.device)
    return rearrange(rearrange(features, "b c h w -> b c (h w)")[..., order], "b c (h w) -> b c h w", h=height)


INPUTS: dict[str, Inputs] = {
    "as it is": lambda x, g: (x, g),
    "G blank": lambda x, g: (x, torch.zeros_like(g)),
    "G shuffled": lambda x, g: (x, shuffle_pixels(g)),
    "X blank": lambda x, g: (torch.zeros_like(x), g),
    "X shuffled": lambda x, g: (shuffle_pixels(x), g),
    "X and G swapped": lambda x, g: (g, x),
}
"""Changes to a gate's inputs by name: blank is zeros, shuffled the same pixels in random places."""


def with_inputs(gate: MASAG, change: str | Inputs) -> Run:
    """The gate with changed inputs: ``change`` is one of `INPUTS` or (x, g) -> (x, g). Raises: `InputError`."""
    changed = _known(change, INPUTS, "change") if isinstance(change, str) else change

    def run(x: Tensor, g: Tensor) -> MASAGTrace:
        x, g = changed(x, g)
        return gate.trace(x, g)

    return run


def without_stage(gate: MASAG, stage: str) -> Run:
    """The gate with one of `STAGES` switched off; what comes before it is as it was. Raises: `InputError`."""
    _, replaced = _known(stage, STAGES, "stage")
    return with_tensors(gate, replaced)


def with_tensors(gate: MASAG, replaced: Mapping[str, Rule]) -> Run:
    """The gate with tensors of its trace replaced by name, and all that follow from them computed anew.

    Raises: `InputError` for a tensor that the gate does not compute.
    """
    for name in replaced:
        _known(name, STEPS, "tensor")
    return lambda x, g: gate.trace(x, g, replaced)


@torch.inference_mode()
def retrace(study: Study, level: int, run: Run) -> MASAGTrace:
    """What a changed gate computes from the X and G that the study's slice brought to it."""
    return run(study.traces[level].x, study.traces[level].g)


@contextmanager
def running(gate: Callable[[int], MASAG], runs: Mapping[int, Run] | None) -> Iterator[None]:
    """Let the gates of some levels run something else for a while; gate: decoder level -> its gate."""
    with ExitStack() as undo:
        for level, run in (runs or {}).items():
            changed: Any = gate(level)
            # In place of the class's own, which is not computed for nothing first, as it were with a hook.
            changed.forward = lambda x, g, run=run: run(x, g).output
            undo.callback(delattr, changed, "forward")
        yield


@torch.inference_mode()
def predict(study: Study, runs: Mapping[int, Run] | None = None) -> NDArray[np.uint8]:
    """Label (h, w) of the study's slice, with the gates of some levels changed: decoder level -> what runs there.

    A change at a deep level also changes what the finer levels get as G. Gates are as they were afterwards.
    """
    with running(study.gate, runs):
        logits = study.network.decoder(_encoded(study))
    return require_finite_logits(logits)[0].argmax(dim=0).to(torch.uint8).cpu().numpy()


@lru_cache(maxsize=4)
@torch.inference_mode()
def _encoded(study: Study) -> list[Tensor]:
    """The encoder's maps, once per study: no change to a gate reaches them."""
    network = study.network.eval()
    pixels = torch.from_numpy(normalize(study.image))[None, None].to(next(network.parameters()).device)
    return network.encoder(pixels)


def slice_dice(study: Study, predicted: NDArray[np.uint8]) -> dict[str, float]:
    """Dice of each organ that is in the slice, from 0 to 1, at the network's input size; "mean" is over these.

    An organ predicted where none is costs nothing here, but where it covers another.
    """
    numbers = {organ: study.organ_id(organ) for organ in study.organs}
    scores = {organ: dice(predicted == number, study.label == number) for organ, number in numbers.items()}
    return scores | {"mean": sum(scores.values()) / len(scores) if scores else float("nan")}


def relative_change(before: Tensor, after: Tensor) -> float:
    """Length of the difference over the length of ``before``: 0 is unchanged, 1 as far away as zeros are."""
    return float((after - before).norm() / before.norm())


@torch.inference_mode()
def merge(study: Study, level: int, output: Tensor) -> tuple[Tensor, Tensor]:
    """What the decoder does with a gate's output: (g + y, the same after its layer norm), both (1, c, h, w)."""
    summed = study.traces[level].g + output
    norm: Any = study.network.decoder.levels[level].norm
    height, width = summed.shape[-2:]
    return summed, tokens_to_map(norm(map_to_tokens(summed)), height, width)


def _known(name: str, known: Mapping[str, Any], what: str) -> Any:
    if name not in known:
        raise InputError(f"{what}={name!r} is unknown: use one of {', '.join(known)}")
    return known[name]
