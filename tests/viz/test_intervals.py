"""The figure of measured effects: its dots and bars are the differences, seed by seed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from msa2net_lib.errors import InputError
from msa2net_lib.viz.intervals import plot_effects

RUNS = pd.DataFrame(
    {
        "variant": ["base", "low", "high"] * 3,
        "seed": np.repeat([1, 2, 3], 3),
        "dsc": [0.80, 0.70, 0.81, 0.82, 0.75, 0.85, 0.81, 0.74, 0.84],
    }
)


def test_dots_are_differences_and_bars_their_mean():
    figure = plot_effects({"a": RUNS, "b": RUNS[RUNS.seed < 3]}, "base", "numbers of this test")
    left, right = figure.axes
    dots = [line.get_xdata() for line in left.lines if len(line.get_xdata()) == 3]
    np.testing.assert_allclose(np.array(dots), [[-0.10, -0.07, -0.07], [0.01, 0.03, 0.03]], atol=1e-9)
    assert [label.get_text() for label in left.get_yticklabels()] == ["low", "high"]
    means = [c.lines[0].get_xdata()[0] for c in left.containers]
    np.testing.assert_allclose(means, [-0.08, 0.07 / 3], atol=1e-9)
    assert "0.810" in left.get_xlabel()
    assert right.get_title() == "b"
    assert "numbers of this test" in [text.get_text() for text in figure.texts]


def test_an_unknown_baseline_is_named():
    with pytest.raises(InputError, match="baseline='nothing'"):
        plot_effects({"a": RUNS}, "nothing", "")
