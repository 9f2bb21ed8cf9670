"""Figures of the rival networks say what the trace and the tables hold, and fit the page."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from msa2net_lib.baselines.table import NETWORKS
from msa2net_lib.lessons.l17_rival_networks import plots
from msa2net_lib.lessons.l17_rival_networks.skips import Skip, Trace
from msa2net_lib.lessons.l17_rival_networks.study import SCORES, Anatomy
from msa2net_lib.paper.consistency import share_table
from msa2net_lib.paper.tables import table_2

PAGE = 930


def anatomy(name, *skips, **counts):
    trace = Trace({2: 8, 4: 16, 8: 32, 16: 64}, 16, list(skips), ())
    numbers: dict[str, Any] = {"parameters": 5_000_000, "unused": 0, "multiply_adds": 10**9}
    return Anatomy(name, NETWORKS[name], trace, **numbers | counts)


UNET = anatomy("unet", Skip(2, 8, ["cat"]), Skip(8, 32, ["+", "×", "cat"]))
BRIDGED = anatomy("missformer", Skip(4, 16, ["cat"], ["bridge"], "bridge"), unused=1_000_000, discarded=5 * 10**8)


def words_of(figure):
    return [text.get_text() for ax in figure.axes for text in ax.texts]


@pytest.mark.parametrize("cards", [[(UNET, ["one thing"])], [(UNET, ["a " * 90]), (BRIDGED, ["x"]), (UNET, [])]])
def test_cards_fit_the_page_and_hold_what_was_traced(cards):
    figure = plots.draw_cards(cards)
    assert figure.get_figwidth() * 100 <= PAGE
    words = words_of(figure)
    assert words.count("U-Net") == sum(found is UNET for found, _ in cards)
    assert {"8 × 112²", "64 × 14²", "cat", "+ × cat", "no skip", "5.00 M parameters"} <= set(words)
    thrown = "1.0 G multiply-adds at 224 pixels and 0.5 G thrown away"
    assert words.count(thrown) == sum(found is BRIDGED for found, _ in cards)
    assert min(text.get_position()[1] for text in figure.axes[0].texts) > 0.05, "nothing stands below the sheet"


def test_the_family_names_every_network_once():
    figure = plots.draw_family([UNET, BRIDGED])
    words = words_of(figure)
    assert figure.get_figwidth() * 100 <= PAGE
    assert words.count("U-Net") == words.count("MISSFormer") == 1
    assert "5.0 (20% unused)" in words
    assert "1.5" in words, "with what the code throws away"


def test_shares_show_each_row_and_the_one_that_has_none():
    figure = plots.plot_shares(share_table(table_2()), "arithmetic")
    assert words_of(figure).count("no share does it") == 2
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(table_2().index)
    assert figure.get_figwidth() * 100 <= PAGE


def test_cost_leaves_out_what_was_not_measured():
    rows = {
        "attunet": (0.7, 0.65, 0.75, "cases", 1, 34.9, 4.1, ""),
        "unet": (0.6, 0.5, 0.7, "cases", 1, 34.5, 4.0, ""),
        "dermosegdiff": (*[None] * 7, "too large"),
    }
    scores = pd.DataFrame.from_dict(rows, orient="index", columns=list(SCORES))
    figure = plots.plot_cost(scores, {name: (NETWORKS[name].title, NETWORKS[name].skip) for name in rows}, "by hand")
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["U-Net", "Attention U-Net"], "the cheaper one above"
    marks = [line for line in figure.axes[1].lines if len(line.get_xdata()) == 1]
    assert [float(line.get_xdata()[0]) for line in marks] == [0.6, 0.7]
    assert figure.get_suptitle() == "by hand"
    assert figure.get_figwidth() * 100 <= PAGE
