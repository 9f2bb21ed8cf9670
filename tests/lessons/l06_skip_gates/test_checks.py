"""The exercise of the skip gates: an answer written another way passes, stubs do not."""

from __future__ import annotations

import numpy as np
import torch

from msa2net_lib.lessons.l06_skip_gates import checks
from msa2net_lib.nn.gates import ShuffledGate
from msa2net_lib.nn.gates.controls import fixed_permutation


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


def by_loop(attention, order):
    out = torch.empty_like(attention)
    width = attention.shape[3]
    for place, source in enumerate(order.tolist()):
        out[:, :, place // width, place % width] = attention[:, :, source // width, source % width]
    return out


def by_turning(attention, patients):
    """The batch is turned on until each image has met another's."""
    given, open_ones = torch.full_like(attention, torch.nan), set(range(len(patients)))
    for turn in range(1, len(patients)):
        for i in sorted(open_ones):
            source = (i + turn) % len(patients)
            if patients[source] != patients[i]:
                given[i] = attention[source]
                open_ones.discard(i)
    return given


def by_ranks(values, mask):
    """From the rank sum of the cells inside, ranks of equal values averaged by hand."""
    flat, inside = values.ravel(), mask.ravel()
    ranks = np.array([(flat < v).sum() + ((flat == v).sum() + 1) / 2 for v in flat])
    count = inside.sum()
    return (ranks[inside].sum() - count * (count + 1) / 2) / (count * (~inside).sum())


def test_independent_answers_of_the_control_and_of_auroc_pass():
    assert checks.other_patient.diagnosis(by_turning) is None
    assert checks.auroc.diagnosis(by_ranks) is None


def test_the_shuffled_gate_permutes_cells_row_by_row():
    gate = ShuffledGate(5).eval()
    x, g = torch.randn(2, 2, 5, 4, 6, generator=torch.Generator().manual_seed(0))
    own = gate.masag.attention(x, g)
    torch.testing.assert_close(gate.attention(x, g), by_loop(own, fixed_permutation(24)))
