"""Exercises of the lesson on the rival networks: one skip rule, the level around it, and both in two networks."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from msa2net_lib.baselines.registry import build_network
from msa2net_lib.baselines.uctransnet import UpLevel
from msa2net_lib.lessons.exercise import Check, random_pointwise, random_tensor
from msa2net_lib.lessons.l17_rival_networks.study import plug

Rule = Callable[[Tensor, Tensor, nn.Module, nn.Module], Tensor]
NETWORKS: dict[str, dict[str, Any]] = {"unet": {"widths": (4, 8, 8)}, "scaleformer": {"width": 8}}
"""Where the rule is plugged in, with options that make them small."""


def library_rule(x: Tensor, g: Tensor, from_x: nn.Module, from_g: nn.Module) -> Tensor:
    """UCTransNet's rule, out of its own decoder level, which enlarges g itself: it gets g's means of 2 x 2 cells."""
    level = UpLevel(x.shape[1], x.shape[1])
    for name, part in {"from_x": from_x, "from_g": from_g, "mix": nn.Identity()}.items():
        level.add_module(name, part)
    return level(functional.avg_pool2d(g, 2), x)[:, : x.shape[1]]


def _means(x: Tensor, g: Tensor, from_x: nn.Module, from_g: nn.Module) -> tuple[Tensor, Tensor]:
    return from_x(x.mean(dim=(2, 3))), from_g(g.mean(dim=(2, 3)))


def _weighted(x: Tensor, weights: Tensor) -> Tensor:
    return x * weights[:, :, None, None]


def _linear(rng: np.random.Generator, channels: int) -> nn.Linear:
    layer = nn.Linear(channels, channels).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(random_tensor(rng, *parameter.shape))
    return layer


def _draw_rule(rng: np.random.Generator) -> tuple[Any, ...]:
    channels, height, width = int(rng.integers(3, 7)), int(rng.integers(2, 5)), int(rng.integers(2, 5))
    x, g = (random_tensor(rng, 2, channels, 2 * height, 2 * width) + shift for shift in (0.5, -0.3))
    return x, g, _linear(rng, channels), _linear(rng, channels)


_add: Callable[..., Any] = sum  # of tensors, never the 0 of an empty sum
rule = Check(
    "rule",
    library_rule,
    _draw_rule,
    {
        "the ReLU at the end is missing": lambda x, g, a, b: _weighted(x, (_add(_means(x, g, a, b)) / 2).sigmoid()),
        "the sum is not halved before the sigmoid": lambda x, g, a, b: _weighted(
            x, _add(_means(x, g, a, b)).sigmoid()
        ).relu(),
        "the sigmoid is missing: weights must lie between 0 and 1": lambda x, g, a, b: _weighted(
            x, _add(_means(x, g, a, b)) / 2
        ).relu(),
        "softmax over the channels where a sigmoid belongs: channels do not compete here": lambda x, g, a, b: _weighted(
            x, (_add(_means(x, g, a, b)) / 2).softmax(dim=1)
        ).relu(),
        "each mean has a sigmoid of its own: average first, then one sigmoid": lambda x, g, a, b: _weighted(
            x, _add(mean.sigmoid() for mean in _means(x, g, a, b)) / 2
        ).relu(),
        "g is left out of the weights": lambda x, g, a, b: _weighted(x, (_means(x, g, a, b)[0] / 2).sigmoid()).relu(),
        "x is left out of the weights": lambda x, g, a, b: _weighted(x, (_means(x, g, a, b)[1] / 2).sigmoid()).relu(),
        "the two layers are swapped: from_x takes the mean of x": lambda x, g, a, b: library_rule(x, g, b, a),
        "the maximum over the cells where the mean belongs": lambda x, g, a, b: _weighted(
            x, ((a(x.amax(dim=(2, 3))) + b(g.amax(dim=(2, 3)))) / 2).sigmoid()
        ).relu(),
        "x is added once more: this rule has no residual": lambda x, g, a, b: library_rule(x, g, a, b) + x,
    },
)


class _Product(nn.Module):
    """A rule for the check of the level: x where g is large."""

    def forward(self, x: Tensor, g: Tensor) -> Tensor:
        return x * g.sigmoid()


def library_level(
    features: Tensor, skip: Tensor, up: nn.Module, rule: nn.Module, mix: nn.Module, skip_first: bool
) -> Tensor:
    """One decoder level with a rule on its skip."""
    g = up(features)
    chosen = rule(skip, g)
    return mix(torch.cat([chosen, g] if skip_first else [g, chosen], dim=1))


def _draw_level(rng: np.random.Generator) -> tuple[Any, ...]:
    channels, height, width = int(rng.integers(2, 5)), int(rng.integers(2, 5)), int(rng.integers(2, 5))
    up = nn.Sequential(nn.Upsample(scale_factor=2), random_pointwise(rng, 2 * channels, channels))
    mix = random_pointwise(rng, 2 * channels, channels)
    features = random_tensor(rng, 2, 2 * channels, height, width)
    skip = random_tensor(rng, 2, channels, 2 * height, 2 * width)
    return features, skip, up, _Product(), mix, bool(rng.integers(2))


_with_any: Callable[..., Any] = library_level  # a plain function in place of the rule
level = Check(
    "level",
    library_level,
    _draw_level,
    {
        "always the skip first: where skip_first is False the decoder's features stand first": (
            lambda f, s, up, rule, mix, first: library_level(f, s, up, rule, mix, True)
        ),
        "always the decoder's features first: where skip_first is True the skip stands first": (
            lambda f, s, up, rule, mix, first: library_level(f, s, up, rule, mix, False)
        ),
        "the other way round: skip_first says which stands first": lambda f, s, up, rule, mix, first: library_level(
            f, s, up, rule, mix, not first
        ),
        "the skip passes as it is: the rule is not called": lambda f, s, up, rule, mix, first: _with_any(
            f, s, up, lambda x, g: x, mix, first
        ),
        "the rule is called as rule(g, skip): the skip comes first": lambda f, s, up, rule, mix, first: _with_any(
            f, s, up, lambda x, g: rule(g, x), mix, first
        ),
        "what the rule gives is added to g as well": lambda f, s, up, rule, mix, first: mix(
            torch.cat([rule(s, up(f)), up(f) + rule(s, up(f))][:: 1 if first else -1], dim=1)
        ),
    },
)


class RuleModule(nn.Module):
    """A rule as a module, with the two linear layers that it takes."""

    def __init__(self, channels: int, rule: Rule):
        super().__init__()
        self.rule = rule
        self.from_x, self.from_g = nn.Linear(channels, channels), nn.Linear(channels, channels)

    def forward(self, x: Tensor, g: Tensor) -> Tensor:
        return self.rule(x, g, self.from_x, self.from_g)


@cache
def _plugged(name: str, seed: int) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(name, 2, 64, **NETWORKS[name])
        return plug(network, partial(RuleModule, rule=library_rule)).double().eval()


def with_rule(name: str, rule: Rule, seed: int = 0) -> Any:
    """A small network of `NETWORKS` with a rule on every skip, in float64; one seed gives the same weights always."""
    return _with(rule, copy.deepcopy(_plugged(name, seed)))


def _with(rule: Rule, network: Any) -> Any:
    for part in network.modules():
        if isinstance(part, RuleModule):
            part.rule = rule
    return network


def _logits(rule: Rule, image: Tensor) -> tuple[Tensor, ...]:
    """Of both networks; of each, what a rule is handed is its own, and what it never sees is not copied."""
    logits = []
    for whole in (_plugged(name, 0) for name in NETWORKS):
        handed = {inner for part in whole.modules() if isinstance(part, RuleModule) for inner in part.modules()}
        unseen = {id(part): part for part in whole.modules() if not handed & {*part.modules()}}
        with torch.no_grad():
            logits.append(_with(rule, copy.deepcopy(whole, unseen))(image))
    return tuple(logits)


in_two_networks = Check(
    "in_two_networks",
    library_rule,
    lambda rng: (random_tensor(rng, 1, 3, 64, 64),),
    {
        "the skip passes as it is: the rule weighs nothing": lambda x, g, a, b: x,
        "the skip is closed: the rule gives zeros": lambda x, g, a, b: torch.zeros_like(x),
        "the decoder's features pass in the skip's place": lambda x, g, a, b: g,
        "what is below zero passes, too: the ReLU is missing": lambda x, g, a, b: _weighted(
            x, (_add(_means(x, g, a, b)) / 2).sigmoid()
        ),
    },
    rounds=1,
    use=lambda yours: partial(_logits, yours),
)
