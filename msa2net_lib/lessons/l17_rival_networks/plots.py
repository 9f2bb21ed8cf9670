"""Figures of the rival networks: a card each, all on one sheet, counts beside printed ones, cost against score."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from msa2net_lib.lessons.l17_rival_networks.skips import Skip
from msa2net_lib.lessons.l17_rival_networks.study import SIZE, SKIPS, Anatomy
from msa2net_lib.viz.gate_diagram import sheet
from msa2net_lib.viz.intervals import BLUE, ORANGE
from msa2net_lib.viz.plots import figure_grid, stamp

WIDTH = 9.1
"""Inches of a figure; with its margin it fits a page's column of 930 pixels."""
CARD, ROW, BOX = 4.5, 0.23, 0.18
"""Inches: a card's width, from one stride to the next, a box's height."""
STRIDES = (1, 2, 4, 8, 16, 32)
_PALETTE = ("#0072B2", "#56B4E9", "#E69F00", "#CC79A7", "#009E73", "#D55E00", "#000000")
COLORS: dict[str, str] = dict(zip(SKIPS, _PALETTE, strict=True))
MARKS: dict[str, str] = dict(zip(SKIPS, "osD^v<*", strict=True))
LEGEND = "cat: concatenated   + added   × multiplied   @ matrix product   2@: twice; in the order in which they run"
BAND = "#F2E6D9"


def draw_cards(cards: Sequence[tuple[Anatomy, Sequence[str]]]) -> Figure:
    """Draw networks as cards, two in a row: the U with its skips as traced, counts, and lines of words below.

    cards: a network's `anatomy`, and lines such as its claims.
    """
    rows = [cards[start : start + 2] for start in range(0, len(cards), 2)]
    heights = [max(_height(*card) for card in row) for row in rows]
    figure, ax = sheet(WIDTH, sum(heights) + 0.2)
    top = sum(heights) + 0.1
    for row, height in zip(rows, heights, strict=True):
        for column, (found, lines) in enumerate(row):
            _draw_card(ax, found, lines, 0.05 + column * CARD, top, height)
        top -= height
    return figure


def _wrapped(lines: Sequence[str]) -> list[str]:
    return [part for line in lines for part in textwrap.wrap(line, 82, initial_indent="· ", subsequent_indent="   ")]


def _height(found: Anatomy, lines: Sequence[str]) -> float:
    return 0.95 + ROW * _count(found) + 0.15 * len(_wrapped(lines))


def _count(found: Anatomy) -> int:
    return STRIDES.index(found.trace.coarsest) - STRIDES.index(min(found.trace.maps)) + 1


def _draw_card(ax: Axes, found: Anatomy, lines: Sequence[str], left: float, top: float, height: float) -> None:
    ax.add_patch(
        FancyBboxPatch(
            (left + 0.05, top - height + 0.1), CARD - 0.15, height - 0.12, boxstyle="round,pad=0,rounding_size=0.05",
            facecolor="white", edgecolor="0.7", linewidth=0.8,
        )
    )  # fmt: skip
    entry, x = found.entry, left + 0.15
    ax.text(x, top - 0.2, entry.title, fontsize=9.5, weight="bold", va="center")
    right = left + CARD - 0.2
    ax.text(right, top - 0.2, entry.skip, fontsize=8.5, color=COLORS[entry.skip], va="center", ha="right")
    counts = f"{found.parameters / 1e6:.2f} M parameters"
    counts += f", {found.unused / 1e6:.2f} M without a gradient" if found.unused > 1e4 else ""
    work = f"{found.multiply_adds / 1e9:.1f} G multiply-adds at {SIZE} pixels"
    work += f" and {found.discarded / 1e9:.1f} G thrown away" if found.discarded else ""
    work += ", one call of 250 a mask" if found.name == "dermosegdiff" else ""
    ax.text(x, top - 0.4, counts, fontsize=7.5, va="center", color="0.2")
    ax.text(x, top - 0.56, work, fontsize=7.5, va="center", color="0.2")
    strides = STRIDES[STRIDES.index(min(found.trace.maps)) : STRIDES.index(found.trace.coarsest) + 1]
    y = {stride: top - 0.85 - ROW * index for index, stride in enumerate(strides)}
    _draw_u(ax, found, left, y)
    for index, line in enumerate(_wrapped(lines)):
        ax.text(x, min(y.values()) - 0.3 - 0.15 * index, line, fontsize=7, va="center")


