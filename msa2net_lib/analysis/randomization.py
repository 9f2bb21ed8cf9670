"""A trained network with parts of its weights drawn anew, for sanity checks of heat maps.

Source: Adebayo et al., "Sanity Checks for Saliency Maps" (NeurIPS 2018), the model parameter randomization test.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Literal, get_args

import torch
from torch import Tensor

from msa2net_lib.config import NetworkConfig
from msa2net_lib.errors import InputError
from msa2net_lib.nn.network import MSA2Net

Mode = Literal["cascading", "independent"]
"""Which parts are drawn anew at a step: all from the head down to this one, or this one alone."""


def weight_parts(network: MSA2Net) -> dict[str, tuple[str, ...]]:
    """All weights of a network in parts, from the head downwards: name -> beginnings of keys of its state dict.

    The finest level is three parts, since the heat maps of Figure B come from there.
    """
    last = len(network.decoder.levels) - 1
    finest = "decoder.levels.0."
    stages = range(len(network.encoder.backbone.stages), 0, -1)
    return {
        "head": ("decoder.head.",),
        "level 0 expansion": (f"{finest}expand.",),
        "level 0 blocks": (f"{finest}blocks.",),
        "level 0 gate": (f"{finest}gate.", f"{finest}linear.", f"{finest}norm."),
        **{f"level {index}": (f"decoder.levels.{index}.",) for index in range(1, last + 1)},
        **{
            f"encoder stage {stage}": (
                f"encoder.backbone.stages.{stage - 1}.",
                *(("encoder.backbone.norm.",) if stage == len(stages) else ()),
            )
            for stage in stages
        },
        "stem": ("encoder.backbone.stem.", "encoder.gray_stem."),
    }


def reinitialized_steps(network: MSA2Net, mode: Mode) -> dict[str, tuple[str, ...]]:
    """The steps of a randomization test: name -> the parts that are drawn anew there. Raises: `InputError`, mode."""
    if mode not in get_args(Mode):
        raise InputError(f"mode={mode!r} is unknown: use {' or '.join(get_args(Mode))}")
    names = list(weight_parts(network))
    if mode == "independent":
        return {name: (name,) for name in names}
    return {name: tuple(names[: index + 1]) for index, name in enumerate(names)}


def reinitialize_parts(network: MSA2Net, parts: Sequence[str], seed: int) -> MSA2Net:
    """A copy, in evaluation mode, whose named parts are as training would have found them; the rest is kept.

    Batch norms' running statistics belong to their part. parts: names of `weight_parts`. Raises: `InputError`.
    """
    known = weight_parts(network)
    if unknown := [name for name in parts if name not in known]:
        raise InputError(f"part {unknown[0]!r} is unknown: use {', '.join(known)}")
    prefixes = tuple(prefix for name in parts for prefix in known[name])
    return _reinitialized(network, seed, lambda key: key.startswith(prefixes))


def reinitialized(network: MSA2Net, part: Literal["gates", "all"], seed: int) -> MSA2Net:
    """A copy, in evaluation mode, of a network with the weights of its gates, or all of its weights, drawn anew."""
    return _reinitialized(network, seed, lambda key: part == "all" or ".gate." in key)


def _reinitialized(network: MSA2Net, seed: int, is_drawn: Callable[[str], bool]) -> MSA2Net:
    drawn, changed = _untrained(json.dumps(network.config.to_dict()), seed), copy.deepcopy(network)
    changed.load_state_dict(
        {key: drawn[key] if is_drawn(key) else value for key, value in network.state_dict().items()}
    )
    return changed.eval()


@lru_cache(maxsize=1)
def _untrained(config: str, seed: int) -> dict[str, Tensor]:
    """Weights before training; steps that are asked for in turn share them, since to draw takes longer than to run."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MSA2Net(replace(NetworkConfig.from_dict(json.loads(config)), pretrained=False)).state_dict()
