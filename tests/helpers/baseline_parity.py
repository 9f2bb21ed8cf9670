"""Recorded arrays of the original networks, and the same weights and inputs for those written here.

Weights are drawn from the official key and the shape alone; `tests/reference/README.md` says how.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from msa2net_lib.baselines.official import to_our_keys

HOME = Path(__file__).parents[1] / "reference" / "baselines"


def drawn(name: str, shape: tuple[int, ...], gain: float = 1.0) -> np.ndarray | None:
    """The value of an official entry; None for batch counters, which stay as they are."""
    last = name.rpartition(".")[2]
    if last == "num_batches_tracked":
        return None
    r = np.random.RandomState(zlib.crc32(name.encode()) % 2**32).standard_normal(shape).astype(np.float32)
    if last == "running_var":
        return 1 + 0.1 * np.abs(r)
    if last in ("running_mean", "bias"):
        return 0.1 * r
    if last == "weight":
        return gain * r / np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 1 + 0.1 * r
    return 0.5 + 0.1 * r


def image(seed: int = 11, size: int = 224) -> Tensor:
    """The input of a recorded call: (1, 3, size, size), uniform in [-1, 1)."""
    return torch.from_numpy((np.random.RandomState(seed).rand(1, 3, size, size) * 2 - 1).astype(np.float32))


def noisy_mask(seed: int = 11, size: int = 64) -> Tensor:
    """DermoSegDiff's noisy mask: (1, 1, size, size), standard normal."""
    return torch.from_numpy(np.random.RandomState(seed + 1000).standard_normal((1, 1, size, size)).astype(np.float32))


class Reference:
    """What was recorded of one system: ``facts`` (json) and ``arrays`` (npz)."""

    def __init__(self, system: str):
        self.facts: dict[str, Any] = json.loads((HOME / f"{system}.json").read_text())
        self.arrays = dict(np.load(HOME / f"{system}.npz"))

    def fill(self, network: nn.Module, rules: Any) -> nn.Module:
        """Give a network the recorded weights by its key map, every entry, none left over; in evaluation mode."""
        gain, official = self.facts["fill"]["gain"], {}
        for name, shape in self.facts["state_dict"].items():
            value = drawn(name, tuple(shape), gain)
            official[name] = torch.tensor(0) if value is None else torch.from_numpy(value.astype(np.float32))
        network.load_state_dict(to_our_keys(official, rules, network.state_dict()))
        return network.eval()

    def deviations(self, found: Mapping[str, Tensor]) -> dict[str, float]:
        """Largest absolute difference to each recorded array, which ``found`` has whole under the same name."""
        result = {}
        cut = {name: about for name, about in self.facts["arrays"].items() if "slicing" in about}
        for name, about in cut.items():
            part = tuple(slice(start, None, step) for start, step in about["slicing"])
            result[name] = float(np.abs(found[name].numpy()[part] - self.arrays[name]).max())
        return result


@contextmanager
def recorded_outputs(
    network: nn.Module, modules: Mapping[str, str | tuple[str, Callable]]
) -> Iterator[dict[str, Tensor]]:
    """Record what modules give: array name -> module, or (module, what to take of its output)."""
    found: dict[str, Tensor] = {}

    def keep(name: str, take: Callable) -> Callable:
        return lambda module, inputs, output: found.__setitem__(name, take(output).detach().clone())

    hooks = []
    for name, place in modules.items():
        path, take = (place, lambda output: output) if isinstance(place, str) else place
        hooks.append(network.get_submodule(path).register_forward_hook(keep(name, take)))
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def run(network: nn.Module, modules: Mapping[str, str | tuple[str, Callable]], *inputs: Tensor) -> dict[str, Tensor]:
    """One call: the logits, and the outputs of ``modules``."""
    with recorded_outputs(network, modules) as found:
        logits = network(*inputs)
    return found | {"logits": logits}


def count(build: Callable[[], nn.Module], *shapes: tuple[int, ...]) -> tuple[int, int]:
    """(parameters, multiply-adds of one call) of a network that takes no memory."""
    with torch.device("meta"), torch.no_grad():
        network = build().eval()
        inputs = [torch.empty(shape) for shape in shapes]
        with FlopCounterMode(display=False) as counter:
            network(*inputs)
    return sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops() // 2


def never_reached(network: nn.Module, *inputs: Tensor) -> list[str]:
    """Names of the parameters that get no gradient from a call, and those that get zeros only."""
    network.zero_grad()
    output = network(*inputs)
    (output * torch.randn_like(output)).sum().backward()
    parameters = network.named_parameters()
    return [name for name, parameter in parameters if parameter.grad is None or not parameter.grad.any()]
