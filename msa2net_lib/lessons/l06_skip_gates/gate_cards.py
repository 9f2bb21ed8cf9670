"""A gate on one sheet, generated from its code: what it is, its equation, its size, its operations, its map."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from msa2net_lib.analysis.slice_study import Study
from msa2net_lib.config import PRESETS
from msa2net_lib.lessons.l06_skip_gates.gate_flow import INPUTS, Box, boxes_of, trace_steps
from msa2net_lib.lessons.l06_skip_gates.gate_maps import map_panel
from msa2net_lib.lessons.l06_skip_gates.layered import Layout, place
from msa2net_lib.nn.gates import GATES, GateInfo, find_gate
from msa2net_lib.nn.network import count_parameters
from msa2net_lib.viz.gate_diagram import sheet
from msa2net_lib.viz.maps import show_map
from msa2net_lib.viz.plots import stamp

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHANNELS: tuple[int, ...] = tuple(PRESETS["tiny"].encoder_options["embed_dim"][:3])
"""Channels at the three levels of the tiny network that have a gate, finest first."""
KINDS = {"alternative": "", "masag": "", "control": "CONTROL, spoilt by design"}
LINE, LETTER, SPACE, MARGIN = 0.145, 0.062, 0.3, 0.12
"""Inches: a line of text in a box, a letter's width, the gap between columns, the sheet's edge."""
HEAD, PICTURE = 1.22, 1.9
STYLES = {"x": ("-", "0.1"), "g": ((0, (4, 1.6)), "0.1")}
"""Lines that come from X and from G; the others are gray."""


def gate_sizes(info: GateInfo, channels: tuple[int, ...] = CHANNELS) -> dict[int, int]:
    """Parameters of a gate by number of channels, counted."""
    return {c: count_parameters(info.build(c, "depthwise")) for c in channels}


def draw_card(
    gate: str | GateInfo, study: Study | None = None, attention: NDArray | None = None, source: str | None = None
) -> Figure:
    """Draw one gate: title, source, equation, symbols, parameters at the tiny network's levels, operations, its map.

    gate: a name of `GATES` or an entry like those. attention: a map (h, w) of the gate on the study's slice; without
    both there is no picture. source: what to write below it, else the study's. Operations are those of `trace_steps`,
    with the channels of the finest level. Raises: `InputError` for an unknown name.
    """
    info = _find(gate)
    boxes = boxes_of(trace_steps(info.build(CHANNELS[0], "depthwise"), CHANNELS[0]))
    widths = {name: _width(box) for name, box in boxes.items()}
    heights = {name: LINE * len(box.lines) + 0.1 for name, box in boxes.items()}
    layout = place({name: box.takes for name, box in boxes.items()}, heights)
    middles = _middles(layout, widths)
    shown = study is not None and attention is not None
    low = min(y - heights[name] / 2 for name, y in layout.y.items())
    high = max(y + heights[name] / 2 for name, y in layout.y.items())
    low, high = min([low, *layout.lanes.values()]), max([high, *layout.lanes.values()])
    right = max(x + width / 2 for x, width in middles.values()) + MARGIN
    height = max(high - low + 2 * MARGIN, PICTURE if shown else 0) + HEAD + 0.2
    figure, ax = sheet(max(right, 6.2) + (PICTURE + 0.3 if shown else 0), height)
    _write_head(ax, info, height)
    _draw_flow(ax, boxes, layout, middles, heights, (height - HEAD + 0.15) / 2 - (low + high) / 2)
    if study is not None and attention is not None:
        _draw_map(figure, study, info.name, attention)
        stamp(figure, source or study.source)
    return figure


def draw_family(
    study: Study | None = None, maps: Mapping[str, NDArray] | None = None, source: str | None = None
) -> Figure:
    """Draw the whole registry on one sheet: a row per gate with title, equation, use of G, parameters, and its map.

    maps: (h, w) by gate, on the study's slice; gates that are not in it say so.
    """
    shown = study is not None and maps is not None
    row, top = (0.92 if shown else 0.62), 0.88
    width, height = (11.4 if shown else 10.2), top + row * len(GATES) + 0.1
    figure, ax = sheet(width, height)
    columns = {"gate": 0.12, "what the decoder adds to G": 2.5, "uses G": 7.45, "parameters": 8.2, "map": 10.0}
    for words, x in columns.items():
        if shown or words != "map":
            ax.text(x, height - 0.58, words, fontsize=8.5, weight="bold", va="center")
    sizes = ", ".join(map(str, CHANNELS))
    ax.text(columns["parameters"], height - 0.76, f"at {sizes} channels", fontsize=7, va="center")
    for index, info in enumerate(GATES.values()):
        y = height - top - row * (index + 0.5)
        if index % 2 == 0:
            ax.axhspan(y - row / 2, y + row / 2, color="0.95", zorder=-3)
        ax.text(columns["gate"], y + 0.1, info.title, fontsize=8.5, weight="bold", va="center")
        small = KINDS[info.kind] or f"{info.dims}-D, {'with a map' if info.has_map else 'without a map'}"
        ax.text(columns["gate"], y - 0.1, f"{info.name}; {small}", fontsize=7, va="center", color="0.25")
        ax.text(columns["what the decoder adds to G"], y + 0.15, f"${info.equation}$", fontsize=8, va="center")
        ax.text(columns["what the decoder adds to G"], y - 0.04, info.symbols, fontsize=6, va="center", color="0.2")
        ax.text(columns["what the decoder adds to G"], y - 0.2, info.source, fontsize=6.5, va="center", color="0.3")
        ax.text(columns["uses G"], y, "yes" if info.uses_g else "no", fontsize=8.5, va="center")
        counts = ", ".join(f"{count:,}" for count in gate_sizes(info).values())
        ax.text(columns["parameters"], y, counts, fontsize=8, va="center")
        if study is not None and maps is not None:
            if info.name in maps:
                side = row * 0.92
                place_at = (columns["map"] / width, (y - side / 2) / height, side / width, side / height)
                show_map(figure.add_axes(place_at), study, map_panel(study, "", maps[info.name])._replace(title=""))
            else:
                words = "not measured" if info.has_map else "none"
                ax.text(columns["map"] + 0.1, y, words, fontsize=7.5, va="center", color="0.3")
    return stamp(figure, source or (study.source if study is not None else "counted and traced from the code"))


def _find(gate: str | GateInfo) -> GateInfo:
    return gate if isinstance(gate, GateInfo) else find_gate(gate)


def _width(box: Box) -> float:
    return max(0.26, LETTER * max(map(len, box.lines)) + 0.16)


def _middles(layout: Layout, widths: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Middle of each box and the width of its column, in inches from the left."""
    columns: dict[int, float] = {}
    for name, column in layout.columns.items():
        columns[column] = max(columns.get(column, 0.0), widths[name])
    left, middles = MARGIN, {}
    for column in sorted(columns):
        middles[column] = (left + columns[column] / 2, columns[column])
        left += columns[column] + SPACE
    return {name: middles[column] for name, column in layout.columns.items()}


