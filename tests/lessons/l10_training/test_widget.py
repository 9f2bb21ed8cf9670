"""The live curves are drawn seldom enough for training not to wait."""

from __future__ import annotations

from types import SimpleNamespace

from msa2net_lib.lessons.l10_training import widget
from msa2net_lib.viz import plots


def test_live_curves_are_drawn_every_ten_seconds_at_most_and_when_asked(monkeypatch):
    """A log entry comes every second of a minute; each drawing takes one more, in which training waits."""
    now, drawn = [0.0], []

    def draw(history):
        drawn.append(len(history))
        now[0] += 1

    monkeypatch.setattr(widget.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(plots, "plot_history", draw)
    monkeypatch.setattr("IPython.display.display", lambda figure, display_id: SimpleNamespace(update=lambda figure: 0))
    live, history = widget.LivePlot(), []
    for _ in range(60):
        now[0] += 1
        history.append({"step": len(history)})
        live(history)
    assert drawn == [1, 11, 21, 31, 41, 51]
    live.draw(history)
    assert drawn[-1] == 60
