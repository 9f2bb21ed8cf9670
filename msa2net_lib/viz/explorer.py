"""The one interactive piece of every lesson: controls above, a figure below, nothing in between."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

from matplotlib.figure import Figure

from msa2net_lib.errors import InputError
from msa2net_lib.utils.system_info import lacking

DPI = 80
STILL = "interactive: run this cell to move the controls; the figure beside it shows where they start"


def explorer(draw: Callable[..., Figure], **controls: Any) -> Any:
    """Put controls over the figure that ``draw(**values)`` returns; returns an ipywidgets box.

    controls: one per argument of ``draw``. A list of choices or a dict of label -> value gives a menu, True or False
    a box to tick, (low, high) or (low, high, step) a slider, which is whole-numbered if all three are; a widget of
    one's own is taken as it is, and sets where to start. The figure is drawn anew when a control is let go.

    An error while drawing is raised where it happened: the figure is drawn outside of any output widget, which
    would swallow it. Without ipywidgets a line says what to install. Raises: `InputError` for a control that gives no
    widget.
    """
    if lacks := lacking("ipywidgets"):
        return not_shown(lacks)
    import ipywidgets

    widgets = {name: _control(name, given) for name, given in controls.items()}
    # At its own size: stretched to the page it would blur.
    shown = ipywidgets.Image(format="png", layout={"align_self": "flex-start", "max_width": "100%"})

    def redraw(_: Any = None) -> None:
        buffer = BytesIO()
        figure = draw(**{name: widget.value for name, widget in widgets.items()})
        figure.savefig(buffer, format="png", dpi=DPI)
        shown.value = buffer.getvalue()

    for widget in widgets.values():
        widget.observe(redraw, names="value")
    redraw()

    class Explorer(ipywidgets.VBox):
        """Where widgets do not run, the page says what stands here."""

        def _repr_mimebundle_(self, **kwargs: Any) -> Any:
            return {**(super()._repr_mimebundle_(**kwargs) or {}), "text/plain": STILL}

    return Explorer([*widgets.values(), shown])


def slider(start: float, low: float, high: float, step: float = 1) -> Any:
    """A slider for `explorer` that starts at a place of its own; whole-numbered if all four are."""
    if lacking("ipywidgets"):
        return low, high, step
    import ipywidgets

    whole = all(isinstance(value, int) for value in (start, low, high, step))
    return (ipywidgets.IntSlider if whole else ipywidgets.FloatSlider)(value=start, min=low, max=high, step=step)


def not_shown(reason: str) -> Any:
    """What a page shows in the place of something interactive."""
    from IPython.display import Markdown

    return Markdown(f"*not shown: the interactive view {reason}*")


def _control(name: str, given: Any) -> Any:
    import ipywidgets

    widget: Any = ipywidgets.interactive.widget_from_abbrev(given)
    if widget is None:
        raise InputError(
            f"{name}={given!r} gives no control: use choices, True or False, (low, high, step) or a widget"
        )
    widget.description = widget.description or name.replace("_", " ")
    widget.style.description_width = "initial"
    if hasattr(widget, "continuous_update"):
        widget.continuous_update = False
        widget.layout.width = "420px"
    return widget
