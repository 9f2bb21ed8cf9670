"""The Multi-Scale Adaptive Spatial Attention Gate (MASAG), one module per stage (paper, section 3.3).

Notation: ``x`` skip features from the encoder, ``g`` gating features from the decoder, ``u`` fused
features; all are feature maps (b, c, h, w) of one size. With ``dims=3`` they are maps (b, c, d, h, w) and
kernels are cubes; every other step is the same. This module needs torch and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from jaxtyping import Float

Dilated = Literal["depthwise", "dense"]
Dims = Literal[2, 3]
_CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}
_NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def _layers(dims: int) -> tuple[Any, Any]:
    """Convolution and batch norm for maps of that many dimensions."""
    if dims not in _CONVOLUTION:
        raise ValueError(f"dims={dims!r}: use 2 for maps (b, c, h, w) or 3 for volumes (b, c, d, h, w)")
    return _CONVOLUTION[dims], _NORM[dims]


def _require_one_shape(x: Tensor, g: Tensor) -> None:
    """Without this a g of one channel, one cell or one image would be broadcast over x, and nobody would know."""
    if x.shape != g.shape:
        raise ValueError(
            f"x of shape {tuple(x.shape)} and g of shape {tuple(g.shape)}: MASAG takes two of one shape; "
            "msa2net_lib.nn.adapters.GatedSkip brings g to the channels and the grid of x"
        )


class LocalContext(nn.Sequential):
    """Local context of the skip features: 3x3 depthwise, 3x3 dilated by 2, then pointwise convolution.

    Shape: (b, c, h, w) -> (b, c, h, w); a cell sees 7 x 7 cells of the input (in 3-D 7 x 7 x 7 voxels).
    ``dilated="depthwise"`` is Equation 1's DW-D; ``"dense"`` is what the released code builds.
    Batch norm after each convolution and ReLU after the first two come from the released code.
    """

    def __init__(self, channels: int, dilated: Dilated = "depthwise", dims: Dims = 2):
        if dilated not in ("depthwise", "dense"):
            raise ValueError(f"dilated={dilated!r}: use 'depthwise' (Equation 1) or 'dense' (released code)")
        groups = channels if dilated == "depthwise" else 1
        convolution, norm = _layers(dims)
        super().__init__()
        self.depthwise = convolution(channels, channels, 3, padding=1, groups=channels)
        self.depthwise_norm = norm(channels)
        self.depthwise_activation = nn.ReLU()
        self.dilated = convolution(channels, channels, 3, padding=2, dilation=2, groups=groups)
        self.dilated_norm = norm(channels)
        self.dilated_activation = nn.ReLU()
        self.pointwise = convolution(channels, channels, 1)
        self.pointwise_norm = norm(channels)


class GlobalContext(nn.Module):
    """Global context of the gating features: mean and maximum over channels, mixed by a 1x1 convolution.

    Shape: (b, c, h, w) -> (b, 1, h, w). Source: Equation 1, second term; batch norm from the released code.
    """

    def __init__(self, dims: Dims = 2) -> None:
        super().__init__()
        convolution, norm = _layers(dims)
        self.mix = convolution(2, 1, 1)
        self.norm = norm(1)

    def forward(self, g: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b 1 *grid"]:
        pooled = torch.cat([g.mean(dim=1, keepdim=True), g.amax(dim=1, keepdim=True)], dim=1)
        return self.norm(self.mix(pooled))


class MultiScaleFusion(nn.Module):
    """Stage 1: add local context of ``x`` and global context of ``g``, then normalize (Equation 1).

    Shapes: x, g (b, c, h, w) -> u (b, c, h, w); the one-channel global map is broadcast over channels.
    """

    def __init__(self, channels: int, dilated: Dilated = "depthwise", dims: Dims = 2):
        super().__init__()
        self.local_context = LocalContext(channels, dilated, dims)
        self.global_context = GlobalContext(dims)
        self.norm = _layers(dims)[1](channels)

    def forward(self, x: Float[Tensor, "b c *grid"], g: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b c *grid"]:
        return self.norm(self.local_context(x) + self.global_context(g))


class SpatialSelection(nn.Module):
    """Stage 2: per cell, how much to trust ``x`` and how much ``g`` (Equations 2 and 3).

    Shapes: u, x, g (b, c, h, w) -> x', g' (b, c, h, w). The two weights sum to one at every cell.
    """

    def __init__(self, channels: int, dims: Dims = 2):
        super().__init__()
        self.project = _layers(dims)[0](channels, 2, 1)

    def weights(self, u: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b 2 *grid"]:
        """Selection weights of ``u``: channel 0 is for ``x``, channel 1 for ``g``."""
        return self.project(u).softmax(dim=1)

    def forward(
        self, u: Float[Tensor, "b c *grid"], x: Float[Tensor, "b c *grid"], g: Float[Tensor, "b c *grid"]
    ) -> tuple[Float[Tensor, "b c *grid"], Float[Tensor, "b c *grid"]]:
        weight_x, weight_g = self.weights(u).chunk(2, dim=1)
        return weight_x * x + x, weight_g * g + g


class CrossModulation(nn.Module):
    """Stage 3: each input is gated by the other's sigmoid, then both are multiplied (Equation 4).

    Shapes: x', g' (b, c, h, w) -> u' (b, c, h, w). It has no parameters.
    """

    def forward(
        self, x_selected: Float[Tensor, "b c *grid"], g_selected: Float[Tensor, "b c *grid"]
    ) -> Float[Tensor, "b c *grid"]:
        x_modulated = x_selected * g_selected.sigmoid()
        g_modulated = g_selected * x_selected.sigmoid()
        return x_modulated * g_modulated


class Recalibration(nn.Module):
    """Stage 4: turn u' into an attention map and weigh the *original* skip features by it (Equation 6).

    Shapes: u', x (b, c, h, w) -> y (b, c, h, w). Batch norms come from the released code.
    """

    def __init__(self, channels: int, dims: Dims = 2):
        super().__init__()
        convolution, norm = _layers(dims)
        self.attend = convolution(channels, channels, 1)
        self.attend_norm = norm(channels)
        self.project = convolution(channels, channels, 1)
        self.project_norm = norm(channels)

    def attention(self, u_modulated: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b c *grid"]:
        """The attention map in (0, 1), one value per cell and channel."""
        return self.attend_norm(self.attend(u_modulated)).sigmoid()

    def forward(
        self, u_modulated: Float[Tensor, "b c *grid"], x: Float[Tensor, "b c *grid"]
    ) -> Float[Tensor, "b c *grid"]:
        return self.project_norm(self.project(self.attention(u_modulated) * x))


@dataclass(frozen=True)
class MASAGTrace:
    """Every intermediate tensor of one pass through the gate, in the order in which it is computed."""

    x: Tensor
    """Skip features X (b, c, h, w)."""
    g: Tensor
    """Gating features G (b, c, h, w)."""
    local_context: Tensor
    """Local context of X (b, c, h, w)."""
    channel_mean: Tensor
    """Mean of G over channels (b, 1, h, w)."""
    channel_max: Tensor
    """Maximum of G over channels (b, 1, h, w)."""
    global_context: Tensor
    """Global context of G (b, 1, h, w)."""
    u: Tensor
    """Fused features U (b, c, h, w)."""
    weight_x: Tensor
    """Selection weight of X (b, 1, h, w); with weight_g it sums to one."""
    weight_g: Tensor
    """Selection weight of G (b, 1, h, w)."""
    x_selected: Tensor
    """X' (b, c, h, w)."""
    g_selected: Tensor
    """G' (b, c, h, w)."""
    x_gate: Tensor
    """sigmoid(G'), what X' is multiplied by (b, c, h, w)."""
    g_gate: Tensor
    """sigmoid(X'), what G' is multiplied by (b, c, h, w)."""
    x_modulated: Tensor
    """X'' (b, c, h, w)."""
    g_modulated: Tensor
    """G'' (b, c, h, w)."""
    u_modulated: Tensor
    """U' (b, c, h, w)."""
    attention: Tensor
    """Attention map in (0, 1) (b, c, h, w)."""
    x_attended: Tensor
    """X weighed by the attention map (b, c, h, w)."""
    output: Tensor
    """The gate's output (b, c, h, w)."""

    def items(self) -> list[tuple[str, Tensor]]:
        """Name and tensor of each step, in order."""
        return [(field.name, getattr(self, field.name)) for field in fields(self)]


