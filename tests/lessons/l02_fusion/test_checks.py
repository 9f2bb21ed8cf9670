"""Exercises on fusion: independent right answers pass, stubs and half answers do not, mistakes differ."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import nn

from msa2net_lib.lessons.l02_fusion.checks import global_pooling, pool_channels, receptive_field, same_padding
from msa2net_lib.nn.masag import MASAG, GlobalContext


def test_pooling_written_by_loops_passes():
    def by_loops(g):
        b, _, h, w = g.shape
        pooled = torch.empty(b, 2, h, w, dtype=g.dtype)
        for i, row, column in itertools.product(range(b), range(h), range(w)):
            values = g[i, :, row, column].tolist()
            pooled[i, 0, row, column] = sum(values) / len(values)
            pooled[i, 1, row, column] = sorted(values)[-1]
        return pooled

    assert global_pooling.diagnosis(by_loops) is None


def test_pooled_maps_are_what_the_global_context_mixes():
    context = GlobalContext().eval()
    g = torch.randn(2, 5, 4, 6)
    torch.testing.assert_close(context.norm(context.mix(pool_channels(g))), context(g))


def test_fused_features_are_the_norm_of_both_contexts_and_one_shift_moves_all_channels():
    gate = MASAG(5).eval()
    trace = gate.trace(torch.randn(2, 5, 4, 6), torch.randn(2, 5, 4, 6))
    assert trace.global_context.shape == (2, 1, 4, 6)
    torch.testing.assert_close(gate.fusion.norm(trace.local_context + trace.global_context), trace.u)


def test_receptive_field_by_pushing_one_pixel_through_passes():
    """A single one in the input, convolutions of ones: how far it spreads is the receptive field."""

    def by_spreading(kernels, dilations):
        reach = sum(kernel * dilation for kernel, dilation in zip(kernels, dilations, strict=True))
        x = torch.zeros(1, 1, 4 * reach + 1, dtype=torch.float64)
        x[..., 2 * reach] = 1
        for kernel, dilation in zip(kernels, dilations, strict=True):
            x = nn.functional.conv1d(x, torch.ones(1, 1, kernel, dtype=x.dtype), dilation=dilation, padding="same")
        seen = x.flatten().nonzero()
        return int(seen.max() - seen.min()) + 1

    assert receptive_field.diagnosis(by_spreading) is None


def test_padding_found_by_trying_passes():
    def by_trying(kernel, dilation):
        for padding in range(100):
            convolution = nn.Conv2d(1, 1, kernel, padding=padding, dilation=dilation, device="meta")
            if convolution(torch.empty(1, 1, 80, 80, device="meta")).shape[-1] == 80:
                return padding
        raise AssertionError

    assert same_padding.diagnosis(by_trying) is None


def test_stubs_are_refused():
    assert "not yet" in str(global_pooling.diagnosis(lambda g: g.new_zeros(len(g), 2, *g.shape[-2:])))
    assert "expected" in str(global_pooling.diagnosis(lambda g: g.mean(dim=1, keepdim=True)))
    assert "not yet" in str(receptive_field.diagnosis(lambda kernels, dilations: 0))
    assert "not yet" in str(same_padding.diagnosis(lambda kernel, dilation: 0))


def test_mistakes_differ_from_each_other_and_from_the_answer():
    for check in (global_pooling, receptive_field, same_padding):
        results = [
            [np.asarray(function(*arguments), dtype=float) for arguments in check._inputs()]
            for function in (check.answer, *check.mistakes.values())
        ]
        for one, other in itertools.combinations(results, 2):
            pairs = [*zip(one, other, strict=True)]
            assert any(a.shape != b.shape or not np.allclose(a, b, atol=1e-3) for a, b in pairs)
