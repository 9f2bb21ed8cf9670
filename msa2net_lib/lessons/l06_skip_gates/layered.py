"""A layout for small graphs without cycles: columns by longest path, few crossings, straight lines where possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from scipy.optimize import isotonic_regression

SWEEPS = 12
GAP = 0.16
"""Free height between two things in a column, in the unit of the heights."""


@dataclass(frozen=True)
class Layout:
    """Where things stand: columns of nodes by name, and the height of each node and of each line that passes a column.

    columns: name -> column from 0. y: name -> height of its middle, upwards. lanes: (name, column) -> height at which
    the line from that node to later columns crosses a column between.
    """

    columns: dict[str, int]
    y: dict[str, float]
    lanes: dict[tuple[str, int], float]


def longest_paths(takes: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Column of each node: one more than the last of those it takes from. takes: in an order of computation."""
    columns: dict[str, int] = {}
    for name, sources in takes.items():
        columns[name] = 1 + max((columns[source] for source in sources), default=-1)
    return columns


def place(takes: Mapping[str, Sequence[str]], heights: Mapping[str, float]) -> Layout:
    """Lay a graph out. takes: name -> what it takes from, in an order of computation; heights: of each node."""
    columns = longest_paths(takes)
    links = _links(takes, columns)
    items: list[list[str | tuple[str, int]]] = [[] for _ in range(max(columns.values()) + 1)]
    for name, column in columns.items():
        items[column].append(name)
    for pair in links:
        for end in pair:
            if isinstance(end, tuple) and end not in items[end[1]]:
                items[end[1]].append(end)
    items = _order(items, links)
    y = _heights(items, links, {name: heights[name] for name in columns})
    nodes = {name: y[name] for name in columns}
    return Layout(columns, nodes, {end: value for end, value in y.items() if isinstance(end, tuple)})


def _links(takes: Mapping[str, Sequence[str]], columns: Mapping[str, int]) -> list[tuple]:
    """Lines between neighboring columns; all lines of one source share their way."""
    links: dict[tuple, None] = {}
    for name, sources in takes.items():
        for source in sources:
            way = [source, *((source, column) for column in range(columns[source] + 1, columns[name])), name]
            links |= dict.fromkeys(pairwise(way))
    return list(links)


def _neighbors(links: Sequence[tuple], side: int) -> dict:
    found: dict = {}
    for pair in links:
        found.setdefault(pair[side], []).append(pair[1 - side])
    return found


def _order(items: list[list], links: Sequence[tuple]) -> list[list]:
    """Sort each column by the mean place of what it is linked to, back and forth, and keep the best."""
    best, fewest = items, _crossings(items, links)
    sides = _neighbors(links, 1), _neighbors(links, 0)
    for sweep in range(SWEEPS):
        items = [list(column) for column in items]
        backwards = sweep % 2
        whole = range(len(items) - 2, -1, -1) if backwards else range(1, len(items))
        for column in whole:
            beside = {item: index for index, item in enumerate(items[column + 1 if backwards else column - 1])}
            places = {
                item: np.mean([beside[other] for other in sides[backwards].get(item, []) if other in beside] or [index])
                for index, item in enumerate(items[column])
            }
            items[column].sort(key=lambda item: places[item])
        crossings = _crossings(items, links)
        if crossings < fewest:
            best, fewest = items, crossings
    return best


def _crossings(items: Sequence[Sequence], links: Sequence[tuple]) -> int:
    place = {item: (number, index) for number, column in enumerate(items) for index, item in enumerate(column)}
    pairs = [(place[start], place[end]) for start, end in links]
    return sum(a[0] == c[0] and (a[1] - c[1]) * (b[1] - d[1]) < 0 for (a, b), (c, d) in combinations(pairs, 2))


def _heights(items: Sequence[Sequence], links: Sequence[tuple], heights: Mapping[str, float]) -> dict:
    """Move everything towards the middle of what it is linked to, as far as its neighbors in the column allow."""
    y: dict = {}
    for column in items:
        offsets = _offsets(column, heights)
        y |= {item: offset - offsets.mean() for item, offset in zip(column, offsets, strict=True)}
    sides = _neighbors(links, 1), _neighbors(links, 0)
    for _ in range(40):
        for column in items:
            offsets = _offsets(column, heights)
            wanted = [
                np.mean([y[other] for side in sides for other in side.get(item, [])] or [y[item]]) for item in column
            ]
            # The nearest heights in the given order with room between: isotonic once the room is taken out.
            found = isotonic_regression(np.array(wanted) - offsets).x + offsets
            y |= dict(zip(column, found.tolist(), strict=True))
    return {item: -value for item, value in y.items()}


def _offsets(column: Sequence, heights: Mapping[str, float]) -> np.ndarray:
    sizes = np.array([heights.get(item, 0.0) if isinstance(item, str) else 0.0 for item in column])
    return np.cumsum(sizes + GAP) - sizes / 2
