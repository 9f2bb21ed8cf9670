"""The three reinterpretations traced and drawn: against numpy's own reshape, and on the figures' text."""

from __future__ import annotations

from itertools import chain, combinations

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from msa2net_lib.config import LevelConfig
from msa2net_lib.errors import InputError
from msa2net_lib.nn.decoder import DecoderLevel
from msa2net_lib.nn.layout import map_to_tokens
from msa2net_lib.workbook import layout_pictures as pictures

SHAPES = [(4, 4, 4), (3, 4, 5), (7, 3, 3), (24, 8, 6), (1, 5, 4)]
STEPS = ["skip", "tokens", "after LKA"]


def places(channels, height, width):
    """Every place of a map as one number: channel * pixels + pixel."""
    return np.arange(channels * height * width).reshape(channels, height, width)


def as_places(origin, height, width):
    pixel, channel = origin
    return channel * height * width + pixel


def with_numpy(values, step):
    """The steps written once more, on numpy arrays, from their description."""
    c, h, w = values.shape
    if step == "after LKA":
        return np.ascontiguousarray(values).reshape(h, w, c).transpose(2, 0, 1)
    return np.ascontiguousarray(values.transpose(1, 2, 0)).reshape(c, h, w)


def noise(height=60, width=70):
    return np.random.default_rng(0).random((height, width), dtype=np.float32)


