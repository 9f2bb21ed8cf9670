"""The volume browser for what `predict_file` returns: there may be no reference label, only a prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msa2net_lib.data.datasets import Case
from msa2net_lib.errors import InputError
from msa2net_lib.viz.browsers import volume_browser

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from msa2net_lib.prediction.result import Prediction


def prediction_browser(prediction: Prediction, reference: NDArray | None = None, viewer: str = "auto") -> Any:
    """Browse a predicted volume; returns an ipywidgets box.

    reference: a label map (z, y, x) in LPS, numbered as the prediction, if there is one; it is shown beside it. viewer:
    as for `viz.browsers.volume_browser`. Raises: `InputError` for an image, and as from `volume_browser`.
    """
    if prediction.spacing is None:
        raise InputError(f"{prediction.name}: is an image and has no slices to browse; use draw_overlay(prediction)")
    label = prediction.label if reference is None else reference
    case = Case(prediction.name, prediction.image, label, prediction.spacing, tuple(prediction.class_names))
    return volume_browser(case, {"prediction": prediction.label}, viewer, reference=reference is not None)
