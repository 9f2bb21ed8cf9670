"""Skip gates behind one interface: gate(x, g) turns skip features x into what is added to g."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from msa2net_lib.nn.masag import MASAG, Dilated

if TYPE_CHECKING:
    from jaxtyping import Float

    from msa2net_lib.config import Gate


class Addition(nn.Module):
    """No gate: the skip features pass unchanged. Shapes: x, g (b, c, h, w) -> x."""

    def forward(self, x: Float[Tensor, "b c h w"], g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x


def build_gate(name: Gate, channels: int, dilated: Dilated) -> nn.Module:
    """Build the gate that a config names ("masag" or "addition"), for ``channels`` channels."""
    if name == "masag":
        return MASAG(channels, dilated)
    return Addition()