def texts_of(figure):
    """All texts that are seen, with their boxes in pixels, after drawing."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    texts = [*figure.texts, *(t for ax in figure.axes for t in (ax.title, ax.yaxis.label, *ax.texts))]
    return [(t, t.get_window_extent(canvas.get_renderer())) for t in texts if t.get_text()]


def assert_readable(figure):
    """Every text is large enough, lies inside the figure and covers no other."""
    width, height = figure.canvas.get_width_height()
    texts = texts_of(figure)
    for text, box in texts:
        assert text.get_fontsize() >= 7, text.get_text()
        assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= 0, text.get_text()
    for (one, box), (two, other) in combinations(texts, 2):
        apart = box.x1 <= other.x0 or other.x1 <= box.x0 or box.y1 <= other.y0 or other.y1 <= box.y0
        assert apart, (one.get_text(), two.get_text())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("step", STEPS)
def test_origins_agree_with_numpy_and_every_value_appears_once(shape, step):
    origin = pictures.trace_origin(*shape, step)
    found = as_places(origin, *shape[1:])
    np.testing.assert_array_equal(found, with_numpy(places(*shape), step))
    assert sorted(found.flat) == list(range(np.prod(shape)))
    assert origin[0].shape == origin[1].shape == shape


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("first", ["skip", "tokens"])
def test_the_third_step_undoes_the_first_two(shape, first):
    found = as_places(pictures.trace_origin(*shape, first, "after LKA"), *shape[1:])
    np.testing.assert_array_equal(found, places(*shape))


@pytest.mark.parametrize("step", STEPS)
def test_one_channel_and_the_grid_layout_leave_everything_in_place(step):
    one = as_places(pictures.trace_origin(1, 5, 4, step), 5, 4)
    np.testing.assert_array_equal(one, places(1, 5, 4))
    grid = as_places(pictures.trace_origin(6, 5, 4, step, layout="grid"), 5, 4)
    np.testing.assert_array_equal(grid, places(6, 5, 4))


@pytest.mark.parametrize("block", ["lka", "dual_attention"])
def test_steps_are_what_a_decoder_level_does(block):
    """A level without its learned parts: identity linear, no blocks. Only the LKA level puts values back."""
    level = DecoderLevel(8, LevelConfig(block, "masag"), layout="reinterpreted")
    level.linear, level.blocks = torch.nn.Identity(), torch.nn.ModuleList()
    x = torch.arange(8.0 * 4 * 6).reshape(1, 8, 4, 6)
    scrambled = pictures.apply_step(x, "skip")
    assert torch.equal(level.skip_features(x), scrambled)
    assert torch.equal(level.gating_features(map_to_tokens(x), (4, 6)), pictures.apply_step(x, "tokens"))
    after = level.refine(map_to_tokens(scrambled), (4, 6))
    assert torch.equal(after, map_to_tokens(x if block == "lka" else scrambled))


def test_unknown_steps_are_named():
    with pytest.raises(InputError, match="'gate' is unknown: use 'skip'"):
        pictures.apply_step(torch.zeros(1, 2, 3, 3), "gate")  # type: ignore[arg-type]


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
    share = pictures.share_of_true_neighbours(*shape, step)
    expected = shares_by_loops(*pictures.trace_origin(*shape, step))
    found = [share.same_channel, share.any_channel, share.same_pixel, share.pixels_seen]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_on_the_true_grid_every_neighbour_is_a_true_one():
    whole = pictures.NeighbourShare(same_channel=1.0, any_channel=1.0, same_pixel=0.0, pixels_seen=9.0)
    assert pictures.share_of_true_neighbours(24, 8, 6, layout="grid") == whole
    assert pictures.share_of_true_neighbours(24, 8, 6, "skip", "after LKA") == whole
    assert pictures.share_of_true_neighbours(1, 8, 6) == whole
    with pytest.raises(InputError, match="at least 3 x 3"):
        pictures.share_of_true_neighbours(4, 2, 5)


@pytest.mark.parametrize("level", pictures.GATED_LEVELS)
def test_no_gated_level_keeps_a_true_neighbour_of_the_same_channel(level):
    share = pictures.share_of_true_neighbours(*level)
    assert share.same_channel == 0
    assert share.any_channel > 0.99
    assert share.same_pixel > 0.5
    assert share.pixels_seen < 2.5


@pytest.mark.parametrize("reach", [1, 3])
def test_taps_agree_with_numpy(reach):
    channels, height, width, row, column, channel = 12, 9, 8, 4, 3, 5
    scrambled = with_numpy(places(channels, height, width), "skip")
    taps = pictures.neighbourhood(channels, height, width, row, column, channel, reach=reach)
    assert len(taps) == (2 * reach + 1) ** 2
    for tap in taps.itertuples():
        value = tap.true_channel * height * width + tap.true_row * width + tap.true_column
        assert value == scrambled[channel, row + tap.row_offset, column + tap.column_offset]


def test_taps_on_the_true_grid_and_at_the_border():
    taps = pictures.neighbourhood(12, 9, 8, 4, 3, 5, layout="grid")
    assert (taps.true_row == 4 + taps.row_offset).all()
    assert (taps.true_column == 3 + taps.column_offset).all()
    assert (taps.true_channel == 5).all()
    assert len(pictures.neighbourhood(12, 9, 8, 0, 7, 5)) == 4
    for outside in ((12, 9, 8, 9, 0, 0), (12, 9, 8, 0, -1, 0), (12, 9, 8, 0, 0, 12)):
        with pytest.raises(InputError, match="outside 12 x 9 x 8"):
            pictures.neighbourhood(*outside)


@pytest.mark.parametrize("shape", [(4, 4, 4), (3, 4, 5)])
def test_the_pattern_shows_every_label_once_per_row(shape):
    channels, height, width = shape
    figure = pictures.labelled_pattern(*shape)
    expected = [f"{'ABCD'[c]}{p:02d}" for c in range(channels) for p in range(height * width)]
    panels = [[t.get_text() for t in ax.texts] for ax in figure.axes]
    rows = [list(chain(*panels[i * channels : (i + 1) * channels])) for i in range(3)]
    assert rows[0] == rows[2] == expected
    assert rows[1] != expected
    assert sorted(rows[1]) == sorted(expected)
    assert_readable(figure)


def test_the_pattern_places_and_shades_values_as_numpy_does():
    figure = pictures.labelled_pattern(3, 4, 5)
    scrambled = with_numpy(places(3, 4, 5), "skip")
    for channel, ax in enumerate(figure.axes[3:6]):
        np.testing.assert_array_equal(ax.images[0].get_array(), scrambled[channel] % 20)
        for text in ax.texts:
            x, y = text.get_position()
            value = scrambled[channel, int(y), int(x)]
            assert text.get_text() == f"{'ABC'[value // 20]}{value % 20:02d}"
    # The frame follows one pixel: as many frames as channels in each row of panels.
    assert sum(len(ax.patches) for ax in figure.axes) == 3 * 3
    with pytest.raises(InputError, match="26 at most"):
        pictures.labelled_pattern(27, 2, 2)


def test_the_neighbourhood_figure_names_its_channels_and_counts():
    figure = pictures.plot_neighbourhood(noise(), 12, 14, 14, 7, 7, 5, source="noise")
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[0].endswith("9 values · pixels: 9 · channels: 1")
    assert titles[2].endswith("12 values · pixels: 1 · channels: 12")
    taps = pictures.neighbourhood(12, 14, 14, 7, 7, 5)
    marked = figure.axes[3].images[1].get_array()[..., 3] > 0
    assert sorted(zip(*np.nonzero(marked), strict=True)) == sorted(
        set(zip(taps.true_row, taps.true_column, strict=True))
    )
    written = " ".join(t.get_text() for t in figure.axes[3].texts).replace("channel", " ").replace(",", " ").split()
    named = [range(int(run.split("-")[0]), int(run.split("-")[-1]) + 1) for run in written]
    assert sorted(c for run in named for c in run) == sorted(taps.true_channel)
    assert "noise" in [t.get_text() for t in figure.texts]
    assert_readable(figure)


@pytest.mark.parametrize("place", [(96, 56, 56, 28, 28, 40), (96, 56, 56, 0, 0, 0), (384, 14, 14, 13, 13, 383)])
def test_the_close_up_stays_inside_the_image_and_shows_all_marks(place):
    figure = pictures.plot_neighbourhood(noise(), *place)
    assert_readable(figure)
    for ax in (figure.axes[0], figure.axes[3]):
        (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
        assert -0.5 <= left < right <= 223.5
        assert -0.5 <= top < bottom <= 223.5
        for patch in ax.patches:
            assert left <= patch.get_x() < patch.get_x() + patch.get_width() <= right
            assert top <= patch.get_y() < patch.get_y() + patch.get_height() <= bottom


def test_the_scrambled_slice_comes_back_and_is_no_longer_itself_in_between():
    image = noise(14, 14)
    figure = pictures.plot_scrambled_slice(image, 12, 14, 14, source="noise")
    (true, scrambled, back, released, meant), means = (
        [np.asarray(ax.images[0].get_array()) for ax in figure.axes[start : start + 5]] for start in (0, 5)
    )
    np.testing.assert_allclose(true, image)
    np.testing.assert_array_equal(back, true)
    np.testing.assert_array_equal(scrambled, with_numpy(np.stack([image] * 12), "skip")[6])
    np.testing.assert_allclose(means[2], image, rtol=1e-5)
    # 23 x 23 reaches nearly everywhere from the middle of 14 x 14, but after (1) only across a few pixels.
    assert np.std(meant) < np.std(released)
    assert len({ax.images[0].get_clim() for ax in figure.axes}) == 1
    assert_readable(figure)


def test_the_mean_in_between_is_the_mean_of_the_window():
    image = noise(30, 30)
    figure = pictures.plot_scrambled_slice(image, 2, 30, 30, 0)
    meant = np.asarray(figure.axes[4].images[0].get_array())
    assert meant[15, 14] == pytest.approx(image[4:27, 3:26].mean(), rel=1e-4)
    assert meant[0, 29] == pytest.approx(image[:12, 18:].mean(), rel=1e-4)


def test_encoder_features_are_drawn_as_they_come():
    features = pictures.shipped_features(noise(128, 128))
    assert features.shape == (24, 32, 32)
    assert np.isfinite(features).all()
    assert pictures.shipped_features(noise(), level=2).shape == (96, 8, 8)
    figure = pictures.plot_scrambled_slice(noise(), channel=3, features=features)
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), features[3])
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), with_numpy(features, "skip")[3])
    assert_readable(figure)