def _draw_u(ax: Axes, found: Anatomy, left: float, y: Mapping[int, float]) -> None:
    """Encoder boxes on the left, decoder boxes on the right, and between them what the trace found."""
    trace, skips = found.trace, {skip.stride: skip for skip in found.trace.skips}
    width, encoder, decoder = 1.02, left + 0.15, left + CARD - 1.2
    color = COLORS[found.entry.skip]
    bridged = [y[stride] for stride, skip in skips.items() if skip.bridge]
    if bridged:
        low, high = min(bridged) - BOX, max(bridged) + BOX
        ax.add_patch(Rectangle((left + 1.45, low), 0.72, high - low, facecolor=BAND, edgecolor="none", zorder=1.5))
    for stride, place in y.items():
        channels, side = trace.maps.get(stride), SIZE // stride
        if channels:
            _box(ax, encoder, place, width, f"{channels} × {side}²")
        if stride == trace.coarsest:
            _arrow(ax, (encoder + width, place), (decoder, place), "0.5")
            ax.text(left + CARD / 2, place - 0.09, f"1/{stride}", fontsize=6.5, color="0.4", ha="center", va="center")
        elif stride not in skips:
            words = "no skip" if channels else "no map outside the encoder"
            ax.text(left + CARD / 2, place, words, fontsize=6.5, color="0.4", ha="center", va="center")
        if stride in skips or stride == trace.coarsest:
            _box(ax, decoder, place, width - 0.1, f"decoder {side}²")
        if skip := skips.get(stride):
            _arrow(ax, (encoder + width, place), (decoder, place), color)
            _write(ax, left + 1.81, place, ", ".join(skip.through), "0.25", 6.5)
            _write(ax, left + 2.75, place, skip.words, color, 8)


def _box(ax: Axes, x: float, y: float, width: float, words: str) -> None:
    ax.add_patch(Rectangle((x, y - BOX / 2), width, BOX, facecolor="0.93", edgecolor="0.3", linewidth=0.7))
    ax.text(x + width / 2, y, words, fontsize=7, ha="center", va="center")


def _write(ax: Axes, x: float, y: float, words: str, color: str, size: float) -> None:
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    if words:
        ax.text(x, y, words, fontsize=size, color=color, ha="center", va="center", bbox=ground, zorder=3)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], color: str) -> None:
    ax.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=7, color=color, shrinkA=0, shrinkB=0))


def draw_family(found: Sequence[Anatomy]) -> Figure:
    """Draw all networks on one sheet: how the skip of each stride joins, parameters, unused ones, multiply-adds."""
    row, head = 0.32, 0.6
    height = head + row * len(found) + 0.6
    figure, ax = sheet(WIDTH, height)
    cells = {stride: 3.15 + 0.68 * index for index, stride in enumerate(STRIDES)}
    for words, x, align in (
        ("network", 0.1, "left"), ("skips", 1.75, "left"), ("parameters, M", 8.35, "right"), ("G", 9.0, "right"),
        *((f"1/{stride}", x, "center") for stride, x in cells.items()),
    ):  # fmt: skip
        ax.text(x, height - 0.35, words, fontsize=8, weight="bold", ha=align, va="center")
    for index, one in enumerate(found):
        y = height - head - row * (index + 0.5)
        if index % 2 == 0:
            ax.add_patch(Rectangle((0, y - row / 2), WIDTH, row, facecolor="0.96", edgecolor="none", zorder=-3))
        color, skips = COLORS[one.entry.skip], {skip.stride: skip for skip in one.trace.skips}
        ax.text(0.1, y, one.entry.row, fontsize=8, va="center", weight="bold")
        ax.text(1.75, y, one.entry.skip, fontsize=7.5, va="center", color=color)
        _draw_bridge(ax, [skip for skip in skips.values() if skip.bridge], cells, y)
        for stride, x in cells.items():
            if stride in skips:
                ax.text(x, y, skips[stride].words.replace(" + × + × +", " … +"), fontsize=8, ha="center", va="center")
            elif stride in one.trace.maps:
                ax.plot(x, y, "v" if stride == one.trace.coarsest else ".", color="0.5", markersize=5)
        unused = f" ({one.unused / one.parameters:.0%} unused)" if one.unused > 1e4 else ""
        ax.text(8.35, y, f"{one.parameters / 1e6:.1f}{unused}", fontsize=7.5, ha="right", va="center")
        ax.text(9.0, y, f"{(one.multiply_adds + one.discarded) / 1e9:.1f}", fontsize=7.5, ha="right", va="center")
    for y, words in (
        (0.44, LEGEND),
        (0.28, "triangle: coarsest map, where the decoder starts    shaded: through a bridge of several scales"),
        (0.12, f"parameters and multiply-adds (G, {SIZE} pixels) counted on the networks as built; no data"),
    ):
        ax.text(0.1, y, words, fontsize=6.5, va="center", color="0.25")
    return figure


