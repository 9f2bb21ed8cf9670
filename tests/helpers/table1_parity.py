"""Hold a network of Table 1 against what its system's own code gave: arrays, names, counts, cost.

The recordings are in `tests/reference/baselines/`, whose page says how they were made. A test file makes a class of
`Parity` that names its `Case`; it inherits the tests.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from baseline_parity import HOME, drawn, image, recorded_outputs
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from msa2net_lib.baselines.official import Rules, our_key, to_our_keys
from msa2net_lib.nn.network import count_parameters

LOGITS = np.s_[:, :, 3::16, 5::16]


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


def filled(network: nn.Module, recording: dict, rules: Rules) -> nn.Module:
    """The network with the recording's weights; every entry of either side has its counterpart, or this raises."""
    official = {key: drawn(key, tuple(shape)) for key, shape in recording["state_dict"].items()}
    values = {key: torch.tensor(0) if v is None else torch.from_numpy(v).float() for key, v in official.items()}
    network.load_state_dict(to_our_keys(values, rules, network.state_dict()))
    return network.eval()


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
    def recording(cls):
        return json.loads((HOME / f"{cls.case.system}.json").read_text())

    @pytest.fixture(scope="class")
    @classmethod
    def arrays(cls):
        return dict(np.load(HOME / f"{cls.case.system}.npz"))

    @pytest.fixture(scope="class")
    @classmethod
    def network(cls, recording):
        return filled(cls.case.build(**cls.case.options), recording, cls.case.rules)

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

    def test_logits(self, run, arrays):
        logits = run[0]
        np.testing.assert_allclose(logits[LOGITS], arrays["logits"], rtol=0, atol=5e-5)
        assert abs(float(logits.mean()) - float(arrays["logits_mean"])) < 1e-5
        assert abs(float(logits.std()) - float(arrays["logits_std"])) < 1e-5

    def test_activations(self, run, arrays):
        recorded = {key[4:] for key in arrays if key.startswith("act/")}
        assert set(self.case.modules) == recorded
        for name in recorded:
            shape, _, where = str(arrays[f"slice/{name}"]).partition(" [")
            ours = run[1][name]
            assert str(tuple(ours.shape)) == shape, name
            atol = self.case.tolerances.get(name, 1e-4)
            np.testing.assert_allclose(ours[slices(where)], arrays[f"act/{name}"], rtol=0, atol=atol, err_msg=name)

    def test_counts(self, run, network, recording):
        assert count_parameters(network) == recording["total_parameters"]
        assert run[2] == recording["multiply_adds"]

    def test_parameters_without_a_gradient(self, recording):
        small = self.case.build(image_size=64, **self.case.options)
        small(torch.rand(1, self.case.channels, 64, 64)).square().mean().backward()
        none = {key for key, parameter in small.named_parameters() if parameter.grad is None}
        expected = {our_key(key, self.case.rules).partition("#")[0] for key in recording["never_gradient_keys"]}
        assert none == expected - {""}

    def test_planted_mistakes_are_seen(self, network, arrays, mistake, monkeypatch):
        self.case.mistakes[mistake](network, monkeypatch)
        with torch.no_grad():
            logits = network(image()[:, : self.case.channels])
        assert np.abs(logits[LOGITS].numpy() - arrays["logits"]).max() > 5e-5
