"""The exercises on attention blocks: written another way they pass, stubs fail, and every mistake is its own."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from einops import einsum

from msa2net_lib.lessons.l07_decoder_blocks import checks
from msa2net_lib.lessons.l07_decoder_blocks.checks import efficient_attention, large_kernel_attention


def taps_one_by_one(x, weight, dilation):
    """A depthwise convolution as a sum of shifted copies, one per tap."""
    reach = dilation * (weight.shape[-1] // 2)
    padded = torch.nn.functional.pad(x, [reach] * 4)
    total = torch.zeros_like(x)
    for i, j in itertools.product(range(weight.shape[-1]), repeat=2):
        copy = padded[..., i * dilation :, j * dilation :][..., : x.shape[-2], : x.shape[-1]]
        total += copy * weight[:, 0, i, j, None, None]
    return total


def large_kernel_by_taps(x, depthwise, dilated, pointwise):
    seen = taps_one_by_one(taps_one_by_one(x, depthwise, 1), dilated, 3)
    return x * einsum(pointwise[:, :, 0, 0], seen, "out c, b c h w -> b out h w")


def attention_by_matrix(queries, keys, values):
    """By way of the n x n matrix, with softmaxes written out."""
    queries = queries.exp() / queries.exp().sum(1, keepdim=True)
    keys = keys.exp() / keys.exp().sum(2, keepdim=True)
    return values @ (queries.mT @ keys).mT


def test_other_ways_pass(capsys):
    assert checks.large_kernel_attention(large_kernel_by_taps)
    assert checks.efficient_attention(attention_by_matrix)
    assert capsys.readouterr().out.count("correct") == 2


def test_stubs_and_lost_pixels_are_answered():
    assert str(large_kernel_attention.diagnosis(lambda x, *weights: x)).startswith("not yet")
    assert str(efficient_attention.diagnosis(lambda queries, keys, values: values)).startswith("not yet")
    cropped = str(large_kernel_attention.diagnosis(lambda x, *weights: x[..., 3:-3, 3:-3]))
    assert cropped.startswith("it returned shape")


@pytest.mark.parametrize("check", [large_kernel_attention, efficient_attention], ids=lambda check: check.name)
def test_every_mistake_is_its_own(check):
    answers = [np.concatenate([f(*x).numpy().ravel() for x in check._inputs()]) for f in check.mistakes.values()]
    for one, other in itertools.combinations(answers, 2):
        assert np.abs(one - other).max() > 1e-3


@pytest.mark.parametrize("check", [large_kernel_attention, efficient_attention], ids=lambda check: check.name)
def test_draws_are_float64_and_of_many_shapes(check):
    inputs = check._inputs()
    assert all(tensor.dtype == torch.float64 for arguments in inputs for tensor in arguments)
    assert all(len(arguments[0]) >= 2 and arguments[0].shape[1] >= 2 for arguments in inputs)
    assert len({tuple(arguments[0].shape) for arguments in inputs}) > 1


def row_by_row(queries, keys, values):
    """A query at a time, weights by exponentials."""
    rows = []
    for q, k, v in zip(queries, keys, values, strict=True):
        weights = torch.stack([torch.exp(k @ one / len(one) ** 0.5) for one in q])
        rows.append(weights @ v / weights.sum(1, keepdim=True))
    return torch.stack(rows)


def test_self_attention_written_out_passes():
    assert checks.self_attention.diagnosis(row_by_row) is None
