"""Figures 2 and 3: what is drawn where, and that it reads without color."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import rgb_to_hsv, to_rgb

from msa2net_lib.data.datasets import Case
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l11_evaluation import plots as grids
from msa2net_lib.lessons.l11_evaluation.plots import plot_figure_2
from msa2net_lib.lessons.l11_evaluation.study import Row, slices_through
from msa2net_lib.paper.tables import TABLE_1_ORGANS


def pixels(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3] / 255


def test_a_case_without_organs_or_body_is_drawn_whole():
    empty = Case("case0", np.zeros((3, 8, 8), np.float32), np.zeros((3, 8, 8), np.uint8), None)
    assert plot_figure_2(slices_through([empty], {"own": {"case0": empty.label}}), "drawn by a test").axes


def test_figure_2_has_a_column_for_each_network_and_names_the_data(cases):
    maps = {case.name: case.label for case in cases}
    wrong = {name: np.roll(label, 3, 2) for name, label in maps.items()}
    figure = plot_figure_2(slices_through(cases, {"own": maps, "theirs": wrong}), "drawn by a test")
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[:3] == [grids.GROUND_TRUTH, "own", "theirs"]
    assert len(figure.axes) == 9
    assert figure.get_suptitle() == "drawn by a test"
    assert all(ax.get_aspect() == 2.0 for ax in figure.axes)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [organ for organ in ORGANS if ORGANS.index(organ) + 1 in (1, 4, 5, 7, 8)]


def test_the_ground_truth_names_organs_inside_them_and_predictions_their_score(cases):
    """Names, so that a gray print reads too; at the innermost pixel, so that a bent organ holds its name."""
    label = np.zeros_like(cases[1].label)
    label[4, 14:34, 16:20], label[4, 14:18, 16:40] = 5, 5  # an L, whose mean pixel lies outside of it
    case = Case("case1", cases[1].image, label, None)
    shifted = np.roll(label, 2, 1)
    (row,) = slices_through([case], {"own": {"case1": shifted}})
    truth, predicted = plot_figure_2([row], "drawn by a test").axes
    (name,) = [text for text in truth.texts if text.get_text() == "Liv"]
    x, y = (round(value) for value in name.get_position())
    assert row.label[y, x] == 5
    overlap = 2 * ((label == 5) & (shifted == 5)).sum() / ((label == 5).sum() + (shifted == 5).sum())
    assert f"DSC in slice {overlap:.2f}" in [text.get_text() for text in predicted.texts]
    assert {"R", "L"} <= {text.get_text() for text in predicted.texts}


def test_short_names_are_table_1_s():
    """Spl, RKid, LKid, Gal, Liv, Sto, Aor, Pan, in its order."""
    shorts = [grids.SHORT[organ] for organ in TABLE_1_ORGANS]
    assert shorts == ["Spl", "RKid", "LKid", "Gal", "Liv", "Sto", "Aor", "Pan"]


@pytest.fixture
def image_row():
    mask = np.zeros((40, 40), np.uint8)
    mask[10:30, 10:30] = 1
    return Row("drawn", np.full((40, 40, 3), 0.8, np.float32), mask, {"own": np.roll(mask, 4, 0), "nothing": mask * 0})


def test_figure_3_has_the_caption_s_colors_and_two_line_styles(image_row):
    figure = grids.plot_figure_3([image_row], "drawn by a test")
    assert [ax.get_title() for ax in figure.axes] == ["image", "ground truth", "own", "nothing"]
    hue = [float(rgb_to_hsv(to_rgb(color))[0]) for color in (grids.TRUTH, grids.PREDICTED)]
    assert hue[0] == pytest.approx(1 / 3, abs=0.05)
    assert hue[1] == pytest.approx(2 / 3, abs=0.05)
    legend = figure.legends[0].get_lines()
    assert [line.get_linestyle() for line in legend] == ["-", "--"]
    counts = [len(ax.collections) for ax in figure.axes]
    assert counts == [0, 1, 2, 1]  # outlines: none, the truth, both, and of an empty mask none
    drawn = pixels(figure)
    for color in (grids.TRUTH, grids.PREDICTED):
        assert (np.abs(drawn - to_rgb(color)).sum(-1) < 0.1).sum() > 20


def test_figure_3_says_each_score(image_row):
    figure = grids.plot_figure_3([image_row], "drawn by a test")
    texts = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert "DSC 0.80" in texts  # 16 of 20 rows overlap
    assert "DSC 0.00" in texts
    assert figure.get_suptitle() == "drawn by a test"


def test_nothing_to_draw_is_refused():
    for plot in (plot_figure_2, grids.plot_figure_3):
        with pytest.raises(InputError, match="to draw"):
            plot([], "drawn by a test")
