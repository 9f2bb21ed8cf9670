"""The audit's figures: drawn from the tables, read without color, and moved by their sliders."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l16_paper_audit import plots
from msa2net_lib.lessons.l16_paper_audit.plots import CROSS, DISC, plot_claims, plot_isic_audit
from msa2net_lib.paper.claims import claims
from msa2net_lib.paper.tables import table_2

OWN = (0.2134, 0.8840, 0.9557)


def pixels(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def points(ax, marker):
    return [tuple(line.get_xydata()[0]) for line in ax.lines if line.get_marker() == marker]


def texts(figure):
    return [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


def test_the_chosen_point_is_the_pooled_arithmetic():
    tp, fn, fp, tn = 176, 24, 40, 760  # prevalence 0.2, SE 0.88, SP 0.95
    figure = plot_isic_audit(0.2, tp / (tp + fn), tn / (tn + fp))
    left, right = figure.axes
    dsc, acc = 2 * tp / (2 * tp + fp + fn), (tp + tn) / 1000
    assert points(left, "D") == [pytest.approx((acc, 0))]
    assert points(right, "D") == [pytest.approx((dsc, acc))]
    assert f"DSC {dsc:.4f}, ACC {acc:.4f}".replace("0.", ".") in right.get_title(loc="left")


def test_rows_stand_where_the_table_says():
    left, right = plot_isic_audit(*OWN).axes
    table = table_2()
    closing = table.loc[["UCTransNet", "DermoSegDiff"]]
    others = table.drop(index=[*closing.index, "MSA²Net"])
    assert sorted(points(right, "o")) == sorted(map(tuple, closing[["dsc", "acc"]].to_numpy()))
    assert sorted(points(right, "X")) == sorted(map(tuple, others[["dsc", "acc"]].to_numpy()))
    assert sorted(x for x, _ in points(left, "X")) == sorted(others.acc)
    own = table.loc["MSA²Net"]
    printed, corrected = points(left, "*")
    assert printed[0] == corrected[0] == own.acc
    bars = [np.array(line.get_xydata()) for line in left.lines if line.get_linewidth() == 5]
    (bar,) = (ends for ends in bars if ends[0, 1] == printed[1])
    assert bar[:, 0].max() < own.acc, "the printed ACC lies beyond its bar"


def test_the_papers_row_is_a_star_and_its_correction_hollow():
    for ax in plot_isic_audit(*OWN).axes:
        faces = [line.get_markerfacecolor() for line in ax.lines if line.get_marker() == "*"]
        assert sorted(faces) == sorted([plots.ORANGE, "none"])
    names = [label.get_text() for label in plot_isic_audit(*OWN).axes[0].get_yticklabels()]
    assert "MSA²Net, SP .9857" in names


def test_every_argument_moves_the_figure():
    usual = pixels(plot_isic_audit(*OWN))
    assert (usual == pixels(plot_isic_audit(*OWN))).all()
    for index in range(3):
        moved = [value + 0.01 * (place == index) for place, value in enumerate(OWN)]
        assert (usual != pixels(plot_isic_audit(*moved))).any()


def test_a_choice_beyond_the_window_waits_at_its_edge():
    _, right = plot_isic_audit(0.6, 0.7, 0.9).axes
    ((x, y),) = points(right, "D")
    assert (x, y) == (right.get_xlim()[0], right.get_ylim()[0])
    (line,) = (line for line in right.lines if line.get_marker() == "D")
    assert line.get_markerfacecolor() == "white"


@pytest.mark.parametrize("values", [(0, 1, 1), (1, 0.5, 0.5), (0.5, 0, 0)])
def test_the_ends_are_drawn(values):
    pixels(plot_isic_audit(*values))


def test_percent_is_refused():
    with pytest.raises(InputError, match="give a share of one, not percent"):
        plot_isic_audit(0.2, 88.4, 0.95)


def test_a_corrected_table_draws_no_cross_for_the_row(monkeypatch):
    table = table_2()
    table.loc["MSA²Net", "sp"] = 0.9857
    monkeypatch.setattr(plots, "table_2", lambda: table)
    faces = [line.get_markerfacecolor() for line in plot_isic_audit(*OWN).axes[0].lines if line.get_marker() == "*"]
    assert faces == ["none", "none"]


def test_figures_are_legible_and_say_what_they_show():
    figures = {plots.AUDIT_SOURCE: plot_isic_audit(*OWN), plots.CLAIMS_SOURCE: plot_claims(claims())}
    for source, figure in figures.items():
        pixels(figure)
        assert source in [text.get_text() for text in texts(figure)]
        assert min(float(text.get_fontsize()) for text in texts(figure)) >= 7
        assert "no measurement" in source


def test_claims_have_a_row_each_and_a_shape_of_their_own():
    numeric = [claim for claim in claims() if claim.printed is not None]
    (ax,) = plot_claims(claims()).axes
    assert len(ax.get_yticklabels()) == len(numeric)
    assert DISC["marker"] != CROSS["marker"]
    for marker, holds in ((DISC["marker"], True), (CROSS["marker"], False)):
        assert [y for _, y in points(ax, marker)] == [y for y, c in enumerate(numeric) if c.holds == holds]
    assert all(abs(x) <= 1 for x, _ in points(ax, "o"))
    assert all(abs(x) > 1 for x, _ in points(ax, "X"))
    assert "2.21 → 2.12 percentage points" in [text.get_text() for text in ax.texts]


def test_claims_stay_inside_the_frame():
    one = next(claim for claim in claims() if claim.key == "aorta-margin")
    for chosen in ([one], [replace(one, recomputed=1.13, holds=True)], [replace(one, recomputed=500.0)]):
        (ax,) = plot_claims(chosen).axes
        marked = points(ax, "o") + points(ax, "X")
        assert all(ax.get_xlim()[0] < x < ax.get_xlim()[1] for x, _ in marked)
    with pytest.raises(InputError, match="none has a printed number"):
        plot_claims([replace(one, printed=None)])
