"""A check compares the reader's function with the library's and names likely mistakes."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from html import escape
from numbers import Integral
from textwrap import shorten
from types import ModuleType
from typing import Any

import numpy as np
import torch
from IPython.display import HTML, display
from matplotlib.figure import Figure
from torch import Tensor, nn

from msa2net_lib.errors import InputError
from msa2net_lib.lessons import diagnoses
from msa2net_lib.lessons.attempts import Attempt, Call, arrays, changed_arguments
from msa2net_lib.lessons.check_figure import plot_worst, worst_place

Draw = Callable[[np.random.Generator], tuple[Any, ...]]
MOST_LETTERS = 500
"""Of a line about what the reader's code raised; errors of some packages are pages long."""


@dataclass(frozen=True)
class Check:
    """One exercise: the right answer, how inputs are drawn, and the mistakes that have a name.

    Inputs are random, in float64 and of random shape, seeded; the right answers are computed before anything is handed
    out, and what is handed out are deep copies, which have to come back as they were. A function is right if it agrees
    with ``answer`` on all inputs; if it agrees with a mistake instead, that mistake is named, and else the first of
    `diagnoses.GENERAL` that fits. Answers are numbers, arrays or tensors, or several of them in a tuple; where the
    right answer is a whole number, so has the reader's to be. ``use`` makes of a function that a reader writes, the
    answer and the mistakes included, what is called.
    """

    name: str
    answer: Callable[..., Any]
    draw: Draw
    mistakes: dict[str, Callable[..., Any]]
    rounds: int = 5
    tolerance: float = 1e-6
    use: Callable[[Any], Callable[..., Any]] = lambda yours: yours
    _at_first: dict[str, list[np.ndarray]] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What each mistake gives at the first draw, which is always the same and where most answers part from it."""

    def __call__(self, yours: Any) -> bool:
        """Try ``yours``, say what is wrong, return whether it is right; the worst map is shown beside the right one."""
        attempt, found = self._attempt(yours)
        print(f"{self.name}: {found or 'correct'}")
        if found is not None and attempt is not None and not diagnoses.untouched(attempt):
            if (worst := worst_place(attempt)) is not None:
                print(worst)
            if (figure := plot_worst(attempt)) is not None:
                display(figure)
        return found is None

    def diagnosis(self, yours: Any) -> str | None:
        """What is wrong with ``yours``, in one line; None if nothing is."""
        return self._attempt(yours)[1]

    def figure(self, yours: Any) -> Figure | None:
        """Target, yours and their difference where ``yours`` is worst; None unless both are maps of one shape."""
        attempt, found = self._attempt(yours)
        return plot_worst(attempt) if attempt and found and not diagnoses.untouched(attempt) else None

    def _attempt(self, yours: Any) -> tuple[Attempt | None, str | None]:
        draws, answer = self._inputs(), self.use(self.answer)
        names = _names(yours, answer, len(draws[0]))
        right_calls: list[Call] = []
        right = [answer(*_watched(names, copy.deepcopy(draw), right_calls if i == 0 else None))
                 for i, draw in enumerate(draws)]  # fmt: skip
        expected = [arrays(result) for result in right]
        calls: list[Call] = []
        returned, given, changed = [], [], []
        try:
            if not callable(yours):
                raise InputError(f"it is {type(yours).__name__}, what a function gives: hand over the function itself")
            function = self.use(yours)
            for i, draw in enumerate(draws):
                handed = _watched(names, copy.deepcopy(draw), calls if i == 0 else None)
                returned.append(function(*handed))
                changed += changed_arguments(names, draw, handed)
            attempt = Attempt(function, answer, names, draws, returned, given, expected, changed,
                              (calls, right_calls), self.tolerance)  # fmt: skip
            if told := diagnoses.no_result(attempt):
                return None, told
            given += [arrays(result) for result in returned]
        except InputError as error:  # a check's own line about what it was given
            return None, str(error)
        except (Exception, SystemExit) as error:  # whatever the reader's code raises is part of the answer
            return None, shorten(f"it raised {type(error).__name__}: {error}", MOST_LETTERS)
        if self._agree(given, expected):
            return attempt, self._spoilt(attempt, right)
        return attempt, _also(self._named(attempt), attempt)

    def _named(self, attempt: Attempt) -> str:
        """The first mistake that fits. Guesses may divide by zero; what the reader's code warns of has been said."""
        given = attempt.given
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for message, mistake in self.mistakes.items():
                planted, (first, *others) = self.use(mistake), attempt.draws
                if message not in self._at_first:
                    self._at_first[message] = arrays(planted(*copy.deepcopy(first)))
                if self._agree(given[:1], [self._at_first[message]]) and all(
                    self._agree([one], [arrays(planted(*copy.deepcopy(draw)))])
                    for one, draw in zip(given[1:], others, strict=True)
                ):
                    return message
            for ask in diagnoses.GENERAL:
                if told := ask(attempt):
                    return told
        return f"not yet: largest difference {max(map(_gap, given, attempt.expected)):.3g}"

    def _spoilt(self, attempt: Attempt, right: list[Any]) -> str | None:
        """What is wrong where all numbers are right: a type, or an argument that was written into."""
        if attempt.changed:
            return f"the result is right, but {attempt.changed[0]}: leave what you are given as it was"
        for own, other in zip(map(_parts, attempt.returned), map(_parts, right), strict=True):
            for one, two in zip(own, other, strict=True):
                if (
                    isinstance(two, int)
                    and not isinstance(one, Integral)
                    and "int" not in str(getattr(one, "dtype", ""))
                ):
                    return f"the value is right, but it is {type(one).__name__}: a whole number is expected (// for /)"
                kinds = [str(getattr(part, "dtype", "")).removeprefix("torch.") for part in (one, two)]
                low = kinds[0] in ("float32", "float16", "bfloat16")
                if kinds[1] == "float64" and low and np.ndim(one):  # pyright: ignore[reportArgumentType]
                    return f"the result is right, but in {kinds[0]}, of low precision: keep the inputs' float64"
        told = diagnoses.detached(attempt)
        return told and f"the numbers are right, but {told}"

    def _inputs(self) -> list[tuple[Any, ...]]:
        return [self.draw(np.random.default_rng(seed)) for seed in range(self.rounds)]

    def _agree(self, given: list[list[np.ndarray]], expected: list[list[np.ndarray]]) -> bool:
        return all(
            len(a) == len(b)
            and all(
                one.shape == other.shape and np.allclose(one, other, rtol=0, atol=self.tolerance, equal_nan=True)
                for one, other in zip(a, b, strict=True)
            )
            for a, b in zip(given, expected, strict=True)
        )


