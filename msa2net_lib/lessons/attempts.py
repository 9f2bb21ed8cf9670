"""What a reader's function made of the inputs of a check, beside what it should have made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from msa2net_lib.metrics.masks import as_array

Arrays = list[np.ndarray]
Pairs = list[tuple[np.ndarray, np.ndarray]]
"""What was given and what was expected, an entry a draw."""
Call = tuple[str, list[torch.Tensor], Any]
"""A layer's name, what went into it and what came out."""
AXES = {4: ("samples", "channels", "rows", "columns"), 3: ("samples", "channels", "positions"), 2: ("rows", "columns")}
ORDINALS = ("first", "second", "third", "fourth")


@dataclass(frozen=True)
class Attempt:
    """The reader's function and the right one, and what both made of the same draws."""

    yours: Callable[..., Any]
    answer: Callable[..., Any]
    names: Sequence[str]
    draws: list[tuple[Any, ...]]
    returned: list[Any]
    given: list[Arrays]
    expected: list[Arrays]
    changed: list[str]
    calls: tuple[list[Call], list[Call]]
    tolerance: float

    def close(self, one: np.ndarray, other: np.ndarray) -> bool:
        """Whether two arrays have one shape and the same numbers, to six digits."""
        return one.shape == other.shape and np.allclose(one, other, rtol=1e-6, atol=self.tolerance, equal_nan=True)

    def pairs(self, index: int) -> Pairs:
        """What was given and expected of one result, over all draws."""
        return [(one[index], other[index]) for one, other in zip(self.given, self.expected, strict=True)]

    def right(self, index: int) -> bool:
        """Whether one result is right on all draws."""
        return all(self.close(*pair) for pair in self.pairs(index))


def arrays(result: Any) -> Arrays:
    """The results of a function, one or several in a tuple or list, as arrays of float64."""
    parts = result if isinstance(result, tuple | list) else (result,)
    found = [as_array(part.resolve_conj().resolve_neg() if isinstance(part, torch.Tensor) else part) for part in parts]
    for part, array in zip(parts, found, strict=True):
        if array.dtype.kind == "c":
            raise TypeError("a result is complex: take its real part, or its magnitude (abs)")
        if array.dtype.kind not in "biuf":
            raise TypeError(f"a result is {type(part).__name__}, where numbers are expected")
    return [array.astype(float) for array in found]


def changed_arguments(names: Sequence[str], before: Sequence[Any], after: Sequence[Any]) -> Iterator[str]:
    """What a function did to its arguments: arrays written into, modules in another mode or with other weights."""
    for name, one, other in zip(names, before, after, strict=True):
        if isinstance(one, torch.nn.Module):
            modes = [(a.training, b.training) for a, b in zip(one.modules(), other.modules(), strict=False)]
            if now := {b for a, b in modes if a != b}:
                yield f"`{name}` was switched to {'training' if True in now else 'evaluation'} mode"
            was, left = one.state_dict(), other.state_dict()
            if was.keys() != left.keys() or any(not torch.equal(was[key], left[key]) for key in was):
                yield f"the weights or running statistics of `{name}` were changed"
        elif isinstance(one, torch.Tensor | np.ndarray):
            a, b = np.asarray(one), np.asarray(other.detach() if isinstance(other, torch.Tensor) else other)
            if a.shape != b.shape or not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
                yield f"`{name}` was written into"
        elif isinstance(one, list | tuple):
            if len(one) != len(other) or any(changed_arguments([name] * len(one), one, other)):
                yield f"`{name}` was written into"
        elif isinstance(one, int | float) and one != other:  # in a list
            yield f"`{name}` was written into"


def which(indices: Sequence[int]) -> str:
    names = " and ".join(f"the {ORDINALS[i]}" for i in indices)
    return f"{names} {'is' if len(indices) == 1 else 'are'}"


def example(attempt: Attempt) -> str:
    """The draw with the smallest inputs that is wrong, in words."""
    wrong = [
        (sum(np.asarray(a).size for a in draw), i)
        for i, draw in enumerate(attempt.draws)
        if not all(map(attempt.close, attempt.given[i], attempt.expected[i]))
    ]
    _, index = min(wrong)
    inputs = ", ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in zip(attempt.names, attempt.draws[index], strict=False)
        if isinstance(value, int | float | list)
    )
    own, right = (", ".join(f"{float(a):.5g}" for a in found[index]) for found in (attempt.given, attempt.expected))
    return f"{'for ' + inputs + ': ' if inputs else ''}yours {own}, expected {right}"
