"""The capstone: an independent module passes all the way, planted ones are named, layers are asked for by name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l05_recalibration.capstone import (
    LAYERS,
    capstone,
    fill,
    in_network,
    masag_module,
    without_gradient,
)
from msa2net_lib.nn.masag import MASAG
from msa2net_lib.nn.network import MSA2Net


class Written(nn.Module):
    """As a reader might write it."""

    def __init__(self, c):
        super().__init__()
        self.depthwise = nn.Conv2d(c, c, 3, padding=1, groups=c)
        self.dilated = nn.Conv2d(c, c, 3, padding=2, dilation=2, groups=c)
        self.mix = nn.Conv2d(2, 1, 1)
        self.select = nn.Conv2d(c, 2, 1)
        self.pointwise, self.attend, self.project = (nn.Conv2d(c, c, 1) for _ in range(3))
        for name in ("depthwise", "dilated", "pointwise", "fused", "attend", "project"):
            self.add_module(f"{name}_norm", nn.BatchNorm2d(c))
        self.mix_norm = nn.BatchNorm2d(1)

    def fuse(self, x, g):
        local = self.depthwise_norm(self.depthwise(x)).relu()
        local = self.pointwise_norm(self.pointwise(self.dilated_norm(self.dilated(local)).relu()))
        pooled = torch.stack([g.mean(1), g.max(1).values], dim=1)
        return self.fused_norm(local + self.mix_norm(self.mix(pooled)))

    def forward(self, x, g):
        first, second = self.select(self.fuse(x, g)).softmax(dim=1).split(1, dim=1)
        x_new, g_new = x * (1 + first), g * (1 + second)
        u = x_new * g_new.sigmoid() * g_new * x_new.sigmoid()
        return self.project_norm(self.project(self.attend_norm(self.attend(u)).sigmoid() * x))


class Unfinished(nn.Module):
    def __init__(self, channels):
        super().__init__()

    def forward(self, x, g):
        return x


class Dense(Written):
    def __init__(self, c):
        super().__init__(c)
        self.dilated = nn.Conv2d(c, c, 3, padding=2, dilation=2)


class Unbiased(Written):
    def __init__(self, c):
        super().__init__(c)
        self.attend = nn.Conv2d(c, c, 1, bias=False)


class More(Written):
    def __init__(self, c):
        super().__init__(c)
        self.extra = nn.Conv2d(c, c, 1)


class Silent(Written):
    def forward(self, x, g):
        super().forward(x, g)


class Unfused(Written):
    def forward(self, x, g):
        first, second = self.select(x).softmax(dim=1).split(1, dim=1)
        return self.project_norm(self.project(self.attend_norm(self.attend(x * first * g * second)).sigmoid() * x))


class Frozen(Written):
    """Freezes its batch norms: right in evaluation mode alone."""

    def train(self, mode=True):
        return super().train(False)


@pytest.mark.parametrize(
    ("build", "line"),
    [
        (Unfinished, "not yet: these layers are missing: depthwise, "),
        (lambda c: None, "it is NoneType: write a class that inherits from nn.Module"),
        (Dense, "depthwise, so groups=channels"),
        (Unbiased, "attend has no bias"),
        (More, "the gate has no layer extra"),
        (Silent, "None: that one was not computed"),
        (Frozen, "samples should see each other"),
        (MASAG, "not yet: these layers are missing"),
    ],
)
def test_each_way_to_miss_the_layers_or_a_mode_is_named(build, line):
    assert line in str(masag_module.diagnosis(build))


@pytest.mark.parametrize("message", masag_module.mistakes)
def test_each_planted_mistake_is_named(message):
    assert masag_module.diagnosis(masag_module.mistakes[message]) == message


def test_gradients_reach_all_but_constants_that_a_norm_takes_off():
    unused, zero = without_gradient(Written(8), 8)
    assert not unused
    assert "attend.weight" not in zero
    assert {"depthwise.bias", "attend.bias", "project.bias"} <= {*zero}
    assert {"depthwise.weight", "select.weight", "mix.weight"} <= {*without_gradient(Unfused(8), 8)[0]} | {
        "select.weight"
    }


def test_the_right_module_passes_and_gives_the_networks_logits(capsys):
    network = MSA2Net.from_preset("tiny").eval()
    image = torch.randn(1, 1, 128, 128)
    assert masag_module(Written)
    assert in_network(Written, network, image) < 1e-4
    assert capsys.readouterr().out == "masag_module: correct\n"
    assert not capstone(Unfinished, network, image)


@pytest.mark.slow
def test_it_learns_the_toy_task_in_place_of_the_librarys(capsys):
    assert capstone(Written, MSA2Net.from_preset("tiny"), torch.randn(1, 1, 128, 128))
    told = capsys.readouterr().out.splitlines()
    assert "without a gradient: none" in told[1]
    assert float(told[-1].split(": ")[1].split()[0]) > 0.8


def test_layers_are_all_of_the_gates():
    gate = MASAG(4)
    assert sum(p.numel() for p in gate.parameters()) == sum(
        p.numel() for path in LAYERS.values() for p in gate.get_submodule(path).parameters()
    )
    with pytest.raises(InputError, match="missing"):
        fill(nn.Conv2d(1, 1, 1), gate)


class LateNorm(Written):
    def fuse(self, x, g):
        local = self.depthwise_norm(self.depthwise(x).relu())
        local = self.pointwise_norm(self.pointwise(self.dilated_norm(self.dilated(local).relu())))
        pooled = torch.stack([g.mean(1), g.max(1).values], dim=1)
        return self.fused_norm(local + self.mix_norm(self.mix(pooled)))


class OwnPool(Written):
    def fuse(self, x, g):
        return super().fuse(x, x)


class OtherEps(Written):
    def __init__(self, c):
        super().__init__(c)
        self.attend_norm.eps = 1e-2


class Cut(Written):
    """Nothing before the attention map learns."""

    def fuse(self, x, g):
        return super().fuse(x, g).detach()

    def forward(self, x, g):
        first, second = self.select(self.fuse(x, g)).softmax(dim=1).split(1, dim=1)
        u = x * (1 + first) * (g * (1 + second)).sigmoid() * g.detach() * (1 + second) * (x * (1 + first)).sigmoid()
        return self.project_norm(self.project(self.attend_norm(self.attend(u)).sigmoid().detach() * x))


@pytest.mark.parametrize(
    ("module", "line"),
    [
        (LateNorm, "what goes into `depthwise_norm` is wrong: relu(what `depthwise` gives)"),
        (OwnPool, "what goes into `mix` is wrong"),
        (OtherEps, "what goes into `attend_norm` is right and what comes out is not"),
        (Cut, "no gradient reaches `g`"),
    ],
)
def test_the_layer_where_it_goes_wrong_is_named(module, line):
    assert line in str(masag_module.diagnosis(module))
