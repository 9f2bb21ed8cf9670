"""Figures draw the numbers that they were given, readable without color; bands of an image add up to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from gray import LEGIBLE, at, in_gray

from msa2net_lib.analysis.frequency import frequencies, layer_spectra
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l13_frequency import plots
from msa2net_lib.lessons.l13_frequency.study import (
    BANDS,
    band_shares,
    compact,
    network_maps,
    run_curve,
    show_bands,
)

LAYERS = [name for row in plots.FIGURE_A for name in row]


@pytest.fixture(scope="module")
def runs():
    rng, rows = np.random.default_rng(0), []
    for seed in (1, 2, 3):
        for variant in ("masag", "addition"):
            maps = {layer: torch.from_numpy(1 + rng.random((2, 3, 16, 16))) for layer in LAYERS}
            rows.append({"variant": variant, "seed": seed, "layers": compact(layer_spectra(maps))})
    return pd.DataFrame(rows)


def test_figure_a_draws_means_over_seeds_in_two_rows(runs):
    figure = plots.plot_figure_a(runs, {"with": "masag", "without": "addition"}, "made up")
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == [f"{layer}\n16 x 16 cells" for layer in LAYERS]
    ax = figure.axes[5]
    means = [row[LAYERS[5]]["mean"] for row in runs[runs.variant == "addition"].layers]
    drawn = [line for line in ax.lines if line.get_marker() == "s"]
    np.testing.assert_allclose(np.asarray(drawn[0].get_ydata()), np.mean(means, axis=0))
    np.testing.assert_allclose(np.asarray(drawn[0].get_xdata()), frequencies(16, 16))
    assert len(ax.collections) == 2  # the spread over seeds of both
    assert figure.get_suptitle() == "made up"
    assert "3 seeds" in figure.legends[0].get_title().get_text()
    # Told apart without color.
    assert len({(style[1], style[2]) for style in plots.STYLES}) == len(plots.STYLES)


def test_one_run_has_no_spread_over_seeds(runs):
    figure = plots.plot_figure_a(runs[runs.seed == 1], {"with": "masag"}, "made up")
    assert not any(ax.collections for ax in figure.axes)
    assert "seeds" not in figure.legends[0].get_title().get_text()
    with pytest.raises(InputError, match="no run of 'masag' has a layer 'level 9'"):
        run_curve(runs, "masag", "level 9")


def test_both_measures_over_layers(runs):
    figure = plots.plot_measure(runs, {"with": "masag", "without": "addition"}, LAYERS, "made up")
    assert len(figure.axes) == 2
    containers: Any = figure.axes[0].containers
    first = containers[0].lines[0]
    expected = [np.mean([row[layer]["high_band"] for row in runs[runs.variant == "masag"].layers]) for layer in LAYERS]
    np.testing.assert_allclose(first.get_ydata(), expected)


def test_bands_of_an_image_add_up_and_mean_the_same_on_every_grid(study):
    maps = network_maps(study.network, study.image[None])
    for layer in ("encoder stage 4", "level 1 gate", "logits"):
        parts = show_bands(maps[layer])
        assert len(parts) == len(BANDS)
        torch.testing.assert_close(parts.sum(dim=0), maps[layer].double(), rtol=1e-5, atol=1e-5)
        assert sum(band_shares(maps[layer]).values()) == pytest.approx(1)
    # Five waves across the image are in the band of 3 to 6, on a grid of 32 as on one of 64.
    for side in (32, 64):
        wave = torch.cos(2 * torch.pi * 5 * torch.arange(side) / side).expand(1, 1, side, side)
        assert band_shares(wave)["3 to 6"] == pytest.approx(1)
    assert set(band_shares(torch.ones(1, 1, 8, 8)).values()) == {0.0}


def test_a_band_is_drawn_beside_the_whole(study):
    maps = network_maps(study.network, study.image[None])
    figure = plots.draw_band(study, maps, "level 0 gate", "6 to 12")
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    share = band_shares(torch.from_numpy(study.image)[None, None])["6 to 12"]
    assert titles[1] == f"slice, 6 to 12\n{100 * share:.1f} % of its energy"
    assert titles[2] == "level 0 gate, 32 cells wide\nall bands"
    part = show_bands(torch.from_numpy(study.image)[None, None])[BANDS.index("6 to 12")][0, 0]
    np.testing.assert_allclose(np.asarray(figure.axes[1].images[0].get_array()), part)
    assert "beyond this grid" in plots.draw_band(study, maps, "encoder stage 4", "above 24").axes[3].get_title()
    assert "no detail" in plots.draw_band(study, maps, "logits", "mean").axes[3].get_title()
    for layer, band in (("level 9", "mean"), ("logits", "7 to 8")):
        with pytest.raises(InputError, match="is unknown: use one of"):
            plots.draw_band(study, maps, layer, band)


@pytest.mark.slow
def test_signs_of_a_band_are_seen_in_gray(study):
    """One wave in the image: its crests are brighter than what has no detail, its troughs darker."""
    across = torch.arange(study.image.shape[1])
    wave = torch.cos(2 * torch.pi * 4 * across / len(across)).expand(study.image.shape).numpy()
    image = (0.5 + 0.4 * wave).astype(np.float32)
    figure = plots.draw_band(replace(study, image=image), {"a": torch.ones(1, 1, 8, 8)}, "a", "3 to 6")
    ax, gray, row = figure.axes[1], in_gray(figure), 4  # above the organs
    period = len(across) / 4
    crest, between, trough = (int(gray[at(gray, ax, [(x, row)])][0]) for x in (period, 1.25 * period, 1.5 * period))
    assert crest - between > LEGIBLE
    assert between - trough > LEGIBLE
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["aorta", "liver"]
    assert "bands in cycles per image" in figure.get_suptitle()
