"""The exercise of the skip gates: an answer written another way passes, stubs do not."""

from __future__ import annotations

import torch

from msa2net_lib.lessons.exercise import checks_of
from msa2net_lib.lessons.l06_skip_gates import checks


def by_einsum(x, g, theta_x, phi_g, psi):
    """The gate written out on the layers' weights."""

    def apply(layer, values):
        return torch.einsum("oc,bchw->bohw", layer.weight[:, :, 0, 0], values) + layer.bias[:, None, None]

    total = apply(theta_x, x) + apply(phi_g, g)
    logits = apply(psi, torch.where(total > 0, total, torch.zeros_like(total)))
    return x / (1 + torch.exp(-logits))


def test_an_independent_answer_passes():
    assert checks.attention_gate.diagnosis(by_einsum) is None


def test_stubs_do_not():
    check = checks.attention_gate
    assert str(check.diagnosis(lambda x, g, theta_x, phi_g, psi: torch.zeros_like(x))).startswith("not yet")
    assert str(check.diagnosis(lambda x, g, theta_x, phi_g, psi: x)).startswith("not yet")
    assert str(check.diagnosis(lambda x, g, t, p, s: s((t(x) + p(g)).relu()).sigmoid())).startswith("it returned shape")


def test_each_mistake_is_told_from_every_other():
    check = checks.attention_gate
    assert checks_of(checks)["attention_gate"] is check
    assert len(check.mistakes) >= 4
    for message, mistake in check.mistakes.items():
        assert check.diagnosis(mistake) == message
