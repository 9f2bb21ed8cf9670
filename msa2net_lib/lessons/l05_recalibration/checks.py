"""Exercises of lesson 05: the skip features weighed by the attention map, and the gate from its four stages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor, nn

from msa2net_lib.lessons.exercise import Check, random_tensor
from msa2net_lib.nn.masag import MASAG, Recalibration


def _shape(rng: np.random.Generator) -> tuple[int, int, int, int]:
    batch, channels, height = int(rng.integers(2, 4)), int(rng.integers(2, 6)), int(rng.integers(4, 9))
    return batch, channels, height, height + int(rng.integers(1, 4))


def trained(module: nn.Module, rng: np.random.Generator) -> Any:
    """A module as training could have left it: random weights and running statistics; evaluation mode, float64."""
    module = module.double().eval().requires_grad_(False)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            drawn = random_tensor(rng, *tensor.shape)
            tensor.copy_(drawn.abs() + 0.5 if name.endswith("running_var") else drawn)
    return module


def _draw_recalibration(rng: np.random.Generator) -> tuple[Any, ...]:
    shape = _shape(rng)
    stage = trained(Recalibration(shape[1]), rng)
    attend = nn.Sequential(stage.attend, stage.attend_norm)
    project = nn.Sequential(stage.project, stage.project_norm)
    return random_tensor(rng, *shape), random_tensor(rng, *shape), attend, project


def _recalibration(u_modulated: Tensor, x: Tensor, attend: nn.Sequential, project: nn.Sequential) -> Tensor:
    """The library's stage with the layers given."""
    stage: Any = Recalibration(x.shape[1]).eval()
    stage.attend, stage.attend_norm = attend
    stage.project, stage.project_norm = project
    return stage(u_modulated, x)


class Stages(nn.Module):
    """The four stages of a gate and nothing else: what they make together is the exercise."""

    def __init__(self, gate: MASAG):
        super().__init__()
        self.fusion, self.selection = gate.fusion, gate.selection
        self.cross_modulation, self.recalibration = gate.cross_modulation, gate.recalibration

    def forward(self, *_: Tensor) -> Tensor:
        raise TypeError("the whole gate is what you write: call its four stages")


def _draw_gate(rng: np.random.Generator) -> tuple[Any, ...]:
    shape = _shape(rng)
    return Stages(trained(MASAG(shape[1]), rng)), random_tensor(rng, *shape), random_tensor(rng, *shape)


def _whole(gate: Stages, x: Tensor, g: Tensor) -> Tensor:
    """The library's gate with these stages."""
    whole = MASAG(x.shape[1])
    for name, stage in gate.named_children():
        whole.add_module(name, stage)
    return whole(x, g)


def _composed(
    compose: Callable[[Stages, Tensor, Tensor, Tensor, Tensor], Tensor],
) -> Callable[[Stages, Tensor, Tensor], Tensor]:
    """A gate that is right up to X' and G': ``compose`` gets the gate, X, G, X' and G'."""
    return lambda gate, x, g: compose(gate, x, g, *gate.selection(gate.fusion(x, g), x, g))


def _selecting(select: Callable[[Stages, Tensor, Tensor], tuple[Tensor, Tensor]]) -> Callable[..., Tensor]:
    """A gate whose first two stages are others, and whose last two are right."""
    return lambda gate, x, g: gate.recalibration(gate.cross_modulation(*select(gate, x, g)), x)


recalibration = Check(
    "recalibration",
    _recalibration,
    _draw_recalibration,
    {
        "the attention is multiplied onto U': it weighs the original X": lambda u, x, a, p: p(a(u).sigmoid() * u),
        "the sigmoid is missing: attention lies between 0 and 1": lambda u, x, a, p: p(a(u) * x),
        "softmax over channels where the sigmoid belongs: each channel has its own gate": lambda u, x, a, p: p(
            a(u).softmax(dim=1) * x
        ),
        "a residual is added to the output: Equation 6 has none": lambda u, x, a, p: p(a(u).sigmoid() * x) + x,
        "a residual is added before `project`: Equation 6 has none": lambda u, x, a, p: p(a(u).sigmoid() * x + x),
        "`project` comes too early: first the product, then the last convolution": lambda u, x, a, p: (
            a(u).sigmoid() * p(x)
        ),
        "`project` is missing: a last 1x1 convolution follows the product": lambda u, x, a, p: a(u).sigmoid() * x,
        "`attend` is missing: a 1x1 convolution comes before the sigmoid": lambda u, x, a, p: p(u.sigmoid() * x),
        "U' and X are swapped: the attention is made of U', and X is weighed by it": lambda u, x, a, p: p(
            a(x).sigmoid() * u
        ),
        "the attention is made of X: it is made of U'": lambda u, x, a, p: p(a(x).sigmoid() * x),
        "the attention is added to X: multiply them": lambda u, x, a, p: p(a(u).sigmoid() + x),
        "the sigmoid comes before `attend`: first the convolution, then the sigmoid": lambda u, x, a, p: p(
            a(u.sigmoid()) * x
        ),
        "the sigmoid comes after the product: the attention is the sigmoid of `attend` alone": lambda u, x, a, p: p(
            (a(u) * x).sigmoid()
        ),
        "the batch norm of `attend` is left out: call `attend`, not its convolution alone": lambda u, x, a, p: p(
            a[0](u).sigmoid() * x
        ),
        "the batch norm of `project` is left out: call `project`, not its convolution alone": lambda u, x, a, p: p[0](
            a(u).sigmoid() * x
        ),
        "`attend` and `project` are swapped": lambda u, x, a, p: a(p(u).sigmoid() * x),
    },
)
whole_gate = Check(
    "whole_gate",
    _whole,
    _draw_gate,
    {
        "X and G are swapped: X is the skip, G comes from the decoder": lambda gate, x, g: _whole(gate, g, x),
        "the attention weighs X': stage 4 goes back to the original X": _composed(
            lambda gate, x, g, x_new, g_new: gate.recalibration(gate.cross_modulation(x_new, g_new), x_new)
        ),
        "the attention weighs G: stage 4 goes back to the original X": _composed(
            lambda gate, x, g, x_new, g_new: gate.recalibration(gate.cross_modulation(x_new, g_new), g)
        ),
        "the selection weights are made of X: they are made of the fused U": _selecting(
            lambda gate, x, g: gate.selection(x, x, g)
        ),
        "the two selection weights are swapped: selection takes U, X, G": _selecting(
            lambda gate, x, g: gate.selection(gate.fusion(x, g), g, x)
        ),
        "fusion's inputs are swapped: local context is taken of X, global of G": _selecting(
            lambda gate, x, g: gate.selection(gate.fusion(g, x), x, g)
        ),
        "cross-modulation is skipped: U goes into the last stage where U' belongs": lambda gate, x, g: (
            gate.recalibration(gate.fusion(x, g), x)
        ),
        "fusion and selection are skipped: cross-modulation takes X' and G'": _selecting(lambda gate, x, g: (x, g)),
        "the original X is added to the output: the gate has no residual of its own": lambda gate, x, g: (
            _whole(gate, x, g) + x
        ),
        "G is added to the output: that is the decoder's work, after the gate": lambda gate, x, g: (
            _whole(gate, x, g) + g
        ),
        "it stops at U': recalibration is missing": _composed(
            lambda gate, x, g, x_new, g_new: gate.cross_modulation(x_new, g_new)
        ),
    },
)