def _draw_bridge(ax: Axes, skips: Sequence[Skip], cells: Mapping[int, float], y: float) -> None:
    if skips:
        places = [cells[skip.stride] for skip in skips]
        width = max(places) - min(places) + 0.6
        ax.add_patch(Rectangle((min(places) - 0.3, y - 0.12), width, 0.24, facecolor=BAND, edgecolor="none", zorder=-1))


def plot_shares(table: pd.DataFrame, source: str) -> Figure:
    """Draw, row by row of Table 2, what its SE, SP and ACC leave possible if pooled: share of lesion pixels, and DSC.

    table: as `paper.consistency.share_table` returns it. A row without a share has no bar.
    """
    figure, axes = figure_grid(1, 2, width=4.4, height=2.7)
    for ax, (low, high), words in zip(
        axes[0], (("low", "high"), ("dsc_low", "dsc_high")), ("share of lesion pixels", "DSC"), strict=True
    ):
        rows: Any = table.iterrows()
        for y, (_, row) in enumerate(rows):
            color = BLUE if row.pooled else ORANGE
            if 0 <= row[low] <= 1:
                ax.plot([row[low], row[high]], [y, y], color=color, linewidth=6, solid_capstyle="butt")
                ax.plot((row[low] + row[high]) / 2, y, "s", color=color, markersize=5)
            else:
                ax.text(0.5, y, "no share does it", transform=ax.get_yaxis_transform(), fontsize=7, va="center")
        ax.set_xlabel(f"{words} that SE, SP and ACC leave possible", fontsize=8)
        ax.set_ylim(len(table) - 0.5, -0.5)
        ax.set_yticks(range(len(table)), [str(name) for name in table.index] if low == "low" else [], fontsize=8)
        ax.tick_params(axis="x", labelsize=7.5)
        ax.grid(axis="x", color="0.92")
    axes[0, 1].plot(table.dsc, range(len(table)), "k|", markersize=15, markeredgewidth=1)
    handles = [
        Line2D([], [], color=BLUE, linewidth=6, label="meets the printed DSC"),
        Line2D([], [], color=ORANGE, linewidth=6, label="does not"),
        Line2D([], [], color="k", marker="|", linestyle="none", markersize=10, label="printed DSC"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=7.5, frameon=False)
    return stamp(figure, source)


def plot_cost(scores: pd.DataFrame, entries: Mapping[str, tuple[str, str]], source: str) -> Figure:
    """Draw what an image costs beside DSC with its 95 % interval: a line a network, the cheapest above.

    scores: as `study.read_scores` returns them; networks without a score are left out. entries: network -> (title, way
    of treating skips).
    """
    scored: Any = scores[scores.dsc.notna()]
    done = scored.sort_values("multiply_adds_g")
    figure, axes = figure_grid(1, 2, width=WIDTH / 2, height=0.9 + 0.2 * len(done))
    cost, score = axes[0]
    for y, (name, row) in enumerate(done.iterrows()):
        color, mark = COLORS[entries[str(name)][1]], MARKS[entries[str(name)][1]]
        cost.plot([done.multiply_adds_g.min() / 2, row.multiply_adds_g], [y, y], color=color, linewidth=1, alpha=0.5)
        cost.plot(row.multiply_adds_g, y, marker=mark, color=color, markersize=5)
        cost.annotate(f"{row.parameters_m:.0f} M", (row.multiply_adds_g, y), (6, -2.5), textcoords="offset points",
                      fontsize=6.5, color="0.3")  # fmt: skip
        score.plot([row.low, row.high], [y, y], color=color, linewidth=1.5)
        score.plot(row.dsc, y, marker=mark, color=color, markersize=5)
    cost.set_yticks(range(len(done)), [entries[str(name)][0] for name in done.index], fontsize=7.5)
    score.set_yticks(range(len(done)), [])
    cost.set_xscale("log")
    cost.set_xlim(done.multiply_adds_g.min() / 2, done.multiply_adds_g.max() * 3)
    score.set_xlim(0, 1)
    cost.set_xlabel("multiply-adds of an image, G; parameters beside", fontsize=8)
    score.set_xlabel("mean DSC of the held-out cases", fontsize=8)
    for ax in axes[0]:
        ax.set_ylim(len(done) - 0.4, -0.6)
        ax.tick_params(axis="x", labelsize=7.5)
        ax.grid(axis="x", color="0.93")
    used = {entries[str(name)][1] for name in done.index}
    handles = [
        Line2D([], [], color=COLORS[skip], marker=MARKS[skip], linestyle="none", markersize=5, label=skip)
        for skip in SKIPS
        if skip in used
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=7, frameon=False)
    return stamp(figure, source)
