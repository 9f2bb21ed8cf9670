"""Figures: orientation, palette and slice choice, checked on the axes and on the pixels."""

from __future__ import annotations

import colorsys
import itertools

import numpy as np
import pandas as pd
import pytest
from gray import LEGIBLE, contrast_along, in_gray, luminance, outline_points
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb

from msa2net_lib.data.datasets import Case
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.viz import plots
from msa2net_lib.viz.browsers import draw_browser_view, volume_browser
from msa2net_lib.viz.colors import ORGAN_COLORS, class_colors, indexed_palette


def pixels(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3] / 255


@pytest.mark.parametrize("organ", ORGANS)
def test_an_outline_is_seen_in_gray_on_a_background_as_bright_as_itself(organ):
    label = np.zeros((40, 40), np.uint8)
    label[12:28, 12:28] = ORGANS.index(organ) + 1
    figure, axes = plots.figure_grid(1, 1, width=1.75, height=1.62)
    plots.show_slice(axes[0, 0], np.full((40, 40), luminance(ORGAN_COLORS[organ]) / 255), label)
    (line,) = outline_points(axes[0, 0])
    assert contrast_along(in_gray(figure), axes[0, 0], line) > LEGIBLE


def test_every_organ_has_a_color_of_its_own():
    assert list(ORGAN_COLORS) == list(ORGANS)
    for one, two in itertools.combinations(ORGAN_COLORS.values(), 2):
        assert np.abs(np.subtract(to_rgb(one), to_rgb(two))).sum() > 0.25


def test_no_organ_color_is_gray():
    assert all(colorsys.rgb_to_hsv(*to_rgb(c))[1] > 0.2 for c in ORGAN_COLORS.values())


def test_radiological_orientation():
    """In an LPS array the patient's right is at small x: it must appear on the left, marked R; rows go down."""
    image = np.zeros((20, 20), np.float32)
    image[2:5, 1:4] = 1.0  # front, patient's right
    figure, axes = plots.figure_grid(1, 1)
    plots.show_slice(axes[0, 0], image)
    marks = {text.get_text(): text.get_position()[0] for text in axes[0, 0].texts}
    assert marks["R"] < 0.5 < marks["L"]
    drawn = pixels(figure).mean(-1)
    box = axes[0, 0].get_window_extent()
    top, left = int(drawn.shape[0] - box.y1), int(box.x0)
    quarter = (slice(top, top + int(box.height / 2)), slice(left, left + int(box.width / 4)))
    assert drawn[quarter].max() > 0.95


def test_true_aspect_of_pixels_that_are_not_square():
    figure, axes = plots.figure_grid(1, 1)
    ax = plots.show_slice(axes[0, 0], np.zeros((10, 10)), spacing=(5.0, 2.0, 1.0))
    assert ax.get_aspect() == 2.0
    assert figure is ax.figure


def test_organs_are_drawn_in_their_color():
    label = np.zeros((40, 40), np.uint8)
    label[10:30, 10:30] = 1 + ORGANS.index("liver")
    figure, axes = plots.figure_grid(1, 1)
    plots.show_slice(axes[0, 0], np.zeros((40, 40)), label)
    distance = np.abs(pixels(figure) - to_rgb(ORGAN_COLORS["liver"])).sum(-1)
    assert (distance < 0.15).sum() > 20


