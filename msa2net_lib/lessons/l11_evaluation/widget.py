"""The volume browser for what `predict_file` returns: there is no reference label, only a prediction."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from msa2net_lib.data.datasets import Case
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.errors import InputError
from msa2net_lib.prediction.overlay import draw_slice
from msa2net_lib.viz import browsers as widgets
from msa2net_lib.viz import plots
from msa2net_lib.viz.explorer import explorer

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from msa2net_lib.prediction.result import Prediction


def prediction_browser(prediction: Prediction, reference: NDArray | None = None, viewer: str = "auto") -> Any:
    """Browse a predicted volume; returns an ipywidgets box.

    reference: a label map (z, y, x) in LPS, scheme A, if there is one; `widgets.volume_browser` then shows both.
    viewer: as there; classes that are not the eight organs are shown as slices. Raises: `InputError` for a picture,
    and as from `volume_browser`.
    """
    if prediction.spacing is None:
        raise InputError(f"{prediction.name}: is a picture and has no slices to browse; use prediction.overlay()")
    case = Case(prediction.name, prediction.image, prediction.label, prediction.spacing)
    if reference is not None:
        case = Case(prediction.name, prediction.image, reference, prediction.spacing)
        return widgets.volume_browser(case, {"prediction": prediction.label}, viewer)
    if viewer not in ("auto", "niivue", "slices"):
        raise InputError(f"viewer={viewer!r} is unknown: use auto, niivue or slices")
    is_wanted = viewer == "niivue" or (viewer == "auto" and widgets._on_a_page())
    if is_wanted and prediction.class_names == ORGANS and importlib.util.find_spec("ipyniivue") is not None:
        return widgets._planes(case, {"prediction": prediction.label})
    return _slices(prediction)


def draw_prediction_view(prediction: Prediction, z: int, outlines: bool = True) -> Figure:
    """Slice ``z`` of a predicted volume: the image, and with ``outlines`` the classes on it beside."""
    figure, axes = plots.figure_grid(1, 1 + outlines, width=4.0, height=3.4)
    draw_slice(axes[0, 0], prediction, z, outlines=False)
    if outlines:
        draw_slice(axes[0, 1], prediction, z)
    return figure


def _slices(prediction: Prediction) -> Any:
    import ipywidgets

    busiest = (plots.busiest_slices(prediction.label, 1) or [len(prediction.label) // 2])[0]
    slider = ipywidgets.IntSlider(busiest, 0, len(prediction.label) - 1, description="slice")
    return explorer(lambda z, classes: draw_prediction_view(prediction, z, classes), z=slider, classes=True)