def _write_head(ax: Axes, info: GateInfo, height: float) -> None:
    counts = ", ".join(f"{count:,} at {c}" for c, count in gate_sizes(info).items())
    kind = f"   {KINDS[info.kind]}" if KINDS[info.kind] else ""
    ax.text(MARGIN, height - 0.2, f"{info.title} ({info.name}){kind}", fontsize=10.5, weight="bold", va="center")
    ax.text(MARGIN, height - 0.42, info.source, fontsize=8, va="center", color="0.25")
    ax.text(MARGIN, height - 0.66, f"${info.equation}$", fontsize=9.5, va="center")
    ax.text(MARGIN, height - 0.89, info.symbols, fontsize=7, va="center", color="0.25")
    ax.text(MARGIN, height - 1.11, f"parameters: {counts} channels", fontsize=8, va="center", color="0.25")


def _draw_flow(
    ax: Axes,
    boxes: Mapping[str, Box],
    layout: Layout,
    middles: Mapping[str, tuple[float, float]],
    heights: Mapping[str, float],
    up: float,
) -> None:
    """Draw boxes and arrows; a line that passes a column keeps its lane. ``up`` moves all of it."""
    users = {start for box in boxes.values() for start in box.takes}
    spans = {layout.columns[name]: (x - width / 2, x + width / 2) for name, (x, width) in middles.items()}
    for name, box in boxes.items():
        x, y = middles[name][0], layout.y[name] + up
        width = _width(box)
        unused = name in INPUTS and name not in users
        style = {"boxstyle": "round,pad=0,rounding_size=0.06", "linewidth": 0.9}
        color = "0.85" if name in INPUTS or name == "y" else "white"
        ax.add_patch(
            FancyBboxPatch((x - width / 2, y - heights[name] / 2), width, heights[name], facecolor=color, gid=name,
                           edgecolor="0.1", linestyle=":" if unused else "-", **style)
        )  # fmt: skip
        for index, line in enumerate(box.lines):
            top = y + heights[name] / 2 - 0.05 - LINE * (index + 0.5)
            last = index == len(box.lines) - 1 and len(box.lines) > 1
            line = "not used" if unused and last else line
            ax.text(x, top, line, fontsize=7, ha="center", va="center", color="0.3" if last else "0")
        sources = sorted(
            box.takes, key=lambda start: layout.lanes.get((start, layout.columns[name] - 1), layout.y[start])
        )
        for index, start in enumerate(sources):
            port = y + heights[name] * 0.7 * ((index + 0.5) / len(sources) - 0.5)
            points = [(middles[start][0] + _width(boxes[start]) / 2, layout.y[start] + up)]
            for column in range(layout.columns[start] + 1, layout.columns[name]):
                lane = layout.lanes[start, column] + up
                points += [(spans[column][0], lane), (spans[column][1], lane)]
            _draw_arrow(ax, [*points, (x - width / 2, port)], STYLES.get(start, ("-", "0.45")), f"{start}>{name}")


