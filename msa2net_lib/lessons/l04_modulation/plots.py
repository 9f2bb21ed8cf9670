"""Figures of cross-modulation: the two gated maps, organ boundaries, and what a changed input does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from msa2net_lib.analysis.interventions import INPUTS, predict, relative_change, retrace, slice_dice, with_inputs
from msa2net_lib.analysis.slice_study import Study
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l04_modulation.study import FEWEST_CELLS, SQUARED
from msa2net_lib.nn.masag import MASAGTrace
from msa2net_lib.viz.gate_diagram import put, sheet
from msa2net_lib.viz.maps import DIVERGING, SEQUENTIAL, SHARES, Panel, channel_map, color_bar, plot_maps, show_map
from msa2net_lib.viz.plots import figure_grid, organ_legend, show_slice, stamp

SYMBOLS: dict[str, str] = {
    "x": "X",
    "g": "G",
    "x_selected": "X'",
    "g_selected": "G'",
    "x_gate": "sigmoid(G')",
    "g_gate": "sigmoid(X')",
    "x_modulated": "X''",
    "g_modulated": "G''",
    "u_modulated": "U'",
    "attention": "attention A",
    "output": "output Y",
}
"""How the text calls a tensor of the trace."""
SHARE_TENSORS = ("x_gate", "g_gate", "attention")
SHOWN = {SYMBOLS[name]: name for name in ("u_modulated", "x_selected", "g_selected", "x_modulated", "g_modulated",
                                          "attention")}  # fmt: skip
"""Choices of a menu: symbol -> tensor."""


def _panel(trace: MASAGTrace, name: str, channel: int | str, limits: tuple[float, float] | None = None) -> Panel:
    features = getattr(trace, name)
    if name in SHARE_TENSORS:
        return Panel(channel_map(features, "mean" if channel == "rms" else channel), SYMBOLS[name], SHARES, (0.0, 1.0))
    cmap = SEQUENTIAL if channel == "rms" else DIVERGING
    return Panel(channel_map(features, channel), SYMBOLS[name], cmap, limits)


def plot_modulation(study: Study, level: int, channel: int | str = "rms") -> Figure:
    """Every tensor of stage 3 at a level: a row X', its gate, X'' and the slice; a row G', its gate, G'' and U'.

    channel: one channel by its number, with signs, so that the products can be followed by eye; or "rms", the root
    mean square over channels (of the sigmoids the mean). Raises: `InputError` for a channel that is not there.
    """
    trace = study.traces[level]
    rows = {
        "X'' = X' sigmoid(G')": [
            *(_panel(trace, name, channel) for name in ("x_selected", "x_gate", "x_modulated")),
            None,
        ],
        "G'' = G' sigmoid(X')": [
            *(_panel(trace, name, channel) for name in ("g_selected", "g_gate", "g_modulated")),
            _panel(trace, "u_modulated", channel)._replace(title="U' = X'' G''"),
        ],
    }
    return plot_maps(study, rows, image=False)


def plot_sharpness(tables: Mapping[int, pd.DataFrame], source: str) -> Figure:
    """Dots: the contrast of each organ's boundary in each tensor, one panel per level of `sharpness`."""
    looks = {"X'": ("o", "#0072B2"), "G'": ("s", "#E69F00"), "U'": ("D", "#D55E00"), SQUARED: ("|", "0.3")}
    figure, axes = figure_grid(1, len(tables), width=3.0, height=2.3)
    for ax, (level, table) in zip(axes[0], tables.items(), strict=True):
        measured = table.dropna()
        for name, (marker, color) in looks.items():
            ax.plot(measured[name], range(len(measured)), marker, color=color, label=name, markersize=7)
        ax.set_yticks(range(len(measured)), list(measured.index), fontsize=8)
        ax.set_ylim(max(len(measured), 1) - 0.5, -0.5)
        ax.set_title(f"level {level}", fontsize=9)
        ax.set_xlabel("gradient on the boundary / elsewhere", fontsize=8)
        ax.tick_params(axis="x", labelsize=7)
        if not measured.empty:
            ax.axvline(1, color="0.7", linewidth=0.8)
            continue
        ax.set_axis_off()
        ax.text(0.5, 0.5, f"no organ covers {FEWEST_CELLS} cells", transform=ax.transAxes, ha="center", fontsize=8)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    return stamp(figure, source)


