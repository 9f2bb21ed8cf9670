"""What is wrong with an answer that would be right, had its arguments been others: swapped, changed, not looked at."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from msa2net_lib.lessons.attempts import Arrays, Attempt, arrays


def swapped(attempt: Attempt) -> str | None:
    """Right for arguments that have changed places."""
    for i, j in combinations(range(len(attempt.names)), 2):
        if all(_like(draw[i], draw[j]) for draw in attempt.draws):
            turned = [[*draw] for draw in attempt.draws]
            for draw in turned:
                draw[i], draw[j] = draw[j], draw[i]
            if _same(attempt, attempt.answer, turned, attempt.given):
                return f"`{attempt.names[i]}` and `{attempt.names[j]}` are swapped"
    return None


def no_effect(attempt: Attempt) -> str | None:
    """An argument that the result does not depend on, though it should."""
    for position, name in enumerate(attempt.names):
        moved = [[*draw] for draw in attempt.draws[:2]]
        for draw in moved:
            draw[position] = _moved(draw[position])
        if moved[0][position] is None or _same(attempt, attempt.answer, moved, attempt.expected[:2]) is not False:
            continue
        if _same(attempt, attempt.yours, moved, attempt.given[:2]):
            return f"`{name}` has no effect on your result, and it should"
    return None


def inputs(attempt: Attempt) -> str | None:
    """A function of an argument that is missing or too many, or an argument where another belongs."""
    for position, name in enumerate(attempt.names):
        first = attempt.draws[0][position]
        if not isinstance(first, torch.Tensor | np.ndarray) or np.asarray(first).dtype.kind != "f":
            continue
        for other, title in enumerate(attempt.names):
            if other != position and all(_like(draw[position], draw[other]) for draw in attempt.draws):
                replaced = [[*draw] for draw in attempt.draws]
                for draw in replaced:
                    draw[position] = draw[other]
                if _same(attempt, attempt.answer, replaced, attempt.given):
                    return f"`{title}` stands where `{name}` belongs"
        for text, function in _FUNCTIONS.items():
            replaced = [[*draw] for draw in attempt.draws]
            for draw in replaced:
                changed = function(torch.as_tensor(draw[position]))
                draw[position] = changed.numpy() if isinstance(first, np.ndarray) else changed
            if _same(attempt, attempt.answer, replaced, attempt.given):
                return f"right, had `{name}` been its own {text}: that step is too many"
            if _same(attempt, attempt.yours, replaced, attempt.expected):
                return f"right, were `{name}` its own {text} first: that step is missing"
    return None


_FUNCTIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sigmoid": torch.sigmoid,
    "ReLU": torch.relu,
    "absolute value": torch.abs,
    "negative": torch.neg,
    "tanh": torch.tanh,
    "logarithm of the sigmoid": functional.logsigmoid,
    "exponential": torch.exp,
    "square": torch.square,
    "softmax over channels": lambda a: a.softmax(min(1, a.ndim - 1)),
    "softmax over the last axis": lambda a: a.softmax(-1),
    "mean over channels": lambda a: a.mean(min(1, a.ndim - 1), keepdim=True).expand_as(a),
    "mean over rows and columns": lambda a: a.mean((-2, -1) if a.ndim > 1 else -1, keepdim=True).expand_as(a),
    "first sample, for all samples": lambda a: a[:1].expand_as(a),
    "mean over samples": lambda a: a.mean(0, keepdim=True).expand_as(a),
    "hard choice, the largest alone": lambda a: 1e6 * (a - a.amax(min(1, a.ndim - 1), keepdim=True)),
    "quotient by the root of the number of channels": lambda a: a / a.shape[min(1, a.ndim - 1)] ** 0.5,
    "product with the root of the number of channels": lambda a: a * a.shape[min(1, a.ndim - 1)] ** 0.5,
    "length one over channels": lambda a: a / a.norm(dim=min(1, a.ndim - 1), keepdim=True),
}


def of_arguments(attempt: Attempt) -> str | None:
    """Right, had one or two of the whole numbers among the arguments been others."""
    whole = [i for i, a in enumerate(attempt.draws[0]) if isinstance(a, int) and not isinstance(a, bool)]
    changes: dict[str, Callable[[int, int], int]] = {
        "`{0}` is taken once less": lambda n, _: n - 1,
        "`{0}` is taken once more": lambda n, _: n + 1,
        "`{0}` is taken twice": lambda n, _: 2 * n,
        "`{0}` is halved": lambda n, _: n // 2,
        "`{0}` is squared": lambda n, _: n * n,
        "`{0}` is 1 for you": lambda n, _: 1,
    }
    between: dict[str, Callable[[int, int], int]] = {
        "`{0}` is `{0} - {1} + 1` for you": lambda n, k: n - k + 1,
        "`{0}` is `{0} - {1}` for you": lambda n, k: n - k,
        "`{0}` is divided by `{1}`, once too often": lambda n, k: n // k,
        "`{0}` is multiplied by `{1}`, once too often": lambda n, k: n * k,
        "`{1}` stands where `{0}` belongs": lambda n, k: k,
    }
    for chosen in [group for size in (1, 2) for group in combinations(whole, size)]:
        others = [i for i in whole if i not in chosen]
        tried = [(text, f, chosen[0]) for text, f in changes.items()]
        tried += [(text, f, other) for text, f in between.items() for other in others]
        for text, function, other in tried:
            draws = [[*draw] for draw in attempt.draws]
            for draw in draws:
                for i in chosen:
                    draw[i] = function(draw[i], draw[other])
            if _same(attempt, attempt.answer, draws, attempt.given):
                told = " and ".join(text.format(attempt.names[i], attempt.names[other]) for i in chosen)
                return f"right, but {told}"
    return None


def _like(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor | np.ndarray) and isinstance(other, torch.Tensor | np.ndarray):
        return one.shape == other.shape
    return type(one) is type(other) and isinstance(one, int | float | list | torch.nn.Module)


def _moved(argument: Any) -> Any:
    """Another value of the same kind; None if there is none."""
    if isinstance(argument, torch.Tensor | np.ndarray):
        kind = np.asarray(argument).dtype.kind
        return argument * 1.3 + 0.7 if kind == "f" else ~argument if kind == "b" else None
    if isinstance(argument, float):
        return argument * 0.9
    return argument + 2 if isinstance(argument, int) else None


def _same(
    attempt: Attempt, function: Callable[..., Any], draws: Sequence[Sequence[Any]], results: list[Arrays]
) -> bool | None:
    try:
        return all(
            len(found := arrays(function(*copy.deepcopy(draw)))) == len(result)
            and all(map(attempt.close, found, result))
            for draw, result in zip(draws, results, strict=True)
        )
    except Exception:  # these arguments cannot change places, or not to that
        return None
