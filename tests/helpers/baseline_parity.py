"""Recorded arrays of the original networks, and the same weights and inputs for those written here.

Weights are drawn from the official key and the shape alone; `tests/reference/README.md` says how. For a network of
Table 1 a test file makes a class of `Parity` that names its `Case`; it inherits the tests.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from msa2net_lib.nn.network import count_parameters
from msa2net_lib.utils.official_keys import Rules, our_key, to_our_keys
from msa2net_lib.utils.torch_files import Undrawn

FILES = {path.stem: path for path in (Path(__file__).parents[1] / "reference" / "baselines").glob("*/*.json")}
"""System -> what was recorded of it; its arrays lie beside it."""
LOGITS = np.s_[:, :, 3::16, 5::16]


def standard_normal(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """What `RandomState(seed).standard_normal(shape)` gives, in float32, in half the time: its method, by the batch."""
    uniform, count, done = np.random.RandomState(seed).random_sample, math.prod(shape), 0
    found = np.empty(count + count % 2, np.float32)
    while done < len(found):
        drawn = 2 * uniform(min(len(found) - done + 16, 16384)) - 1
        first, second = drawn[::2], drawn[1::2]
        squares = first * first + second * second
        inside = np.flatnonzero((squares < 1) & (squares > 0))[: (len(found) - done) // 2]
        squares = squares[inside]
        length, end = np.sqrt(-2 * np.log(squares) / squares), done + 2 * len(inside)
        found[done:end:2], found[done + 1 : end : 2] = length * second[inside], length * first[inside]
        done = end
    return found[:count].reshape(shape)


def drawn(name: str, shape: tuple[int, ...], gain: float = 1.0) -> np.ndarray | None:
    """The value of an official entry; None for batch counters, which stay as they are."""
    last = name.rpartition(".")[2]
    if last == "num_batches_tracked":
        return None
    r = standard_normal(zlib.crc32(name.encode()), shape)
    if last == "running_var":
        return 1 + 0.1 * np.abs(r)
    if last in ("running_mean", "bias"):
        return 0.1 * r
    if last == "weight" and len(shape) > 1:  # in place: the largest have hundreds of megabytes
        r *= gain
        return np.divide(r, np.sqrt(np.prod(shape[1:])), out=r, dtype=np.float64, casting="same_kind")
    if last == "weight":
        return 1 + 0.1 * r
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
        self.facts: dict[str, Any] = json.loads(FILES[system].read_text())
        self.arrays = dict(np.load(FILES[system].with_suffix(".npz")))

    def fill(self, build: Callable[[], nn.Module], rules: Rules) -> nn.Module:
        """A network with the recorded weights by its key map, every entry, none left over; in evaluation mode."""
        with Undrawn():
            network = build()
        gain, official = self.facts.get("fill", {"gain": 1.0})["gain"], {}
        for name, shape in self.facts["state_dict"].items():
            value = drawn(name, tuple(shape), gain)
            official[name] = torch.from_numpy(np.zeros((), int) if value is None else np.asarray(value, np.float32))
        network.load_state_dict(to_our_keys(official, rules, network.state_dict()), assign=True)
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


def slices(text: str) -> tuple[slice, ...]:
    """From "[:, 3::16, 5::16]", with or without the brackets."""
    axes = text.strip("[] ").split(",")
    return tuple(slice(*(int(part) if part else None for part in axis.strip().split(":"))) for axis in axes)


def tokens(features: Tensor) -> Tensor:
    """(b, h, w, c) -> (b, h*w, c)."""
    return features.flatten(1, 2)


def map_tokens(features: Tensor) -> Tensor:
    """(b, c, h, w) -> (b, h*w, c)."""
    return features.flatten(2).transpose(1, 2)


@dataclass(frozen=True)
class Case:
    """One system. ``options``: of the network, for the form that was recorded.

    ``modules``: official name -> our name, or (our name, what brings our output to the recorded shape). ``mistakes``:
    what a wrong implementation would do, each planted by (network, monkeypatch). ``tolerances``: of those activations
    whose rounding is larger.
    """

    system: str
    build: Callable[..., nn.Module]
    rules: Rules
    modules: dict[str, str | tuple[str, Callable]]
    mistakes: dict[str, Callable[[Any, pytest.MonkeyPatch], None]]
    tolerances: dict[str, float] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    channels: int = 1


@pytest.mark.slow
class Parity:
    """The tests of a case, for a test file's class to inherit."""

    case: ClassVar[Case]

    def pytest_generate_tests(self, metafunc):
        if "mistake" in metafunc.fixturenames:
            metafunc.parametrize("mistake", metafunc.cls.case.mistakes)

    @pytest.fixture(scope="class")
    @classmethod
    def reference(cls):
        return Reference(cls.case.system)

    @pytest.fixture(scope="class")
    @classmethod
    def network(cls, reference):
        return reference.fill(lambda: cls.case.build(**cls.case.options), cls.case.rules)

    @pytest.fixture(scope="class")
    @classmethod
    def run(cls, network):
        """(logits, output of every module in ``modules``, multiply-adds) of one forward pass."""
        case = cls.case
        with (
            torch.no_grad(),
            recorded_outputs(network, case.modules) as seen,
            FlopCounterMode(display=False) as counter,
        ):
            logits = network(image()[:, : case.channels])
        return logits, seen, counter.get_total_flops() // 2

    def test_logits(self, run, reference):
        logits, arrays = run[0], reference.arrays
        np.testing.assert_allclose(logits[LOGITS], arrays["logits"], rtol=0, atol=5e-5)
        assert abs(float(logits.mean()) - float(arrays["logits_mean"])) < 1e-5
        assert abs(float(logits.std()) - float(arrays["logits_std"])) < 1e-5

    def test_activations(self, run, reference):
        arrays = reference.arrays
        recorded = {key[4:] for key in arrays if key.startswith("act/")}
        assert set(self.case.modules) == recorded
        for name in recorded:
            shape, _, where = str(arrays[f"slice/{name}"]).partition(" [")
            ours = run[1][name]
            assert str(tuple(ours.shape)) == shape, name
            atol = self.case.tolerances.get(name, 1e-4)
            np.testing.assert_allclose(ours[slices(where)], arrays[f"act/{name}"], rtol=0, atol=atol, err_msg=name)

    def test_counts(self, run, network, reference):
        assert count_parameters(network) == reference.facts["total_parameters"]
        assert run[2] == reference.facts["multiply_adds"]

    def test_parameters_without_a_gradient(self, reference):
        with Undrawn():  # which parameters the graph reaches does not depend on them
            small = self.case.build(image_size=64, **self.case.options)
        small(torch.rand(1, self.case.channels, 64, 64)).square().mean().backward()
        none = {key for key, parameter in small.named_parameters() if parameter.grad is None}
        expected = {our_key(key, self.case.rules).partition("#")[0] for key in reference.facts["never_gradient_keys"]}
        assert none == expected - {""}

    def test_planted_mistakes_are_seen(self, network, reference, mistake, monkeypatch):
        self.case.mistakes[mistake](network, monkeypatch)
        with torch.no_grad():
            logits = network(image()[:, : self.case.channels])
        assert np.abs(logits[LOGITS].numpy() - reference.arrays["logits"]).max() > 5e-5
