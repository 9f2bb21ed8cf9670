"""Adapters around the gates: unequal channels and grids, against arithmetic, numpy and what compilers make of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from msa2net_lib.errors import InputError
from msa2net_lib.export import export_module
from msa2net_lib.nn.adapters import GatedSkip, MatchChannels, MatchGrid
from msa2net_lib.nn.gates import GATES, build_gate
from msa2net_lib.nn.masag import MASAG


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def moved(module):
    """A module in evaluation mode whose batch norms are not at their start, so that they show."""
    for norm in module.modules():
        if isinstance(norm, torch.nn.modules.batchnorm._BatchNorm):
            norm.running_mean.uniform_(-0.5, 0.5)
            norm.running_var.uniform_(0.5, 2.0)
    return module.eval()


def test_channels_are_mixed_as_a_matrix_product_at_every_pixel():
    mix = MatchChannels(5, 3)
    g = torch.randn(2, 5, 4, 6)
    weight, bias = mix.mix.weight.detach().numpy()[:, :, 0, 0], mix.mix.bias.detach().numpy()
    expected = np.einsum("oc,bchw->bohw", weight, g.numpy()) + bias[:, None, None]
    np.testing.assert_allclose(mix(g).detach().numpy(), expected, atol=1e-6)


def test_equal_channels_and_equal_grids_are_left_alone():
    g = torch.randn(2, 5, 4, 6)
    assert MatchChannels(5, 5)(g) is g
    assert not list(MatchChannels(5, 5).parameters())
    assert MatchGrid()(g, torch.randn(2, 3, 4, 6)) is g


@pytest.mark.parametrize("size", [(8, 12), (7, 5), (1, 1), (3, 9)])
def test_maps_are_resampled_as_scipy_does_at_pixel_centers(size):
    g = torch.randn(1, 1, 4, 6)
    got = MatchGrid()(g, torch.zeros(1, 2, *size))[0, 0].numpy()
    np.testing.assert_allclose(got, at_centers(g[0, 0].numpy(), size), atol=1e-5)


def test_volumes_are_resampled_as_scipy_does_at_voxel_centers():
    g = torch.randn(1, 1, 3, 4, 5)
    got = MatchGrid()(g, torch.zeros(1, 2, 6, 7, 10))[0, 0].numpy()
    np.testing.assert_allclose(got, at_centers(g[0, 0].numpy(), (6, 7, 10)), atol=1e-5)


def at_centers(values, size):
    """Linear interpolation at the centers of a grid of ``size`` over the same area; the edge's value beyond it."""
    axes = [(np.arange(n) + 0.5) * m / n - 0.5 for n, m in zip(size, values.shape, strict=True)]
    places = np.meshgrid(*[axis.clip(0, m - 1) for axis, m in zip(axes, values.shape, strict=True)], indexing="ij")
    return map_coordinates(values, places, order=1, mode="nearest")


def test_mixing_before_and_after_resampling_are_the_same():
    mix, x, g = MatchChannels(6, 4).double(), torch.randn(1, 4, 9, 7).double(), torch.randn(1, 6, 4, 3).double()
    torch.testing.assert_close(MatchGrid()(mix(g), x), mix(MatchGrid()(g, x)))


@pytest.mark.parametrize("channels", [1, 3, 7, 24])
@pytest.mark.parametrize(("size", "gating_size"), [((1, 1), (1, 1)), ((5, 8), (3, 4)), ((4, 4), (9, 2))])
def test_any_channels_and_any_size(channels, size, gating_size):
    skip = GatedSkip(channels, 2 * channels + 1).eval()
    x, g = torch.randn(2, channels, *size), torch.randn(2, 2 * channels + 1, *gating_size)
    y = skip(x, g)
    assert y.shape == skip.attention(x, g).shape == x.shape
    assert bool(y.isfinite().all())


@pytest.mark.parametrize("name", GATES)
def test_every_gate_sees_x_itself_and_g_on_its_grid(name):
    skip = moved(GatedSkip(4, 6, build_gate(name, 4)))
    x, g = torch.randn(2, 4, 8, 6), torch.randn(2, 6, 4, 3)
    own = torch.nn.functional.interpolate(skip.to_channels.mix(g), size=(8, 6), mode="bilinear", align_corners=False)
    torch.testing.assert_close(skip(x, g), skip.gate(x, own))
    attention = skip.attention(x, g)
    assert (attention is None) == (name in ("addition", "concatenation"))


def test_with_equal_shapes_it_is_masag_itself():
    skip, gate = GatedSkip(5), MASAG(5)
    skip.gate.load_state_dict(gate.state_dict())
    x, g = torch.randn(2, 5, 6, 7), torch.randn(2, 5, 6, 7)
    torch.testing.assert_close(skip(x, g), gate(x, g), rtol=0, atol=0)


