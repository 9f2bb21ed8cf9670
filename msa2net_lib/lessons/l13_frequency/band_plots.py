"""One band of frequencies put back into the picture: what it holds of the slice and of a layer's features."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from msa2net_lib.analysis.frequency import split_bands
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.slice_study import Study
from msa2net_lib.viz.maps import BRIGHTNESS, Panel, channel_map, show_map
from msa2net_lib.viz.plots import figure_grid, organ_legend, show_slice, stamp

BAND_EDGES = (0.5, 1.5, 3, 6, 12, 24)
"""Edges of the bands in cycles per image, the same for layers of every grid; the first band is the mean alone."""
BANDS = ("mean", *(f"{low:g} to {high:g}" for low, high in pairwise(BAND_EDGES)), f"above {BAND_EDGES[-1]:g}")
"""Names of the bands."""


def show_bands(maps: Tensor) -> Tensor:
    """The parts of maps (b, c, h, w) in the bands of `BANDS`, (bands, b, c, h, w); they add up to the maps.

    A band that the grid cannot hold is zero.
    """
    side = max(maps.shape[-2:])
    return split_bands(maps, [edge / side for edge in BAND_EDGES])


def band_shares(maps: Tensor) -> dict[str, float]:
    """Share of each band but the mean's in the energy that is not the mean's; all 0 for a constant map."""
    energy = show_bands(maps).square().sum(dim=(1, 2, 3, 4))[1:]
    shares = energy / energy.sum().clamp(min=torch.finfo(energy.dtype).tiny)
    return dict(zip(BANDS[1:], shares.tolist(), strict=True))


def draw_band(study: Study, maps: Mapping[str, Tensor], layer: str, band: str) -> Figure:
    """What one band of frequencies holds of the slice and of a layer's features, beside the whole of both.

    maps: layer -> (1, c, h, w) of this slice. band: one of `BANDS`, in cycles per image, so that the slice and every
    layer are cut at the same place. The slice's part has both signs, mid-gray is zero; features are shown as the root
    mean square over channels; the titles give `band_shares`. Raises: `InputError` for a name that is not there.
    """
    if layer not in maps:
        raise InputError(f"layer={layer!r} is unknown: use one of {', '.join(maps)}")
    if band not in BANDS:
        raise InputError(f"band={band!r} is unknown: use one of {', '.join(BANDS)}")
    features, image = maps[layer].cpu(), torch.from_numpy(study.image)[None, None]
    of_slice, of_layer = (show_bands(values)[BANDS.index(band)] for values in (image, features))
    side = max(features.shape[-2:])
    figure, axes = figure_grid(1, 4, width=2.5, height=2.4)
    show_slice(axes[0, 0], study.image, study.label, title=study.name)
    most = float(of_slice.abs().max()) or 1.0
    panels = (
        Panel(of_slice[0, 0].numpy(), f"slice, {band}\n{_told(image, band)}", BRIGHTNESS, (-most, most)),
        Panel(channel_map(features), f"{layer}, {side} pixels\nall bands"),
        Panel(channel_map(of_layer), f"{layer}, {band}\n{_told(features, band)}"),
    )
    for ax, panel in zip(axes[0, 1:], panels, strict=True):
        _show(figure, ax, study, panel)
    organ_legend(figure, study.label)
    return stamp(figure, f"{study.source}\nbands in cycles per image; shares of the energy that is not the mean's")


def _told(maps: Tensor, band: str) -> str:
    number, side = BANDS.index(band), max(maps.shape[-2:])
    if number == 0:
        return "no detail at all"
    # The highest frequency of a square grid, in its corner.
    if BAND_EDGES[number - 1] > side * 0.5**0.5:
        return "beyond this grid"
    return f"{100 * band_shares(maps)[band]:.1f} % of its energy"


def _show(figure: Figure, ax: Axes, study: Study, panel: Panel) -> None:
    bar = figure.colorbar(show_map(ax, study, panel), ax=ax, shrink=0.7, pad=0.02)
    bar.ax.tick_params(labelsize=6.5)
