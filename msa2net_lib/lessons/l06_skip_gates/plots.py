"""Figures of the skip gates: maps side by side, one map at a time, and agreement beside DSC."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from msa2net_lib.analysis.slice_study import Study
from msa2net_lib.data.resize import resize_label
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l06_skip_gates.study import BASELINE, CONTROLS, GATES, Maps, agreement
from msa2net_lib.viz.intervals import BLUE, ORANGE
from msa2net_lib.viz.maps import Panel, color_bar, show_map, show_study, sign
from msa2net_lib.viz.plots import figure_grid, stamp

MARKERS = "..osPXD^v<>ph*d8"
"""Of the gates, in the order of the table; from the first again where they run out."""
TITLE_WIDTH = 24
"""Characters of a title's line: a longer one would reach under the color bar."""


def draw_gate_map(study: Study, maps: Mapping[str, Maps], network: str, gate: str, level: int) -> Figure:
    """Draw the slice, one map over it, and how often its values occur on organ and on background pixels.

    maps: by network (for example "untrained"), map and level, each (1, h, w). Raises: `InputError` for a map that is
    not there.
    """
    if level not in maps.get(network, {}).get(gate, {}):
        raise InputError(f"{gate!r} at level {level} of {network!r}: no such map; addition and concatenation have none")
    values = maps[network][gate][level][0]
    figure, axes = figure_grid(1, 3, width=2.7, height=2.5)
    whole, over, counts = axes[0]
    show_study(whole, study)
    color_bar(show_map(over, study, map_panel(study, gate, values), outlines=False), over)
    organ = resize_label(study.label, values.shape) > 0
    edges = np.linspace(values.min() - 1e-3, values.max() + 1e-3, 21)
    # Without color a pale area and hatched bars still differ, where they overlap too.
    counts.hist(values[~organ], bins=edges, density=True, color="0.85", label="background")
    style: dict[str, Any] = {"facecolor": "none", "edgecolor": ORANGE, "hatch": "////", "linewidth": 1.2}
    counts.hist(values[organ], bins=edges, density=True, histtype="stepfilled", label="organ", **style)
    counts.set_title(network, fontsize=9)
    counts.set_xlabel(f"value of the map, level {level}", fontsize=8)
    counts.set_yticks([])
    counts.tick_params(labelsize=7.5)
    counts.legend(fontsize=7.5, frameon=False)
    return sign(figure, study)


def plot_agreement(panels: Mapping[str, tuple[pd.DataFrame, int]], source: str) -> Figure:
    """DSC against the agreement of the map with the organs, one marker per run, one panel per (runs, level).

    The vertical line at 0.5 is a coin's agreement; the gray band spans the runs of addition, which has no map.
    """
    figure, axes = figure_grid(1, len(panels), width=4.3, height=3.1)
    for ax, (title, (runs, level)) in zip(axes[0], panels.items(), strict=True):
        plain = runs.dsc[runs.variant == BASELINE]
        ax.axhspan(plain.min(), plain.max(), color="0.9", zorder=0, label=f"{BASELINE} (no map)")
        ax.axvline(0.5, color="0.5", linewidth=0.8, zorder=1)
        for gate, marker in zip(GATES, cycle(MARKERS), strict=False):
            column = f"agreement {gate}, {level}"
            if column in runs:
                rows = runs[runs.variant == gate]
                color = ORANGE if gate in CONTROLS else BLUE
                ax.plot(rows[column], rows.dsc, marker, color=color, alpha=0.75, label=gate)
        ax.set_title(title, fontsize=8.5)
        ax.set_xlabel(f"agreement of the map with the organs (AUROC), level {level}", fontsize=8)
        ax.tick_params(labelsize=7.5)
    axes[0, 0].set_ylabel("mean DSC, held out", fontsize=8)
    # A panel has the gates of its own runs only.
    handles = {label: handle for ax in axes[0] for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    order = [label for label in (f"{BASELINE} (no map)", *GATES) if label in handles]
    figure.legend(
        [handles[label] for label in order], order, loc="outside lower center", ncols=len(order), fontsize=7.5
    )
    return stamp(figure, source)


def map_panel(study: Study, name: str, values: NDArray) -> Panel:
    """A map (h, w) with its agreement with the organs in the title; a control is named as one.

    Each map is on its own scale, on purpose: stretched to its own range, any map looks as if it meant something. One
    without any variation is drawn on the full scale.
    """
    kind = "\n(negative control)" if name in CONTROLS else ""
    lines = f"{name}, AUROC {agreement(values, study.label):.2f}{kind}".split("\n")
    title = "\n".join(part for line in lines for part in wrap(line, TITLE_WIDTH))
    return Panel(values, title, limits=(0.0, 1.0) if np.ptp(values) < 1e-6 else None)


def map_panels(study: Study, maps: Mapping[str, NDArray]) -> list[Panel]:
    """`map_panel` of each map by its name, for `plot_maps`; the maps may come from other networks than the study's."""
    return [map_panel(study, name, values) for name, values in maps.items()]
