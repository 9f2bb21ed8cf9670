"""What is wrong with an answer, in one line: the mistakes that any exercise can have.

`GENERAL` holds them in the order in which they are asked; each is a function of an `Attempt` that returns a line or
None. The mistakes of one exercise stand in its own check and are asked first.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from msa2net_lib.lessons.argument_diagnoses import inputs, no_effect, of_arguments, swapped
from msa2net_lib.lessons.attempts import AXES, ORDINALS, Attempt, arrays, example, which
from msa2net_lib.lessons.formula_diagnoses import formula, in_words, of_numbers, operands, pooled, sums_of_lists
from msa2net_lib.lessons.value_diagnoses import partly, values


def no_result(attempt: Attempt) -> str | None:
    """None, alone or among the results."""
    returned = attempt.returned[0]
    if returned is None:
        return "it returned None: does it end in `return`?"
    if isinstance(returned, tuple | list) and any(part is None for part in returned):
        return f"{which([i for i, part in enumerate(returned) if part is None])} None: that one was not computed"
    return None


def count(attempt: Attempt) -> str | None:
    """Results stacked, apart, missing or too many."""
    pairs = zip(attempt.given, attempt.expected, strict=True)  # a number that was written out may fit some inputs
    given, expected = next(((own, right) for own, right in pairs if len(own) != len(right)), ([], []))
    if not expected:
        return None
    told = f"it returned {len(given)} result(s), expected {len(expected)}"
    if len(given) == 1:
        for axis in range(given[0].ndim):
            for join in (np.stack, np.concatenate):
                try:
                    whole = join(expected, axis=axis)
                except ValueError:
                    continue
                if attempt.close(given[0], whole):
                    return f"{told}: they are joined in one array; return them one by one, `return a, b`"
        if matched := [i for i, other in enumerate(expected) if attempt.close(given[0], other)]:
            return f"{told}: it is the {ORDINALS[matched[0]]}; the others are missing"
        if given[0].shape == expected[0].shape:
            return f"{told}: return all of them, `return a, b`"
    elif len(expected) == 1:
        for axis in range(expected[0].ndim):
            for join in (np.stack, np.concatenate):
                try:
                    whole = join(given, axis=axis)
                except ValueError:
                    continue
                if attempt.close(whole, expected[0]):
                    return f"{told}: join them along axis {axis}"
    places = [[i for i, own in enumerate(given) if attempt.close(own, other)] for other in expected]
    if len(given) > len(expected) and all(places):
        return f"{told}: the right ones are there; return those alone"
    if len(given) < len(expected) and any(places):
        return f"{told}: {which([i for i, found in enumerate(places) if not found])} missing"
    return told


def shape(attempt: Attempt) -> str | None:
    """Axes lost, added or permuted."""
    for index in range(len(attempt.expected[0])):
        for draw, (one, other) in enumerate(attempt.pairs(index)):
            if one.shape != other.shape:
                prefix = f"the {ORDINALS[index]} result: " if len(attempt.expected[0]) > 1 else ""
                prefix += "right for some sizes, written out for them? for others " if draw else ""
                told = f"{prefix}it returned shape {one.shape}, expected {other.shape}"
                return told + _shape_reason(attempt, one, other)
    return None


def _shape_reason(attempt: Attempt, one: np.ndarray, other: np.ndarray) -> str:
    if one.ndim == other.ndim and one.size > other.size:
        for axis in range(one.ndim):
            for start in range(one.shape[axis] - other.shape[axis] + 1):
                if attempt.close(one.take(range(start, start + other.shape[axis]), axis), other):
                    return f": the right one is in it, number {start} along axis {axis}; return that alone"
    axes = AXES.get(other.ndim, tuple(f"axis {i}" for i in range(other.ndim)))
    if one.size == other.size and [n for n in one.shape if n > 1] == [n for n in other.shape if n > 1]:
        lost = one.ndim < other.ndim
        return (
            ": an axis of size 1 is lost, keep it (keepdim=True, or a slice)"
            if lost
            else ": an axis of size 1 too many"
        )
    if (
        one.ndim == other.ndim
        and one.size == other.size
        and attempt.close(np.sort(one.ravel()), np.sort(other.ravel()))
    ):
        axis = next((i for i in range(one.ndim) if one.shape[i] > other.shape[i]), None)
        if sorted(one.shape) != sorted(other.shape):
            return f": the right numbers, joined along axis {axis} or reshaped where axes should change places"
    if sorted(one.shape) == sorted(other.shape):
        same = any(attempt.close(one.transpose(order), other) for order in permutations(range(one.ndim)))
        return f": its axes are in another order{', the numbers are right' if same else ''}"
    if one.ndim == other.ndim:
        wrong = [i for i, (a, b) in enumerate(zip(one.shape, other.shape, strict=True)) if a != b]
        where = " and ".join(axes[i] for i in wrong)
        if all(one.shape[i] == 1 for i in wrong):
            return f": {where} are gone, something ran over that axis (a sum, mean or maximum)"
        if all(other.shape[i] == 1 for i in wrong):
            return f": {where} are still there, something should run over that axis"
        if set(wrong) <= {other.ndim - 1, other.ndim - 2} and other.ndim > 2:
            return ": the map changed its size, look at padding, kernel and stride"
        return f": the number of {where} is wrong"
    for axis in range(other.ndim):
        if one.shape == other.shape[:axis] + other.shape[axis + 1 :]:
            return f": the axis of {axes[axis]} is gone; a sum, mean, maximum or an index ran over it"
    return ": the axes of the inputs are (samples, channels, rows, columns)" if other.ndim == 4 else ""


def untouched(attempt: Attempt) -> str | None:
    """A placeholder: arguments as they came in, or one constant whatever the input."""
    if {*map(len, attempt.given)} != {*map(len, attempt.expected)}:  # too few results, or too many
        return None
    found = [
        name
        for result in range(len(attempt.expected[0]))
        for position, name in enumerate(attempt.names)
        if all(_returns(attempt, draw, result, position) for draw in range(len(attempt.draws)))
    ]
    if found and len(found) == len(attempt.expected[0]):
        if attempt.calls[0]:
            return f"`{found[0]}` comes out as it came in: a softmax over one channel is 1 everywhere; take the sigmoid"
        return f"not yet: it returns {', '.join(f'`{name}`' for name in found)} as it came in"
    numbers, right = (
        np.concatenate([a.ravel() for each in side for a in each]) for side in (attempt.given, attempt.expected)
    )
    if numbers.size and (numbers == numbers[0]).all() and np.ptp(right) > 0:
        one = ": a softmax over one channel is 1 everywhere" if numbers[0] == 1 else ""
        return f"not yet: it returns {numbers[0]:g}, whatever the input{one}"
    return None


def _returns(attempt: Attempt, draw: int, result: int, position: int) -> bool:
    argument = attempt.draws[draw][position]
    if not isinstance(argument, torch.Tensor | np.ndarray | int | float):
        return False
    value, own = arrays(argument)[0], attempt.given[draw][result]
    return own.shape == value.shape and np.array_equal(own, value)


def written_into(attempt: Attempt) -> str | None:
    """Wrong, and an argument was changed on the way."""
    if attempt.changed:
        return (
            f"{attempt.changed[0]}: what comes after that line works with changed numbers; give the result a new name"
        )
    return None


def not_finite(attempt: Attempt) -> str | None:
    """Nan or infinity where a number is expected."""
    for given, expected in zip(attempt.given, attempt.expected, strict=True):
        for one, other in zip(given, expected, strict=True):
            if (~np.isfinite(one) & np.isfinite(other)).any():
                return "it has nan or infinity where numbers belong: a division by zero, a root or logarithm of less than zero, an exponential of much?"  # noqa: E501
    return None


def permuted(attempt: Attempt) -> str | None:
    """The right results in another order."""
    number = len(attempt.expected[0])
    for order in [*permutations(range(number))][1:] if 1 < number < 5 else ():  # the first is the order as it is
        if all(
            attempt.close(given[place], other)
            for given, expected in zip(attempt.given, attempt.expected, strict=True)
            for place, other in zip(order, expected, strict=True)
        ):
            return "the results are right, but returned in another order: " + ", ".join(
                f"the {ORDINALS[i]} belongs where the {ORDINALS[place]} is"
                for i, place in enumerate(order)
                if i != place
            )
    return None


def layers(attempt: Attempt) -> str | None:
    """Layers that were handed over and are not used, used too often, or fed with something else."""
    yours, right = attempt.calls
    if not right:
        return None
    names, expected = [call[0] for call in yours], [call[0] for call in right]
    for name in dict.fromkeys(expected):
        if name not in names:
            return f"{name} is never called"
        if names.count(name) != expected.count(name):
            return f"{name} is called {names.count(name)} times, expected {expected.count(name)}"
    mine = {name: [call[1:] for call in yours if call[0] == name] for name in names}
    for place, (name, wanted, output) in enumerate(right):
        features, own = mine[name].pop(0)
        if [f.shape for f in features] != [w.shape for w in wanted]:
            return f"what goes into {name} has another shape than it should"
        if not all(map(_near, features, wanted)):
            maps, right_maps = operands(attempt)
            before = {call[0] for call in right[:place]}
            known = [
                {key: value for key, value in part.items() if not key.startswith("what ") or key[5:-6] in before}
                for part in (maps, right_maps)
            ]
            told = in_words(features[0].double().numpy(), wanted[0].double().numpy(), *known)
            done = "" if name == expected[0] else "; all before it is right"
            return f"what goes into {name} is wrong{f': {told}' if told else done}"
        if own is not None and not (own.shape == output.shape and _near(own, output)):
            return f"what goes into {name} is right and what comes out is not: it is built otherwise (padding, eps ...)"
    if attempt.close(attempt.given[0][0], attempt.expected[0][0]):
        return None
    told = formula(attempt)
    return f"all layers get what they should; {told or f'look at what happens after {expected[-1]}'}"


def _near(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors of one shape hold the same numbers, of whatever type."""
    return torch.allclose(one.double(), other.double(), rtol=0, atol=1e-6)


