"""The figure of measured effects: its dots and bars are the differences, seed by seed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from msa2net_lib.errors import InputError
from msa2net_lib.viz.intervals import plot_effects, plot_intervals

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


def test_intervals_are_drawn_where_they_are():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"difference": rng.normal(size=6)}, index=list("abcdef"))
    table = table.assign(low=table.difference - 1, high=table.difference + 1, dots=[[0.1, 0.2]] * 6)
    table.loc["e", ["difference", "low", "high"]] = [0.5, 0.2, 0.8]
    figure = plot_intervals({"one": table, "two": table * 2}, "made up", "difference", share=True)
    left, right = figure.axes
    ends = [np.asarray(line.get_data()) for line in left.lines if line.get_marker() == "None"]
    spans = [x for x, y in (two for two in ends if two.shape == (2, 2)) if y[0] == y[1]]
    np.testing.assert_allclose(spans, table[["low", "high"]].to_numpy(dtype=float))
    points = [line for line in left.lines if line.get_marker() == "o" and len(line.get_xdata()) == 1]
    hollow = [point.get_markerfacecolor() == "white" for point in points]
    assert hollow == [not (row.low > 0 or row.high < 0) for _, row in table.iterrows()]
    assert not hollow[4]
    assert left.get_xlim() == right.get_xlim()
    texts = plot_intervals({"none": table.assign(difference=np.nan)}, "made up", "difference").axes[0].texts
    assert len(texts) == len(table)
