"""The drawings of the token layouts: their values against numpy's own reshape, and their texts."""

from __future__ import annotations

from itertools import chain, combinations

import numpy as np
import pytest
from functional_reference import places, with_numpy
from matplotlib.backends.backend_agg import FigureCanvasAgg

from msa2net_lib.analysis.token_layout import neighborhood
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l16_paper_audit import layout_plots

pytestmark = pytest.mark.slow


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


@pytest.mark.parametrize("shape", [(4, 4, 4), (3, 4, 5)])
def test_the_pattern_shows_every_label_once_per_row(shape):
    channels, height, width = shape
    figure = layout_plots.labeled_pattern(*shape)
    expected = [f"{'ABCD'[c]}{p:02d}" for c in range(channels) for p in range(height * width)]
    panels = [[t.get_text() for t in ax.texts] for ax in figure.axes]
    rows = [list(chain(*panels[i * channels : (i + 1) * channels])) for i in range(3)]
    assert rows[0] == rows[2] == expected
    assert rows[1] != expected
    assert sorted(rows[1]) == sorted(expected)
    if shape == (4, 4, 4):  # that of the lesson
        assert_readable(figure)


def test_the_pattern_places_and_shades_values_as_numpy_does():
    figure = layout_plots.labeled_pattern(3, 4, 5)
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
        layout_plots.labeled_pattern(27, 2, 2)


def test_the_neighborhood_figure_names_its_channels_and_counts():
    figure = layout_plots.plot_neighborhood(noise(), 12, 14, 14, 7, 7, 5, source="noise")
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[0].endswith("9 values · cells: 9 · channels: 1")
    assert titles[2].endswith("12 values · cells: 1 · channels: 12")
    taps = neighborhood(12, 14, 14, 7, 7, 5)
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
    figure = layout_plots.plot_neighborhood(noise(), *place)
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
    figure = layout_plots.plot_scrambled_slice(image, 12, 14, 14, source="noise")
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
    figure = layout_plots.plot_scrambled_slice(image, 2, 30, 30, 0)
    meant = np.asarray(figure.axes[4].images[0].get_array())
    assert meant[15, 14] == pytest.approx(image[4:27, 3:26].mean(), rel=1e-4)
    assert meant[0, 29] == pytest.approx(image[:12, 18:].mean(), rel=1e-4)


def test_encoder_features_are_drawn_as_they_come():
    features = layout_plots.shipped_features(noise(128, 128))
    assert features.shape == (24, 32, 32)
    assert np.isfinite(features).all()
    assert layout_plots.shipped_features(noise(), level=2).shape == (96, 8, 8)
    figure = layout_plots.plot_scrambled_slice(noise(), channel=3, features=features)
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), features[3])
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array(), with_numpy(features, "skip")[3])
    assert_readable(figure)