def leaks(attempt: Attempt) -> str | None:
    """Samples, channels or cells that see each other and should not; or that should and do not."""
    draw = attempt.draws[0]
    for title, axes in (("samples", (0,)), ("channels", (1,)), ("cells", (-2, -1))):
        least = 2 if title == "cells" else 3
        part = [
            _first(argument, axes)
            if isinstance(argument, torch.Tensor | np.ndarray) and argument.ndim >= least
            else argument
            for argument in draw
        ]
        try:
            right = arrays(attempt.answer(*copy.deepcopy(part)))
            own = arrays(attempt.yours(*copy.deepcopy(part)))
            whole = [_first(array, axes) for array in attempt.expected[0]]
            mine = [_first(array, axes) for array in attempt.given[0]]
        except Exception:
            continue
        if any(a.ndim < least for a in attempt.expected[0]) or [a.shape for a in right] != [a.shape for a in whole]:
            continue
        alone = all(map(attempt.close, right, whole))
        yours_alone = [a.shape for a in own] == [a.shape for a in mine] and all(map(attempt.close, own, mine))
        if alone and not yours_alone:
            return f"{title} see each other and should not: a mean, maximum, softmax or norm over the wrong axis"
        if not alone and yours_alone and title != "cells":
            return f"{title} should see each other, and in your result each is on its own"
    return None


