"""The exercises of lesson 04: an independent answer passes, a stub fails, and the answer is the gate's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from msa2net_lib.lessons.l04_modulation.checks import change, cross_modulation, slope
from msa2net_lib.nn.masag import MASAG


def independent(x, g):
    """By exponentials, in NumPy."""
    x, g = x.numpy(), g.numpy()
    x_modulated, g_modulated = x / (1 + np.exp(-g)), g / (1 + np.exp(-x))
    return x_modulated, g_modulated, x * g / ((1 + np.exp(-x)) * (1 + np.exp(-g)))


def test_an_independent_answer_passes():
    assert cross_modulation(independent)


def test_a_slope_by_finite_differences_passes():
    def by_differences(x, g, step=1e-5):
        x, g = x.numpy(), g.numpy()
        above, below = (independent(torch.from_numpy(x), torch.from_numpy(g + s))[2] for s in (step, -step))
        return (above - below) / (2 * step)

    assert slope.diagnosis(by_differences) is None
    assert "not yet" in str(slope.diagnosis(lambda x, g: torch.zeros_like(x)))


def test_a_change_by_sums_of_squares_passes():
    def by_sums(before, after):
        moved = sum((a - b) ** 2 for a, b in zip(after.flatten().tolist(), before.flatten().tolist(), strict=True))
        return (moved / sum(b**2 for b in before.flatten().tolist())) ** 0.5

    assert change.diagnosis(by_sums) is None
    assert "not yet" in str(change.diagnosis(lambda before, after: 0.0))


def test_a_stub_fails_and_is_not_mistaken_for_a_mistake():
    verdict = cross_modulation.diagnosis(lambda x, g: (x, g, x))
    assert verdict is not None
    assert verdict.startswith("not yet")


@pytest.mark.parametrize("check", [cross_modulation, slope, change], ids=lambda check: check.name)
def test_each_mistake_has_its_own_message(check):
    assert [check.diagnosis(mistake) for mistake in check.mistakes.values()] == [*check.mistakes]


def test_own_sigmoid_gives_the_right_product():
    """Why the exercise asks for three tensors: this mistake cannot be seen in U'."""
    own = next(wrong for message, wrong in cross_modulation.mistakes.items() if "its own sigmoid" in message)
    x, g = torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.randn(2, 3, 4, 5, dtype=torch.float64)
    right, wrong = cross_modulation.answer(x, g), own(x, g)
    torch.testing.assert_close(wrong[2], right[2])
    assert not torch.allclose(wrong[0], right[0])


def test_the_answer_is_what_the_gate_traces():
    torch.manual_seed(0)
    trace = MASAG(4).eval().trace(torch.randn(2, 4, 6, 7), torch.randn(2, 4, 6, 7))
    found = cross_modulation.answer(trace.x_selected, trace.g_selected)
    for one, other in zip(found, (trace.x_modulated, trace.g_modulated, trace.u_modulated), strict=True):
        torch.testing.assert_close(one, other)