class MASAG(nn.Module):
    """The whole gate: fusion, selection, cross-modulation, recalibration.

    Normalizations are as in the reference implementation; the paper has no 3-D gate.

    Args:
        channels: C, of both inputs.
        dilated: the dilated convolution, "depthwise" (Equation 1) or "dense" (reference implementation).
        dims: 2 for maps (B, C, H, W), 3 for volumes (B, C, D, H, W).

    Returns:
        Called with skip features x and gating features g, both (B, C, H, W): the gated skip y (B, C, H, W).

    Raises:
        ValueError: another ``dilated`` or ``dims``, or x and g of two shapes.

    Example:
        >>> import torch
        >>> from msa2net_lib import MASAG
        >>> gate = MASAG(channels=8)
        >>> x, g = torch.randn(2, 8, 6, 5), torch.randn(2, 8, 6, 5)
        >>> gate(x, g).shape
        torch.Size([2, 8, 6, 5])
        >>> gate.trace(x, g).weight_x.shape
        torch.Size([2, 1, 6, 5])

    Source: paper, section 3.3, Equations 1 to 6 and Figure 1.
    """

    def __init__(self, channels: int, dilated: Dilated = "depthwise", dims: Dims = 2):
        super().__init__()
        self.fusion = MultiScaleFusion(channels, dilated, dims)
        self.selection = SpatialSelection(channels, dims)
        self.cross_modulation = CrossModulation()
        self.recalibration = Recalibration(channels, dims)

    def modulate(self, x: Float[Tensor, "b c *grid"], g: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b c *grid"]:
        """The first three stages: U' (b, c, h, w)."""
        _require_one_shape(x, g)
        return self.cross_modulation(*self.selection(self.fusion(x, g), x, g))

    def attention(self, x: Float[Tensor, "b c *grid"], g: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b c *grid"]:
        """The attention map in (0, 1) that x is weighed by, one value per cell and channel."""
        return self.recalibration.attention(self.modulate(x, g))

    def forward(self, x: Float[Tensor, "b c *grid"], g: Float[Tensor, "b c *grid"]) -> Float[Tensor, "b c *grid"]:
        return self.recalibration(self.modulate(x, g), x)

    def trace(
        self,
        x: Float[Tensor, "b c *grid"],
        g: Float[Tensor, "b c *grid"],
        replaced: Mapping[str, Callable[[MASAG, Any], Tensor]] | None = None,
    ) -> MASAGTrace:
        """Compute the same as `forward`, keeping every intermediate tensor by name.

        replaced: other rules for some of `STEPS`; what follows from these tensors is computed from them.
        """
        _require_one_shape(x, g)
        tensors = SimpleNamespace(x=x, g=g)
        for name, rule in (STEPS | dict(replaced or {})).items():
            setattr(tensors, name, rule(self, tensors))
        return MASAGTrace(**vars(tensors))


STEPS: dict[str, Callable[[MASAG, Any], Tensor]] = {
    "local_context": lambda gate, t: gate.fusion.local_context(t.x),
    "channel_mean": lambda gate, t: t.g.mean(dim=1, keepdim=True),
    "channel_max": lambda gate, t: t.g.amax(dim=1, keepdim=True),
    "global_context": lambda gate, t: gate.fusion.global_context(t.g),
    "u": lambda gate, t: gate.fusion.norm(t.local_context + t.global_context),
    "weight_x": lambda gate, t: gate.selection.weights(t.u)[:, :1],
    "weight_g": lambda gate, t: gate.selection.weights(t.u)[:, 1:],
    "x_selected": lambda gate, t: t.weight_x * t.x + t.x,
    "g_selected": lambda gate, t: t.weight_g * t.g + t.g,
    "x_gate": lambda gate, t: t.g_selected.sigmoid(),
    "g_gate": lambda gate, t: t.x_selected.sigmoid(),
    "x_modulated": lambda gate, t: t.x_selected * t.x_gate,
    "g_modulated": lambda gate, t: t.g_selected * t.g_gate,
    "u_modulated": lambda gate, t: t.x_modulated * t.g_modulated,
    "attention": lambda gate, t: gate.recalibration.attention(t.u_modulated),
    "x_attended": lambda gate, t: t.attention * t.x,
    "output": lambda gate, t: gate.recalibration.project_norm(gate.recalibration.project(t.x_attended)),
}
"""How each tensor of a `MASAGTrace` follows from those before it: (gate, the tensors so far by name) -> the tensor."""
