"""Figures of the toy task and the probe show the numbers they are given; the moving one stays small."""

from __future__ import annotations

import io
from base64 import b64decode

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from msa2net_lib.analysis.toy_task import Frame, held_out
from msa2net_lib.lessons.l02_fusion import plots


@pytest.fixture(scope="module")
def frames():
    generator = torch.Generator().manual_seed(0)
    return [Frame(10 * n, 0.3 * n, torch.randn(24, 24, generator=generator), torch.rand(8, 24, 24)) for n in range(3)]


@pytest.mark.slow
def test_the_moving_figure_is_a_small_gif_of_all_frames(frames):
    html = plots.toy_animation(frames, held_out()[1][0, 0], 2).data
    data = b64decode(html.split("base64,")[1].rstrip('">'))
    with Image.open(io.BytesIO(data)) as movie:
        assert movie.format == "GIF"
        assert movie.n_frames == 3
    assert len(data) < 27 * len(frames) * 1024, "the 18 frames of the page have to stay below 500 kB"


def test_its_still_figure_has_output_and_map_of_each_moment(frames):
    axes = plots.plot_forming(frames, held_out()[1][0, 0], 2).axes
    assert [ax.get_title() for ax in axes[:3]] == ["step 0: 0%", "step 10: 30%", "step 20: 60%"]
    drawn = axes[4].images[0].get_array()
    np.testing.assert_allclose(drawn, frames[1].attention[2])


def test_scores_by_gate_and_seed():
    table = pd.DataFrame({"gate": ["a", "a", "b"], "seed": [0, 1, 0], "explained": [0.5, 0.4, 0.9]})
    (ax,) = plots.plot_toy_scores(table, 0.5).axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert [list(line.get_xdata()) for line in ax.lines[1:]] == [[0.5, 0.4], [0.9]]


def test_probe_bars_are_means_over_cases():
    index = pd.MultiIndex.from_product([[0, 1], ["X", "G", "Y"], ["a", "b"]], names=["level", "features", "case"])
    table = pd.DataFrame({"Dice": np.arange(12) / 20, "recall": np.arange(12) / 12}, index=index)
    left, right = plots.plot_probe(table, "made up").axes
    assert sorted(bar.get_width() for bar in left.patches) == pytest.approx(sorted((np.arange(0, 12, 2) + 0.5) / 20))
    assert len(right.patches) == 6
