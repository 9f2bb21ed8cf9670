"""Skips found in live networks: hand-made ones whose answer is known, and every row of Tables 1 and 2."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn
from torch.nn import functional

from msa2net_lib import adopt_network
from msa2net_lib.baselines.table import NETWORKS
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l17_rival_networks.checks import library_rule, with_rule
from msa2net_lib.lessons.l17_rival_networks.skips import one_pass, place_of, trace_skips
from msa2net_lib.lessons.l17_rival_networks.study import build_empty


class Toy(nn.Module):
    """Two strides below the image; the skip of stride 2 joins as told, that of stride 1 not at all."""

    def __init__(self, join):
        super().__init__()
        self.join = join
        self.encoder = nn.ModuleList(nn.Conv2d(c, 4, 3, padding=1) for c in (3, 4, 4))
        self.refine = nn.Conv2d(4, 4, 1)
        self.decoder = nn.Conv2d(8 if join == "cat" else 4, 4, 1)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, image):
        fine = self.encoder[0](image)
        skip = self.encoder[1](functional.max_pool2d(fine, 2))
        g = functional.interpolate(self.encoder[2](functional.max_pool2d(skip, 2)), scale_factor=2.0)
        if self.join == "cat":
            g = torch.cat([self.refine(skip), g], dim=1)
        elif self.join == "+":
            g = skip + g
        elif self.join == "gate":
            g = g + skip * (skip * g).sigmoid()
        return self.head(functional.interpolate(self.decoder(g), scale_factor=2.0))


@pytest.mark.parametrize(
    ("join", "words", "through"), [("cat", "cat", ["refine"]), ("+", "+", []), ("gate", "2× +", [])]
)
def test_a_join_is_found_where_it_is(join, words, through):
    trace = trace_skips(adopt_network(Toy(join), 2, 16))
    assert trace.coarsest == 4
    assert trace.maps == {2: 4, 4: 4}
    assert [(skip.stride, skip.channels, skip.words, skip.through) for skip in trace.skips] == [(2, 4, words, through)]


def test_a_network_without_skips_has_none():
    trace = trace_skips(adopt_network(Toy("none"), 2, 16))
    assert trace.skips == []
    assert trace.bridges == ()


def test_a_network_within_another_and_frozen_parts_stay_as_they_were():
    network = adopt_network(nn.Sequential(Toy("cat")), 2, 16)
    network[0].encoder.eval()
    assert [skip.words for skip in trace_skips(network).skips] == ["cat"]
    assert network.training
    assert not network[0].encoder.training


def test_what_cannot_be_traced_is_one_line():
    with pytest.raises(InputError, match=r"^image_size=\(16, 32\): skips are traced on square images"):
        trace_skips(adopt_network(Toy("cat"), 2, (16, 32)))


JOINS = {
    "concatenation": r"\d?cat",
    "addition": r"\+",
    "attention gate": r"\+ × cat",
    "channel transformer": r"\+ × cat",
    "cross attention": r"2@ cat",
    "bridge": "cat",
    "MASAG": r"\+ × \+ × \+ × \+",
}
STRIDES = {
    "transunet": (2, 4, 8), "swin_unet": (4, 8, 16), "missformer": (4, 8, 16), "scaleformer": (2, 4, 8, 16),
    "hiformer_b": (4,), "daeformer": (4, 8), "pvt_cascade": (4, 8, 16), "dlka_2d": (4, 8, 16), "unet": (1, 2, 4, 8),
    "attunet": (1, 2, 4, 8), "fatnet": (2, 4, 8), "uctransnet": (1, 2, 4, 8), "msa2net_published": (4, 8, 16),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", STRIDES)
def test_skips_are_what_the_table_of_networks_says(name):
    trace = trace_skips(one_pass(build_empty(name)))
    assert tuple(skip.stride for skip in trace.skips) == STRIDES[name]
    kind = NETWORKS[name].skip
    assert all(re.fullmatch(JOINS[kind], skip.words) for skip in trace.skips), [skip.words for skip in trace.skips]
    bridged = kind in ("bridge", "channel transformer")
    assert any(skip.bridge for skip in trace.skips) == bridged == bool(trace.bridges)


@pytest.mark.slow
def test_both_skips_of_a_drawing_network_are_seen():
    assert {skip.words for skip in trace_skips(one_pass(build_empty("dermosegdiff_small"))).skips} == {"2cat", "3cat"}


def test_a_rule_that_is_plugged_in_is_seen_and_nothing_stays_behind():
    network = with_rule("unet", library_rule)
    was = {key: value.clone() for key, value in network.state_dict().items()}
    skips = trace_skips(network).skips
    assert [skip.stride for skip in skips] == [1, 2]
    assert all(skip.joins[-1] == "cat" and {"+", "×"} <= set(skip.joins) for skip in skips)
    assert not any(module._forward_hooks for module in network.modules())
    assert all(torch.equal(value, was[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("shape", "place"),
    [
        ((3, 64, 56, 56), (4, 64)),
        ((3, 56, 56, 64), (4, 64)),
        ((3, 196, 320), (16, 320)),
        ((3, 256, 55, 55), (4, 256)),
        ((3, 197, 384), None),
        ((192, 49, 96), None),
        ((3, 8, 40, 40), None),
        ((3, 512), None),
        ((3, 196, 1), None),
    ],
)
def test_places(shape, place):
    assert place_of(shape, 224) == place
