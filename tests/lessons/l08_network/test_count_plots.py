"""The bars say what was counted: widths add up to the counts, and what stands beside them is their number."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from msa2net_lib.analysis.complexity import build_empty, count_work, network_parts, used_and_unused
from msa2net_lib.config import PRESETS, NetworkConfig
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l08_network.count_plots import COUNTED, ROWS, plot_complexity, plot_used_and_unused, rows_of
from msa2net_lib.nn.network import count_parameters


@pytest.fixture(scope="module")
def networks():
    return {name: build_empty(NetworkConfig.from_preset(name)) for name in PRESETS}


@pytest.fixture(scope="module")
def tables(networks):
    return {name: used_and_unused(network) for name, network in networks.items()}


@pytest.fixture(scope="module")
def work(networks):
    return count_work(networks["published"])


@pytest.fixture(scope="module")
def figure(tables):
    return plot_used_and_unused(tables)


@pytest.fixture(scope="module")
def complexity(tables, work):
    return plot_complexity(tables["published"], work.products, "published")


def widths(ax):
    return [np.array([bar.get_width() for bar in container]) for container in ax.containers]


def beside(ax):
    """Row -> what is written at the end of its bar."""
    return {ROWS[round(text.xy[1])]: text.get_text() for text in ax.texts}


def test_bars_add_up_to_each_networks_parameters(figure, networks):
    for ax, (name, network) in zip(figure.axes, networks.items(), strict=True):
        live, unused = widths(ax)
        assert live.sum() + unused.sum() == pytest.approx(count_parameters(network) / 1e6, rel=1e-12)
        assert ax.get_title().startswith(f"{name}: {count_parameters(network) / 1e6:.2f} M parameters")


def test_idle_bars_start_where_live_ones_end_and_show_only_where_something_idles(figure, tables):
    for ax, name in zip(figure.axes, tables, strict=True):
        solid, hatched = ax.containers
        for live, unused in zip(solid, hatched, strict=True):
            assert unused.get_x() == live.get_width()
            assert (unused.get_linewidth() > 0) == (unused.get_width() > 0)
            assert unused.get_hatch()
            assert not live.get_hatch()
        assert ("none unused" in ax.get_title()) == (name in ("paper", "tiny"))


def test_level_3_of_published_by_hand(figure, networks):
    level = networks["published"].decoder.levels[3]
    ax = figure.axes[list(networks).index("published")]
    live, unused = (dict(zip(ROWS, values, strict=True)) for values in widths(ax))
    assert unused["level 3: blocks"] == pytest.approx(count_parameters(level.blocks) / 1e6)
    assert live["level 3: rest"] == pytest.approx(count_parameters(level.expand) / 1e6)
    assert beside(ax)["level 3: rest"] == "1.18 + 0.59 unused"
    assert beside(ax)["level 3: gate"] == "7.10 unused"
    assert beside(ax)["gray stem"] == "< 0.01 unused"
    assert beside(figure.axes[list(networks).index("paper")])["level 3: gate"] == "none"


def test_complexity_shows_live_parameters_and_all_products(complexity, tables, work):
    (live,), (products,) = (widths(ax) for ax in complexity.axes)
    assert live.sum() == pytest.approx(tables["published"].live.sum() / 1e6, rel=1e-12)
    assert products.sum() == pytest.approx(work.products.sum() / 1e9, rel=1e-12)
    left, right = (ax.get_title() for ax in complexity.axes)
    assert (left, right) == ("published: 76.61 M live parameters", "published: 15.40 G multiply-adds")
    assert beside(complexity.axes[1])["encoder stage 3"] == "4.68"


def test_every_part_has_a_row(networks):
    for network in networks.values():
        ones = pd.DataFrame({"count": 1}, index=list(network_parts(network)))
        assert int(rows_of(ones)["count"].to_numpy().sum()) == len(network_parts(network))


def test_first_row_is_on_top_and_rows_are_named_once(figure):
    for index, ax in enumerate(figure.axes):
        low, high = ax.get_ylim()
        assert low > high
        assert ax.yaxis.get_tick_params()["labelleft"] == (index % 2 == 0)


@pytest.mark.parametrize("name", ["figure", "complexity"])
def test_nothing_is_cut_off_and_the_sheet_says_what_it_counts(name, request):
    figure = request.getfixturevalue(name)
    FigureCanvasAgg(figure).draw()
    assert figure.get_suptitle() == COUNTED
    for ax in figure.axes:
        for text in ax.texts:
            assert isinstance(text, Text)
            assert text.get_window_extent().x1 <= ax.get_window_extent().x1


def test_nothing_or_unlike_things_are_refused(tables, work):
    with pytest.raises(InputError, match="at least one table"):
        plot_used_and_unused({})
    with pytest.raises(InputError, match="different parts"):
        plot_complexity(tables["paper"], work.products, "paper")
