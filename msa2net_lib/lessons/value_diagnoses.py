"""What is wrong with numbers of the right shape, in one line: a factor, an offset, a step too many, wrong places."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, permutations

import numpy as np
import torch
from scipy import special

from msa2net_lib.lessons.attempts import AXES, ORDINALS, Attempt, Pairs, arrays, example, which


def values(attempt: Attempt) -> str | None:
    """What is wrong with the first result that is not right, where that is the same for all its numbers."""
    return _of_first_wrong(attempt, (_precise, _scaled, _argument_more, _function, _moved_places, _affine))


def partly(attempt: Attempt) -> str | None:
    """Which results are right, at which places, for which inputs."""
    if told := _of_first_wrong(attempt, (_limits, _sized, _places)):
        return told
    right, wrong = _right_and_wrong(attempt)
    return f"{which(right)} right; {which(wrong)} wrong" if right else None


def _right_and_wrong(attempt: Attempt) -> tuple[list[int], list[int]]:
    indices = range(len(attempt.expected[0]))
    right = [index for index in indices if attempt.right(index)]
    return right, [index for index in indices if index not in right]


def _of_first_wrong(attempt: Attempt, asked: tuple[Callable[[Attempt, Pairs], str | None], ...]) -> str | None:
    right, wrong = _right_and_wrong(attempt)
    if not wrong:  # to six digits all are right, as large numbers in low precision may be
        wrong = [i for i in right if any((abs(a - b) > attempt.tolerance).any() for a, b in attempt.pairs(i))] or right
        right = [i for i in right if i not in wrong]
    told = next((told for ask in asked if (told := ask(attempt, attempt.pairs(wrong[0])))), None)
    if told is None or len(attempt.expected[0]) == 1:
        return told
    return f"{f'{which(right)} right; ' if right else ''}the {ORDINALS[wrong[0]]} result: {told}"


def _precise(attempt: Attempt, pairs: Pairs) -> str | None:
    error = max(float(np.max(np.abs(a - b) / (np.abs(b).max() + 1e-300))) for a, b in pairs)
    if error < 8e-3:
        digits = int(-np.log10(error))
        kind = "float16" if error > 3e-5 else "float32"
        return f"right to about {digits} digits only: low precision ({kind}, a rounding) or a small constant too many"
    return None


def _sizes(attempt: Attempt) -> dict[str, list[float]]:
    """Numbers that a factor may be, an entry a draw: the sizes of the first array's axes."""
    found: dict[str, list[float]] = {}
    for draw in attempt.draws:
        shapes = [tuple(a.shape) for a in draw if isinstance(a, torch.Tensor | np.ndarray)]
        for axis, size in enumerate(shapes[0] if shapes else ()):
            title = AXES.get(len(shapes[0]), ("values",) * 9)[axis]
            found.setdefault(f"the number of {title}", []).append(size)
        if shapes and len(shapes[0]) > 1:
            cells = float(np.prod(shapes[0][2:] if len(shapes[0]) > 2 else shapes[0]))
            found.setdefault("the number of cells", []).append(cells)
    return found


def _affine(attempt: Attempt, pairs: Pairs) -> str | None:
    """A factor and an offset together."""
    if not pairs[0][0].ndim:
        return None
    given, expected = (np.concatenate([pair[i].ravel() for pair in pairs]) for i in (0, 1))
    if not (np.isfinite(given).all() and np.isfinite(expected).all() and np.ptp(expected) > 0):
        return None
    slope, start = np.polyfit(expected, given, 1)
    if abs(slope) > 1e-9 and attempt.close(slope * expected + start, given):
        return f"it is {slope:.4g} times the right result, plus {start:.4g}"
    return None


def _limits(attempt: Attempt, pairs: Pairs) -> str | None:
    """Wrong just where the right result, or the reader's, is at its lowest or highest."""
    given, expected = (np.concatenate([pair[i].ravel() for pair in pairs]) for i in (0, 1))
    if not pairs[0][0].ndim:
        return None
    wrong = np.abs(given - expected) > attempt.tolerance
    for numbers, whose in ((expected, "the right result"), (given, "yours")):
        for limit in (numbers.min(), numbers.max()):
            there = numbers == limit
            if 1 < there.sum() < len(there) and not (wrong & ~there).any():
                return f"wrong only where {whose} is {limit:.4g}: is something cut off there, or not cut off?"
    ends = (expected == expected.min()) | (expected == expected.max())
    if ends.sum() > 2 and not (wrong & ends).any():
        return f"right where the result is {expected.min():.4g} or {expected.max():.4g}, wrong in between"
    return None


