"""The exercises of lesson 05: independent answers pass, stubs fail, each mistake has its own message."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from msa2net_lib.lessons.l05_recalibration.checks import recalibration, whole_gate


def independent_recalibration(u, x, attend, project):
    """Pixel by pixel as matrix products, batch norm by its formula."""

    def layer(features, convolution, norm):
        mixed = torch.einsum("oi,bihw->bohw", convolution.weight[:, :, 0, 0], features)
        mixed = mixed + convolution.bias[:, None, None]
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        return (mixed - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]

    return layer(x / (1 + torch.exp(-layer(u, *attend))), *project)


def independent_gate(gate, x, g):
    """Stages 2 and 3 by their equations, weights by exponentials."""
    u = gate.fusion(x, g)
    logits = F.conv2d(u, gate.selection.project.weight, gate.selection.project.bias)
    share = 1 / (1 + torch.exp(logits[:, 1:] - logits[:, :1]))
    x_selected, g_selected = (1 + share) * x, (2 - share) * g
    return gate.recalibration(x_selected * torch.sigmoid(x_selected) * g_selected * torch.sigmoid(g_selected), x)


def test_independent_answers_pass():
    assert recalibration(independent_recalibration)
    assert whole_gate(independent_gate)


def test_stubs_fail_and_are_not_mistaken_for_a_mistake():
    for check, stub in ((recalibration, lambda u, x, attend, project: x), (whole_gate, lambda gate, x, g: x)):
        verdict = check.diagnosis(stub)
        assert verdict is not None
        assert verdict.startswith("not yet")


@pytest.mark.parametrize(
    ("check", "message"), [(check, message) for check in (recalibration, whole_gate) for message in check.mistakes]
)
def test_each_mistake_has_its_own_message(check, message):
    assert check.diagnosis(check.mistakes[message]) == message


def test_inputs_are_float64_in_evaluation_mode_and_of_several_shapes():
    for check in (recalibration, whole_gate):
        shapes = set()
        for arguments in check._inputs():
            tensors = [a for a in arguments if isinstance(a, torch.Tensor)]
            modules = [a for a in arguments if isinstance(a, torch.nn.Module)]
            assert all(t.dtype == torch.float64 for t in tensors)
            assert not any(layer.training for module in modules for layer in module.modules() if layer is not module)
            batch, channels, height, width = tensors[0].shape
            assert batch >= 2
            assert channels > 1
            assert height != width
            shapes.add(tuple(tensors[0].shape))
        assert len(shapes) > 2
