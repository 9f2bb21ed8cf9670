"""Parameter counts as published against the network as built; where they disagree, by how much."""

from __future__ import annotations

import pytest
import torch

from msa2net_lib import MSA2Net
from msa2net_lib.nn.network import count_parameters
from msa2net_lib.paper.tables import table_1, table_a


@pytest.fixture(scope="module")
def published():
    with torch.device("meta"):
        return MSA2Net.from_preset("published")


def millions(*modules):
    return sum(count_parameters(module) for module in modules) / 1e6


def test_total(published):
    assert round(millions(published), 2) == table_1().loc["MSA²Net", "parameters_m"] == table_a()["Total", ""]


def test_encoder_is_cut_off_not_rounded(published):
    """64.126044 M is printed as 64.12."""
    assert int(millions(published.encoder.backbone) * 100) / 100 == table_a()["Encoder", "MaxViT-B"]


def test_gates_are_four_although_three_are_described(published):
    gates = [level.gate for level in published.decoder.levels]
    assert round(millions(*gates), 2) == table_a()["Skip Connection", "MASAG"]
    assert round(millions(*gates[:3]), 4) == 2.3413


def test_deep_levels(published):
    deep = millions(*published.decoder.levels[2:]) - millions(*(lv.gate for lv in published.decoder.levels[2:]))
    assert round(deep, 2) == table_a()["Decoder", "DAE-Former"]


def test_shallow_levels_are_a_hundredth_off(published):
    """Counted 1.358 M with the head, published 1.37 M: the remainder that makes Table A add up."""
    shallow = millions(*published.decoder.levels[:2], published.decoder.head)
    shallow -= millions(*(lv.gate for lv in published.decoder.levels[:2]))
    assert round(shallow, 3) == 1.358
    assert table_a()["Decoder", "LKA"] == 1.37


def test_released_and_paper_are_other_networks():
    with torch.device("meta"):
        counts = {name: count_parameters(MSA2Net.from_preset(name)) for name in ("released", "paper", "tiny")}
    assert counts == {"released": 93_660_877, "paper": 103_340_666, "tiny": 4_278_846}
