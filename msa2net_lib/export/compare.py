"""What an exported file computes, beside what the module computes that it was made from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from msa2net_lib.errors import InputError

if TYPE_CHECKING:
    from msa2net_lib.export.formats import Format, Run

TOLERANCE = 1e-4
"""Largest absolute difference of the output between a file and its module."""


class DifferentOutputsError(ArithmeticError):
    """A file was written whole and computes something else than its module; it is not kept."""


class Difference(NamedTuple):
    """How far two outputs are apart: the largest absolute difference, and the share of equal argmax over axis 1."""

    largest: float
    equal_argmax: float

    def __str__(self) -> str:
        return f"largest difference {self.largest:.1e}, equal argmax {percent(self.equal_argmax)}"


def percent(share: float) -> str:
    """A share in percent, cut to three decimals and not rounded: 100 % says that not one is missing."""
    return f"{math.floor(1e5 * share) / 1e3:g} %"


@dataclass(frozen=True)
class Exported:
    """A file that was written and compared: on which inputs, by name, and how far apart; ``bytes`` is its size."""

    path: Path
    format: Format
    compared: dict[str, Difference]
    bytes: int

    @property
    def largest_difference(self) -> float:
        """Absolute, over all values of all inputs compared."""
        return max(difference.largest for difference in self.compared.values())

    @property
    def equal_argmax(self) -> float:
        """The smallest share, over all inputs compared, of positions whose largest channel is the same."""
        return min(difference.equal_argmax for difference in self.compared.values())

    def __str__(self) -> str:
        worst = Difference(self.largest_difference, self.equal_argmax)
        return f"{self.path} ({self.format}, {self.bytes / 1e6:.1f} MB): {worst}"


def compare(module: nn.Module, run: Run, probe: Mapping[str, Tensor]) -> Difference:
    """Run a loaded file and its module on the same inputs. Raises: `DifferentOutputsError` for another shape."""
    inputs = tuple(probe.values())
    with torch.no_grad():
        expected = module(*inputs)
    if not expected.isfinite().all():
        raise InputError("the network's output is not finite: its weights are damaged; export another checkpoint")
    computed = run(*inputs)
    if computed.shape != expected.shape:
        raise DifferentOutputsError(
            f"the file's output has shape {tuple(computed.shape)}, PyTorch's {tuple(expected.shape)}"
        )
    equal = (computed.argmax(dim=1) == expected.argmax(dim=1)).double().mean()
    return Difference(float((computed - expected).abs().max()), float(equal))


def compare_all(
    module: nn.Module, run: Run, probes: Mapping[str, Mapping[str, Tensor]], tolerance: float = TOLERANCE
) -> dict[str, Difference]:
    """Compare on every input and return the differences by its name.

    Raises: `DifferentOutputsError` for the first above ``tolerance``, or that is not a number.
    """
    differences = {}
    for name, probe in probes.items():
        differences[name] = compare(module, run, probe)
        if not differences[name].largest <= tolerance:  # so that nan is refused too
            raise DifferentOutputsError(
                f"the file's output is not PyTorch's: on {name}, {differences[name]}; the limit is {tolerance:.0e}; "
                "try the other format (--format), or allow more (--tolerance, in Python tolerance=)"
            )
    return differences
