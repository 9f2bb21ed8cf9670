"""Footprints by hand, by convolution of ones, and by gradient through the library's own layers."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from msa2net_lib.analysis.receptive_field import (
    LARGE_KERNEL_ATTENTION,
    LOCAL_CONTEXT,
    effective_receptive_field,
    footprint,
    footprint_paths,
    place_footprint,
    receptive_field_size,
    same_padding,
)
from msa2net_lib.errors import InputError
from msa2net_lib.nn.lka import LargeKernelAttention
from msa2net_lib.nn.masag import LocalContext


def paths_by_walking(layers):
    """Every choice of a tap per layer is one path; count where they end."""
    radius = sum(dilation * (kernel // 2) for kernel, dilation in layers)
    counts = np.zeros((2 * radius + 1,) * 2, dtype=int)
    steps = [[dilation * (i - kernel // 2) for i in range(kernel)] for kernel, dilation in layers]
    for rows in product(*steps):
        for columns in product(*steps):
            counts[radius + sum(rows), radius + sum(columns)] += 1
    return counts


def with_ones(*convolutions):
    for convolution in convolutions:
        nn.init.ones_(convolution.weight)
        nn.init.zeros_(convolution.bias)
    return nn.Sequential(*convolutions).double()


@pytest.mark.parametrize("layers", [LOCAL_CONTEXT, LARGE_KERNEL_ATTENTION, [(3, 1), (3, 4)], [(5, 2)], [(1, 1)], []])
def test_paths_against_walking_all_of_them(layers):
    np.testing.assert_array_equal(footprint_paths(layers), paths_by_walking(layers))
    np.testing.assert_array_equal(footprint_paths(layers), footprint_paths(layers[::-1]))


def test_the_gates_footprint_by_hand():
    """3 x 3, then 3 x 3 with dilation 2: 7 x 7 without holes; diagonal neighbors are reached on four paths."""
    line = np.array([1, 1, 2, 1, 2, 1, 1])
    np.testing.assert_array_equal(footprint_paths(LOCAL_CONTEXT), np.outer(line, line))
    assert footprint(LOCAL_CONTEXT).all()


def test_large_kernel_attention_sees_23_pixels_without_holes():
    """The dilated 7 x 7 alone sees 49 of 19 x 19 offsets; the 5 x 5 before it fills what is between."""
    alone = footprint(LARGE_KERNEL_ATTENTION[1:])
    assert alone.shape == (19, 19)
    assert alone.sum() == 49
    assert not alone[1:3].any()
    assert footprint(LARGE_KERNEL_ATTENTION).shape == (23, 23)
    assert footprint(LARGE_KERNEL_ATTENTION).all()


@pytest.mark.parametrize(("dilation", "holes"), [(1, False), (2, False), (3, False), (4, True), (5, True)])
def test_holes_begin_where_the_dilation_exceeds_what_was_seen_before(dilation, holes):
    assert footprint([(3, 1), (3, dilation)]).all() != holes


def test_constants_are_those_of_the_layers():
    local = LocalContext(2)
    assert [(layer.kernel_size[0], layer.dilation[0]) for layer in (local.depthwise, local.dilated)] == [*LOCAL_CONTEXT]
    large = [layer for layer in LargeKernelAttention(2).modules() if isinstance(layer, nn.Conv2d) and layer.groups > 1]
    assert [(layer.kernel_size[0], layer.dilation[0]) for layer in large] == [*LARGE_KERNEL_ATTENTION]
    for layer in (local.depthwise, local.dilated, *large):
        assert layer.padding[0] == same_padding(layer.kernel_size[0], layer.dilation[0])  # pyright: ignore


def test_size_and_padding_against_torch():
    for kernel, dilation in ((1, 1), (3, 1), (3, 2), (5, 3), (7, 2)):
        convolution = nn.Conv2d(1, 1, kernel, dilation=dilation, padding=same_padding(kernel, dilation))
        assert convolution(torch.zeros(1, 1, 9, 8)).shape == (1, 1, 9, 8)
    assert receptive_field_size([3, 3], [1, 2]) == 7
    assert receptive_field_size([5, 7], [1, 3]) == 23


def test_gradient_of_ones_counts_paths():
    """With all weights one and no activation, the gradient is the number of paths; at the border it is cut off."""
    network = with_ones(nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 3, padding=2, dilation=2))
    x = torch.randn(1, 1, 11, 12, dtype=torch.float64)
    for pixel in ((5, 6), (0, 1), (10, 11)):
        field = effective_receptive_field(network, x, pixel)
        expected = place_footprint(footprint_paths(LOCAL_CONTEXT), pixel, (11, 12))
        # What leaves the map between the two layers is lost: near the border there are fewer paths.
        assert (field <= expected + 1e-6).all()
        assert np.array_equal(field > 0, expected > 0)
        if pixel == (5, 6):
            np.testing.assert_allclose(field, expected)


@pytest.mark.parametrize(
    ("build", "chain"),
    [(LocalContext, LOCAL_CONTEXT), (lambda channels: LocalContext(channels, "dense"), LOCAL_CONTEXT),
     (LargeKernelAttention, LARGE_KERNEL_ATTENTION)],
)  # fmt: skip
def test_nothing_outside_of_the_footprint_has_a_gradient(build, chain):
    torch.manual_seed(0)
    layer, x = build(12), torch.randn(1, 12, 33, 29)
    field = effective_receptive_field(layer.eval(), x, (16, 14))
    mask = place_footprint(footprint(chain), (16, 14), (33, 29))
    assert field.shape == (33, 29)
    assert not field[~mask.astype(bool)].any()
    assert (field[mask.astype(bool)] > 0).mean() > 0.9


def test_field_is_the_norm_of_the_jacobian():
    torch.manual_seed(0)
    layer = LocalContext(3).eval()
    x = torch.randn(1, 3, 6, 7)
    jacobian = torch.autograd.functional.jacobian(lambda x: layer(x)[0, :, 2, 4], x)
    expected = torch.linalg.vector_norm(jacobian[:, 0], dim=(0, 1))  # pyright: ignore
    np.testing.assert_allclose(effective_receptive_field(layer, x, (2, 4)), expected.numpy(), rtol=1e-5)


def test_inputs_made_in_inference_mode_are_taken_and_left_alone():
    torch.manual_seed(0)
    layer = LocalContext(40).eval()
    with torch.inference_mode():
        x = torch.randn(1, 40, 8, 8)
        field = effective_receptive_field(layer, x, (4, 4))
    assert field.any()
    assert all(parameter.grad is None for parameter in layer.parameters())


@pytest.mark.parametrize(
    ("call", "message"),
    [(lambda: footprint([(4, 1)]), "kernel=4, dilation=1: use an odd kernel"),
     (lambda: footprint([(3, 0)]), "dilation of 1 or more"),
     (lambda: receptive_field_size([3], [1, 2]), "1 kernels and 2 dilations"),
     (lambda: place_footprint(np.ones((3, 3)), (5, 0), (5, 5)), "outside of the 5 x 5 map"),
     (lambda: effective_receptive_field(nn.Identity(), torch.zeros(1, 1, 3, 3), (0, -1)), "outside of the 3 x 3 map"),
     (lambda: effective_receptive_field(nn.Identity(), torch.zeros(2, 1, 3, 3), (0, 0)), "x holds 2 samples")],
)  # fmt: skip
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
