"""The exercise of lesson 04: an independent answer passes, a stub fails, and the answer is the gate's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from msa2net_lib.lessons.l04_modulation.checks import cross_modulation
from msa2net_lib.nn.masag import MASAG


def independent(x, g):
    """By exponentials, in NumPy."""
    x, g = x.numpy(), g.numpy()
    x_modulated, g_modulated = x / (1 + np.exp(-g)), g / (1 + np.exp(-x))
    return x_modulated, g_modulated, x * g / ((1 + np.exp(-x)) * (1 + np.exp(-g)))


def test_an_independent_answer_passes():
    assert cross_modulation(independent)


def test_a_stub_fails_and_is_not_mistaken_for_a_mistake():
    verdict = cross_modulation.diagnosis(lambda x, g: (x, g, x))
    assert verdict is not None
    assert verdict.startswith("not yet")


@pytest.mark.parametrize("message", cross_modulation.mistakes)
def test_each_mistake_has_its_own_message(message):
    assert cross_modulation.diagnosis(cross_modulation.mistakes[message]) == message


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
