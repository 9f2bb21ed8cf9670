"""What was computed instead, found by trying short formulas: of maps and layers, and of plain numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations, product

import numpy as np
import torch
from scipy import special

from msa2net_lib.lessons.attempts import ORDINALS, Attempt

FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "{}": lambda a: a,
    "sigmoid({})": special.expit,
    "1 - sigmoid({})": lambda a: special.expit(-a),
    "relu({})": lambda a: np.maximum(a, 0),
    "tanh({})": np.tanh,
    "exp({})": np.exp,
    "exp(-{})": lambda a: np.exp(-a),
    "|{}|": np.abs,
    "-{}": np.negative,
    "{} squared": np.square,
    "softmax({})": lambda a: special.softmax(a, min(1, a.ndim - 1)),
    "sigmoid of the mean of {} over channels": lambda a: special.expit(a.mean(min(1, a.ndim - 1), keepdims=True)),
    "mean of sigmoid({}) over channels": lambda a: special.expit(a).mean(min(1, a.ndim - 1), keepdims=True),
}
STATISTICS: dict[str, Callable[[np.ndarray, tuple[int, ...]], np.ndarray]] = {
    "mean": lambda a, axes: a.mean(axes, keepdims=True),
    "sum": lambda a, axes: a.sum(axes, keepdims=True),
    "largest value": lambda a, axes: a.max(axes, keepdims=True),
    "smallest value": lambda a, axes: a.min(axes, keepdims=True),
    "largest size": lambda a, axes: np.abs(a).max(axes, keepdims=True),
    "mean size": lambda a, axes: np.abs(a).mean(axes, keepdims=True),
    "median": lambda a, axes: np.median(a, axes, keepdims=True),
    "lower median": lambda a, axes: np.quantile(a, 0.5, axes, keepdims=True, method="lower"),
    "standard deviation": lambda a, axes: a.std(axes, keepdims=True),
    "standard deviation (n - 1)": lambda a, axes: a.std(axes, keepdims=True, ddof=1),
    "variance": lambda a, axes: a.var(axes, keepdims=True),
    "length": lambda a, axes: np.sqrt((a * a).sum(axes, keepdims=True)),
    "root mean square": lambda a, axes: np.sqrt((a * a).mean(axes, keepdims=True)),
}
Operands = Mapping[str, np.ndarray]


def formula(attempt: Attempt) -> str | None:
    """What the first wrong result is made of, if it is one function of a map, times another, plus or minus a third."""
    if not attempt.expected[0][0].ndim:
        return None
    for index, (one, other) in enumerate(zip(attempt.given[0], attempt.expected[0], strict=True)):
        if not attempt.close(one, other):
            known = operands(attempt)
            if index:  # what layers gave belongs to the first result
                known = tuple({k: v for k, v in maps.items() if not k.startswith("what ")} for maps in known)
            told = in_words(one, other, *known)
            return told and (f"the {ORDINALS[index]} result: {told}" if len(attempt.expected[0]) > 1 else told)
    return None


def operands(attempt: Attempt) -> tuple[Operands, Operands]:
    """Maps that a formula may hold, by name, as they were for the reader and as they should be."""
    given = {
        f"`{name}`": np.asarray(argument)
        for name, argument in zip(attempt.names, attempt.draws[0], strict=True)
        if isinstance(argument, torch.Tensor | np.ndarray)
        and argument.ndim > 1
        and np.asarray(argument).dtype.kind == "f"
    }
    own, right = (
        {f"what {name} gives": output.double().numpy() for name, _, output in calls if isinstance(output, torch.Tensor)}
        for calls in attempt.calls
    )
    means = {
        f"the mean of {name} over cells": array.mean((-2, -1), keepdims=True)
        for name, array in given.items()
        if array.ndim == 4 and min(array.shape[-2:]) > 1
    }
    return given | own | means, given | right | means


def pooled(attempt: Attempt) -> str | None:
    """A channel of the result that is a statistic of an argument, and is another one than it should be."""
    given, expected = attempt.given[0][0], attempt.expected[0][0]
    if given.shape != expected.shape or given.ndim != 4 or len(attempt.expected[0]) > 1:
        return None
    maps, _ = operands(attempt)
    told = []
    for channel in range(min(expected.shape[1], 4)):
        one, other = (array[:, channel : channel + 1] for array in (given, expected))
        mine, theirs = _statistic(attempt, one, maps), _statistic(attempt, other, maps)
        if theirs is None:
            return None
        if not attempt.close(one, other):
            told.append(f"channel {channel} is {mine or 'not that'}, and should be {theirs}")
    return "; ".join(told) or None


def _statistic(attempt: Attempt, result: np.ndarray, maps: Operands) -> str | None:
    for name, array in maps.items():
        for axes, words in (((1,), "over channels"), ((2, 3), "over cells"), ((1, 2, 3), "over all of a sample")):
            for statistic, function in STATISTICS.items():
                if array.ndim == 4:
                    value = function(array, axes)
                    if attempt.close(np.broadcast_to(value, result.shape), result) if _fits(value, result) else False:
                        return f"the {statistic} of {name} {words}"
    return None


def _fits(value: np.ndarray, result: np.ndarray) -> bool:
    return all(a in (1, b) for a, b in zip(value.shape, result.shape, strict=True))


def sums_of_lists(attempt: Attempt) -> str | None:
    """A whole number made of two lists, as a sum or a product over their entries."""
    lists = [i for i, argument in enumerate(attempt.draws[0]) if isinstance(argument, list | tuple)]
    if len(lists) != 2 or attempt.expected[0][0].ndim or len(attempt.expected[0]) > 1:
        return None
    given = np.array([float(found[0]) for found in attempt.given])
    a_name, b_name = (attempt.names[i] for i in lists)
    draws = [[np.array(draw[i], float) for i in lists] for draw in attempt.draws]
    firsts: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "{a}": lambda a: a,
        "({a} - 1)": lambda a: a - 1,
        "({a} + 1)": lambda a: a + 1,
        "({a} // 2)": lambda a: a // 2,
        "1": np.ones_like,
    }
    seconds: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "{b}": lambda b: b,
        "({b} - 1)": lambda b: b - 1,
        "({b} + 1)": lambda b: b + 1,
        "the product of {b} so far": np.cumprod,
        "the product of {b} before it": lambda b: np.cumprod(b) / b,
        "1": np.ones_like,
    }
    ways = (("sum", np.sum), ("product", np.prod), ("largest", np.max))
    for (one, f), (other, h) in product(firsts.items(), seconds.items()):
        for (word, way), inner, outer in product(ways, (0, 1, -1), (0, 1, -1)):
            if np.array_equal(given, [way(f(a) * h(b) + inner) + outer for a, b in draws]):
                entry = f"{one} x {other}".format(a=a_name, b=b_name).replace(" x 1", "").replace("1 x ", "")
                inside = f"{entry} {inner:+d}" if inner else entry
                return f"what you computed is the {word} of {inside} over the layers{f', {outer:+d}' if outer else ''}"
    return None


def in_words(given: np.ndarray, expected: np.ndarray, own: Operands, right: Operands) -> str | None:
    """The formula of ``given``, and whether its function, its sign or its maps are other than those of ``expected``."""
    given, expected = _few_cells(given), _few_cells(expected)
    own, right = ({name: _few_cells(array) for name, array in maps.items()} for maps in (own, right))
    mine = next(_formulas(given, own), None)
    if mine is None:
        return None
    for theirs in _formulas(expected, right):
        same = [a == b for a, b in zip(mine, theirs, strict=True)]
        if same == [False, True, True, True]:
            return f"{mine[0].format(mine[1])}: another function belongs there"
        if same == [True, True, False, True]:
            if not mine[2]:
                return f"{mine[0].format(mine[1])} is not multiplied by anything, and should be"
            return f"the product is with {mine[2]}, and should be {'with another map' if theirs[2] else 'left out'}"
        if same == [True, True, True, False]:
            return f"{mine[3] or 'nothing'} is added at the end, expected {theirs[3] or 'nothing'}"
    times, plus = (f" times {mine[2]}" if mine[2] else ""), (f", {mine[3]}" if mine[3] else "")
    return f"what you computed is {mine[0].format(mine[1])}{times}{plus}"


def _formulas(result: np.ndarray, maps: Operands) -> Iterator[tuple[str, str, str, str]]:
    """Function, its map, what multiplies it, what is added; simplest first."""
    for name, array in maps.items():
        for text, function in FUNCTIONS.items():
            value = function(array)
            for factor, other in {"": None, **maps}.items():
                product = value if other is None else _broadcast(np.multiply, value, other)
                if product is None or (factor == name and text == "{}") or not product.any():
                    continue
                for added, term in {"": None, **maps}.items():
                    for sign, way in (("plus", np.add), ("minus", np.subtract)) if term is not None else (("", None),):
                        whole = product if way is None or term is None else _broadcast(way, product, term)
                        if whole is None or whole.shape != result.shape:
                            continue
                        if abs(whole.flat[0] - result.flat[0]) < 1e-6 and np.allclose(whole, result, rtol=0, atol=1e-6):
                            yield text, name, factor, f"{sign} {added}" if added else ""


def _few_cells(array: np.ndarray) -> np.ndarray:
    """Some cells of the first sample are enough to tell formulas apart, and quick."""
    return array[:1, ..., :2, :2] if array.ndim == 4 else array


def _broadcast(way: Callable[..., np.ndarray], one: np.ndarray, other: np.ndarray) -> np.ndarray | None:
    try:
        return way(one, other)
    except ValueError:
        return None


def of_numbers(attempt: Attempt) -> str | None:
    """For exercises whose results are numbers: too much or too often by a simple expression of the arguments."""
    if any(array.ndim for array in attempt.expected[0]) or len(attempt.draws) < 4:
        return None
    for index in range(len(attempt.expected[0])):
        if not attempt.right(index) and (told := _of_number(attempt, index)):
            return told if len(attempt.expected[0]) == 1 else f"the {ORDINALS[index]} result: {told}"
    return None


def _of_number(attempt: Attempt, index: int) -> str | None:
    given, expected = (np.array([float(found[index]) for found in side]) for side in (attempt.given, attempt.expected))
    for text, numbers in _expressions(attempt).items():
        for words, part in (
            (f"{{0}} times {text} too much", (given - expected) / numbers),
            (f"multiplied by {{0}} times {text}, once too often", given / expected / numbers),
            (f"divided by {text}, once too often, and {{0}} times that", given / expected * numbers),
            (f"it is {{0}} times {text}", given / numbers),
        ):
            if np.isfinite(part).all() and np.ptp(part) < 1e-6 * abs(part[0]):
                return words.format(f"{part[0]:.4g}").replace("1 times ", "" if part[0] == 1 else "1 times ")
    powers = np.log(given) / np.log(expected)
    if np.isfinite(powers).all() and np.ptp(powers) < 1e-6:
        return f"it is the right result to the power {powers[0]:.4g}"
    slope, start = np.polyfit(expected, given, 1)
    if np.allclose(slope * expected + start, given, rtol=0, atol=1e-6) and abs(slope) > 1e-9:
        return f"it is {slope:.4g} times the right result, plus {start:.4g}"
    for end, limit, cut in (("above", given.max(), np.minimum), ("below", given.min(), np.maximum)):
        if np.allclose(cut(expected, limit), given, rtol=0, atol=attempt.tolerance) and np.ptp(given):
            return f"right, but cut off {end} {limit:.4g}: there the right one goes on"
        own = expected.max() if end == "above" else expected.min()
        if np.allclose(cut(given, own), expected, rtol=0, atol=attempt.tolerance):
            return f"right, but not cut off {end} {own:.4g}"
    if len(found := np.unique(given)) < 4 <= len(np.unique(expected)):
        values = " and ".join(f"{value:.4g}" for value in found)
        return f"yours takes the values {values} alone: an integer division (// for /), a comparison or a rounding?"
    if (given >= expected - 1e-9).all() or (given <= expected + 1e-9).all():
        right = np.isclose(given, expected)
        if right.any():
            side = "large" if (given >= expected - 1e-9).all() else "small"
            return f"right for {right.sum()} of {len(given)} inputs, too {side} for the others: is a limit missing?"
    return None


def _expressions(attempt: Attempt) -> dict[str, np.ndarray]:
    """Products and quotients of what the arguments are: numbers, and lengths, sums and extremes of lists and masks."""
    simple: dict[str, list[float]] = {}
    for draw in attempt.draws:
        for name, argument in zip(attempt.names, draw, strict=True):
            if isinstance(argument, int | float):
                simple.setdefault(f"`{name}`", []).append(float(argument))
            elif isinstance(argument, list | torch.Tensor | np.ndarray):
                values = np.asarray(argument, float)
                for text, number in (
                    (f"the sum of `{name}`", values.sum()),
                    (f"the length of `{name}`", values.size),
                    (f"the largest of `{name}`", values.max()),
                    (f"the last of `{name}`", values.flat[-1]),
                ):
                    simple.setdefault(text, []).append(float(number))
    found = {name: np.array(numbers) for name, numbers in simple.items() if len(numbers) == len(attempt.draws)}
    found |= {f"(1 - {name})": 1 - numbers for name, numbers in found.items() if name.startswith("`")}
    for (one, a), (other, b), (third, c) in combinations([*found.items()], 3):
        if one.startswith("`") and other.startswith("`") and third.startswith("`"):
            found[f"{one} x {other} x {third}"] = a * b * c
    for (one, a), (other, b) in combinations([item for item in found.items() if " x " not in item[0]], 2):
        found[f"{one} x {other}"] = a * b
        found[f"{one} / {other}"], found[f"{other} / {one}"] = a / b, b / a
    return found
