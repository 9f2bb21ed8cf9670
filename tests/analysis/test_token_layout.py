"""The three reinterpretations traced: against numpy's own reshape, a count by loops and a decoder level."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from functional_reference import places, with_numpy

from msa2net_lib.analysis import token_layout
from msa2net_lib.config import LevelConfig
from msa2net_lib.errors import InputError
from msa2net_lib.nn.decoder import DecoderLevel
from msa2net_lib.nn.layout import map_to_tokens

SHAPES = [(4, 4, 4), (3, 4, 5), (7, 3, 3), (24, 8, 6), (1, 5, 4)]
STEPS = ["skip", "tokens", "after LKA"]


def as_places(origin, height, width):
    pixel, channel = origin
    return channel * height * width + pixel


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("step", STEPS)
def test_origins_agree_with_numpy_and_every_value_appears_once(shape, step):
    origin = token_layout.trace_origin(*shape, step)
    found = as_places(origin, *shape[1:])
    np.testing.assert_array_equal(found, with_numpy(places(*shape), step))
    assert sorted(found.flat) == list(range(np.prod(shape)))
    assert origin[0].shape == origin[1].shape == shape


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("first", ["skip", "tokens"])
def test_the_third_step_undoes_the_first_two(shape, first):
    found = as_places(token_layout.trace_origin(*shape, first, "after LKA"), *shape[1:])
    np.testing.assert_array_equal(found, places(*shape))


@pytest.mark.parametrize("step", STEPS)
def test_one_channel_and_the_grid_layout_leave_everything_in_place(step):
    one = as_places(token_layout.trace_origin(1, 5, 4, step), 5, 4)
    np.testing.assert_array_equal(one, places(1, 5, 4))
    grid = as_places(token_layout.trace_origin(6, 5, 4, step, layout="grid"), 5, 4)
    np.testing.assert_array_equal(grid, places(6, 5, 4))


@pytest.mark.parametrize("block", ["lka", "dual_attention"])
def test_steps_are_what_a_decoder_level_does(block):
    """A level without its learned parts: identity linear, no blocks. Only the LKA level puts values back."""
    level = DecoderLevel(8, LevelConfig(block, "masag"), layout="reinterpreted")
    level.linear, level.blocks = torch.nn.Identity(), torch.nn.ModuleList()
    x = torch.arange(8.0 * 4 * 6).reshape(1, 8, 4, 6)
    scrambled = token_layout.apply_step(x, "skip")
    assert torch.equal(level.skip_features(x), scrambled)
    assert torch.equal(level.gating_features(map_to_tokens(x), (4, 6)), token_layout.apply_step(x, "tokens"))
    after = level.refine(map_to_tokens(scrambled), (4, 6))
    assert torch.equal(after, map_to_tokens(x if block == "lka" else scrambled))


def test_unknown_steps_are_named():
    with pytest.raises(InputError, match="'gate' is unknown: use 'skip'"):
        token_layout.apply_step(torch.zeros(1, 2, 3, 3), "gate")  # type: ignore[arg-type]


def shares_by_loops(origin_pixel, origin_channel):
    """The four numbers again, place by place."""
    channels, height, width = origin_pixel.shape
    same_channel, any_channel, same_pixel, pixels_seen = [], [], [], []
    for c in range(channels):
        for i in range(1, height - 1):
            for j in range(1, width - 1):
                here = divmod(origin_pixel[c, i, j], width)
                seen = {here}
                for y in (i - 1, i, i + 1):
                    for x in (j - 1, j, j + 1):
                        if (y, x) == (i, j):
                            continue
                        there = divmod(origin_pixel[c, y, x], width)
                        near = max(abs(here[0] - there[0]), abs(here[1] - there[1])) <= 1
                        same_channel.append(near and origin_channel[c, y, x] == origin_channel[c, i, j])
                        any_channel.append(near)
                        same_pixel.append(here == there)
                        seen.add(there)
                pixels_seen.append(len(seen))
    return [np.mean(values) for values in (same_channel, any_channel, same_pixel, pixels_seen)]


@pytest.mark.parametrize("shape", [(4, 4, 4), (3, 4, 5), (7, 3, 3), (24, 8, 6), (8, 6, 8)])
@pytest.mark.parametrize("step", STEPS)
def test_shares_agree_with_a_count_by_loops(shape, step):
    share = token_layout.share_of_true_neighbors(*shape, step)
    expected = shares_by_loops(*token_layout.trace_origin(*shape, step))
    found = [share.same_channel, share.any_channel, share.same_pixel, share.pixels_seen]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_on_the_true_grid_every_neighbor_is_a_true_one():
    whole = token_layout.NeighborShare(same_channel=1.0, any_channel=1.0, same_pixel=0.0, pixels_seen=9.0)
    assert token_layout.share_of_true_neighbors(24, 8, 6, layout="grid") == whole
    assert token_layout.share_of_true_neighbors(24, 8, 6, "skip", "after LKA") == whole
    assert token_layout.share_of_true_neighbors(1, 8, 6) == whole
    with pytest.raises(InputError, match="at least 3 x 3"):
        token_layout.share_of_true_neighbors(4, 2, 5)


@pytest.mark.parametrize("level", token_layout.GATED_LEVELS)
def test_no_gated_level_keeps_a_true_neighbor_of_the_same_channel(level):
    share = token_layout.share_of_true_neighbors(*level)
    assert share.same_channel == 0
    assert share.any_channel > 0.99
    assert share.same_pixel > 0.5
    assert share.pixels_seen < 2.5


@pytest.mark.parametrize("reach", [1, 3])
def test_taps_agree_with_numpy(reach):
    channels, height, width, row, column, channel = 12, 9, 8, 4, 3, 5
    scrambled = with_numpy(places(channels, height, width), "skip")
    taps = token_layout.neighborhood(channels, height, width, row, column, channel, reach=reach)
    assert len(taps) == (2 * reach + 1) ** 2
    for tap in taps.itertuples():
        value = tap.true_channel * height * width + tap.true_row * width + tap.true_column
        assert value == scrambled[channel, row + tap.row_offset, column + tap.column_offset]


def test_taps_on_the_true_grid_and_at_the_border():
    taps = token_layout.neighborhood(12, 9, 8, 4, 3, 5, layout="grid")
    assert (taps.true_row == 4 + taps.row_offset).all()
    assert (taps.true_column == 3 + taps.column_offset).all()
    assert (taps.true_channel == 5).all()
    assert len(token_layout.neighborhood(12, 9, 8, 0, 7, 5)) == 4
    for outside in ((12, 9, 8, 9, 0, 0), (12, 9, 8, 0, -1, 0), (12, 9, 8, 0, 0, 12)):
        with pytest.raises(InputError, match="outside 12 x 9 x 8"):
            token_layout.neighborhood(*outside)