def padding(attempt: Attempt) -> str | None:
    """Right where the maps stand in a wide border of zeros, so that only the padding can be wrong."""
    draw = attempt.draws[0]
    size = attempt.expected[0][0].shape[-2:]
    if attempt.expected[0][0].ndim != 4 or min(size) < 4:
        return None
    maps = [i for i, a in enumerate(draw) if isinstance(a, torch.Tensor) and a.ndim == 4 and a.shape[-2:] == size]
    wide = [functional.pad(a, (_BORDER,) * 4) if i in maps else a for i, a in enumerate(copy.deepcopy(draw))]
    inner = (..., slice(_BORDER, -_BORDER), slice(_BORDER, -_BORDER))
    try:
        own, right = (arrays(f(*copy.deepcopy(wide))) for f in (attempt.yours, attempt.answer))
    except Exception:  # the map is used otherwise than as a map
        return None
    if [a.shape for a in own] == [a.shape for a in right] and all(
        attempt.close(a[inner], b[inner]) for a, b in zip(own, right, strict=True)
    ):
        return "right inside a wide border of zeros, wrong without: look at what the map is padded with, and where"
    return None


_BORDER = 24
"""Cells: wider than the reach of any chain of convolutions in the lessons."""


def detached(attempt: Attempt) -> str | None:
    """Right numbers through which no gradient reaches an argument that it should reach."""
    reached = []
    for function in (attempt.yours, attempt.answer):
        draw = [
            a.requires_grad_() if isinstance(a, torch.Tensor) and a.is_floating_point() else a
            for a in copy.deepcopy(attempt.draws[0])
        ]
        try:
            results = function(*draw)
            parts = [*results] if isinstance(results, tuple | list) else [results]
            learned = [part.sum() for part in parts if isinstance(part, torch.Tensor) and part.requires_grad]
            torch.stack(learned).sum().backward()
        except Exception:  # nothing to differentiate, or not in this way
            return None
        found = zip(attempt.names, draw, strict=True)
        reached.append({name for name, a in found if isinstance(a, torch.Tensor) and a.grad is not None})
    if lost := [name for name in attempt.names if name in reached[1] - reached[0]]:
        names = ", ".join(f"`{name}`" for name in lost)
        return f"no gradient reaches {names}, and it should: something is detached (detach, no_grad, item, NumPy)"
    return None


def numbers(attempt: Attempt) -> str | None:
    """For exercises on plain numbers: an input, what came out and what should have."""
    if attempt.expected[0][0].ndim == 0:
        return f"not yet: {example(attempt)}"
    return None


GENERAL = (
    no_result,
    count,
    shape,
    untouched,
    not_finite,
    permuted,
    written_into,
    swapped,
    layers,
    values,
    inputs,
    pooled,
    formula,
    of_arguments,
    sums_of_lists,
    of_numbers,
    padding,
    no_effect,
    leaks,
    partly,
    numbers,
)


def _first(array: Any, axes: Sequence[int]) -> Any:
    """The first half along some axes, at least one entry."""
    place = [slice(None)] * array.ndim
    for axis in axes:
        place[axis] = slice(0, max(1, array.shape[axis] // 2))
    return array[tuple(place)]