@pytest.mark.parametrize("dims", [2, 3])
def test_gradients_reach_both_inputs_and_every_weight(dims):
    grid, gating_grid = ((6, 8), (3, 4)) if dims == 2 else ((4, 6, 8), (2, 3, 4))
    skip = GatedSkip(3, 5, dims=dims)
    x, g = torch.randn(2, 3, *grid, requires_grad=True), torch.randn(2, 5, *gating_grid, requires_grad=True)
    skip(x, g).square().sum().backward()
    assert all(t.grad is not None and t.grad.isfinite().all() for t in (x, g, *skip.parameters()))
    assert bool(x.grad.any())
    assert bool(g.grad.any())


def test_gradients_are_right_in_float64():
    skip = moved(GatedSkip(2, 3)).double()
    x = torch.randn(1, 2, 3, 4, dtype=torch.double, requires_grad=True)
    g = torch.randn(1, 3, 2, 2, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(skip, (x, g))


@pytest.mark.parametrize(
    ("x", "g", "said"),
    [
        ((2, 3, 8, 8), (2, 6, 4, 4), r"x of shape \(2, 3, 8, 8\): this skip was made for \(b, 4, h, w\)"),
        ((2, 4, 8, 8), (2, 5, 4, 4), r"g of shape \(2, 5, 4, 4\): this skip was made for \(b, 6, h, w\)"),
        ((2, 4, 8, 8, 8), (2, 6, 4, 4, 4), r"x of shape"),
        ((2, 4, 8, 8), (3, 6, 4, 4), r"batch of 2 and g of 3"),
    ],
)
def test_shapes_that_do_not_fit_are_told_in_one_line(x, g, said):
    with pytest.raises(InputError, match=said) as told:
        GatedSkip(4, 6)(torch.zeros(x), torch.zeros(g))
    assert "\n" not in str(told.value)


def test_other_mistakes_are_told_too():
    with pytest.raises(InputError, match="dims=4"):
        MatchChannels(2, 3, dims=4)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="at least 1"):
        MatchChannels(0, 3)
    with pytest.raises(InputError, match="made for 2"):
        MatchChannels(2, 3)(torch.zeros(1, 3, 4, 4))
    with pytest.raises(InputError, match="two maps"):
        MatchGrid()(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4, 4))


def test_autocast_in_bfloat16_stays_near_float32():
    skip = moved(GatedSkip(8, 12))
    x, g = torch.randn(2, 8, 16, 16), torch.randn(2, 12, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        half = skip(x, g)
    full = skip(x, g)
    # A bfloat16 has 8 bits: 2^-8 for each of some ten steps.
    assert (half.float() - full).abs().max() < 0.05 * full.abs().max()


def test_channels_last_changes_the_memory_and_not_the_values():
    skip = moved(GatedSkip(8, 12))
    x, g = torch.randn(2, 8, 16, 16), torch.randn(2, 12, 8, 8)
    plain, last = skip(x, g), [t.contiguous(memory_format=torch.channels_last) for t in (x, g)]
    y = skip.to(memory_format=torch.channels_last)(*last)
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, plain, rtol=1e-5, atol=1e-5)


def test_compiled_it_equals_eager_and_is_one_graph():
    skip = moved(GatedSkip(3, 4))
    x, g = torch.randn(2, 3, 8, 8), torch.randn(2, 4, 4, 4)
    compiled = torch.compile(skip, fullgraph=True, backend="aot_eager")  # inductor needs a C++ compiler
    torch.testing.assert_close(compiled(x, g), skip(x, g))


FREE = {"x": {0: "batch", 2: "height", 3: "width"}, "g": {0: "batch", 2: "coarse_height", 3: "coarse_width"}}


@pytest.mark.slow
@pytest.mark.usefixtures("remembered_hints")
@pytest.mark.parametrize("ending", ["pt2", "onnx"])
def test_exported_it_takes_any_batch_and_grid(tmp_path, ending):
    skip = moved(GatedSkip(4, 6))
    inputs = {"x": torch.randn(2, 4, 10, 12), "g": torch.randn(2, 6, 5, 6)}
    probes = {
        name: {"x": torch.randn(b, 4, *size), "g": torch.randn(b, 6, *coarse)}
        for name, b, size, coarse in (
            ("half as fine", 1, (8, 8), (4, 4)),
            ("no whole factor", 3, (9, 14), (5, 7)),
            ("finer and coarser", 2, (7, 6), (10, 3)),
            ("the same grid", 2, (6, 6), (6, 6)),
        )
    }
    told = export_module(skip, inputs, tmp_path / f"skip.{ending}", dynamic_axes=FREE, probes=probes)
    assert told.largest_difference < 1e-4
    assert told.path.is_file()


def test_resampling_to_the_same_grid_changes_nothing():
    g = torch.randn(2, 3, 7, 5)
    for features, mode in ((g, "bilinear"), (g[:, :, None], "trilinear")):
        size = features.shape[2:]
        same = torch.nn.functional.interpolate(features, size=size, mode=mode, align_corners=False)
        assert torch.equal(same, features)
