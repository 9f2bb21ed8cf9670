"""What was computed instead, found by trying short formulas: of maps and layers, and of plain numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations

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
}
Operands = Mapping[str, np.ndarray]


def formula(attempt: Attempt) -> str | None:
    """What the first wrong result is made of, if it is one function of a map, times another, plus or minus a third."""
    if not attempt.expected[0][0].ndim:
        return None
    for index, (one, other) in enumerate(zip(attempt.given[0], attempt.expected[0], strict=True)):
        if not attempt.close(one, other):
            told = in_words(one, other, *operands(attempt))
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
        {f"what {name} gives": output.numpy() for name, _, output in calls if isinstance(output, torch.Tensor)}
        for calls in attempt.calls
    )
    return given | own, given | right


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
                if product is None or (factor == name and text == "{}"):
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
    if attempt.expected[0][0].ndim or len(attempt.expected[0]) > 1 or len(attempt.draws) < 4:
        return None
    given, expected = (np.array([float(found[0]) for found in side]) for side in (attempt.given, attempt.expected))
    with np.errstate(all="ignore"):
        for text, numbers in _expressions(attempt).items():
            for words, part in (
                (f"{{0}} times {text} too much", (given - expected) / numbers),
                (f"multiplied by {{0}} times {text}, once too often", given / expected / numbers),
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
    for (one, a), (other, b) in combinations([*found.items()], 2):
        found[f"{one} x {other}"] = a * b
        with np.errstate(all="ignore"):
            found[f"{one} / {other}"], found[f"{other} / {one}"] = a / b, b / a
    return found
