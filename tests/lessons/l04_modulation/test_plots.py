"""Cross-modulation in figures: they show the trace, the boundary measure is what it says, a widget's draw obeys."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l04_modulation.plots import (
    plot_changed_inputs,
    plot_input_change,
    plot_modulation,
    plot_sharpness,
)
from msa2net_lib.lessons.l04_modulation.study import (
    SQUARED,
    boundary_contrast,
    in_words,
    sharpness,
    strongest_channel,
)


def titled(figure):
    return {ax.get_title(): ax.images[0].get_array() for ax in figure.axes if ax.images and ax.get_title()}


def test_one_channel_shows_the_products(study):
    trace = study.traces[0]
    channel = strongest_channel(trace.u_modulated)
    assert channel == int(np.argmax((trace.u_modulated[0].numpy() ** 2).sum((1, 2))))
    shown = titled(plot_modulation(study, 0, channel))
    np.testing.assert_allclose(shown["X''"], shown["X'"] * shown["sigmoid(G')"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(shown["U' = X'' G''"], shown["X''"] * shown["G''"], rtol=1e-4, atol=1e-4)
    assert len(titled(plot_modulation(study, 0))) == 8


def test_contrast_of_a_step_at_its_boundary_and_elsewhere():
    organ = np.zeros((20, 20), bool)
    organ[5:12, 6:13] = True
    step = torch.from_numpy(organ.astype(np.float32))[None, None]
    noise = 0.01 * torch.randn(1, 1, 20, 20, generator=torch.Generator().manual_seed(0))
    assert boundary_contrast(step + noise, organ) > 20
    assert boundary_contrast(noise, organ) == pytest.approx(1, abs=0.25)
    assert boundary_contrast(7 * (step + noise), organ) == pytest.approx(
        boundary_contrast(step + noise, organ), rel=1e-4
    )
    elsewhere = torch.roll(step, (6, 6), (2, 3)) + noise
    assert boundary_contrast(elsewhere, organ) < boundary_contrast(step + noise, organ) / 4
    assert np.isnan(boundary_contrast(step, np.arange(400).reshape(20, 20) < 3))


def test_sharpness_by_organ_and_its_words(study):
    table = sharpness(study, 0)
    assert list(table.index) == ["liver", "aorta"]
    assert table.loc["liver"].notna().all()
    assert table.loc["aorta"].isna().all() == (np.count_nonzero(study.label_at(0) == 1) < 4)
    rows = pd.DataFrame(
        [[1.2, 0.8, 1.1, 1.0], [1.2, 0.8, 1.4, 1.5], [1.2, 0.8, 1.6, 1.5], [np.nan] * 4],
        columns=["X'", "G'", "U'", SQUARED],
    )
    words = [in_words(row) for row in rows.to_dict("records")]
    assert words == [
        "does not sharpen",
        "sharpens, no more than squaring X' would",
        "sharpens",
        "not measured, too small here",
    ]
    figure = plot_sharpness({0: rows, 2: rows[3:]}, "noise of this test")
    assert [ax.get_title() for ax in figure.axes] == ["level 0", "level 2"]
    assert "no organ covers" in figure.axes[1].texts[0].get_text()
    np.testing.assert_allclose(figure.axes[0].lines[2].get_xdata(), [1.1, 1.4, 1.6])


def test_changed_inputs_side_by_side(study):
    figure = plot_changed_inputs(study, 1, ["as it is", "G blank"])
    maps = {ax.get_title(): ax.images[0] for ax in figure.axes if ax.get_title().endswith("U'")}
    assert maps["as it is\nU'"].get_clim() == maps["G blank\nU'"].get_clim()
    assert not maps["G blank\nU'"].get_array().any()
    assert sum(ax.get_title().startswith("Dice") for ax in figure.axes) == 2


def test_the_widgets_figure_obeys_its_controls(study):
    def images(*values):
        return [image.get_array() for image in plot_input_change(study, *values).axes[0].images]

    before, after, *_ = images(0, "as it is", 1.0)
    np.testing.assert_allclose(before, after, rtol=1e-4, atol=1e-5)
    assert not images(0, "as it is", 0.0)[1].any()
    np.testing.assert_array_equal(images(0, "as it is", 0.0)[1], images(0, "G blank", 2.0)[1])
    assert (images(0, "as it is", 3.0)[1] != before).any()
    assert images(2, "as it is", 1.0)[0].shape == study.traces[2].x.shape[-2:]
    assert images(0, "X shuffled", 1.0, "attention")[0].max() <= 1
    for values, message in (((0, "G", 1.0), "change='G' is unknown"), ((0, "as it is", 1.0, "v"), "shown='v'")):
        with pytest.raises(InputError, match=message):
            plot_input_change(study, *values)
