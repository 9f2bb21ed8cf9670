"""A gate on one sheet, generated from its code: what it is, its equation, its size, its operations, its map.

The operations are a graph that `torch.export` reads off the gate.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from torch import nn
from torch.export import ExportedProgram

from msa2net_lib.analysis.complexity import evaluating
from msa2net_lib.analysis.slice_study import Study
from msa2net_lib.config import PRESETS
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l06_skip_gates.plots import map_panel
from msa2net_lib.nn.gates import GATES, GateInfo, find_gate
from msa2net_lib.nn.network import count_parameters
from msa2net_lib.viz.gate_diagram import sheet
from msa2net_lib.viz.maps import color_bar, show_map
from msa2net_lib.viz.plots import stamp

CHANNELS: tuple[int, ...] = tuple(PRESETS["tiny"].encoder_options["embed_dim"][:3])
"""Channels at the three levels of the tiny network that have a gate, finest first."""
KINDS = {"alternative": "", "masag": "", "control": "NEGATIVE CONTROL"}
LINE, LETTER, SPACE, MARGIN, GAP = 0.145, 0.062, 0.3, 0.12, 0.16
"""Inches: a line of text in a box, a letter's width, between columns, the sheet's edge, between things in a column."""
HEAD, SIDE, PAGE = 1.22, 1.9, 9.05
"""Inches: the words above, the map beside, and the widest sheet that a page shows at its own size."""
STYLES = {"x": ("-", "0.1"), "g": ((0, (4, 1.6)), "0.1")}
"""Lines that come from X and from G; the others are gray."""
BATCH, HEIGHT, WIDTH = 17, 13, 11
"""Sizes that a gate is traced with, which are no usual number of channels: so each axis is known by its length."""
INPUTS = {"x": "X: skip", "g": "G: decoder"}

_SAME_VALUES = {
    *("view", "reshape", "unsqueeze", "squeeze", "expand", "expand_as", "permute", "transpose", "chunk", "split"),
    *("to", "_to_copy", "clone", "contiguous", "alias", "detach", "detach_", "lift_fresh_copy"),
}
"""Operations that arrange the same values otherwise; not drawn, what they hand on is."""
_TAKES_ONE = {"conv2d", "conv3d", "batch_norm", "expand_as"}
"""Operations of one input; what else they are given are weights, statistics or a shape."""
_WORDS = {
    "batch_norm": "batch norm",
    "relu": "ReLU",
    "sigmoid": "sigmoid",
    "softmax": "softmax",
    "add": "+",
    "mul": "×",
    "cat": "concatenate",
    "upsample_bicubic2d": "stretch to h × w",
    "index": "permute cells",
    "rsub": "1 minus",
}


@dataclass(frozen=True)
class Step:
    """One operation, or a source of values: its name in the traced graph, in words, and the steps that it takes from.

    shape: of its values without the batch, "24 × h × w".
    """

    name: str
    words: str
    shape: str
    takes: tuple[str, ...]


@dataclass(frozen=True)
class Box:
    """Steps that follow each other with no other way in or out, under the name of the last one."""

    name: str
    steps: tuple[Step, ...]
    takes: tuple[str, ...]

    @property
    def lines(self) -> list[str]:
        """What to write into it: each step, then the shape of what comes out."""
        words = [step.words for step in self.steps]
        return words if words in (["+"], ["×"], ["1 minus"]) else [*words, self.steps[-1].shape]


def trace_steps(gate: nn.Module, channels: int) -> dict[str, Step]:
    """Trace a gate in evaluation mode; the steps by name in the order of computation, the last one is "y".

    Weights and statistics belong to their layer's step; a learned or fixed tensor that is computed with by itself is a
    step of its own. What depends on no input and no such tensor is a constant, part of the step that uses it. Errors:
    `InputError` for a number of channels that would be taken for another axis.
    """
    if channels in (BATCH, HEIGHT, WIDTH):
        raise InputError(f"channels={channels} is taken for another axis in the drawing: use another number")
    features = torch.zeros(BATCH, channels, HEIGHT, WIDTH)
    with evaluating(gate):
        program = torch.export.export(gate, (features, features.clone()), strict=False)
    steps: dict[str, Step] = {}
    origins: dict[Any, tuple[str, ...]] = {}
    stored = _stored(program)
    for node in program.graph.nodes:
        if node.op == "placeholder":
            if node.name in INPUTS:
                steps[node.name] = Step(node.name, INPUTS[node.name], _shape(node), ())
                origins[node] = (node.name,)
        elif node.op == "output":
            result = node.args[0][0]
            steps["y"] = Step("y", "Y", _shape(result), origins[result])
        elif node.meta.get("val") is not None:
            operation = _operation(node)
            inputs = node.all_input_nodes[:1] if operation in _TAKES_ONE else node.all_input_nodes
            for given in inputs:
                if given.name in stored and given not in origins:
                    steps[given.name] = Step(given.name, stored[given.name], _shape(given), ())
                    origins[given] = (given.name,)
            takes = tuple(name for given in inputs for name in origins.get(given, ()))
            if takes and operation not in _SAME_VALUES:
                steps[node.name] = Step(node.name, _words(node, operation), _shape(node), takes)
                takes = (node.name,)
            origins[node] = takes
    return steps


def boxes_of(steps: dict[str, Step]) -> dict[str, Box]:
    """Join steps that only hand on to each other; inputs and the output stay alone."""
    users = Counter(name for step in steps.values() for name in step.takes)
    found: dict[str, list[Step]] = {}
    for step in steps.values():
        before = step.takes[0] if len(step.takes) == 1 else ""
        joined = before and before not in INPUTS and step.name != "y" and users[before] == 1
        found[step.name] = [*found.pop(before), step] if joined else [step]
    return {name: Box(name, tuple(chain), chain[0].takes) for name, chain in found.items()}


def _stored(program: ExportedProgram) -> dict[str, str]:
    signature = program.graph_signature
    learned, fixed = signature.inputs_to_parameters, signature.inputs_to_buffers
    words = {name: f"{target.split('.')[-1]}, learned" for name, target in learned.items()}
    return words | {name: f"{target.split('.')[-1]}, fixed" for name, target in fixed.items()}


def _operation(node: Any) -> str:
    packet = getattr(node.target, "overloadpacket", None)
    return packet.__name__ if packet is not None else getattr(node.target, "__name__", str(node.target))


def _words(node: Any, operation: str) -> str:
    if operation in ("conv2d", "conv3d"):
        return _convolution(node)
    if operation in ("mean", "amax"):
        over = "channels" if node.args[1] == [1] else "cells"
        return f"{'mean' if operation == 'mean' else 'maximum'} over {over}"
    if operation in ("getitem", "select"):
        return f"part {node.args[-1] + 1}"
    return _WORDS.get(operation, operation)


def _convolution(node: Any) -> str:
    names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
    given = dict(zip(names, node.args, strict=False)) | node.kwargs
    out, _, *kernel = given["weight"].meta["val"].shape
    channels, groups = given["input"].meta["val"].shape[1], given.get("groups", 1)
    words = f"conv {'×'.join(map(str, kernel))}"
    if groups > 1:
        words += " depthwise" if groups == channels else f" in {groups} groups"
    if max(given.get("dilation", [1])) > 1:
        words += f", dilation {given['dilation'][0]}"
    return words if out == channels else f"{words}, {channels} → {out}"


def _shape(node: Any) -> str:
    value = node.meta["val"]
    names = {HEIGHT: "h", WIDTH: "w", HEIGHT * WIDTH: "hw"}
    sizes = (value[0] if isinstance(value, list | tuple) else value).shape
    return " × ".join(str(names.get(size, size)) for size in sizes if size != BATCH)


def gate_sizes(info: GateInfo, channels: tuple[int, ...] = CHANNELS) -> dict[int, int]:
    """Parameters of a gate by number of channels, counted."""
    return {c: count_parameters(info.build(c, "depthwise")) for c in channels}


def draw_card(gate: str | GateInfo, study: Study | None = None, attention: NDArray | None = None) -> Figure:
    """Draw one gate: title, source, equation, symbols, parameters at the tiny network's levels, operations, its map.

    gate: a name of `GATES` or an entry like those. attention: a map (h, w) of the gate on the study's slice; without
    both there is no map. Operations are those of `trace_steps`, with the channels of the finest level; what would be
    wider than a page goes on in a second row. Errors: `InputError` for an unknown name.
    """
    info = gate if isinstance(gate, GateInfo) else find_gate(gate)
    boxes = boxes_of(trace_steps(info.build(CHANNELS[0], "depthwise"), CHANNELS[0]))
    widths = {name: max(0.26, LETTER * max(map(len, box.lines)) + 0.16) for name, box in boxes.items()}
    heights: dict[Any, float] = {name: LINE * len(box.lines) + 0.1 for name, box in boxes.items()}
    columns, y = arrange({name: box.takes for name, box in boxes.items()}, heights)
    across = [
        max(widths[name] for name, place in columns.items() if place == column)
        for column in range(max(columns.values()) + 1)
    ]
    beside = SIDE + 0.3 if study is not None and attention is not None else 0.0
    cut, spans = _fold(across, beside)
    rows: list[dict[Any, float]] = [{}, {}]
    for item, value in y.items():
        rows[(item[1] if isinstance(item, tuple) else columns[item]) >= cut][item] = value
    ends = [
        [function(v + way * heights.get(item, 0.0) / 2 for item, v in row.items()) for function, way in _ENDS]
        for row in rows
        if row
    ]
    tall = [high - low + 2 * MARGIN for low, high in ends]
    height = max(sum(tall), SIDE if beside else 0) + HEAD + 0.2
    width = max(max(spans[cut - 1][1] + MARGIN, 6.2) + beside, spans[-1][1] + MARGIN)
    figure, ax = sheet(width, height)
    _write_head(ax, info, height)
    bottom = 0.175 + (height - HEAD - 0.2 - sum(tall)) / 2
    y = {}
    for row, (low, high), size in reversed([*zip(rows, ends, tall, strict=False)]):
        y |= {item: value + bottom + size / 2 - (low + high) / 2 for item, value in row.items()}
        bottom += size
    for name, box in boxes.items():
        middle = sum(spans[columns[name]]) / 2
        starts = sorted(box.takes, key=lambda start: y.get((start, columns[name] - 1), y[start]))
        for index, start in enumerate(starts):
            port = y[name] + heights[name] * 0.7 * ((index + 0.5) / len(starts) - 0.5)
            points = [(sum(spans[columns[start]]) / 2 + widths[start] / 2, y[start])]
            for column in range(columns[start] + 1, columns[name]):
                points += [(x, y[start, column]) for x in spans[column]]
            points.append((middle - widths[name] / 2, port))
            if columns[start] < cut <= columns[name]:  # out of the first row, and on from the left of the second
                last = 2 * (cut - 1 - columns[start]) + 1
                _draw_arrow(ax, [*points[:last], (spans[cut - 1][1] + SPACE, points[last - 1][1])], start, name)
                _draw_arrow(ax, [(MARGIN / 2, points[last][1]), *points[last:]], start, "")
            else:
                _draw_arrow(ax, points, start, name)
        unused = name in INPUTS and not any(name in other.takes for other in boxes.values())
        _draw_box(ax, box, (middle, y[name]), widths[name], heights[name], unused)
    if study is not None and attention is not None:
        _draw_map(figure, study, info.name, attention)
        stamp(figure, study.source)
    return figure


def draw_family(study: Study, maps: Mapping[str, NDArray], gates: Sequence[str] = tuple(GATES)) -> Figure:
    """Draw gates of the registry on one sheet: a row each with title, parameters, equation, use of G, and its map.

    maps: (h, w) by gate, on the study's slice; gates that are not in it say so. gates: which, all by default; six fit
    a page.
    """
    row, top, width, height = 0.88, 0.78, PAGE, 0.78 + 0.88 * len(gates) + 0.06
    figure, ax = sheet(width, height)
    places = {"gate": 0.12, "what the decoder adds to G": 2.12, "uses G": 7.35, "map": 8.1}
    name_x, equation_x, uses_x, map_x = places.values()
    for words, x in places.items():
        ax.text(x, height - 0.48, words, fontsize=8.5, weight="bold", va="center")
    ax.text(name_x, height - 0.66, f"parameters at {', '.join(map(str, CHANNELS))} channels", fontsize=7, va="center")
    for index, info in enumerate(GATES[name] for name in gates):
        y = height - top - row * (index + 0.5)
        if index % 2 == 0:
            ax.axhspan(y - row / 2, y + row / 2, color="0.95", zorder=-3)
        small = KINDS[info.kind] or f"{info.dims}-D, {'with a map' if info.has_map else 'without a map'}"
        counts = ", ".join(f"{count:,}" for count in gate_sizes(info).values())
        for x, up, words, size, color in (
            (name_x, -0.04, f"{info.name}; {small}", 7, "0.25"),
            (name_x, -0.22, counts, 7, "0.25"),
            (equation_x, 0.15, f"${info.equation}$", 8, "0"),
            (equation_x, -0.04, info.symbols, 6, "0.2"),
            (equation_x, -0.2, info.source, 6.5, "0.3"),
            (uses_x, 0, "yes" if info.uses_g else "no", 8.5, "0"),
        ):
            ax.text(x, y + up, words, fontsize=size, va="center", color=color)
        ax.text(name_x, y + 0.15, info.title, fontsize=8.5, weight="bold", va="center")
        if info.name in maps:
            side = row * 0.92
            place = (map_x / width, (y - side / 2) / height, side / width, side / height)
            show_map(figure.add_axes(place), study, map_panel(study, "", maps[info.name])._replace(title=""))
        else:
            words = "not measured" if info.has_map else "none"
            ax.text(map_x + 0.1, y, words, fontsize=7.5, va="center", color="0.3")
    return stamp(figure, study.source)


_ENDS = ((min, -1), (max, 1))


def _fold(across: Sequence[float], beside: float) -> tuple[int, list[tuple[float, float]]]:
    """How many columns stand in the first row, all if that is no wider than a page, and where each begins and ends."""

    def spans(cut: int) -> list[tuple[float, float]]:
        found, right = [], MARGIN
        for column, width in enumerate(across):
            right = MARGIN + SPACE if column == cut else right
            found.append((right, right + width))
            right += width + SPACE
        return found

    def width(cut: int) -> float:
        folded = SPACE if cut < len(across) else 0.0
        return max(spans(cut)[cut - 1][1] + folded + beside, spans(cut)[-1][1]) + MARGIN

    whole = len(across)
    cut = whole if width(whole) <= PAGE else min(range(1, whole), key=width)
    return cut, spans(cut)


def arrange(
    takes: Mapping[str, Sequence[str]], heights: Mapping[str, float]
) -> tuple[dict[str, int], dict[str | tuple[str, int], float]]:
    """Place the boxes of a graph without cycles: columns by longest path, few crossings, straight lines where possible.

    takes: name -> what it takes from. heights: of each box. Returns the column of each box, and the height at which
    each stands, upwards; under (name, column) that at which the lines from a box pass a column between.
    """
    graph = nx.DiGraph([(start, name) for name, starts in takes.items() for start in starts])
    graph.add_nodes_from(takes)
    columns = {name: column for column, names in enumerate(nx.topological_generations(graph)) for name in names}
    ways = nx.Graph()
    ways.add_nodes_from(takes)
    for start, end in graph.edges:
        passed = [(start, column) for column in range(columns[start] + 1, columns[end])]
        nx.add_path(ways, [start, *passed, end])
    layers = defaultdict(list)
    for item in ways:
        layers[item[1] if isinstance(item, tuple) else columns[item]].append(item)
    y = {item: float(place[1]) for item, place in nx.multipartite_layout(ways, subset_key=layers).items()}
    for sweep in range(60):
        for items in layers.values():
            wanted = {item: float(np.mean([y[other] for other in ways[item]] or [y[item]])) for item in items}
            if sweep < 20:  # first the order, then the places
                items.sort(key=lambda item: wanted[item])
            sizes = np.array([heights.get(item, 0.0) for item in items])
            offsets = np.cumsum(sizes + GAP) - sizes / 2
            # The nearest heights in this order with room between: isotonic once the room is taken out.
            found = isotonic_regression(np.array([wanted[item] for item in items]) - offsets).x + offsets
            y |= dict(zip(items, found.tolist(), strict=True))
    return columns, {item: -value for item, value in y.items()}


def _write_head(ax: Axes, info: GateInfo, height: float) -> None:
    counts = ", ".join(f"{count:,} at {c}" for c, count in gate_sizes(info).items())
    title = f"{info.title} ({info.name})   {KINDS[info.kind]}".strip()
    ax.text(MARGIN, height - 0.2, title, fontsize=10.5, weight="bold", va="center")
    for down, words, size, color in (
        (0.42, info.source, 8, "0.25"),
        (0.66, f"${info.equation}$", 9.5, "0"),
        (0.89, info.symbols, 7, "0.25"),
        (1.11, f"parameters: {counts} channels", 8, "0.25"),
    ):
        ax.text(MARGIN, height - down, words, fontsize=size, va="center", color=color)


def _draw_box(ax: Axes, box: Box, middle: tuple[float, float], width: float, height: float, unused: bool) -> None:
    x, y = middle
    ax.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2), width, height, boxstyle="round,pad=0,rounding_size=0.06", linewidth=0.9,
            facecolor="0.85" if box.name in INPUTS or box.name == "y" else "white", edgecolor="0.1",
            linestyle=":" if unused else "-", gid=box.name,
        )
    )  # fmt: skip
    lines = [*box.lines[:-1], "not used"] if unused else box.lines
    for index, line in enumerate(lines):
        top = y + height / 2 - 0.05 - LINE * (index + 0.5)
        color = "0.3" if 0 < index == len(lines) - 1 else "0"
        ax.text(x, top, line, fontsize=7, ha="center", va="center", color=color)


def _draw_arrow(ax: Axes, points: Sequence[tuple[float, float]], start: str, end: str) -> None:
    """A line through points, straight along a lane and bent between columns; the second part of one has no ``end``."""
    vertices, codes = [], []
    for (x0, y0), (x1, y1) in zip(points[::2], points[1::2], strict=True):
        middle = (x0 + x1) / 2
        vertices += [(x0, y0), (middle, y0), (middle, y1), (x1, y1)]
        codes += [Path.LINETO if codes else Path.MOVETO, *[Path.CURVE4] * 3]
    line, color = STYLES.get(start, ("-", "0.45"))
    style = {"mutation_scale": 7, "linestyle": line, "color": color, "linewidth": 1.0, "shrinkA": 0, "shrinkB": 0}
    name = f"{start}>{end}" if end else None
    patch = FancyArrowPatch(path=Path(vertices, codes), arrowstyle="-|>", zorder=-1, gid=name, **style)
    ax.add_patch(patch)


def _draw_map(figure: Figure, study: Study, name: str, attention: NDArray) -> None:
    width, height = figure.get_size_inches()
    side = SIDE - 0.25
    ax = figure.add_axes(((width - SIDE - 0.1) / width, (height - 0.75 - side) / height, side / width, side / height))
    color_bar(show_map(ax, study, map_panel(study, name, attention)), ax)
