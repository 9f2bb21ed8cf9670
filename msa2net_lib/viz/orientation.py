"""The orientation panel: prepared data as they will be read, for the eye to judge what organs cannot tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from msa2net_lib.data.contract.flips import IN_PLANE_FLIPS, apply_flip, parse_flip, undo_flip
from msa2net_lib.data.datasets import Case, PreparedDataset, ValidationCases
from msa2net_lib.data.prepared_files import slices_by_case
from msa2net_lib.errors import InputError
from msa2net_lib.viz.plots import busiest_slices, figure_grid, organ_legend, show_slice, stamp

MOST = 3
"""Cases shown."""

_RIGHT_IF = "right if the spine is below, the liver on the side of R, and above, in the lower pictures, is the head"


def plot_orientation(
    source: PreparedDataset | Sequence[Case], *, flip: str | None = None, alternatives: bool = False
) -> Figure:
    """Draw up to three cases as they are read, organs outlined, R and L marked: a slice, and a cut from the front.

    source: a data set (``PreparedDataset.read_as`` tries a reading out), or cases. flip: how
    those were turned from the stored arrays; a data set knows it itself. alternatives: add the first case's slice
    turned in all eight ways, each under the value for ``--flip``. Raises: `InputError` if there is no case.
    """
    scheme = "labels of scheme A"
    if isinstance(source, PreparedDataset):
        reading = source.reading
        flip = reading.flip if reading else "none"
        scheme = f"labels of scheme {reading.label_scheme}" if reading else "labels as dataset.json says"
        cases = _first_cases(source)
    else:
        cases, flip = list(source)[:MOST], parse_flip(flip or "none")
    if not cases:
        raise InputError("no case to draw: the data set has none")
    figure, axes = figure_grid(4 if alternatives else 2, 4 if alternatives else len(cases), width=3.0)
    for ax in axes.flat:
        ax.set_axis_off()
    for case, above, below in zip(cases, axes[0], axes[1], strict=False):
        z = _richest(case)
        plane = "axial" if case.placement is None else case.placement.plane
        show_slice(
            above,
            case.image[z],
            case.label[z],
            spacing=case.spacing,
            title=f"{case.name}, slice {z}",
            sides=plane != "sagittal",
            class_names=case.class_names,
        )
        if plane == "axial":
            _show_from_front(below, case)
    if alternatives:
        for ax, value in zip(axes[2:].flat, IN_PLANE_FLIPS, strict=True):
            _show_alternative(ax, cases[0], flip, value)
    organ_legend(figure, np.concatenate([case.label.ravel() for case in cases]), cases[0].class_names)
    return stamp(figure, f"{scheme}, flip {flip}\n{_RIGHT_IF}")


def _show_from_front(ax: Axes, case: Case) -> None:
    """Draw the plane through most organs that shows height and width; without spacing the height is made up."""
    image, label = (np.moveaxis(array, 1, 0)[:, ::-1] for array in (case.image, case.label))
    y = (busiest_slices(label, 1) or [len(label) // 2])[0]
    slices, width = image.shape[1:]
    spacing = (1.0, 0.75 * width / slices, 1.0) if case.spacing is None else (1.0, case.spacing[0], case.spacing[2])
    show_slice(ax, image[y], label[y], spacing=spacing, title=f"from the front, row {y}", class_names=case.class_names)


def _show_alternative(ax: Axes, case: Case, flip: str, value: str) -> None:
    """Draw the slice of a case, which was read with ``flip``, as it were read with another."""
    z = _richest(case)
    image, label = (apply_flip(undo_flip(array[z], flip), value) for array in (case.image, case.label))
    spacing = case.spacing
    if spacing is not None and ("t" in value) != ("t" in flip):
        spacing = (spacing[0], spacing[2], spacing[1])
    chosen = value == (flip.replace("z", "") or "none")
    title = f"--flip {value}" + (" (as above)" if chosen else "")
    show_slice(ax, image, label, spacing=spacing, title=title, class_names=case.class_names)


def _richest(case: Case) -> int:
    return (busiest_slices(case.label, 1) or [len(case.label) // 2])[0]


def _first_cases(dataset: PreparedDataset) -> list[Case]:
    """Load up to three cases: test volumes first, then training cases stacked from their slices."""
    cases = [dataset.load_case(name) for name in dataset.test_cases[:MOST]]
    by_case = list(slices_by_case(dataset.train_slices).items())[: MOST - len(cases)]
    stacked = ValidationCases(dataset, dict(by_case))
    return cases + [stacked.load_case(name) for name in stacked.test_cases]
