"""The toy task: made so that a sum cannot solve it, and scored on what no run has trained on."""

from __future__ import annotations

import pytest
import torch

from msa2net_lib import build_gate
from msa2net_lib.analysis.toy_task import HELD_OUT, ToyNetwork, explained_variance, held_out, train_toy


def test_the_target_is_the_detail_where_the_coarse_map_is_positive():
    detail, coarse, target = held_out()
    assert len(detail) == HELD_OUT
    assert torch.equal(target != 0, (coarse > 0) & (detail != 0))
    assert torch.equal(target[coarse > 0], detail[coarse > 0])


@pytest.mark.parametrize(("factor", "explained"), [(1.0, 0.0), (0.5, 0.5), (0.0, 0.0)])
def test_a_factor_for_all_cells_explains_half_at_most(factor, explained):
    """By hand: the error of f times the detail is f^2 outside of the half that passes and (1 - f)^2 inside."""
    network = ToyNetwork(torch.nn.Identity())
    network.forward = lambda detail, coarse: factor * detail
    assert explained_variance(network) == pytest.approx(explained, abs=0.03)


@pytest.mark.slow
def test_a_gate_solves_it_and_addition_does_not():
    plain, gated = (
        train_toy(lambda channels, name=name: build_gate(name, channels), steps=150) for name in ("addition", "aff")
    )
    assert plain.explained == pytest.approx(0.5, abs=0.02)
    assert gated.explained > 0.75


def test_a_run_repeats_and_leaves_the_callers_random_state():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first, again = (train_toy(lambda channels: build_gate("attention", channels), 3, 4, watch=2) for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    assert first.explained == again.explained
    assert [frame.step for frame in first.frames] == [0, 2, 4]
    assert first.frames[-1].explained == first.explained
    assert not torch.equal(first.frames[0].output, first.frames[-1].output)
