"""The one table of skip gates: each with its source, its equation and how to build it.

Every list of gates, legend, option, report row and test parameter is derived from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from torch import nn

from msa2net_lib.errors import InputError
from msa2net_lib.utils.tables import read_table

if TYPE_CHECKING:
    from msa2net_lib.nn.masag import Dilated

GateKind = Literal["alternative", "masag", "control"]


@dataclass(frozen=True)
class GateInfo:
    """A skip gate: its name, what it is, where it comes from and what it computes.

    equation: of y in LaTeX, with X skip features, G gating features, A the map. symbols: what else stands in it, in
    words or LaTeX between dollars. made_by: "module:class" below `msa2net_lib.nn`; takes: what the class is called
    with, channels and, for gates with MASAG inside, dilated. uses_g: whether y depends on g. has_map: whether there is
    a map. dims: of the convolutions inside.
    """

    name: str
    title: str
    kind: GateKind
    source: str
    equation: str
    made_by: str
    takes: tuple[str, ...] = ("channels",)
    uses_g: bool = True
    has_map: bool = True
    dims: Literal[2, 3] = 2
    symbols: str = ""

    def build(self, channels: int, dilated: Dilated) -> nn.Module:
        """The module: ``gate(x, g) -> y`` and ``gate.attention(x, g) -> map or None`` on maps (b, c, h, w)."""
        module, _, name = self.made_by.partition(":")
        given: dict[str, Any] = {"channels": channels, "dilated": dilated}
        return getattr(import_module(f"msa2net_lib.nn.{module}"), name)(*(given[one] for one in self.takes))


GATES: dict[str, GateInfo] = {name: GateInfo(name, **fields) for name, fields in read_table("gates").items()}
"""Every gate by name, in the order in which lessons and tables show them."""


def list_gates() -> list[str]:
    """List the names of all skip gates.

    Returns:
        Names for ``gate=`` and `build_gate`, in the order of lessons and tables.

    Example:
        >>> from msa2net_lib import list_gates
        >>> "masag" in list_gates()
        True

    Source: `nn.gates.GATES`.
    """
    return list(GATES)


def find_gate(name: str) -> GateInfo:
    """Look a gate up by its name. Raises: `InputError` for an unknown one."""
    if name not in GATES:
        raise InputError(f"gate={name!r} is unknown: use one of {', '.join(GATES)}")
    return GATES[name]


def build_gate(name: str, channels: int, dilated: Dilated = "depthwise") -> nn.Module:
    """Build a gate of `GATES` by its name.

    Args:
        name: one of `list_gates`.
        channels: C, of skip and gating features.
        dilated: "depthwise" or "dense", where MASAG is inside.

    Returns:
        A module: called with x and g, both (B, C, H, W), it gives y (B, C, H, W); ``attention(x, g)`` is its map in
        (0, 1), or None.

    Raises:
        InputError: an unknown name.

    Example:
        >>> import torch
        >>> from msa2net_lib import build_gate
        >>> x, g = torch.randn(1, 8, 4, 4), torch.randn(1, 8, 4, 4)
        >>> gate = build_gate("attention", channels=8)
        >>> gate(x, g).shape, gate.attention(x, g).shape
        (torch.Size([1, 8, 4, 4]), torch.Size([1, 1, 4, 4]))

    Source: `GATES`, entry by entry.
    """
    return find_gate(name).build(channels, dilated)