def _scaled(attempt: Attempt, pairs: Pairs) -> str | None:
    """A factor or an offset, the same everywhere or named."""
    factors = [float((a * b).sum() / ((b * b).sum() + 1e-300)) for a, b in pairs]
    if all(abs(f) > 1e-9 and attempt.close(a, f * b) for f, (a, b) in zip(factors, pairs, strict=True)):
        if np.ptp(factors) < 1e-6 * abs(factors[0]):
            return (
                "the sign is wrong"
                if abs(factors[0] + 1) < 1e-6
                else f"a factor of {factors[0]:.4g} too many, everywhere"
            )
        for name, sizes in _sizes(attempt).items():
            n = np.array(sizes, float)
            for text, power in (("multiplied", 1.0), ("divided", -1.0)):
                if np.allclose(factors, n**power):
                    return f"{text} by {name}, once too often"
                if np.allclose(factors, n ** (power / 2)):
                    return f"{text} by the root of {name}, once too often"
        if pairs[0][0].ndim:
            return f"a factor too many that differs from input to input, here {factors[0]:.4g} and {factors[1]:.4g}"
    shifts = [float(np.mean(a - b)) for a, b in pairs]
    if all(attempt.close(a, b + s) for s, (a, b) in zip(shifts, pairs, strict=True)):
        if np.ptp(shifts) < 1e-6 * abs(shifts[0]):
            return f"an offset of {shifts[0]:+.4g}, everywhere"
        if pairs[0][0].ndim:
            return f"an offset that differs from input to input, here {shifts[0]:+.4g} and {shifts[1]:+.4g}"
    return None


def _argument_more(attempt: Attempt, pairs: Pairs) -> str | None:
    """An argument that is added, subtracted, multiplied or divided by once more than it should be."""
    for position, name in enumerate(attempt.names):
        numbers = [draw[position] for draw in attempt.draws]
        if not all(isinstance(n, torch.Tensor | np.ndarray | int | float) for n in numbers):
            continue
        numbers = [arrays(n)[0] for n in numbers]
        for text, wrong in (
            ("is added once more than it should be", lambda b, n: b + n),
            ("is subtracted, or one `+ {0}` is missing", lambda b, n: b - n),
            ("is multiplied once more than it should be", lambda b, n: b * n),
            ("is divided by, or a product with it is missing", lambda b, n: b / n),
        ):
            try:
                found = all(attempt.close(a, wrong(b, n)) for (a, b), n in zip(pairs, numbers, strict=True))
            except ValueError:
                continue
            if found:
                return f"`{name}` " + text.format(name)
    return _another_added(attempt, pairs)


def _another_added(attempt: Attempt, pairs: Pairs) -> str | None:
    """An argument that is added where another one should be."""
    arrays_only = [i for i, argument in enumerate(attempt.draws[0]) if isinstance(argument, torch.Tensor | np.ndarray)]
    for one, other in permutations(arrays_only, 2):
        values = [(arrays(draw[one])[0], arrays(draw[other])[0]) for draw in attempt.draws]
        if all(
            mine.shape == theirs.shape == a.shape and attempt.close(a, b + mine - theirs)
            for (a, b), (mine, theirs) in zip(pairs, values, strict=True)
        ):
            return f"`{attempt.names[one]}` is added where `{attempt.names[other]}` belongs"
    return None


