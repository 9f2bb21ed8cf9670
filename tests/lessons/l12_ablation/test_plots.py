"""Figures of the ablation: markers stand where the numbers are, and shapes and shades say what is what."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb

from msa2net_lib.lessons.l12_ablation.plots import plot_ablation, plot_allowed_spread
from msa2net_lib.paper.ablation import comparison as ablation
from msa2net_lib.paper.ablation.comparison import ROWS, part_contrasts, row_contrasts

NOISY = "MASAG + LKA"


def runs(seeds=(1, 2, 3)):
    rng = np.random.default_rng(1)
    rows = []
    for seed in seeds:
        for i, row in enumerate(ROWS):
            scatter = 0.05 if row.name == NOISY else 0.001
            rows.append(
                {"variant": row.name, "seed": seed, "dsc": 0.6 + 0.02 * i + rng.normal(0, scatter), "hd95": 9.0 - i}
            )
    return pd.DataFrame(rows)


def squares(ax):
    """Mean differences and their faces, from the error bars."""
    lines = [container.lines[0] for container in ax.containers]
    return [line.get_xdata()[0] for line in lines], [line.get_markerfacecolor() for line in lines]


def test_squares_diamonds_and_dots():
    figure = plot_ablation({"here": runs()}, row_contrasts(), "data of this test")
    left, right = figure.axes
    diamonds = [line.get_xdata() for line in left.lines if line.get_marker() == "D"]
    np.testing.assert_allclose(diamonds[0], [-1.95, -1.59, -0.99, -0.43, -0.34], atol=1e-9)
    assert [label.get_text() for label in left.get_yticklabels()] == [row.name for row in ROWS[:-1]]
    means, faces = squares(right)
    table = ablation.differences(runs(), row_contrasts())
    np.testing.assert_allclose(means, table.difference)
    noisy = list(table.index).index(NOISY)
    assert faces[noisy] == "white"
    assert faces[0] == "black"
    dots = [line.get_xdata() for line in right.lines if line.get_marker() == "." and len(line.get_xdata()) == 3]
    assert len(dots) == 5
    np.testing.assert_allclose(np.mean(dots, axis=1), means)
    assert "data of this test" in [text.get_text() for text in figure.texts]


def test_every_color_is_a_gray():
    figure = plot_ablation({"here": runs()}, part_contrasts(), "")
    for ax in figure.axes:
        for line in ax.lines:
            for color in (line.get_color(), line.get_markerfacecolor(), line.get_markeredgecolor()):
                assert len({round(part, 3) for part in to_rgb(color)}) == 1


def test_a_missing_measurement_is_said_on_the_figure():
    figure = plot_ablation({"once": "it was not run", "here": runs((1,))}, row_contrasts(), "")
    assert "not measured:\nit was not run" in [text.get_text() for text in figure.axes[1].texts]
    assert set(squares(figure.axes[2])[1]) == {"0.7"}


def test_hd95_in_voxels():
    figure = plot_ablation({"here": runs()}, row_contrasts(), "", "hd95")
    assert squares(figure.axes[1])[0] == pytest.approx([5, 4, 3, 2, 1])
    assert "voxels" in figure.axes[1].get_xlabel()


def test_allowed_spread_is_the_differences_over_2_77():
    figure = plot_allowed_spread(part_contrasts(), {"here": 1.5}, "source")
    ax = figure.axes[0]
    widths = [bar.get_width() for bar in ax.patches]
    np.testing.assert_allclose(widths, np.array([1.52, 1.25, 0.99, 0.60, 0.34, 0.96, 0.43]) / 2.7719, rtol=1e-3)
    assert any(list(line.get_xdata()) == [1.5, 1.5] for line in ax.lines)
    assert "here: 1.50" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert plot_allowed_spread(part_contrasts(), {"one seed": float("nan")}, "").legends == []