def checks_of(module: ModuleType) -> dict[str, Check]:
    """The checks that a room's module `checks` offers, by the names that a lesson calls them by."""
    return {name: value for name, value in vars(module).items() if isinstance(value, Check)}


def reveal(*pieces: Any) -> HTML:
    """The answer, folded: the library's own source of classes or functions, as it is now."""
    source = "\n\n".join(inspect.getsource(piece) for piece in pieces)
    return HTML(f"<details><summary>Answer: the library's own source</summary><pre>{escape(source)}</pre></details>")


def random_tensor(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    """A float64 tensor of standard normal numbers."""
    return torch.from_numpy(rng.standard_normal(shape))


def random_pointwise(rng: np.random.Generator, channels_in: int, channels_out: int) -> torch.nn.Conv2d:
    """A 1x1 convolution in float64 with weights from ``rng``."""
    layer = torch.nn.Conv2d(channels_in, channels_out, 1).double()
    with torch.no_grad():
        layer.weight.copy_(random_tensor(rng, channels_out, channels_in, 1, 1))
        layer.bias.copy_(random_tensor(rng, channels_out))  # pyright: ignore[reportOptionalMemberAccess]
    return layer


def _parts(result: Any) -> tuple[Any, ...]:
    return tuple(result) if isinstance(result, tuple | list) else (result,)


def _names(yours: Any, answer: Callable[..., Any], count: int) -> list[str]:
    """The names of the arguments, as the reader's function has them if it has as many, else as the answer has."""
    for function in (yours, answer):
        try:
            names = [*inspect.signature(function).parameters]
        except (TypeError, ValueError):
            continue
        if len(names) == count:
            return names
    return [f"argument {position + 1}" for position in range(count)]


def _watched(names: Sequence[str], arguments: tuple[Any, ...], calls: list[Call] | None) -> tuple[Any, ...]:
    """The arguments; calls of the layers among them are put into ``calls``, with a copy of what went in."""
    if calls is None:
        return arguments
    for name, argument in zip(names, arguments, strict=True):
        if isinstance(argument, nn.Module):
            for path, layer in argument.named_modules():
                if not [*layer.children()]:
                    noted = partial(_note_call, calls, _layer_name(name, path, layer))
                    layer.register_forward_hook(noted, with_kwargs=True)
        elif callable(watch := getattr(argument, "watch", None)):  # what is built of it has layers to look at
            watch(partial(_note, calls))
    return arguments


def _note_call(
    calls: list[Call], name: str, layer: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any
) -> None:
    _note(calls, name, layer, (*inputs, *named.values()), output)


def _note(calls: list[Call], name: str, _layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
    kept = output.detach().clone() if isinstance(output, Tensor) else None
    calls.append((name, [value.detach().clone() for value in inputs if isinstance(value, Tensor)], kept))


def _also(told: str, attempt: Attempt) -> str:
    """The line, and what was done to an argument on the way, if the line does not say so."""
    return told if not attempt.changed or attempt.changed[0] in told else f"{told}; and {attempt.changed[0]}"


def _layer_name(name: str, path: str, layer: nn.Module) -> str:
    if path and not path.replace(".", "").isdigit():
        return f"`{name}.{path}`"
    kind = "the batch norm of " if isinstance(layer, nn.BatchNorm2d) else "the convolution of " if path else ""
    return f"{kind}`{name}`"


def _gap(given: list[np.ndarray], expected: list[np.ndarray]) -> float:
    return max(float(np.max(np.abs(a - b))) for a, b in zip(given, expected, strict=True))
