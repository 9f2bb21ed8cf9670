"""The worked cell: the gate with simple weights computes what paper and pencil do, and says where its numbers lie."""

from __future__ import annotations

import math

import pytest
import torch

from msa2net_lib.lessons.worked_cell import G_CELL, X_ROW, worked_cell, worked_gate


def sigmoid(value):
    return 1 / (1 + math.exp(-value))


def test_by_hand_through_all_four_stages():
    cell = worked_cell()
    assert cell["x"] == [X_ROW[0][1], X_ROW[1][1]]
    assert cell["g"] == list(G_CELL)
    assert cell["local_context"] == pytest.approx([1.70, -1.45])
    assert cell["channel_mean"] + cell["channel_max"] + cell["global_context"] == pytest.approx([0.35, 0.8, 0.75])
    assert cell["u"] == pytest.approx([2.45, -0.70])
    weight = sigmoid(2.45 - 0.70 - 0.70)
    assert cell["weight_x"] + cell["weight_g"] == pytest.approx([weight, 1 - weight])
    x = [value * (1 + weight) for value in (-0.5, 0.9)]
    g = [value * (2 - weight) for value in G_CELL]
    assert cell["x_selected"] + cell["g_selected"] == pytest.approx(x + g)
    modulated = [a * sigmoid(b) * b * sigmoid(a) for a, b in zip(x, g, strict=True)]
    assert cell["u_modulated"] == pytest.approx(modulated)
    attended = [sigmoid(4 * u) * value for u, value in zip(modulated, (-0.5, 0.9), strict=True)]
    assert cell["output"] == pytest.approx([attended[0] + attended[1], attended[0] - attended[1]])


def test_its_norms_do_nothing_in_a_way_that_every_torch_takes():
    """torch 2.11, which Google Colab has, refuses an eps of 0 in evaluation mode, too."""
    norms = [module for module in worked_gate().modules() if isinstance(module, torch.nn.BatchNorm2d)]
    values = torch.randn(3, 2, 4, 4, dtype=torch.float64)
    assert len(norms) > 3
    for norm in norms:
        assert norm.eps > 0
        given = values[:, :1].expand(-1, norm.num_features, -1, -1)
        torch.testing.assert_close(norm(given), given, rtol=1e-14, atol=0)
