"""Figures of heat maps hold what they say, and the sentences follow from the numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gray import LEGIBLE, contrast_along, in_gray, luminance, outline_points
from heat_map_tables import CASCADE, PAIRS, SUMMARY

from msa2net_lib.analysis.layers import LAST
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l14_grad_cam import plots
from msa2net_lib.lessons.l14_grad_cam import study as scores
from msa2net_lib.lessons.l14_grad_cam.study import LAYERS, organ_views
from msa2net_lib.viz.colors import ORGAN_COLORS
from msa2net_lib.viz.maps import draw_signs
from msa2net_lib.viz.plots import figure_grid


def texts(figure):
    return [text.get_text() for ax in figure.axes for text in [*ax.texts, ax.title] if text.get_text()]


def test_figure_b_has_a_row_per_organ_and_says_whose_data(study):
    figure = plots.plot_figure_b(study, organ_views(study))
    assert len(figure.axes) == 10
    assert {"aorta", "liver", "R", "L", f"Grad-CAM,\n{LAST}"} <= set(texts(figure))
    assert any("noise of this test" in text.get_text() for text in figure.texts)
    with pytest.raises(InputError, match="no organ to draw"):
        plots.plot_figure_b(study, [])


@pytest.mark.parametrize("organ", ["aorta", "liver"])
def test_outlines_of_figure_b_are_seen_in_gray(study, organ):
    """On a slice exactly as bright as the organ's color, where without color a bare line is not there at all."""
    same = replace(study, image=np.full_like(study.image, luminance(ORGAN_COLORS[organ]) / 255))
    view = next(view for view in organ_views(study) if view.organ == organ)
    heat = np.ones_like(view.heat)
    heat[0, 0] = 0  # at the bright end of the scale all but throughout
    figure = plots.plot_figure_b(same, [replace(view, heat=heat, predicted=view.truth)])
    gray = in_gray(figure)
    for ax in figure.axes[:4]:
        points = outline_points(ax)
        assert points
        assert min(contrast_along(gray, ax, line) for line in points) > LEGIBLE, ax.get_title()


def test_signs_have_lines_of_their_own_and_a_side_that_is_low_has_none():
    axes = figure_grid(1, 2)[1]
    ramp = np.linspace(-1, 1, 20)[None].repeat(20, axis=0)
    for ax, values in zip(axes[0], (ramp, np.maximum(ramp, -0.2)), strict=True):
        ax.imshow(values)
        draw_signs(ax, values)
    dashes = [[line.get_linestyle()[0][1] is not None for line in ax.collections] for ax in axes[0]]
    assert dashes == [[True, False], [False]]


def test_a_pixel_draws_a_disc_and_both_signs(study):
    around = plots.draw_heat(study, "level 1 block 2", "liver", plots.REGIONS[1], 40, 50, "both")
    low, high = around.axes[1].images[0].get_clim()
    assert low == -high
    whole = plots.draw_heat(study, LAST, "aorta", plots.REGIONS[0], 0, 0)
    assert whole.axes[2].images[0].get_array().min() == 0
    assert whole.axes[1].get_title() == f"{LAST}, 128 x 128"
    with pytest.raises(InputError, match="give a pixel of the 128 x 128 image"):
        plots.draw_heat(study, LAST, "aorta", plots.REGIONS[1], 128, 0)


def test_layers_are_drawn_on_their_own_grid(study):
    figure = plots.plot_layers(study, ["liver"], [LAST, "level 2 block 2"])
    shapes = [ax.images[0].get_array().shape for ax in figure.axes]
    assert shapes == [(128, 128), (8, 8)]


def test_the_cascade_starts_with_the_trained_map(study):
    maps = scores.cascade_maps(study, "liver", [LAST], ["head"], seed=1)
    figure = plots.plot_cascade(study, "liver", maps)
    trained, reinitialized = (np.asarray(ax.images[0].get_array()) for ax in figure.axes)
    view = next(view for view in organ_views(study) if view.organ == "liver")
    np.testing.assert_allclose(trained, view.heat, rtol=1e-3, atol=1e-4 * view.heat.max())
    assert not np.allclose(reinitialized, view.heat, rtol=1e-3)
    with pytest.raises(InputError, match="step 'tail' is unknown: use head"):
        scores.cascade_maps(study, "liver", [LAST], ["tail"], seed=1)


def test_other_panels(study):
    views = organ_views(study)[:1]
    assert len(plots.plot_explained(study, views).axes) == 4
    fields = {"a": views[0].field, "b": views[0].field}
    assert len(plots.plot_fields(fields, views[0].center, study).axes) == 3
    maps = {name: {LAST: {"liver": [[0, 100], [50, 0]]}} for name in ("true", "permuted")}
    shown = plots.plot_shown(maps, study)
    assert np.asarray(shown.axes[1].images[0].get_array()).tolist() == [[0, 100], [50, 0]]
    assert plots.NO_HEAT not in texts(shown)
    maps["true"][LAST]["liver"] = [[0, 0], [0, 0]]
    assert texts(plots.plot_shown(maps, study)).count(plots.NO_HEAT) == 1


def test_the_chart_of_reinitialized_weights_shows_means_and_extremes():
    figure = plots.plot_randomization({"cascading": CASCADE}, "numbers of this test")
    lines = {line.get_label(): line for line in figure.axes[0].containers}
    assert set(lines) == set(LAYERS[:2])
    assert [float(y) for y in lines[LAYERS[1]].lines[0].get_ydata()] == pytest.approx([0.65, 0.75])
    assert len({style[2] for style in plots.STYLES}) == len(LAYERS), "markers must tell layers apart in gray"


def test_bars_and_baselines():
    figure = plots.plot_localization(SUMMARY, "")
    np.testing.assert_allclose([bar.get_width() for bar in figure.axes[0].patches], SUMMARY.inside)
    assert [bool(bar.get_hatch()) for bar in figure.axes[0].patches] == [False, False, True, True]


def test_every_pair_of_networks_is_a_marker():
    markers = [line for line in plots.plot_pairs(PAIRS, "").axes[0].lines if line.get_marker() in "sD"]
    assert sorted(x for line in markers for x in line.get_xdata()) == sorted(PAIRS["rank"])
