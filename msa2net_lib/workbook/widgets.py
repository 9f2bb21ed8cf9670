"""Thin widgets: each only calls a tested function that draws the picture for given values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from msa2net_lib.data.datasets import Case
from msa2net_lib.workbook import plots
from msa2net_lib.workbook.explorer import explorer

if TYPE_CHECKING:
    from numpy.typing import NDArray


def draw_browser_view(
    case: Case, z: int, predictions: Mapping[str, NDArray] | None = None, outlines: bool = True
) -> Figure:
    """One slice of a case: image, reference label and predictions side by side."""
    panels: dict[str, NDArray | None] = {"image": None}
    if outlines:
        panels |= {"reference label": case.label[z]}
        panels |= {name: labels[z] for name, labels in (predictions or {}).items()}
    figure, axes = plots.figure_grid(1, len(panels), width=3.4, height=3.0)
    for ax, (name, label) in zip(axes[0], panels.items(), strict=True):
        plots.show_slice(ax, case.image[z], label, spacing=case.spacing, title=f"{case.name}, slice {z}: {name}")
    if outlines:
        plots.organ_legend(figure)
    return figure


def volume_browser(case: Case, predictions: Mapping[str, NDArray] | None = None) -> Any:
    """A slider over the slices of a case and a switch for the outlines; returns an ipywidgets box."""
    import ipywidgets

    start = plots.busiest_slices(case.label, 1) or [len(case.image) // 2]
    slider = ipywidgets.IntSlider(start[0], 0, len(case.image) - 1, description="slice")
    return explorer(lambda z, organs: draw_browser_view(case, z, predictions, organs), z=slider, organs=True)


class LivePlot:
    """Redraws the training curves in place; pass it to ``train(on_log=...)``.

    The last drawing stays in the notebook, so an executed page shows the finished curves.
    """

    def __init__(self, every: int = 5):
        self.every = every
        self._calls = 0
        self._handle: Any = None

    def __call__(self, history: list[dict[str, float]]) -> None:
        self._calls += 1
        if self._calls % self.every == 0:
            self.draw(history)

    def draw(self, history: list[dict[str, float]]) -> None:
        """Draw the curves now, in the same place as before."""
        from IPython.display import display

        figure = plots.plot_history(history)
        if self._handle is None:
            self._handle = display(figure, display_id=True)
        else:
            self._handle.update(figure)
