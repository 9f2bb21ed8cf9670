"""Exercises of the rival networks: answers written another way pass, stubs do not, and the rule is UCTransNet's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from msa2net_lib.baselines.uctransnet import UpLevel
from msa2net_lib.lessons.l17_rival_networks import checks


def my_rule(x, g, from_x, from_g):
    count = x[0, 0].numel()
    of_x, of_g = from_x(x.flatten(2).sum(2) / count), from_g(torch.einsum("bchw->bc", g) / count)
    weights = 1 / (1 + torch.exp(-0.5 * of_x - 0.5 * of_g))
    return torch.einsum("bchw,bc->bchw", x, weights).clamp(min=0)


def my_level(features, skip, up, rule, mix, skip_first):
    g = up(features)
    both = (rule(skip, g), g) if skip_first else (g, rule(skip, g))
    return mix(torch.hstack(both))


def test_independent_answers_pass():
    assert checks.rule.diagnosis(my_rule) is None
    assert checks.level.diagnosis(my_level) is None
    assert checks.in_two_networks.diagnosis(my_rule) is None


def test_the_rule_is_that_of_a_whole_decoder_level():
    torch.manual_seed(0)
    level = UpLevel(4, 4).double().eval()
    x, g = torch.randn(2, 4, 6, 8, dtype=torch.float64), torch.randn(2, 4, 3, 4, dtype=torch.float64)
    up = nn.Upsample(scale_factor=2)(g)
    ours = level.mix(torch.cat([checks.library_rule(x, up, level.from_x, level.from_g), up], dim=1))
    torch.testing.assert_close(ours, level(g, x))


RULES = {
    "the skip passes as it is": lambda x, g, a, b: x,
    "the skip is closed": lambda x, g, a, b: 0 * x,
    "the decoder's features pass": lambda x, g, a, b: g,
}


@pytest.mark.parametrize("start", RULES)
def test_a_rule_that_weighs_nothing_is_named(start):
    assert str(checks.in_two_networks.diagnosis(RULES[start])).startswith(start)


@pytest.mark.slow
def test_a_rule_that_is_twice_the_right_one_is_wrong():
    assert checks.in_two_networks.diagnosis(lambda *given: 2 * checks.library_rule(*given)) is not None