def plot_changed_inputs(study: Study, level: int, changes: Sequence[str]) -> Figure:
    """One column per change of `INPUTS` at a level: U', the attention, the output, and what the network then says.

    A row has one color scale, that of the unchanged gate. Raises: `InputError` for an unknown change.
    """
    rows = ("u_modulated", "attention", "output")
    figure, axes = figure_grid(len(rows) + 1, len(changes), width=1.8, height=1.42)
    limits = {name: (0.0, float(channel_map(getattr(study.traces[level], name)).max())) for name in rows}
    for column, change in zip(axes.T, changes, strict=True):
        run = with_inputs(study.gate(level), change)
        trace, predicted = retrace(study, level, run), predict(study, {level: run})
        for ax, name in zip(column, rows, strict=False):
            title = f"{change}\n{SYMBOLS[name]}" if name == rows[0] else SYMBOLS[name]
            drawn = show_map(ax, study, _panel(trace, name, "rms", limits[name])._replace(title=title), outlines=False)
            if ax is axes[rows.index(name), -1]:
                color_bar(drawn, ax)
        title = f"Dice {slice_dice(study, predicted)['mean']:.2f}"
        show_slice(column[-1], study.image, predicted, title=title, class_names=study.class_names)
    organ_legend(figure, class_names=study.class_names)
    return stamp(figure, study.source)


def plot_input_change(study: Study, level: int, change: str, factor: float, shown: str = "u_modulated") -> Figure:
    """A tensor of the gate and its output, before and after one change of `INPUTS` and a factor on G.

    The factor comes first, so that a swapped G is scaled, too. shown: a tensor of the trace. Before and after share
    a color scale. Above them: how much the output changes and what the slice's mean Dice becomes.
    """
    if shown not in SYMBOLS:
        raise InputError(f"shown={shown!r} is unknown: use one of {', '.join(SYMBOLS)}")
    if change not in INPUTS:
        raise InputError(f"change={change!r} is unknown: use one of {', '.join(INPUTS)}")
    run = with_inputs(study.gate(level), lambda x, g: INPUTS[change](x, factor * g))
    before, after = study.traces[level], retrace(study, level, run)
    dice = slice_dice(study, predict(study, {level: run}))["mean"]
    figure, ax = sheet(9.1, 2.8)
    for left, name in ((0.1, shown), (4.65, "output")):
        usual = _panel(before, name, "rms")
        cmap, limits = usual.cmap, usual.limits or (0.0, float(usual.values.max()) or 1.0)
        for side, (trace, when) in enumerate(((before, "as it is"), (after, "changed"))):
            center = left + 0.95 + 2.0 * side, 1.4
            put(ax, _panel(trace, name, "rms").values, center, 1.9, cmap, limits)
            ax.text(center[0], 2.39, f"{SYMBOLS[name]}, {when}", ha="center", fontsize=9)
        bar = left + 4.06
        put(ax, np.linspace(*limits, 64)[::-1, None], (bar, 1.4), 1.7, cmap, limits)
        for y, value in ((2.28, limits[1]), (0.42, limits[0])):
            ax.text(bar, y, f"{value:.1f}", ha="center", va="bottom", fontsize=7)
    moved = relative_change(before.output, after.output)
    words = f"level {level}, {change}, G times {factor:g}: output changed by {moved:.0%}"
    ax.text(4.55, 0.1, f"{words}, mean Dice of the slice {dice:.2f}", ha="center", fontsize=9)
    ax.text(4.55, 0.27, "colors as before the change; what is larger has the last color", ha="center", fontsize=7.5)
    return stamp(figure, f"{study.name}; {study.source}")
