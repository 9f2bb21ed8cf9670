"""The gate as one drawing: every tensor of a pass through it, in its place, with its map and its shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.path import Path
from numpy.typing import NDArray
from torch import Tensor

from msa2net_lib.analysis.interventions import STAGES, predict, relative_change, retrace, slice_dice, without_stage
from msa2net_lib.analysis.slice_study import Study
from msa2net_lib.nn.masag import MASAGTrace
from msa2net_lib.viz.colors import class_color
from msa2net_lib.viz.maps import DIVERGING, SEQUENTIAL, SHARES, channel_map
from msa2net_lib.viz.plots import draw_outlines, stamp

WIDTH, HEIGHT, LEFT, TOP, COLUMN, ROW, SIDE = 12.3, 6.14, 0.64, 0.85, 1.0, 1.1, 0.72
HALVES = {1: (0, 5, 1.3), 2: (5, 11, 1.2)}
"""The sheet in two, each no wider than a page: first and last column, and how far apart columns stand."""
REPLACED, CHANGED, SAME = "#D55E00", "#E69F00", "0.35"
"""Frames: replaced by hand; changed as a consequence; as it was."""
NOTICEABLE = 1e-4
"""A relative change below this is rounding."""


class Box(NamedTuple):
    """A tensor's place: column from the left, row from above, and the formula that stands over it."""

    column: float
    row: float
    formula: str
    cmap: str = SEQUENTIAL

    @property
    def center(self) -> tuple[float, float]:
        """Middle of the map, in inches from the lower left corner; the outer rows stand a little nearer."""
        return LEFT + COLUMN * self.column, HEIGHT - TOP - ROW * min(max(self.row, 0.3), 3.7)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """A point by its shares of the map's width and height, from the lower left."""
        return self.center[0] + (x - 0.5) * SIDE, self.center[1] + (y - 0.5) * SIDE


BOXES: dict[str, Box] = {
    "x": Box(0, 0, "X"),
    "g": Box(0, 4, "G"),
    "local_context": Box(1, 1, "local L(X)"),
    "channel_mean": Box(1, 2, "mean of G", DIVERGING),
    "channel_max": Box(1, 3, "max of G", DIVERGING),
    "global_context": Box(2, 2.5, "global Γ(G)", DIVERGING),
    "u": Box(3, 2, "U = BN(L + Γ)"),
    "weight_x": Box(4, 1, "weight of X", SHARES),
    "weight_g": Box(4, 3, "weight of G", SHARES),
    "x_selected": Box(5, 0, "X' = wX + X"),
    "g_selected": Box(5, 4, "G' = wG + G"),
    "x_gate": Box(6, 3, "σ(G')", SHARES),
    "g_gate": Box(6, 1, "σ(X')", SHARES),
    "x_modulated": Box(7, 0, "X'' = X' σ(G')"),
    "g_modulated": Box(7, 4, "G'' = G' σ(X')"),
    "u_modulated": Box(8, 2, "U' = X'' G''"),
    "attention": Box(9, 2, "A = σ(BN(CU'))", SHARES),
    "x_attended": Box(10, 2, "A X"),
    "output": Box(11, 2, "Y = BN(C(AX))"),
}
"""Where each tensor of a `MASAGTrace` stands."""
FLOW = (
    *(("x", "local_context"), ("g", "channel_mean"), ("g", "channel_max")),
    *(("channel_mean", "global_context"), ("channel_max", "global_context")),
    *(("local_context", "u"), ("global_context", "u"), ("u", "weight_x"), ("u", "weight_g")),
    *(("weight_x", "x_selected"), ("weight_g", "g_selected"), ("x", "x_selected"), ("g", "g_selected")),
    *(("x_selected", "g_gate"), ("g_selected", "x_gate"), ("x_selected", "x_modulated")),
    *(("g_selected", "g_modulated"), ("g_gate", "g_modulated"), ("x_gate", "x_modulated")),
    *(("x_modulated", "u_modulated"), ("g_modulated", "u_modulated"), ("u_modulated", "attention")),
    *(("attention", "x_attended"), ("x", "x_attended"), ("x_attended", "output")),
)
"""Arrows: from a tensor to one that is made of it."""
STAGE_COLUMNS = (
    ("1 multi-scale fusion", 0.5, 3.45, "#DCE8F4"),
    ("2 spatial selection", 3.5, 5.45, "#FADFC4"),
    ("3 cross-modulation", 5.5, 8.45, "#E4F0E0"),
    ("4 recalibration", 8.5, 11.6, "#F2E2EE"),
)