def _function(attempt: Attempt, pairs: Pairs) -> str | None:
    """A function of the right result, or one that is missing at the end."""
    functions: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "sigmoid": special.expit,
        "ReLU": lambda a: np.maximum(a, 0),
        "absolute value": np.abs,
        "tanh": np.tanh,
        "square": np.square,
        "root": np.sqrt,
        "exponential": np.exp,
        "logarithm": np.log,
        "reciprocal": np.reciprocal,
        "odds, p / (1 - p)": lambda a: a / (1 - a),
        "1 - ...": lambda a: 1 - a,
        "limit to 0 .. 1": lambda a: np.clip(a, 0, 1),
        "rounding": np.round,
        "rounding down": np.floor,
    }
    for axis in range(pairs[0][0].ndim):
        title = AXES.get(pairs[0][0].ndim, ("values",) * 9)[axis]
        functions[f"softmax over {title}"] = lambda a, axis=axis: special.softmax(a, axis)
        functions[f"maximum over {title}, one for all"] = lambda a, axis=axis: np.broadcast_to(
            a.max(axis, keepdims=True), a.shape
        )
        functions[f"mean over {title}, one for all"] = lambda a, axis=axis: np.broadcast_to(
            a.mean(axis, keepdims=True), a.shape
        )
        functions[f"running sum over {title}"] = lambda a, axis=axis: np.cumsum(a, axis)
    for name, function in functions.items():
        if all(attempt.close(a, function(b)) for a, b in pairs):
            return f"one step too many at the end: {name}"
        if all(attempt.close(function(a), b) for a, b in pairs) and not name.startswith(
            ("round", "limit", "max", "mean")
        ):
            return f"one step is missing at the end: {name}"
        if name == "limit to 0 .. 1" and all(attempt.close(function(a), b) for a, b in pairs):
            return "right inside 0 .. 1; the limit is missing"
    return None


def _moved_places(attempt: Attempt, pairs: Pairs) -> str | None:
    """The right numbers at other places: flipped, rolled, reshaped."""
    for axis in range(pairs[0][0].ndim):
        title = AXES.get(pairs[0][0].ndim, ("values",) * 9)[axis]
        if all(attempt.close(a, np.flip(b, axis)) for a, b in pairs):
            return f"the right numbers, but {title} run backwards"
        for step in (1, -1):
            if all(attempt.close(a, np.roll(b, step, axis)) for a, b in pairs):
                return f"the right numbers, but shifted by one along {title}"
    if pairs[0][0].ndim and all(attempt.close(np.sort(a.ravel()), np.sort(b.ravel())) for a, b in pairs):
        return "the right numbers, but at other places: a reshape where axes should change places?"
    return None


def _sized(attempt: Attempt, pairs: Pairs) -> str | None:
    """A factor or an offset for each sample, channel or cell, the same along the other axes."""
    dims = pairs[0][0].ndim
    for axes in [group for size in range(dims - 1, 0, -1) for group in combinations(range(dims), size)]:
        kept = [AXES.get(dims, ("axis",) * 9)[i] for i in range(dims) if i not in axes]
        ratios = [np.where((a == 0) & (b == 0), np.nan, a / b) for a, b in pairs]
        for what, parts in (("a factor", ratios), ("an offset", [a - b for a, b in pairs])):
            if all(part.shape[i] > 1 for part in parts for i in axes) and all(
                not np.isinf(part).any()
                and float(np.nanmax(np.nanmax(part, axes) - np.nanmin(part, axes)))
                < 1e-6 * (1 + np.nanmax(np.abs(part)))
                for part in parts
            ):
                return f"right but for {what} that depends on {' and '.join(kept)} alone"
    return None


def _places(attempt: Attempt, pairs: Pairs) -> str | None:
    """Wrong at some places only: the border, one channel, one sample; or on some of the draws only."""
    wrong = [np.abs(a - b) > attempt.tolerance for a, b in pairs]
    dims = pairs[0][0].ndim
    if dims >= 2 and all(min(w.shape[-2:]) > 2 for w in wrong):
        inside = [w[..., 1:-1, 1:-1].any() for w in wrong]
        if not any(inside):
            return "right inside, wrong along the border: look at the padding"
    for axis in range(dims):
        title = AXES.get(dims, ("values",) * 9)[axis]
        marked = [{int(i) for i in np.nonzero(w)[axis]} for w in wrong]
        found = set().union(*marked)
        if len(found) == 1 and all(w.shape[axis] > 1 for w in wrong):
            return f"right but for number {found.pop()} along {title}"
        if all(m and 0 not in m for m in marked) and all(w.shape[axis] > 1 for w in wrong):
            return f"right at the first along {title} only"
    if dims == 0 and any(not w.any() for w in wrong):
        return f"right for {sum(not w.any() for w in wrong)} of {len(wrong)} inputs; {example(attempt)}"
    share = float(np.mean([1 - w.mean() for w in wrong]))
    if dims and share > 0.05:
        return f"right at {share:.0%} of all places: what do those have in common?"
    return None
