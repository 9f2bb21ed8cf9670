"""The drawn network by what stands where, and bars whose widths add up to the counts beside them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.text import Text
from small_networks import SIZE, unused_names, with_levels

from msa2net_lib.analysis.complexity import build_empty, count_work, used_and_unused
from msa2net_lib.config import PRESETS, NetworkConfig
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l08_network.plots import COUNTED, _boxes, _short, draw, plot_complexity, plot_used_and_unused
from msa2net_lib.lessons.l08_network.study import ROWS, walk
from msa2net_lib.nn.network import count_parameters
from msa2net_lib.viz import plots

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["tiny", "tiny without thumbnails", "published", "released", "odd"])
def sheet(request, image, steps, published):
    """Steps, their drawing, and whether it shows thumbnails."""
    if request.param == "odd":  # what no preset has: no blocks, unused blocks, blocks beside an unused gate
        deepest = {"gate": "masag", "unused": ("linear", "gate", "norm")}
        odd = with_levels(level_0={"block": "none"}, level_1={"unused": ("blocks",)}, level_3=deepest)
        steps = walk(odd, image)
    elif request.param == "published":
        steps = published[1]
    elif request.param == "released":
        steps = walk(with_levels("released"), image)
    thumbnails = request.param != "tiny without thumbnails"
    figure = draw(steps, f"MSA²Net, preset {request.param}", plots.VIRTUAL, thumbnails)
    FigureCanvasAgg(figure).draw()
    return steps, figure, thumbnails


def texts(figure):
    return [text for text in [*figure.texts, *figure.axes[0].texts] if text.get_text()] + [figure._suptitle]


def test_the_sheet_names_every_step(sheet):
    steps, figure, _ = sheet
    written = [text.get_text() for text in figure.axes[0].texts]
    for step in steps:
        details = written[written.index(step.name) + 1].splitlines()
        assert " ".join(details[:-2]) == step.what
        assert details[-2] == (" × ".join(map(str, step.shape)) if step.shape else "never runs")
        assert details[-1].endswith("parameters")
    assert figure.get_suptitle() == plots.VIRTUAL


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.0 k"),
        (447_800, "447.8 k"),
        (999_949, "999.9 k"),
        (999_950, "1.00 M"),
        (112_767_981, "112.77 M"),
    ],
)
def test_counts_are_rounded(count, text):
    assert _short(count) == text


def test_totals_are_written(published):
    written = "\n".join(t.get_text() for t in draw(published[1], "title", "source").axes[0].texts)
    assert "112.77 M parameters in all; the hatched boxes' 36.16 M never run." in written


def test_idle_parts_are_hatched_and_dashed(sheet):
    steps, figure, _ = sheet
    hatched = [p for p in figure.axes[0].patches if p.get_hatch()]
    assert len(hatched) == len(unused_names(steps))
    assert all(p.get_linestyle() == "--" for p in hatched)


def test_thumbnails_are_drawn_as_they_are(sheet):
    steps, figure, thumbnails = sheet
    thumbs = [step.thumbnail for step in steps if step.thumbnail is not None and thumbnails]
    drawn = figure.axes[0].images
    assert len(drawn) == len(thumbs)
    for shown, thumb in zip(drawn, thumbs, strict=True):
        np.testing.assert_array_equal(shown.get_array(), thumb)
        left, right, bottom, top = shown.get_extent()
        assert shown.origin == "upper"
        assert (top - bottom) / (right - left) == pytest.approx(thumb.shape[0] / thumb.shape[1])


def test_texts_are_legible(sheet):
    """None too small, none outside the figure, no two on each other."""
    _, figure, _ = sheet
    assert 9 <= figure.get_figwidth() <= 9.1
    assert min(text.get_fontsize() for text in texts(figure)) >= 7
    places = {text: text.get_window_extent() for text in set(texts(figure))}
    for text, place in places.items():
        inside = (
            figure.bbox.x0 <= place.x0 < place.x1 <= figure.bbox.x1
            and figure.bbox.y0 <= place.y0 < place.y1 <= figure.bbox.y1
        )
        assert inside, text.get_text()
    for one, two in itertools.combinations(places, 2):
        # Lines of one box may touch; a pixel and a half of line spacing is not ink.
        assert not places[one].padded(-1.5).overlaps(places[two].padded(-1.5)), (one.get_text(), two.get_text())


def test_texts_stay_in_their_box_and_off_the_thumbnails(sheet):
    steps, figure, _ = sheet
    ax = figure.axes[0]
    boxes, _ = _boxes(steps)
    written = [text.get_text() for text in ax.texts]
    thumbs = [shown.get_window_extent() for shown in ax.images]
    for step in steps:
        first = written.index(step.name)
        box = boxes[step.name]
        (left, bottom), (right, top) = ax.transData.transform([box.at(0, 0), box.at(1, 1)])
        for text in ax.texts[first : first + 2]:
            place = text.get_window_extent()
            assert left < place.x0 < place.x1 < right, text.get_text()
            assert bottom < place.y0 < place.y1 < top, text.get_text()
            assert not any(place.overlaps(thumb) for thumb in thumbs), text.get_text()


def test_arrows_join_running_boxes_and_cross_none(sheet):
    steps, figure, _ = sheet
    boxes, _ = _boxes(steps)
    running = [boxes[step.name] for step in steps if step.runs]

    def on_edge(point, box):
        x, y = (point[0] - box.left) / box.width, (point[1] - box.bottom) / box.height
        inside = -1e-6 <= x <= 1 + 1e-6 and -1e-6 <= y <= 1 + 1e-6
        return inside and min(abs(x), abs(x - 1), abs(y), abs(y - 1)) < 1e-6

    patches: list[Any] = [patch for patch in figure.axes[0].patches if isinstance(patch, FancyArrowPatch)]
    arrows = [patch._path_original.vertices for patch in patches]
    ends = 0
    for path in arrows:
        assert any(on_edge(path[0], box) for box in running)
        ends += any(on_edge(path[-1], box) for box in running)
        for start, end in itertools.pairwise(path):
            for share in np.linspace(0.02, 0.98, 49):
                x, y = start + share * (end - start)
                for name, box in boxes.items():
                    crossed = box.left < x < box.left + box.width and box.bottom < y < box.bottom + box.height
                    assert not crossed, name
    assert ends == len(arrows) - 1  # the logits leave the sheet


def test_bands_hold_one_grid_each(steps):
    """A step stands in the band of its output's grid (the stem, at half the image, in the image's)."""
    boxes, bands = _boxes(steps)
    for step in steps:
        level = {SIZE[0] // 4: 0, SIZE[0] // 8: 1, SIZE[0] // 16: 2, SIZE[0] // 32: 3}.get(step.shape[1], -1)
        band, box = bands[level], boxes[step.name]
        assert band.bottom < box.bottom < box.bottom + box.height < band.bottom + band.height
    assert all(isinstance(p, Rectangle | FancyArrowPatch) for p in draw(steps, "t", "s").axes[0].patches)


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


def test_two_parts_of_the_sheet_show_every_step_once_on_a_page_each(steps, published):
    for walked in (steps, published[1]):
        parts = [draw(walked, "title", "source", part=part) for part in ("upper", "lower")]
        written = [[text.get_text() for text in part.axes[0].texts] for part in parts]
        for step in walked:
            assert [words.count(step.name) for words in written] in ([1, 0], [0, 1]), step.name
        for part in parts:
            width, height = part.get_size_inches()
            assert width <= 9.1
            assert height <= 6.2
            FigureCanvasAgg(part).draw()
            box = part.get_tightbbox().padded(-1e-6)
            assert -0.01 <= box.x0 < box.x1 <= width + 0.01
            assert -0.01 <= box.y0 < box.y1 <= height + 0.01
