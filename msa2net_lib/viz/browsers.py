"""Thin widgets: each only calls a tested function that draws the figure for given values."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from msa2net_lib.data.datasets import Case
from msa2net_lib.data.volumes import Volume, write_volume
from msa2net_lib.errors import InputError
from msa2net_lib.utils.system_info import lacking
from msa2net_lib.viz import plots
from msa2net_lib.viz.colors import class_color, class_colors
from msa2net_lib.viz.explorer import explorer, not_shown

OVERLAY = 0.5
"""Opacity of the organs in NiiVue."""


def draw_browser_view(
    case: Case,
    z: int,
    predictions: Mapping[str, NDArray] | None = None,
    outlines: bool = True,
    reference: bool = True,
) -> Figure:
    """One slice of a case: image, reference label (if there is one) and predictions side by side."""
    labels = _labels(case, predictions, reference) if outlines else {}
    figure, axes = plots.figure_grid(1, 1 + len(labels), width=3.4, height=3.0)
    for ax, (name, label) in zip(axes[0], {"image": None, **labels}.items(), strict=True):
        shown = None if label is None else label[z]
        title = f"{case.name}, slice {z}: {name}"
        plots.show_slice(ax, case.image[z], shown, spacing=case.spacing, title=title, class_names=case.class_names)
    if outlines:
        plots.organ_legend(figure, class_names=case.class_names)
    return figure


def volume_browser(
    case: Case,
    predictions: Mapping[str, NDArray] | None = None,
    viewer: str = "auto",
    *,
    reference: bool = True,
) -> Any:
    """Browse a case with its reference label and predictions (each (Z, H, W), numbered alike).

    Args:
        case: image, label and the names of its classes.
        predictions: label maps by name.
        viewer: "niivue" shows three planes at once and needs ipyniivue and a browser with WebGL 2; "slices" is a slider
            over axial slices and a switch for the outlines; "auto" takes niivue in a page of a Jupyter server, and
            slices where ipyniivue is not installed or nobody looks (batch runs).
        reference: whether the case's own label is a reference, to be shown beside the predictions.

    Returns:
        An ipywidgets box.

    Raises:
        InputError: Another viewer, or "niivue" without ipyniivue.
    """
    if viewer not in ("auto", "niivue", "slices"):
        raise InputError(f"viewer={viewer!r} is unknown: use auto, niivue or slices")
    if lacks := lacking("ipywidgets"):
        return not_shown(lacks)
    import ipywidgets

    installed = not lacking("ipyniivue")
    if viewer == "niivue" and not installed:
        raise InputError("viewer='niivue' needs ipyniivue: run pip install ipyniivue, or use viewer='slices'")
    # A Jupyter server starts kernels for pages; batch runs start theirs themselves.
    if viewer == "niivue" or (viewer == "auto" and installed and "JPY_SESSION_NAME" in os.environ):
        return _planes(case, _labels(case, predictions, reference))
    slider = ipywidgets.IntSlider(_busiest(case), 0, len(case.image) - 1, description="slice")
    draw = partial(draw_browser_view, case, predictions=predictions, reference=reference)
    return explorer(lambda z, organs: draw(z, outlines=organs), z=slider, organs=True)


def _labels(case: Case, predictions: Mapping[str, NDArray] | None, reference: bool) -> dict[str, NDArray]:
    return ({"reference label": case.label} if reference else {}) | dict(predictions or {})


def _planes(case: Case, labels: Mapping[str, NDArray]) -> Any:
    """NiiVue over the image, with a menu of whose organs lie on it."""
    import ipywidgets
    from ipyniivue import NiiVue

    image = _niivue_volume(case, np.rint(255 * case.image).astype(np.uint8), "image", colormap="gray", cal_max=255.0)
    overlays = {name: _niivue_volume(case, label.astype(np.uint8), name) for name, label in labels.items()}
    for overlay in overlays.values():
        overlay.set_colormap_label(_organ_colormap(case.class_names))
    view: Any = NiiVue(height=420, is_radiological_convention=True, is_nearest_interpolation=True, crosshair_width=0.5)
    view.load_volumes([image, *overlays.values()])
    view.scene.crosshair_pos = [0.5, 0.5, (_busiest(case) + 0.5) / len(case.image)]
    menu = ipywidgets.Dropdown(options=[*overlays, "none"], description="organs")

    def show(_: Any = None) -> None:
        for name, overlay in overlays.items():
            overlay.opacity = OVERLAY if name == menu.value else 0.0

    menu.observe(show, names="value")
    show()
    return ipywidgets.VBox([menu, view, ipywidgets.HTML(_niivue_caption(case))])


def _niivue_volume(case: Case, array: NDArray, name: str, **options: Any) -> Any:
    """A volume in memory, (Z, H, W) uint8; NiiVue reads files' bytes, so it is written for a moment."""
    from ipyniivue import Volume as NiivueVolume

    with TemporaryDirectory() as folder:
        volume = Volume(array, case.spacing or (1.0, 1.0, 1.0))
        content = write_volume(volume, Path(folder) / "volume.nii.gz").read_bytes()
    return NiivueVolume(data=content, name=f"{name}.nii.gz", cal_min=0.0, colorbar_visible=False, **options)


def _organ_colormap(class_names: Sequence[str]) -> dict[str, Any]:
    colors = [(0.0, 0.0, 0.0), *(to_rgb(color) for color in class_colors(class_names).values())]
    channels = {name: [round(255 * color[i]) for color in colors] for i, name in enumerate("RGB")}
    return {**channels, "A": [0] + [255] * len(class_names), "labels": ["", *class_names]}


def _niivue_caption(case: Case) -> str:
    colors = [
        f"<span style='color:{class_color(number, case.class_names)}'>&#9632;</span>&nbsp;{escape(organ)}"
        for number, organ in enumerate(case.class_names, start=1)
        if (case.label == number).any()
    ]
    hint = "Scroll over a plane to change the slice, click to move the cross. Nothing to see? Use viewer='slices'."
    return f"{escape(case.name)}: {' '.join(colors)}<br>{hint}"


def _busiest(case: Case) -> int:
    return (plots.busiest_slices(case.label, 1) or [len(case.image) // 2])[0]
