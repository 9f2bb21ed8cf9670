"""One liver cell, two channels, and a gate with weights that can be worked on paper: lessons 02 to 05 follow it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from msa2net_lib.nn.masag import MASAG, MASAGTrace

PLACE = {"case": "case2001", "slice": 41, "level": 0, "cell": (12, 9), "channels": (12, 18)}
"""Where the numbers were read, in the network that ships; rounded to one decimal."""
X_ROW = ((1.5, -0.5, 6.6, -6.1), (0.3, 0.9, 4.2, 2.1))
"""X in both channels: the cell to the left, the cell itself, the next two to the right."""
G_CELL = (0.8, -0.1)
"""G in both channels at the cell itself."""
CENTER = 3


def worked_inputs() -> tuple[Tensor, Tensor]:
    """X and G, (1, 2, 7, 7) in float64: the numbers above, the cell itself in the middle, zeros elsewhere."""
    x, g = torch.zeros(2, 1, 2, 7, 7, dtype=torch.float64)
    x[0, :, CENTER, CENTER - 1 : CENTER + 3] = torch.tensor(X_ROW, dtype=torch.float64)
    g[0, :, CENTER, CENTER] = torch.tensor(G_CELL, dtype=torch.float64)
    return x, g


@torch.no_grad()
def worked_gate() -> MASAG:
    """The library's gate for two channels in evaluation mode, float64, with simple weights; its norms do nothing."""
    gate = MASAG(2).double().eval()
    for module in gate.modules():
        if isinstance(module, nn.BatchNorm2d):
            # Mean 0, and a variance that is 1 with eps: what comes in goes out. torch 2.11 refuses an eps of 0.
            module.running_var.fill_(1 - module.eps)  # pyright: ignore[reportOptionalMemberAccess]
        if isinstance(module, nn.Conv2d):
            module.weight.zero_()
            assert module.bias is not None
            module.bias.zero_()
    local, mix = gate.fusion.local_context, gate.fusion.global_context.mix
    local.depthwise.weight[:, 0, 1] = torch.tensor([0.5, 1.0, 0.0])  # half of the left cell and the cell itself
    local.dilated.weight[:, 0, 1] = torch.tensor(
        [0.0, 1.0, 0.5]
    )  # the cell itself and half of the one two to the right
    _set(local.pointwise, [[0.5, 0.5], [0.5, -0.5]])
    _set(mix, [[1.0, 0.5]])  # the mean and half of the maximum
    _set(gate.selection.project, [[1.0, 1.0], [0.0, -1.0]])
    _set(gate.recalibration.attend, [[4.0, 0.0], [0.0, 4.0]])
    _set(gate.recalibration.project, [[1.0, 1.0], [1.0, -1.0]])
    return gate


def worked_cell() -> dict[str, list[float]]:
    """Every tensor of the pass by its name in `MASAGTrace`: its one or two numbers at the cell."""
    with torch.inference_mode():
        trace: MASAGTrace = worked_gate().trace(*worked_inputs())
    return {name: tensor[0, :, CENTER, CENTER].tolist() for name, tensor in trace.items()}


def _set(convolution: nn.Conv2d, weights: list[list[float]]) -> None:
    convolution.weight[:, :, 0, 0] = torch.tensor(weights)
