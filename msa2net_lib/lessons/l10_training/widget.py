"""The training curves, drawn anew while the network trains."""

from __future__ import annotations

import time
from typing import Any

from msa2net_lib.viz import plots


class LivePlot:
    """Redraws the training curves in place; pass it to ``train(on_log=...)``, and call `draw` with the whole history.

    every: seconds between drawings at least: one of thousands of entries takes 0.2 s, for which training waits. The
    last drawing stays in the notebook, so an executed page shows the finished curves.
    """

    def __init__(self, every: float = 10.0):
        self.every = every
        self._drawn = float("-inf")
        self._handle: Any = None

    def __call__(self, history: list[dict[str, float]]) -> None:
        if time.monotonic() - self._drawn >= self.every:
            self.draw(history)
            self._drawn = time.monotonic()

    def draw(self, history: list[dict[str, float]]) -> None:
        """Draw the curves now, in the same place as before."""
        from IPython.display import display

        figure = plots.plot_history(history)
        if self._handle is None:
            self._handle = display(figure, display_id=True)
        else:
            self._handle.update(figure)
