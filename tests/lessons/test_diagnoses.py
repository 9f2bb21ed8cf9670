"""Tricks are refused, and each general mistake has its own line."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import pytest
import torch
from torch.nn import functional

from msa2net_lib.lessons.exercise import Check, random_pointwise, random_tensor
from msa2net_lib.lessons.l01_data.checks import window
from msa2net_lib.lessons.l02_fusion.checks import global_pooling, receptive_field, same_padding
from msa2net_lib.lessons.l03_selection.checks import selection, share
from msa2net_lib.lessons.l04_modulation.checks import cross_modulation
from msa2net_lib.lessons.l05_recalibration.checks import recalibration, whole_gate
from msa2net_lib.lessons.l06_skip_gates.checks import attention_gate
from msa2net_lib.lessons.l07_decoder_blocks.checks import efficient_attention, large_kernel_attention
from msa2net_lib.lessons.l08_network.checks import convolution
from msa2net_lib.lessons.l11_evaluation.checks import dice


def own_range(hu):
    return (hu - hu.min()) / (hu.max() - hu.min())


def clipped_to_own_range(hu):
    low, high = max(hu.min(), -125), min(hu.max(), 275)
    return (np.clip(hu, low, high) - low) / (high - low)


@pytest.mark.filterwarnings("ignore:invalid value encountered in divide")  # in the answers
@pytest.mark.parametrize("by_range", [own_range, clipped_to_own_range, lambda hu: own_range(np.clip(hu, -125, 275))])
def test_a_window_taken_from_the_array_itself_is_refused(by_range):
    assert window.diagnosis(by_range)


def test_draws_of_the_window_lie_inside_it_beyond_each_end_and_on_both_sides():
    drawn = [hu for (hu,) in window._inputs()]
    kinds = {(bool((hu < -125).any()), bool((hu > 275).any())) for hu in drawn}
    assert kinds == {(False, False), (True, False), (False, True), (True, True)}


def zeroed(module):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    return module


def filled(module):
    for tensor in module.state_dict().values():
        tensor.fill_(1)
    return module


SPOIL = [zeroed, filled, lambda module: module.train(), lambda module: module.half().double()]


@pytest.mark.parametrize("spoil", SPOIL)
def test_an_answer_that_spoils_the_module_it_got_is_refused(spoil):
    def gate_of(gate, x, g):
        spoil(gate)
        u = gate.fusion(x, g)
        return gate.recalibration(gate.cross_modulation(*gate.selection(u, x, g)), x)

    def stage_of(u, x, attend, project):
        return project(spoil(attend)(u).sigmoid() * x)

    assert whole_gate.diagnosis(gate_of)
    assert recalibration.diagnosis(stage_of)


@pytest.mark.parametrize("spoil", SPOIL)
def test_a_right_answer_that_leaves_a_module_changed_is_refused(spoil):
    def stage_of(u, x, attend, project):
        right = project(attend(u).sigmoid() * x)
        spoil(attend)
        return right

    assert str(recalibration.diagnosis(stage_of)).startswith("the result is right, but ")


@pytest.mark.parametrize("call", [lambda gate, x, g: gate(x, g), lambda gate, x, g: gate.forward(x, g)])
def test_the_whole_gate_cannot_be_called_where_it_is_to_be_written(call):
    assert "call its four stages" in str(whole_gate.diagnosis(call))
    assert "AttributeError" in str(whole_gate.diagnosis(lambda gate, x, g: gate.modulate(x, g)))


@pytest.mark.parametrize(
    ("check", "wrong"),
    [
        (same_padding, lambda k, d: d * (k - 1) / 2),
        (same_padding, lambda k, d: np.float64(d * (k - 1) // 2)),
        (same_padding, lambda k, d: torch.tensor(d * (k - 1) / 2)),
        (receptive_field, lambda k, d: 1.0 + sum(b * (a - 1) for a, b in zip(k, d, strict=True))),
        (convolution, lambda i, o, k, g, h, w: (o * i / g * k * k + o, o * i / g * k * k * h * w)),
    ],
)
def test_a_float_where_a_whole_number_belongs_is_refused(check, wrong):
    assert "a whole number is expected" in str(check.diagnosis(wrong))


def test_whole_numbers_of_numpy_and_torch_are_whole_numbers():
    assert same_padding.diagnosis(lambda k, d: np.int64(d * (k - 1) // 2)) is None
    assert same_padding.diagnosis(lambda k, d: torch.tensor(d * (k - 1) // 2)) is None


def shapes(rng):
    size = 2, int(rng.integers(3, 6)), 4, 5
    return random_tensor(rng, *size), random_tensor(rng, *size)


TWO = Check("two", lambda x, g: (x * g.sigmoid(), g.tanh()), shapes, {})
ONE = Check("one", lambda x, g: x * g.sigmoid(), shapes, {})
MEAN = Check("mean", lambda x, g: (x * g).mean(dim=1, keepdim=True), shapes, {})


def right(x, g):
    return x * g.sigmoid()


def pair(x, g):
    return right(x, g), g.tanh()


def sequential_in_place(x, g):
    x *= g.sigmoid()
    g *= x.sigmoid()
    return x, g, x * g


def in_place(x, g):
    g.sigmoid_()
    return x * g + 1


def layer(module, position, features):
    return module[position](features)


def replicated(x, depthwise, dilated, pointwise, mode="replicate"):
    """Large-kernel attention with maps continued at the border otherwise than by zeros."""
    near = functional.conv2d(functional.pad(x, (2,) * 4, mode=mode), depthwise, groups=x.shape[1])
    wide = functional.pad(near, (8,) * 4, mode=mode) if mode == "reflect" else functional.pad(near, (9,) * 4, mode=mode)
    wide = functional.pad(wide, (1,) * 4) if mode == "reflect" else wide  # the shortest map has nine rows
    return x * functional.conv2d(functional.conv2d(wide, dilated, dilation=3, groups=x.shape[1]), pointwise)


def counted(channels_in, channels_out, kernel, groups, height, width):
    weights = channels_out * (channels_in // groups) * kernel**2
    return weights + channels_out, weights * height * width


def gated_by_means(x, g):
    own, other = (x * g.mean((2, 3), True).sigmoid(), g * x.mean((2, 3), True).sigmoid())
    return own, other, own * other


named = namedtuple("named", "check wrong line")
LINES = [
    named(ONE, lambda x, g: None, "it returned None"),
    named(TWO, lambda x, g: (right(x, g), None), "the second is None"),
    named(ONE, lambda x, g: right(1e3 * x.float(), g.float()).double() / 1e3 + 3e-6, "low precision (float32"),
    named(ONE, lambda x, g: right(x.half(), g.half()).double(), "low precision (float16"),
    named(ONE, lambda x, g: right(x, g).float(), "in float32"),
    named(ONE, lambda x, g: right(x.half(), g.half()), "low precision"),
    named(TWO, lambda x, g: pair(x, g)[::-1], "returned in another order"),
    named(TWO, lambda x, g: torch.stack(pair(x, g)), "joined in one array"),
    named(TWO, lambda x, g: torch.cat(pair(x, g), dim=1), "joined in one array"),
    named(TWO, lambda x, g: g.tanh(), "it is the second; the others are missing"),
    named(TWO, lambda x, g: (*pair(x, g), x), "return those alone"),
    named(ONE, pair, "return those alone"),
    named(ONE, lambda x, g: right(x, g).permute(0, 2, 3, 1), "another order, the numbers are right"),
    named(ONE, lambda x, g: right(x, g).mT, "another order, the numbers are right"),
    named(ONE, lambda x, g: right(x, g)[0], "the axis of samples is gone"),
    named(ONE, lambda x, g: right(x, g).sum(dim=1, keepdim=True), "channels are gone"),
    named(ONE, lambda x, g: right(x, g)[:, None], "an axis of size 1 too many"),
    named(MEAN, lambda x, g: (x * g).mean(dim=1), "keep it (keepdim=True"),
    named(MEAN, lambda x, g: (x * g).sum(dim=1, keepdim=True), "multiplied by the number of channels"),
    named(ONE, lambda x, g: 2.5 * right(x, g), "a factor of 2.5"),
    named(ONE, lambda x, g: -right(x, g), "the sign is wrong"),
    named(ONE, lambda x, g: right(x, g) + 3, "an offset of +3"),
    named(TWO, lambda x, g: (right(x, g), g.tanh() - 1), "the first is right; the second result: an offset of -1"),
    named(ONE, in_place, "`g` was written into"),
    named(ONE, lambda x, g: x * g, "were `g` its own sigmoid first: that step is missing"),
    named(ONE, lambda x, g: right(x, g.tanh()), "had `g` been its own tanh: that step is too many"),
    named(ONE, lambda x, g: right(x, x), "`x` stands where `g` belongs"),
    named(ONE, lambda x, g: g * x.sigmoid(), "`x` and `g` are swapped"),
    named(ONE, lambda x, g: x, "not yet: it returns `x` as it came in"),
    named(ONE, lambda x, g: "no", "a result is str"),
    named(receptive_field, lambda k, d: sum(k), "the kernels are summed"),
    named(receptive_field, lambda k, d: sum(b * (a - 1) + 1 for a, b in zip(k, d, strict=True)), "sides"),
    named(selection, lambda s, x, g: selection.answer(s, x, g)[::-1], "returned in another order"),
    named(cross_modulation, sequential_in_place, "one after the other"),
    named(cross_modulation, sequential_in_place, "`x` was written into"),
    named(cross_modulation, lambda x, g: 2 * ((x * g).sigmoid(),) + ((x * g).sigmoid() ** 2,), "after the product"),
    named(global_pooling, lambda g: torch.stack([g.mean(1, True), g.amax(1, True)], 1), "size 1 too many"),
    named(global_pooling, lambda g: torch.cat([g.mean(dim=1), g.amax(dim=1)], dim=1), "channel axis is lost"),
    named(recalibration, lambda u, x, a, p: p(a[0](u).sigmoid() * x), "batch norm of `attend`"),
    named(recalibration, lambda u, x, a, p: layer(p, 0, a(u).sigmoid() * x), "batch norm of `project`"),
    named(recalibration, lambda u, x, a, p: p((a(u) * x).sigmoid()), "the sigmoid comes after the product"),
    named(recalibration, lambda u, x, a, p: recalibration.answer(x, u, a, p), "swapped"),
    named(recalibration, lambda u, x, a, p: p(p(a(u).sigmoid() * x)), "is called 2 times"),
    named(attention_gate, lambda x, g, t, p, s: (s((t(x) + p(g)).relu()) * x).sigmoid(), "after the product"),
    named(attention_gate, lambda x, g, t, p, s: s((t(x) + p(g)).relu()).softmax(dim=1) * x, "softmax over one channel"),
    named(share, lambda s: s[:, :1].softmax(dim=1), "softmax over one channel"),
    named(efficient_attention, lambda q, k, v: efficient_attention.answer(k, q, v), "changed places"),
    named(dice, lambda p, t: float("nan"), "nan or infinity"),
    named(ONE, lambda x, g: x * g.sigmoid().detach(), "no gradient reaches `g`"),
    named(TWO, lambda x, g: (x.detach() * g.sigmoid(), g.tanh()), "no gradient reaches `x`"),
    named(large_kernel_attention, replicated, "what the map is padded with"),
    named(large_kernel_attention, lambda x, d, w, p: replicated(x, d, w, p, "reflect"), "what the map is padded with"),
    named(large_kernel_attention, lambda x, d, w, p: replicated(x, d, w, p, "circular"), "what the map is padded with"),
    named(convolution, lambda i, o, k, g, h, w: counted(i, o, k, g, h - k + 1, w - k + 1), "`h` is `h - k + 1`"),
    named(convolution, lambda i, o, k, g, h, w: counted(i, o, k, g, h - 1, w - 1), "`h` is taken once less"),
    named(convolution, lambda i, o, k, g, h, w: counted(i, o, k, g, h, h), "`h` stands where `w` belongs"),
    named(receptive_field, lambda k, d: 1 + int(np.dot(k, np.cumprod(d))), "sum of k x the product of d so far"),
    named(receptive_field, lambda k, d: 1 + int(np.dot(np.array(k) - 1, np.array(d) + 1)), "(d + 1)"),
    named(global_pooling, lambda g: torch.cat([(g * g).mean(1, True).sqrt(), g.amax(1, True)], 1), "root mean square"),
    named(global_pooling, lambda g: torch.cat([g.abs().mean(1, True), g.amax(1, True)], 1), "is the mean size"),
    named(global_pooling, lambda g: torch.cat([g.mean(1, True), g.std(1, keepdim=True)], 1), "deviation (n - 1)"),
    named(selection, lambda s, x, g: selection.answer(s / 2**0.5, x, g), "root of the number of channels"),
    named(selection, lambda s, x, g: selection.answer(s[:1].expand_as(s), x, g), "first sample, for all samples"),
    named(selection, lambda s, x, g: selection.answer(1e9 * s, x, g), "hard choice"),
    named(cross_modulation, gated_by_means, "the mean of `g` over cells"),
]  # fmt: skip


@pytest.mark.parametrize("case", LINES, ids=[f"{i}: {case.line}" for i, case in enumerate(LINES)])
def test_the_mistake_is_named(case):
    assert case.line in str(case.check.diagnosis(case.wrong))


LAYERS = Check(
    "layers",
    lambda x, layer, act: act(layer(x)) * 2,
    lambda rng: (random_tensor(rng, 2, 3, 4, 5), random_pointwise(rng, 3, 3), torch.nn.ReLU()),
    {},
)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda x, layer, act: act(input=layer(input=x)) * 2, None),
        (lambda x, layer, act: act(input=layer(input=x)) * 3, "all layers get what they should"),
        (lambda x, layer, act: act(input=layer(input=x + 1)) * 2, "what goes into the convolution of `layer`"),
        (lambda x, layer, act: act(layer(x).float()).double() * 3, "all layers get what they should"),
        (lambda x, layer, act: act(layer(x).bfloat16()).double() * 2, "`act`"),
        (lambda x, layer, act: act(layer(x).float() + 1) * 2, "`act`"),
    ],
)
def test_layers_called_by_keyword_and_in_other_types(answer, told):
    found = LAYERS.diagnosis(answer)
    assert (found is None) == (told is None)
    assert told is None or told in str(found) or "layer" in told, found
