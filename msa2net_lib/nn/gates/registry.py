"""The one table of skip gates: each with its source, its equation and how to build it.

Every list of gates, legend, option, report row and test parameter is derived from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import nn

from msa2net_lib.errors import InputError
from msa2net_lib.nn.gates.aff import AttentionalFusion
from msa2net_lib.nn.gates.attention import AttentionGate
from msa2net_lib.nn.gates.controls import ConstantGate, RandomGate, ShuffledGate
from msa2net_lib.nn.gates.masag_3d import SliceByVolume
from msa2net_lib.nn.gates.plain import Addition, Concatenation
from msa2net_lib.nn.gates.sk import SelectiveKernel
from msa2net_lib.nn.masag import MASAG, Dilated

GateKind = Literal["alternative", "masag", "control"]


@dataclass(frozen=True)
class GateInfo:
    """A skip gate: its name, what it is, where it comes from and what it computes.

    equation: of y in LaTeX, with X skip features, G gating features, A the map. symbols: what else stands in it, in
    words or LaTeX between dollars. build: channels and the kind of
    MASAG's dilated convolution (for gates with MASAG inside) -> module with ``gate(x, g) -> y`` and
    ``gate.attention(x, g) -> map or None`` on maps (b, c, h, w). uses_g: whether y depends on g. has_map: whether
    there is a map. dims: of the convolutions inside.
    """

    name: str
    title: str
    kind: GateKind
    source: str
    equation: str
    build: Callable[[int, Dilated], nn.Module]
    uses_g: bool = True
    has_map: bool = True
    dims: Literal[2, 3] = 2
    symbols: str = ""


_MASAG_EQUATION = r"Y = \mathrm{BN}(\mathrm{Conv}_{1 \times 1}(A \otimes X))"
_STAGES = (
    r"$U' = (X' \otimes \sigma(G')) \otimes (G' \otimes \sigma(X'))$, $X' = w_x X + X$, $G' = w_g G + G$, "
    r"$(w_x, w_g) = \mathrm{softmax}(\mathrm{Conv}(U))$, $U = \mathrm{BN}(\mathrm{local}(X) + \mathrm{global}(G))$"
)
_CONTROL = "a negative control of this workbook"

GATES: dict[str, GateInfo] = {
    gate.name: gate
    for gate in (
        GateInfo(
            "addition",
            "Addition",
            "alternative",
            "no gate; residual skips as in LinkNet, Chaurasia and Culurciello 2017",
            r"Y = X",
            lambda channels, dilated: Addition(),
            uses_g=False,
            has_map=False,
        ),
        GateInfo(
            "concatenation",
            "Concatenation",
            "alternative",
            "U-Net, Ronneberger et al. 2015, with a 1x1 convolution in place of its blocks",
            r"Y = \mathrm{Conv}_{1 \times 1}([X; G])",
            lambda channels, dilated: Concatenation(channels),
            has_map=False,
        ),
        GateInfo(
            "attention",
            "Additive attention gate",
            "alternative",
            "Attention U-Net, Oktay et al. 2018, Equations 1 and 2",
            r"Y = A \otimes X, \quad A = \sigma(\psi(\mathrm{ReLU}(\theta_x X + \phi_g G)))",
            lambda channels, dilated: AttentionGate(channels),
            symbols=r"$\theta_x, \phi_g, \psi$: 1x1 convolutions, each with batch norm",
        ),
        GateInfo(
            "aff",
            "Attentional feature fusion",
            "alternative",
            "Attentional Feature Fusion, Dai et al. 2021, Equations 2 to 4",
            r"Y = A \otimes X + (1 - A) \otimes G, \quad A = \sigma(L(X + G) + \Gamma(\overline{X + G}))",
            lambda channels, dilated: AttentionalFusion(channels),
            symbols=r"bar: mean over cells; $L, \Gamma$: two 1x1 convolutions each, per cell and on the mean",
        ),
        GateInfo(
            "sk",
            "Selective kernel (SK-style)",
            "alternative",
            "Selective Kernel Networks, Li et al. 2019, section 3.1, with skip and decoder as the two branches",
            r"Y = A \otimes X + (1 - A) \otimes G, \quad (A, 1 - A) = \mathrm{softmax}(W(\overline{X + G}))",
            lambda channels, dilated: SelectiveKernel(channels),
            symbols=r"bar: mean over cells; $W$: two linear layers; the softmax is over the two branches",
        ),
        GateInfo(
            "masag",
            "MASAG",
            "masag",
            "MSA²Net, section 3.3, Equations 1 to 6",
            _MASAG_EQUATION + r", \quad A = \sigma(\mathrm{BN}(\mathrm{Conv}_{1 \times 1}(U')))",
            MASAG,
            symbols=_STAGES,
        ),
        GateInfo(
            "masag_3d",
            "MASAG in 3-D",
            "masag",
            "the same four stages with cubic kernels, this workbook's; in a 2-D network a map is a volume of one slice",
            r"Y = \mathrm{BN}(\mathrm{Conv}_{1^3}(A \otimes X)), \quad "
            r"A = \sigma(\mathrm{BN}(\mathrm{Conv}_{1^3}(U')))",
            SliceByVolume,
            dims=3,
            symbols=r"$U'$ by the same stages as in MASAG, on voxels",
        ),
        GateInfo(
            "constant",
            "Constant map",
            "control",
            f"{_CONTROL}: sees neither content nor place",
            _MASAG_EQUATION + r", \quad A = \sigma(a_c)",
            lambda channels, dilated: ConstantGate(channels),
            uses_g=False,
            symbols=r"$a_c$: one learned number per channel",
        ),
        GateInfo(
            "shuffled",
            "Shuffled map",
            "control",
            f"{_CONTROL}: MASAG's values at the wrong places",
            _MASAG_EQUATION + r", \quad A = \pi(A_{\mathrm{MASAG}})",
            ShuffledGate,
            symbols=r"$\pi$: one fixed permutation of the cells",
        ),
        GateInfo(
            "random",
            "Random map",
            "control",
            f"{_CONTROL}: a fixed smooth map, never learned",
            _MASAG_EQUATION + r", \quad A = \sigma(\mathrm{noise})",
            lambda channels, dilated: RandomGate(channels),
            uses_g=False,
            symbols="noise: fixed, on 4 x 4 points, stretched to the map",
        ),
    )
}
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
