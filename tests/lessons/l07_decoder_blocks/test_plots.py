"""Traces of the decoder's blocks are what the blocks computed; figures show those numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from study_fixtures import check_steps_within_a_cell

from msa2net_lib.analysis.layers import capture
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l07_decoder_blocks import plots
from msa2net_lib.lessons.l07_decoder_blocks.study import (
    DualTrace,
    LKATrace,
    attention_row,
    busiest_channel,
    by_context,
    by_matrix,
    channel_attention_maps,
    count_attention,
    count_products,
    implied_attention,
    mean_row,
    sharpest_weight,
    slopes,
    standard_attention,
    trace_blocks,
)
from msa2net_lib.nn.dual_attention import ChannelAttention


@pytest.fixture(scope="module")
def traces(study):
    return trace_blocks(study)


def random_qkv(channels=6, positions=11):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, channels, positions, generator=generator, dtype=torch.float64) for _ in range(3)]


def test_large_kernel_traces_are_what_the_block_computes(traces):
    for level in (0, 1):
        trace = traces[level]
        assert isinstance(trace, LKATrace)
        attention = trace.block.attention.attention
        with torch.no_grad():
            torch.testing.assert_close(trace.block(trace.block_input), trace.block_output)
            torch.testing.assert_close(attention.depthwise(trace.x), trace.local)
            torch.testing.assert_close(attention.dilated(trace.local), trace.wide)
            torch.testing.assert_close(attention.pointwise(trace.wide), trace.attention)
        torch.testing.assert_close(trace.x * trace.attention, trace.product)


def test_dual_traces_are_what_the_block_computes(traces):
    for level, side in ((2, 8), (3, 4)):
        trace = traces[level]
        assert isinstance(trace, DualTrace)
        assert trace.grid == (side, side)
        torch.testing.assert_close(by_context(trace.queries, trace.keys, trace.values), trace.attended)
        channels = trace.queries.shape[1] // 8
        assert trace.channel_attention.shape == (1, 8, channels, channels)
        torch.testing.assert_close(trace.channel_attention.sum(-1), torch.ones(1, 8, channels))


def test_the_second_block_follows_the_first(study, traces):
    second = trace_blocks(study, 1)
    torch.testing.assert_close(second[0].block_input, traces[0].block_output)


def test_hooks_go_and_unused_modules_are_named(study):
    used, unused = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    with pytest.raises(InputError, match="unused did not run"):
        capture(lambda: used(torch.ones(1, 2)), {"used": used, "unused": unused})
    assert not used._forward_hooks
    assert not unused._forward_hooks
    assert not any(module._forward_hooks for module in study.network.modules())


def test_both_orders_agree_and_standard_attention_does_not():
    queries, keys, values = random_qkv()
    assert (by_context(queries, keys, values) - by_matrix(queries, keys, values)).abs().max() < 1e-12
    assert (by_context(queries, keys, values) - standard_attention(queries, keys, values)).abs().max() > 0.01
    rows = implied_attention(queries, keys).sum(dim=2)
    torch.testing.assert_close(rows, torch.ones_like(rows))


def test_standard_attention_is_torchs():
    queries, keys, values = random_qkv()
    theirs = torch.nn.functional.scaled_dot_product_attention(queries.mT, keys.mT, values.mT).mT
    torch.testing.assert_close(standard_attention(queries, keys, values), theirs)


def test_channel_maps_give_the_modules_output():
    module = ChannelAttention(16, heads=4).double()
    with torch.no_grad():
        module.temperature.copy_(torch.tensor([0.5, 1.0, 2.0, 4.0])[:, None, None])
    tokens = torch.randn(2, 9, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    qkv = module.qkv(tokens)
    values = qkv.reshape(2, 9, 3, 4, 4)[:, :, 2].permute(0, 2, 3, 1)
    attended = channel_attention_maps(qkv, module.temperature) @ values
    torch.testing.assert_close(module.project(attended.permute(0, 3, 1, 2).reshape(2, 9, 16)), module(tokens))


def test_products_by_formula_and_their_slopes():
    assert count_products(by_context, 6, 10) == 2 * 10 * 6 * 6
    assert count_products(standard_attention, 6, 10) == count_products(by_matrix, 6, 10) == 2 * 10 * 10 * 6
    table = count_attention(6, [3, 6, 12])
    assert (table.standard > table.efficient).tolist() == [False, False, True]
    assert table.standard[6] == table.efficient[6]
    found = slopes(table)
    assert found["standard"] == pytest.approx(2)
    assert found["efficient"] == pytest.approx(1)
    figure = plots.plot_cost({"six": table}, {"six": 4})
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), table.standard)


def test_attention_rows_are_rows_of_the_matrix(traces):
    trace = traces[2]
    row = attention_row(trace, (3, 5))
    matrix = implied_attention(trace.queries, trace.keys)[0]
    np.testing.assert_array_equal(row.ravel(), matrix[3 * 8 + 5].numpy())
    assert row.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(mean_row(trace).ravel(), matrix.mean(0).numpy(), rtol=1e-6)


@pytest.mark.parametrize("level", range(4))
def test_the_figure_follows_the_cursor(study, traces, level):
    first = plots.plot_pixel(study, traces, level, 10, 20)
    other = plots.plot_pixel(study, traces, level, 90, 100)
    for figure in (first, other):
        assert len([ax for ax in figure.axes if ax.images]) == 3
        assert "noise of this test" in [text.get_text() for text in figure.texts]
    for one, two in zip(first.axes[1:3], other.axes[1:3], strict=True):
        changed = not np.array_equal(one.images[0].get_array(), two.images[0].get_array())
        # The coarse grids lie within the footprint from every pixel; its path counts still differ.
        assert changed


def test_footprints_and_steps(study, traces):
    figure = plots.plot_footprints({"5x5": [(5, 1)], "both": [(5, 1), (7, 3)]})
    assert figure.axes[0].get_title() == "5x5\n5 x 5, 25 cells seen"
    assert figure.axes[1].get_title() == "both\n23 x 23, 529 cells seen"
    figure = plots.plot_large_kernel(study, traces[0], 0, channel=3)
    shown = {ax.get_title(): ax.images[0].get_array() for ax in figure.axes if ax.images and ax.get_title()}
    np.testing.assert_array_equal(shown["x times the map"], traces[0].product[0, 3].numpy())
    variances = traces[0].attention[0].var(dim=(1, 2))
    assert variances[busiest_channel(traces[0])] == variances.max()


def test_channel_attention_figure(study, traces):
    figure = plots.plot_channel_attention(study, traces[2])
    maps = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    np.testing.assert_array_equal(np.stack(maps), traces[2].channel_attention[0].numpy())

    odd = replace(traces[2], channel_attention=traces[2].channel_attention[:, :-1])
    panels = [ax for ax in plots.plot_channel_attention(study, odd).axes if ax.get_title() or not ax.axison]
    assert [ax.axison for ax in panels] == [True] * (len(maps) - 1) + [False]


def test_reach_counts_and_shades_the_cells_and_frames_the_one_that_hears(study):
    cells = np.zeros((4, 8), bool)
    cells[1, 2:5] = True
    (ax,) = plots.plot_reach(study, {"lka": cells}, (1, 3)).axes
    assert ax.get_title() == "lka: 3 of 32 cells"
    shade = ax.images[1]
    assert np.array_equal(shade.get_array()[..., 3] > 0, cells)
    height, width = study.image.shape
    assert list(shade.get_extent()) == [-0.5, width - 0.5, height - 0.5, -0.5]
    (frame,) = ax.patches
    assert frame.get_xy() == (3 * width / 8 - 0.5, height / 4 - 0.5)
    assert (frame.get_width(), frame.get_height()) == (width / 8, height / 4)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_no_softmax_of_cosines_is_sharper(temperature):
    cosines = torch.tensor([1.0] + [-1.0] * 11)
    best = float((temperature * cosines).softmax(0)[0])
    assert sharpest_weight(temperature, 12) == pytest.approx(best, rel=1e-6)
    rng = np.random.default_rng(0)
    tried = torch.from_numpy(rng.uniform(-1, 1, (1000, 12)))
    assert float((temperature * tried).softmax(1).max()) < best


def test_a_step_within_a_coarse_cell_is_seen(study, traces):
    check_steps_within_a_cell(lambda *at: plots.plot_pixel(study, traces, 2, *at), study, (8, 8))