@pytest.mark.parametrize(
    "names",
    [("liver", "tumour"), ("aorta", "vein", "artery"), ("lesion",), ("stomach", *ORGANS[:7]), ("bone", "liver", "fat")],
)
def test_a_class_has_one_color_by_its_name_in_every_figure(names):
    """Classes of your own too: in slices, legends, comparisons and the overlays of predictions."""
    colors = class_colors(names)
    assert len(set(colors.values())) == len(names)
    assert all(colors[name] == ORGAN_COLORS[name] for name in names if name in ORGAN_COLORS)
    palette = np.array(indexed_palette(names)).reshape(-1, 3)
    label = np.zeros((1, 12 * len(names) + 4, 40), np.uint8)
    for number in range(1, len(names) + 1):
        label[0, 12 * number - 8 : 12 * number, 8:32] = number
    figure = plots.plot_comparison(np.zeros(label.shape), label, {"found": label}, [0], None, "drawn", names)
    (legend,) = figure.legends
    shown = {
        text.get_text(): to_hex(patch.get_facecolor())
        for text, patch in zip(legend.texts, legend.get_patches(), strict=True)
    }
    assert shown == {name: color.lower() for name, color in colors.items()}
    drawn = pixels(figure)
    for number, name in enumerate(names, start=1):
        assert to_hex(palette[number] / 255) == colors[name].lower()
        assert (np.abs(drawn - to_rgb(colors[name])).sum(-1) < 0.15).sum() > 20, name


def test_busiest_slices_are_spread_and_hold_organs():
    label = np.zeros((30, 8, 8), np.uint8)
    label[5:25, 0, 0] = 5
    label[12, 1, 1], label[22, 1, 1] = 1, 2
    assert plots.busiest_slices(label, 2) == [12, 22]
    assert plots.busiest_slices(np.zeros((3, 4, 4), np.uint8), 2) == []


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    label = np.zeros((5, 20, 24), np.uint8)
    label[2, 5:15, 5:15] = 5
    return Case("case0001", rng.random((5, 20, 24), dtype=np.float32), label, (3.0, 1.0, 1.0))


def test_the_browser_draws_what_its_function_draws(case):
    """The widget opens on the richest slice and its callback raises nothing."""
    box = volume_browser(case, {"prediction": case.label})
    slider, switch, picture = box.children
    assert slider.value == 2
    assert slider.max == 4
    before = picture.value
    assert bytes(before).startswith(b"\x89PNG")
    slider.value = 0
    assert picture.value != before
    slider.value = 2
    switch.value = False
    assert picture.value != before


def test_browser_view_has_a_panel_for_each_label(case):
    assert len(draw_browser_view(case, 2, {"prediction": case.label}).axes) == 3
    assert len(draw_browser_view(case, 2, {"prediction": case.label}, outlines=False).axes) == 1
    assert len(draw_browser_view(case, 2, {"prediction": case.label}, reference=False).axes) == 2


def test_the_history_shows_what_was_used_to_select_where_there_is_something():
    rows = [{"step": step, "loss": 1 / step, "learning_rate": 0.1} for step in range(1, 5)]
    assert len(plots.plot_history(rows).axes) == 2
    rows[1]["validation_dsc"], rows[3]["validation_dsc"] = 0.25, 0.5
    *_, scores = plots.plot_history(rows).axes
    (line,) = scores.lines
    assert line.get_xydata().tolist() == [[2, 0.25], [4, 0.5]]
    assert scores.get_ylabel() == "DSC used to select"


def organs_in_some_slices():
    label = np.zeros((8, 6, 6), np.uint8)
    label[2:6, 1], label[3, 2], label[5, 3] = 5, 1, 2
    return Case("a", np.zeros(label.shape, np.float32), label, None)


@pytest.mark.parametrize(
    ("chosen", "organ", "slice_"),
    [
        ("auto", None, 3),
        ("auto", "liver", 3),
        ("auto", "aorta", 3),
        ("auto", "gallbladder", 5),
        (4, None, 4),
        (2, "liver", 2),
    ],
)
def test_the_slice_that_is_chosen_holds_what_the_lesson_is_about(chosen, organ, slice_):
    assert plots.choose_slice(organs_in_some_slices(), chosen, organ) == slice_


@pytest.mark.parametrize(
    ("chosen", "organ", "words"),
    [
        (0, None, ["SLICE=0: holds no organ", "slices 2 to 5 of a do", "auto"]),
        (7, None, ["SLICE=7: holds no organ"]),
        (99, None, ["SLICE=99"]),
        (2, "gallbladder", ["SLICE=2: holds no gallbladder", "slice 5 does"]),
        ("auto", "spleen", ["a holds no spleen", "CASE"]),
        ("auto", "heart", ["ORGAN='heart'", "liver"]),
    ],
)
def test_a_slice_without_it_is_refused_with_those_that_have_it(refused, chosen, organ, words):
    refused(words, plots.choose_slice, organs_in_some_slices(), chosen, organ)


