"""Figures of lesson 15 show the numbers that they were given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from msa2net_lib.checkpoints import SHIPPED_TINY, load_network
from msa2net_lib.data.datasets import Case
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l15_integration.plots import draw_gate_block, plot_gate_effects
from msa2net_lib.lessons.l15_integration.study import OWN, VARIANTS, WITHOUT, effects, gate_block, with_depth


def test_every_network_has_a_line_and_every_comparison_a_panel():
    rng = np.random.default_rng(0)
    rows = [
        {"network": network, "variant": variant, "seed": seed, "dsc": rng.normal(0.7, 0.05)}
        for network, variants in {"one": VARIANTS, "another": (*VARIANTS, OWN)}.items()
        for variant in variants
        for seed in range(3)
    ]
    runs = pd.DataFrame(rows)
    figure = plot_gate_effects(runs, "noise of this test", "2 steps")
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == [
        f"masag minus\n{WITHOUT}",
        f"constant minus\n{WITHOUT}",
        "masag minus\nconstant",
        f"masag minus\n{OWN}",
    ]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["one", "another"]
    table = effects(runs)
    means = [line.get_xdata()[0] for line in figure.axes[2].lines if len(line.get_xdata()) == 1]
    assert means == pytest.approx(list(table.difference[table.against == "constant"]))
    assert "not defined" in figure.axes[3].texts[0].get_text()
    with pytest.raises(InputError, match="nothing to compare with"):
        plot_gate_effects(runs[runs.variant == WITHOUT], "", "")


def test_the_figure_of_a_block_shows_maps_and_influence():
    rng = np.random.default_rng(0)
    case = Case("case", rng.random((5, 96, 96), dtype=np.float32), np.zeros((5, 96, 96), np.uint8), (2.0, 1.0, 1.0))
    block = gate_block(load_network(SHIPPED_TINY), case, range(5))
    figure = draw_gate_block(block, with_depth(block.gate), "noise of this test")
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert titles == ["the scan", "map, 2-D slice by slice", "map, 3-D", "3-D minus 2-D", "influence of x on the map"]
    flat, deep, change = (ax.images[0].get_array() for ax in figure.axes[1:4])
    np.testing.assert_allclose(deep - flat, change, atol=1e-6)
    assert "not trained" in figure.get_suptitle()