def thumbnail(tensor: Tensor, cmap: str) -> NDArray[np.float32]:
    """One number per cell of (1, c, h, w): root mean square over channels; of shares and single channels the mean."""
    return channel_map(tensor, "mean" if cmap in (SHARES, DIVERGING) else "rms")


def limits_of(values: NDArray, cmap: str) -> tuple[float, float]:
    """The numbers at both ends of the colors: shares 0 and 1, signed ones symmetric, sizes from zero up."""
    high = float(np.abs(values).max()) or 1.0
    return {SHARES: (0.0, 1.0), DIVERGING: (-high, high)}.get(cmap, (0.0, high))


def sheet(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure of one axes in inches: many maps on one axes are drawn in a fraction of the time."""
    figure = Figure(figsize=(width, height))
    ax = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    ax.set_axis_off()
    return figure, ax


def put(
    ax: Axes, values: NDArray, center: tuple[float, float], side: float, cmap: str, limits: tuple[float, float]
) -> None:
    """Draw a map on a `sheet`, its longer side ``side`` inches long."""
    height, width = (side / 2 * pixels / max(values.shape[:2]) for pixels in values.shape[:2])
    x, y = center
    where = (x - width, x + width, y - height, y + height)
    ax.imshow(values, cmap, vmin=limits[0], vmax=limits[1], extent=where, aspect="auto", interpolation="nearest")


def draw_gate(
    study: Study, level: int, stage: str | None = None, outlines: bool = True, half: int | None = None
) -> Figure:
    """Draw the gate of a level as it met the study's slice, every tensor with its map and shape.

    stage: one of `STAGES` to switch off; what was replaced and what changed with it are framed, and the sheet says by
    how much the output moved. outlines: show the slice with its organs outlined. half: 1 for stages 1 and 2 alone, 2
    for stages 3 and 4, None for all on one wide sheet. Raises: `InputError`.
    """
    gate = study.gate(level)
    usual = study.traces[level]
    trace = usual if stage is None else retrace(study, level, without_stage(gate, stage))
    first, last, stretch = (0, 11, 1.0) if half is None else HALVES[half]
    boxes = _placed(first, last, stretch)
    figure, ax = sheet(WIDTH if half is None else LEFT + stretch * COLUMN * (last - first) + 0.8, HEIGHT)
    for name, left, right, color in STAGE_COLUMNS:
        if not first <= left <= last:
            continue
        x0, x1 = (LEFT + stretch * COLUMN * (column - first) for column in (left, right))
        ax.add_patch(Rectangle((x0, 0.52), x1 - x0, HEIGHT - 1.32, color=color, alpha=0.55, linewidth=0, zorder=-2))
        ax.text((x0 + x1) / 2, 0.64, name, ha="center", va="center", fontsize=9, style="italic")
    _draw_arrows(ax, boxes)
    for name, box in boxes.items():
        _draw_box(ax, trace, usual, name, box, stage)
    if half != 2:
        _draw_slice(figure, study, outlines)
        for index, organ in enumerate(study.organs if outlines else []):
            color = class_color(study.organ_id(organ), study.class_names)
            x, y = Box(8.75 + 1.5 * (index % 2), 3.0 + 0.2 * (index // 2), "").center
            if half == 1:  # in one line below the title
                x, y = 0.35 + 0.93 * index, HEIGHT - 0.46
            ax.add_patch(Rectangle((x - 0.2, y - 0.06), 0.14, 0.12, color=color))
            ax.text(x, y, organ, fontsize=8 if half is None else 7, va="center")
    title = f"The gate of level {level}, {study.name}"
    if half is not None:  # shorter, beside the words on the data
        title = f"Level {level}, stages {2 * half - 1} and {2 * half}: {study.name}"
    ax.text(0.12, HEIGHT - 0.2, title, fontsize=10.5, weight="bold", va="center")
    ax.text(0.12, 0.24, _legend(usual, trace, stage, half), fontsize=8, va="center", color="0.2")
    return stamp(figure, study.source)


def draw_stage_off(study: Study, level: int, stage: str) -> Figure:
    """The gate's last tensors and the network's prediction: as trained above, with one of `STAGES` off below.

    Quick enough for a widget. Both rows share their colors. Raises: `InputError` for an unknown level or stage.
    """
    run = without_stage(study.gate(level), stage)
    usual, changed = study.traces[level], retrace(study, level, run)
    figure, ax = sheet(9.05, 4.35)
    names = ("u", "u_modulated", "attention", "output")
    for row, (words, trace, predicted) in enumerate(
        (("as it was trained", usual, predict(study)), (f"without: {stage}", changed, predict(study, {level: run})))
    ):
        y = 3.05 - 1.85 * row
        ax.text(0.14, y, words, rotation=90, ha="center", va="center", fontsize=9)
        for column, name in enumerate(names):
            cmap, formula = BOXES[name].cmap, BOXES[name].formula.split(" ")[0]
            values, center = thumbnail(getattr(trace, name), cmap), (1.05 + 1.72 * column, y)
            put(ax, values, center, 1.55, cmap, limits_of(thumbnail(getattr(usual, name), cmap), cmap))
            moved = relative_change(getattr(usual, name), getattr(trace, name))
            title = formula if row == 0 else f"{formula}, moved by {moved:.0%}"
            ax.text(center[0], y + 0.81, title, ha="center", fontsize=8.5)
        put(ax, colored(study.image, predicted, study.class_names), (8.05, y), 1.7, "gray", (0, 1))
        title = f"prediction, Dice {slice_dice(study, predicted)['mean']:.2f}"
        ax.text(8.05, y + 0.88, title, ha="center", fontsize=8.5)
    words = f"level {level}; in place of the {stage}: {STAGES[stage][0]}"
    ax.text(
        4.52, 0.1, f"{words}. Colors in both rows as above; A from 0 to 1, the rest from 0.", ha="center", fontsize=8
    )
    return stamp(figure, f"{study.name}; {study.source}")


def colored(image: NDArray[np.float32], label: NDArray[np.uint8], class_names: Sequence[str]) -> NDArray[np.float32]:
    """A slice (h, w) in gray with its organs filled in their colors, (h, w, 3)."""
    classes = range(1, int(label.max()) + 1)
    palette = np.array([(0, 0, 0), *(to_rgb(class_color(number, class_names)) for number in classes)], dtype=np.float32)
    gray = np.clip(image, 0, 1)[..., None].repeat(3, axis=2)
    return np.where(label[..., None] > 0, 0.45 * gray + 0.55 * palette[label], gray)


def _placed(first: int, last: int, stretch: float) -> dict[str, Box]:
    """The boxes between two columns, moved to the left; X once more above what it is multiplied by, if it is not."""
    found = {
        name: box._replace(column=(box.column - first) * stretch)
        for name, box in BOXES.items()
        if first <= box.column <= last
    }
    return found if "x" in found else found | {"x": found["x_attended"]._replace(row=BOXES["x"].row, formula="X")}


def _draw_box(ax: Axes, trace: MASAGTrace, usual: MASAGTrace, name: str, box: Box, stage: str | None) -> None:
    tensor = getattr(trace, name)
    values = thumbnail(tensor, box.cmap)
    put(ax, values, box.center, SIDE, box.cmap, limits_of(thumbnail(getattr(usual, name), box.cmap), box.cmap))
    frame = SAME
    if stage is not None and name in STAGES[stage][1]:
        frame = REPLACED
    elif relative_change(getattr(usual, name), tensor) > NOTICEABLE:
        frame = CHANGED
    thick = 0.8 if frame == SAME else 3.0
    ax.add_patch(Rectangle(box.at(0, 0), SIDE, SIDE, fill=False, edgecolor=frame, linewidth=thick, zorder=3))
    x, _ = box.center
    style = {"ha": "center", "zorder": 4}
    ax.text(x, box.at(0, 1)[1] + 0.04, box.formula, fontsize=8, va="bottom", weight="bold", **style)
    shape = " × ".join(map(str, tensor.shape[1:]))
    ax.text(x, box.at(0, 0)[1] - 0.05, shape, fontsize=7, va="top", color="0.25", **style)


def _draw_arrows(ax: Axes, boxes: Mapping[str, Box]) -> None:
    for start, end in FLOW:
        if not (start in boxes and end in boxes) or boxes[end].column == 0:  # what stands at the left edge is given
            continue
        a, b = boxes[start], boxes[end]
        if a.column == b.column:
            points = [a.at(0.5, -0.24), b.at(0.5, 1.24)]
        elif end == "x_attended" and start == "x":  # around everything, above the first row
            lane = HEIGHT - 0.46
            points = [a.at(0.5, 1.22), (a.center[0], lane), (b.center[0], lane), b.at(0.5, 1.24)]
        elif a.row == b.row:
            points = [a.at(1, 0.5), b.at(0, 0.5)]
        else:
            points = [a.at(1, 0.5), b.at(0, 0.5 + 0.22 * np.sign(b.row - a.row))]
        style = {"arrowstyle": "-|>", "mutation_scale": 9, "color": "0.2", "linewidth": 0.9, "zorder": -1}
        ax.add_patch(FancyArrowPatch(path=Path(points), shrinkA=0, shrinkB=0, **style))


def _draw_slice(figure: Figure, study: Study, outlines: bool) -> None:
    """The slice itself, in the free place between X and G."""
    x, y = Box(0, 2, "").center
    side = 0.95
    ax = figure.add_axes(((x - side / 2) / WIDTH, (y - side / 2) / HEIGHT, side / WIDTH, side / HEIGHT))
    ax.imshow(study.image, "gray", vmin=0, vmax=1, interpolation="nearest")
    if outlines:
        draw_outlines(ax, study.label, 0.9, study.class_names)
    ax.set_axis_off()
    ax.set_title("the slice", fontsize=8, pad=2)


def _legend(usual: MASAGTrace, trace: MASAGTrace, stage: str | None, half: int | None) -> str:
    if stage is None and half == 1:
        return (
            "Features: root mean square over channels, each box from zero (dark) to its own largest.\n"
            "One channel (mean, max, Γ): blue below zero, red above. Weights: 0 (dark) to 1 (light). BN: batch norm."
        )
    if stage is None and half == 2:
        return (
            "Features as in stages 1 and 2. Sigmoids and A: from 0 (dark) to 1 (light), averaged over channels.\n"
            "C: 1 × 1 convolution, BN: batch norm, σ: sigmoid."
        )
    if stage is None:
        return (
            "Features: root mean square over channels, bright is large, every box from zero to its own largest. "
            "Single channels (mean, max, Γ): blue below zero, red above.\nWeights, sigmoids and A: from 0 (dark) "
            "to 1 (light), averaged over channels. C is a 1 × 1 convolution, BN batch norm, σ the sigmoid."
        )
    moved = relative_change(usual.output, trace.output)
    return (
        f"Switched off: {stage}, instead {STAGES[stage][0]}. Dark orange frame: replaced; light orange: changed as a "
        f"consequence. The output moved by {moved:.0%} of its length.\nColors as they are in the gate as it was "
        "trained, so that maps can be compared."
    )