@pytest.mark.parametrize("gray", [0.0, 0.5, 1.0])
def test_r_and_l_are_read_on_any_gray(gray):
    """In the row through each letter's middle there are pixels far brighter than others, whatever lies behind."""
    figure, axes = plots.figure_grid(1, 1, width=3.0)
    ax = plots.show_slice(axes[0, 0], np.full((40, 40), gray))
    drawn = pixels(figure)[..., 0]
    for text in ax.texts:
        box = text.get_window_extent()
        row = drawn[len(drawn) - round((box.y0 + box.y1) / 2), int(box.x0) - 1 : int(box.x1) + 2]
        assert np.ptp(row) > 0.6, text.get_text()


def test_histograms_hold_shares_of_all_pixels():
    values = {"narrow": np.repeat([0.0, 1.0], [30, 10]), "wide": np.arange(200.0)}
    figure = plots.plot_histograms(values, {"narrow": "HU", "wide": "value"})
    for ax, name in zip(figure.axes, values, strict=True):
        heights = np.array([bar.get_height() for bar in ax.patches])
        assert heights.sum() == pytest.approx(1)
        assert heights.max() == pytest.approx(0.75 if name == "narrow" else 3 / 200)
        assert ax.get_yscale() == "log"
    assert [ax.get_xlabel() for ax in figure.axes] == ["HU", "value"]


@pytest.mark.parametrize("scored", [False, True])
def test_a_history_is_drawn_with_its_running_mean_and_its_validation(scored):
    history = [{"step": 5 * i, "loss": float(i % 3), "learning_rate": 0.1 / (i + 1)} for i in range(1, 15)]
    for entry in history[::4] if scored else ():
        entry["validation_dsc"] = entry["step"] / 100
    figure = plots.plot_history(history)
    assert len(figure.axes) == 2 + scored
    batch, mean = (line.get_ydata() for line in figure.axes[0].lines)
    assert list(batch) == [entry["loss"] for entry in history]
    assert mean[0] == batch[0]
    assert mean[-1] == pytest.approx(np.mean(batch[-10:]))
    assert list(figure.axes[1].lines[0].get_ydata()) == [entry["learning_rate"] for entry in history]
    if scored:
        (line,) = figure.axes[2].lines
        assert list(line.get_xdata()) == [entry["step"] for entry in history[::4]]
        assert list(line.get_ydata()) == [entry["step"] / 100 for entry in history[::4]]


def test_scores_have_a_dot_a_case_and_a_bar_at_the_mean():
    rows = [("a", "liver", 0.9), ("b", "liver", 0.7), ("a", "spleen", np.nan), ("b", "spleen", np.nan)]
    scores = pd.DataFrame(rows, columns=["case", "organ", "dsc"])
    (ax,) = plots.plot_scores(scores, "dsc", "DSC", "a source").axes
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert [list(line.get_xdata()) for line in dots] == [[0.9, 0.7], []]
    (bar,) = [line for line in ax.lines if line.get_marker() != "o"]
    assert list(bar.get_xdata()) == pytest.approx([0.8, 0.8])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["liver", "spleen"]
    assert ax.yaxis_inverted()


def test_a_round_trip_has_a_marker_for_each_size():
    table = pd.DataFrame({64: [0.8, 0.9], 224: [0.95, 0.99]}, index=["liver", "aorta"])
    (ax,) = plots.plot_round_trip(table, "a source").axes
    assert {line.get_label(): list(line.get_xdata()) for line in ax.lines} == {
        "64 x 64 pixels": [0.8, 0.9],
        "224 x 224 pixels": [0.95, 0.99],
    }
    assert len({line.get_marker() for line in ax.lines}) == 2
