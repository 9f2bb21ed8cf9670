"""A check compares the reader's function with the library's and names likely mistakes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from types import ModuleType
from typing import Any

import numpy as np
import torch
from IPython.display import HTML, display
from matplotlib.figure import Figure

from msa2net_lib.viz.plots import figure_grid

Draw = Callable[[np.random.Generator], tuple[Any, ...]]


@dataclass(frozen=True)
class Check:
    """One exercise: the right answer, how inputs are drawn, and the mistakes that have a name.

    Inputs are random, in float64 and of random shape, seeded. A function is right if it agrees with ``answer`` on all
    of them; if it agrees with a mistake instead, that mistake is named. Answers are numbers, arrays or tensors, or
    several of them in a tuple.
    """

    name: str
    answer: Callable[..., Any]
    draw: Draw
    mistakes: dict[str, Callable[..., Any]]
    rounds: int = 5
    tolerance: float = 1e-6

    def __call__(self, yours: Callable[..., Any]) -> bool:
        """Try ``yours``, say what is wrong, return whether it is right; wrong maps are shown beside the right ones."""
        found = self.diagnosis(yours)
        print(f"{self.name}: {found or 'correct'}")
        if found is not None and (figure := self.figure(yours)) is not None:
            display(figure)
        return found is None

    def diagnosis(self, yours: Callable[..., Any]) -> str | None:
        """What is wrong with ``yours``, in one line; None if nothing is."""
        inputs = self._inputs()
        try:
            given = [_arrays(yours(*_copies(arguments))) for arguments in inputs]
        except Exception as error:  # whatever the reader's code raises is part of the answer
            return f"it raised {type(error).__name__}: {error}"
        expected = [_arrays(self.answer(*arguments)) for arguments in inputs]
        for theirs, ours in zip(given, expected, strict=True):
            if len(theirs) != len(ours):
                return f"it returned {len(theirs)} result(s), expected {len(ours)}"
            for one, other in zip(theirs, ours, strict=True):
                if one.shape != other.shape:
                    return f"it returned shape {one.shape}, expected {other.shape}"
        if self._agree(given, expected):
            return None
        for message, mistake in self.mistakes.items():
            if self._agree(given, [_arrays(mistake(*_copies(arguments))) for arguments in inputs]):
                return message
        gap = max(_gap(a, b) for a, b in zip(given, expected, strict=True))
        return f"not yet: largest difference {gap:.3g}"

    def figure(self, yours: Callable[..., Any]) -> Figure | None:
        """Target, yours and their difference for the first input; None unless both are maps of one shape."""
        arguments = self._inputs()[0]
        try:
            given = _arrays(yours(*_copies(arguments)))
        except Exception:  # the diagnosis has told what was raised
            return None
        expected = _arrays(self.answer(*arguments))
        same = len(given) == len(expected) and all(a.shape == b.shape for a, b in zip(given, expected, strict=True))
        if not same or expected[0].ndim < 2 or min(expected[0].shape[-2:]) < 2:
            return None
        figure, axes = figure_grid(len(expected), 3, width=1.7, height=1.7)
        for row, theirs, ours in zip(axes, given, expected, strict=True):
            target, own = (array.reshape(-1, *array.shape[-2:])[0] for array in (ours, theirs))
            limits = {"vmin": float(target.min()), "vmax": float(target.max())}
            for ax, values, title, style in (
                (row[0], target, "target", limits),
                (row[1], own, "yours", limits),
                (row[2], own - target, "yours - target", {"cmap": "RdBu_r"}),
            ):
                ax.imshow(values, **style)
                ax.set_title(title, fontsize=8)
                ax.set_axis_off()
        return figure

    def _inputs(self) -> list[tuple[Any, ...]]:
        return [self.draw(np.random.default_rng(seed)) for seed in range(self.rounds)]

    def _agree(self, given: list[list[np.ndarray]], expected: list[list[np.ndarray]]) -> bool:
        return all(
            one.shape == other.shape and np.allclose(one, other, rtol=0, atol=self.tolerance, equal_nan=True)
            for a, b in zip(given, expected, strict=True)
            for one, other in zip(a, b, strict=True)
        )


def checks_of(module: ModuleType) -> dict[str, Check]:
    """The checks that a room's module `checks` offers, by their names."""
    return {value.name: value for value in vars(module).values() if isinstance(value, Check)}


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


def _arrays(result: Any) -> list[np.ndarray]:
    parts = result if isinstance(result, tuple | list) else (result,)
    return [np.asarray(part.detach() if isinstance(part, torch.Tensor) else part, dtype=float) for part in parts]


def _copies(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """The inputs once more, so that code which writes into them changes nothing for the next."""
    return tuple(a.clone() if isinstance(a, torch.Tensor) else a.copy() if isinstance(a, np.ndarray) else a
                 for a in arguments)  # fmt: skip


def _gap(given: list[np.ndarray], expected: list[np.ndarray]) -> float:
    return max(float(np.max(np.abs(a - b))) for a, b in zip(given, expected, strict=True))
