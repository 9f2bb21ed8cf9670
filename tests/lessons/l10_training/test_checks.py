"""The exercises of lesson 10: steps written another way pass."""

from __future__ import annotations

from msa2net_lib.lessons.l10_training import checks


def in_parts(parameter, velocity, gradient, rate, momentum, decay):
    kept, pulled = momentum * velocity, gradient + decay * parameter
    return parameter - rate * kept - rate * pulled, kept + pulled


def test_sgd_in_parts_passes():
    assert checks.sgd.diagnosis(in_parts) is None