def _draw_arrow(ax: Axes, points: list[tuple[float, float]], style: tuple, gid: str) -> None:
    """A line through points, level at each, straight along a lane and bent between columns."""
    vertices, codes = [points[0]], [Path.MOVETO]
    for (x0, y0), (x1, y1) in zip(points[::2], points[1::2], strict=True):
        middle = (x0 + x1) / 2
        vertices += [(middle, y0), (middle, y1), (x1, y1)]
        codes += [Path.CURVE4] * 3
        if (x1, y1) != points[-1]:
            vertices.append(points[points.index((x1, y1)) + 1])
            codes.append(Path.LINETO)
    line, color = style
    ax.add_patch(
        FancyArrowPatch(path=Path(vertices, codes), arrowstyle="-", linestyle=line, color=color, linewidth=1.0,
                        zorder=-1, gid=gid)
    )  # fmt: skip
    (x, y) = points[-1]
    ax.add_patch(
        FancyArrowPatch((x - 0.02, y), (x, y), arrowstyle="-|>", mutation_scale=7, color=color, shrinkA=0, shrinkB=0,
                        linewidth=0.5, zorder=2)
    )  # fmt: skip


def _draw_map(figure: Figure, study: Study, name: str, attention: NDArray) -> None:
    width, height = figure.get_size_inches()
    side = PICTURE - 0.25
    ax = figure.add_axes(
        ((width - PICTURE - 0.1) / width, (height - 0.75 - side) / height, side / width, side / height)
    )
    bar = figure.colorbar(show_map(ax, study, map_panel(study, name, attention)), ax=ax, shrink=0.7, pad=0.02)
    bar.ax.tick_params(labelsize=6)
