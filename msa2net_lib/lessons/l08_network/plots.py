"""The network as a drawing, every number from one image's walk through it, and figures of what its parts cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from textwrap import fill
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Patch, Rectangle
from matplotlib.path import Path

from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l08_network.study import ROWS, Step, rows_of
from msa2net_lib.viz.plots import figure_grid, stamp

LIVE, UNUSED, WORK = "#0072B2", "#D55E00", "#009E73"
COUNTED = "counted on the networks as built; no data"


class _Box(NamedTuple):
    """A rectangle on the sheet, in inches; ``at`` gives a point of it by its shares of width and height."""

    left: float
    bottom: float
    width: float
    height: float

    def at(self, x: float, y: float) -> tuple[float, float]:
        return self.left + x * self.width, self.bottom + y * self.height


WIDTH, ROW, BETWEEN_ROWS, PAD, BETWEEN_BANDS, HEADER = 9.05, 0.62, 0.2, 0.08, 0.22, 0.72
COLUMNS = (  # heading, left edge, width, color, what stands there
    ("encoder", 0.4, 2.03, "#DCE8F4", ("input", "stem", "encoder")),
    ("skip connections", 2.77, 1.75, "#FADFC4", ("gray stem", "gate")),
    ("", 4.92, 1.6, "#E4F0E0", ("linear", "norm")),
    ("decoder", 6.87, 2.1, "#E4F0E0", ("blocks", "expansion", "head")),
)


def draw(steps: Sequence[Step], title: str, source: str, thumbnails: bool = True, part: str | None = None) -> Figure:
    """Draw the steps of `walk`: the encoder goes down on the left, the decoder up on the right, gates between.

    A band holds what has one grid size; parts that did not run are hatched. source: `plots.VIRTUAL`, `plots.REAL`
    or another line on where the image is from. thumbnails: show the steps' outputs as small maps. part: "upper" for the
    image and levels 0 and 1 alone, "lower" for levels 2 and 3, each no larger than a page; None for all.
    """
    boxes, bands = _boxes(steps)
    height = bands[-1].at(0, 1)[1] + HEADER
    figure = plt.figure(figsize=(WIDTH, height))
    plt.close(figure)
    ax = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, height))
    ax.set_axis_off()
    gray: dict[str, Any] = {"ha": "center", "va": "center", "color": "0.3"}
    for band in bands.values():
        ax.add_patch(Rectangle(band[:2], band.width, band.height, color="0.955"))
    for step in steps:
        _draw_step(ax, step, boxes[step.name], thumbnails)
        if step.kind == "encoder" and step.shape:
            words = f"level {step.level}\n{step.shape[1]} × {step.shape[2]}"
            ax.text(0.25, bands[step.level].at(0, 0.5)[1], words, rotation=90, fontsize=7.5, **gray)
    _draw_flow(ax, {(step.kind, step.level): boxes[step.name] for step in steps if step.runs}, boxes)
    for heading, left, width, *_ in COLUMNS:
        ax.text(left + width / 2, height - HEADER + 0.12, heading, fontsize=8.5, style="italic", **gray)
    ax.text(0.12, height - 0.38, title, fontsize=10.5, va="center", weight="bold")
    ax.text(COLUMNS[1][1], bands[-1].bottom + PAD, _legend(steps, thumbnails), fontsize=7, va="bottom", color="0.2")
    if part == "upper":
        _crop(figure, ax, bands[1].bottom - BETWEEN_BANDS, bands[-1].at(0, 1)[1] + BETWEEN_BANDS, title)
    elif part == "lower":
        _crop(figure, ax, 0.0, bands[2].at(0, 1)[1] + BETWEEN_BANDS, f"{title}: the coarse levels")
    return stamp(figure, source)


def _crop(figure: Figure, ax: Axes, low: float, high: float, title: str) -> None:
    """Keep what stands between two heights, and put the title above; arrows run on to the edge."""
    for text in [text for text in ax.texts if not low < text.get_position()[1] < high]:
        text.remove()
    for image in [image for image in ax.images if not low < image.get_extent()[2] < high]:
        image.remove()
    height = high - low + 0.45
    figure.set_size_inches(WIDTH, height)
    ax.set(position=(0, 0, 1, (high - low) / height), ylim=(low, high))
    figure.text(0.012, 1 - 0.3 / height, title, fontsize=10.5, va="center", weight="bold")


def _boxes(steps: Sequence[Step]) -> tuple[dict[str, _Box], dict[int, _Box]]:
    """Where each step (by name) and each band (by level, -1 for the image's) goes, built from the bottom up."""
    boxes, bands, bottom = {}, {}, 0.12
    for band in (3, 2, 1, 0, -1):
        rows = 2 if band < 3 or any(step.name == "linear 3" for step in steps) else 1  # the linear is in the lower row
        bands[band] = _Box(0.08, bottom, WIDTH - 0.16, rows * ROW + (rows - 1) * BETWEEN_ROWS + 2 * PAD)
        bottom = bands[band].at(0, 1)[1] + BETWEEN_BANDS
    for step in steps:
        left, width = next(column[1:3] for column in COLUMNS if step.kind in column[-1])
        level = step.level - (step.kind == "expansion")  # whose output has the next finer grid
        band = bands[-1 if step.kind in ("input", "gray stem", "stem", "head") else level]
        low, high = band.bottom + PAD, band.at(0, 1)[1] - PAD
        if step.kind not in ("encoder", "gate"):  # which take both rows
            low = low if step.kind in ("stem", "linear", "expansion") else high - ROW
            high = low + ROW
        boxes[step.name] = _Box(left, low, width, high - low)
    return boxes, bands


def _draw_step(ax: Axes, step: Step, box: _Box, thumbnails: bool) -> None:
    look: dict[str, Any] = {"edgecolor": "0.6", "facecolor": "0.93", "linestyle": "--", "hatch": "////"}
    if step.runs:
        look = {"edgecolor": "0.25", "facecolor": next(c[3] for c in COLUMNS if step.kind in c[-1])}
    ax.add_patch(Rectangle(box[:2], box.width, box.height, **look))
    left, y = box.left, box.at(0, 0.5)[1]
    if thumbnails and step.thumbnail is not None:
        side = min(box.height - 0.12, 0.74)
        h, w = (side * pixels / max(step.thumbnail.shape) for pixels in step.thumbnail.shape)
        x = left + 0.06 + side / 2
        where, cmap = (x - w / 2, x + w / 2, y - h / 2, y + h / 2), "gray" if step.kind == "input" else "viridis"
        ax.imshow(step.thumbnail, cmap, extent=where, aspect="auto", interpolation="nearest", zorder=2)
        left += side + 0.06
    room = box.at(1, 0)[0] - left
    size = " × ".join(map(str, step.shape)) if step.shape else "never runs"
    details = f"{fill(step.what, int(room / 0.058))}\n{size}\n{_short(step.parameters)} parameters"
    x, lines = left + room / 2, 2 + details.count("\n")
    if not step.runs:
        ax.add_patch(Rectangle((x - 0.68, y - 0.068 * lines), 1.36, 0.136 * lines, color="white"))
    style: dict[str, Any] = {"ha": "center", "va": "center", "color": "black" if step.runs else "0.3"}
    ax.text(x, y + 0.0625 * (lines - 1), step.name, fontsize=8, weight="bold", **style)
    ax.text(x, y - 0.065, details, fontsize=7.5, **style)


def _draw_flow(ax: Axes, running: Mapping[tuple[str, int], _Box], boxes: Mapping[str, _Box]) -> None:
    """Arrows from each running step to those that read it, around those that do not run."""

    def arrow(*points: tuple[float, float], label: str = "") -> None:
        ax.add_patch(FancyArrowPatch(path=Path(points), arrowstyle="-|>", mutation_scale=9, color="0.15"))
        (x0, y0), (x1, y1) = points[-2:]
        x, y = (x0 + x1) / 2 + 0.09 * (x0 == x1), (y0 + y1) / 2 + 0.09 * (y0 == y1)
        ax.text(x, y, label, fontsize=8, style="italic", ha="center", va="center")

    def around(start: _Box, goal: tuple[float, float], label: str = "") -> None:
        (x, y), lane = start.at(1, 0.5), start.at(0, 1)[1] + PAD + BETWEEN_BANDS / 2
        arrow((x, y), (x + 0.25, y), (x + 0.25, lane), (goal[0], lane), goal, label=label)

    for start, end in pairwise([running["input", 0], running["stem", 0], *(running["encoder", i] for i in range(4))]):
        arrow(start.at(0.5, 0), end.at(0.5, 1))
    for level in (3, 2, 1, 0):
        skip, expansion = running["encoder", level], running["expansion", level]
        source = running["expansion", level + 1] if level < 3 else skip
        if norm := running.get(("norm", level)):
            linear = running["linear", level]
            arrow(source.at(0, 0.5), linear.at(1, 0.5))
            arrow(linear.at(0.5, 1), norm.at(0.5, 0), label="g")
            if gate := running.get(("gate", level)):
                low = ROW / 2 / gate.height
                arrow(linear.at(0, 0.5), gate.at(1, low), label="g")
                arrow(skip.at(1, 0.5), gate.at(0, 0.5), label="x")
                arrow(gate.at(1, 1 - low), norm.at(0, 0.5), label="y")
            else:
                around(skip, norm.at(0.5, 1), "x")
            source = norm
        blocks = running.get(("blocks", level))
        if blocks is None or (level == 3 and "norm 3" in boxes):
            around(source, blocks.at(0.2, 1) if blocks else expansion.at(0.5, 0))
        else:
            arrow(source.at(1, 0.5), blocks.at(0, 0.5))
        if blocks:
            arrow(blocks.at(0.5, 1), expansion.at(0.5, 0))
    head = running["head", 0]
    arrow(running["expansion", 0].at(0.5, 1), head.at(0.5, 0))
    arrow(head.at(0, 0.5), head.at(-0.23, 0.5), label="logits")


def _legend(steps: Sequence[Step], thumbnails: bool) -> str:
    lines = "Box: name, classes, output as channels × height × width, parameters.\n"
    lines += "Arrows: x skip features, g gating features, y gated skip features.\n"
    if thumbnails:
        lines += "Maps: how far a cell's features are from the map's average,\nbright is far, scales differ.\n"
    total, unused = sum(step.parameters for step in steps), sum(step.parameters for step in steps if not step.runs)
    never = f"; the hatched boxes' {_short(unused)} never run" if unused else ""
    return f"{lines}{_short(total)} parameters in all{never}."


def _short(count: int) -> str:
    return f"{count / 1e6:.2f} M" if count >= 999_950 else f"{count / 1e3:.1f} k" if count >= 1000 else str(count)


def plot_used_and_unused(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """One panel per network: parameters by part in M, those a gradient reaches solid, those none reaches hatched.

    tables: name -> `analysis.complexity.used_and_unused` of it. Each panel has its own scale.
    Raises: `InputError` if there is no table.
    """
    if not tables:
        raise InputError("no network to draw: give at least one table of live and unused parameters")
    columns = min(2, len(tables))
    figure, axes = figure_grid(-(-len(tables) // columns), columns, width=4.5, height=3.4)
    for ax in axes.flat[len(tables) :]:
        ax.set_axis_off()
    for ax, (name, table) in zip(axes.flat, tables.items(), strict=False):
        rows = rows_of(table) / 1e6
        ax.barh(ROWS, rows.live, color=LIVE)
        hatched = {"color": "white", "edgecolor": UNUSED, "hatch": "//////"}
        ax.barh(ROWS, rows.unused, left=rows.live, linewidth=list((rows.unused > 0).astype(float)), **hatched)
        _label(ax, list(rows.live), list(rows.unused))
        unused = f"{rows.unused.sum():.2f} M of them unused" if rows.unused.any() else "none unused"
        ax.set_title(f"{name}: {(rows.live + rows.unused).sum():.2f} M parameters, {unused}", fontsize=9)
        _style(ax, "parameters (M)", labels=ax in axes[:, 0])
    handles = [
        Patch(color=LIVE, label="live: a gradient reaches it"),
        Patch(facecolor="white", edgecolor=UNUSED, hatch="//////", label="unused: none ever does"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return stamp(figure, COUNTED)


def plot_complexity(parameters: pd.DataFrame, products: pd.Series, name: str) -> Figure:
    """Parameters (M, live ones only) and multiply-adds (G) of one network, part by part, side by side.

    parameters: `analysis.complexity.used_and_unused`; products: `Work.products`. Both must list the same parts, or
    `InputError`.
    """
    if list(parameters.index) != list(products.index):
        raise InputError("parameters and products list different parts: count both on the same network")
    live, work = rows_of(parameters).live / 1e6, rows_of(products.to_frame("work")).work / 1e9
    figure, axes = figure_grid(1, 2, width=4.5, height=3.5)
    for ax, values, color, what, unit in (
        (axes[0, 0], live, LIVE, "live parameters", "M"),
        (axes[0, 1], work, WORK, "multiply-adds", "G"),
    ):
        ax.barh(ROWS, values, color=color)
        _label(ax, list(values), [0.0] * len(values))
        ax.set_title(f"{name}: {values.sum():.2f} {unit} {what}", fontsize=9)
        _style(ax, f"{what} ({unit})", labels=ax is axes[0, 0])
    return stamp(figure, COUNTED)


def _label(ax: Axes, solid: Sequence[float], hatched: Sequence[float]) -> None:
    """Write each row's numbers beside its bar, and "none" where there is no bar; leave room for the longest."""
    for y, (live, unused) in enumerate(zip(solid, hatched, strict=True)):
        words = " + ".join([_number(live)] * (live > 0) + [f"{_number(unused)} unused"] * (unused > 0))
        style = {"fontsize": 7.5, "va": "center", "color": "black" if words else "0.5"}
        ax.annotate(words or "none", (live + unused, y), (3, 0), textcoords="offset points", **style)
    ax.set_xlim(0, 1.18 * max(live + unused for live, unused in zip(solid, hatched, strict=True)))


def _number(value: float) -> str:
    return f"{value:.2f}" if value >= 0.005 else "< 0.01"


def _style(ax: Axes, xlabel: str, labels: bool) -> None:
    ax.invert_yaxis()
    ax.set_xlabel(xlabel, fontsize=8)
    ax.tick_params(labelsize=8, labelleft=labels)
    ax.margins(y=0.02)
    ax.grid(axis="x", color="0.9")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
