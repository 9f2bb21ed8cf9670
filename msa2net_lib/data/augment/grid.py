"""One sampling grid for all the geometry that a sample drew, composed in the drawn order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from kornia.geometry.transform import get_affine_matrix2d, get_shear_matrix2d
from torch import Tensor
from torch.nn import functional as F

from msa2net_lib.data.augment.policy import TRANSFORMS, ReleasedDraws

if TYPE_CHECKING:
    from jaxtyping import Float

PIECEWISE = TRANSFORMS.index("piecewise affine")
MOST_NODES = 4
FINE_NODES = 7
"""Nodes at every sixth of the image hold those of two, three and four nodes exactly."""


def sampling_grid(
    draws: ReleasedDraws, height: int, width: int, device: torch.device | str = "cpu"
) -> Float[Tensor, "b h w 2"]:
    """Return where each output pixel is taken from, in grid_sample's coordinates without aligned corners.

    Read backwards from the output: the affine maps that act after the piecewise one, as one matrix; the
    piecewise one, which is given in this direction already, evaluated there; the affine maps before it, as one
    matrix. So the composition is exact, except that the image is not cropped between the transforms: what one
    moves out of it, the next may bring back, and the outermost nodes' moves go on outside the image.
    """
    before, after = affine_maps(draws, height, width)
    bent = (draws.order == PIECEWISE).any(dim=1)
    # Without a piecewise map `after` is the identity, and `before` says everything.
    first = torch.where(bent[:, None, None], after, before)
    columns, rows = (2 * (torch.arange(size, device=device) + 0.5) / size - 1 for size in (width, height))
    grid = _map(_send(first, device), columns, rows[:, None])
    if bent.any():
        chosen = _send(bent.nonzero()[:, 0], device, torch.int64)
        part = grid.index_select(0, chosen)
        field = _send(node_moves(draws)[bent], device)
        moves = F.grid_sample(field, part, mode="bilinear", padding_mode="border", align_corners=True)
        x, y = (part[..., axis] + moves[:, axis] for axis in range(2))
        part = _map(_send(before[bent], device), x, y)
        grid.index_copy_(0, chosen, part)
    return grid


def _map(matrices: Float[Tensor, "b 2 3"], x: Tensor, y: Tensor) -> Float[Tensor, "b h w 2"]:
    """Apply each sample's affine map to coordinates; a row x and a column y stand for the grid that they span.

    The same as `torch.nn.functional.affine_grid`, in a third of the time on a CPU: its product is too narrow for that.
    """
    entries = matrices[:, :, :, None, None]
    mapped = [entries[:, i, 0] * x + entries[:, i, 2] + entries[:, i, 1] * y for i in range(2)]
    return torch.stack(mapped, dim=-1)


def affine_maps(draws: ReleasedDraws, height: int, width: int) -> tuple[Float[Tensor, "b 2 3"], Float[Tensor, "b 2 3"]]:
    """Return the affine maps, output to input, before and after a sample's piecewise one (all before: without)."""
    inverse, order = _inverse_matrices(draws, height, width), draws.acting()
    count = len(draws)
    before = torch.eye(3, dtype=torch.float64).repeat(count, 1, 1)
    after, bent = before.clone(), torch.zeros(count, dtype=torch.bool)
    for numbers in order.unbind(dim=1):
        chosen = inverse[torch.arange(count), numbers]
        before = torch.where(bent[:, None, None], before, before @ chosen)
        after = torch.where(bent[:, None, None], after @ chosen, after)
        bent = bent | (numbers == PIECEWISE)
    # From pixels, counted from the first one's center, to -1..1 from edge to edge.
    scaled = torch.tensor(
        [[2 / width, 0, 1 / width - 1], [0, 2 / height, 1 / height - 1], [0, 0, 1]], dtype=torch.float64
    )
    back = torch.linalg.inv(scaled)
    return (scaled @ before @ back)[:, :2].float(), (scaled @ after @ back)[:, :2].float()


def _inverse_matrices(draws: ReleasedDraws, height: int, width: int) -> Float[Tensor, "b numbers 3 3"]:
    """Output-to-input maps in pixels of each transform, the identity for those that are not affine and for `NONE`."""
    count = len(draws)
    center = torch.tensor([[(width - 1) / 2, (height - 1) / 2]], dtype=torch.float64).repeat(count, 1)
    still, even, straight = torch.zeros_like(center), torch.ones_like(center), torch.zeros(count, dtype=torch.float64)
    size = torch.tensor([width, height], dtype=torch.float64)
    mirror = torch.tensor([-1.0, 1.0], dtype=torch.float64).expand_as(even)
    # imgaug, given one range, shears by one angle: first along y, then along x. This is the inverse of that.
    angle = torch.deg2rad(draws.shear.double())
    sheared = get_shear_matrix2d(center, sx=-angle, sy=angle)
    # Shift, factor and angle of the others, all in one call: on matrices this small, calls are what costs.
    others = {
        "vertical flip": (still, mirror.flip(1), straight),
        "horizontal flip": (still, mirror, straight),
        "scaling": (still, 1 / draws.scale.double(), straight),
        "rotation": (still, even, -draws.rotation.double()),
        "translation": (-draws.translation.double() * size, even, straight),
    }
    shift, factor, turn = (torch.cat(values) for values in zip(*others.values(), strict=True))
    matrices = get_affine_matrix2d(shift, center.repeat(len(others), 1), factor, turn).split(count)
    maps = {"shear": sheared} | dict(zip(others, matrices, strict=True))
    identity = torch.eye(3, dtype=torch.float64).repeat(count, 1, 1)
    return torch.stack([maps.get(name, identity) for name in TRANSFORMS] + [identity], dim=1)


def node_moves(draws: ReleasedDraws) -> Float[Tensor, "b 2 7 7"]:
    """Return the moves of the piecewise map, along x and y, on `FINE_NODES` squared nodes over -1..1.

    As in imgaug, a node is moved within the image only. Between nodes the move is bilinear, where imgaug's is
    linear on triangles: it is the same on the lines between neighboring nodes and, within a cell, lies between
    what the two ways to halve the cell give.
    """
    targets = []
    for axis in range(2):
        counts = draws.nodes[:, 1 - axis]
        place = 2 * torch.arange(MOST_NODES) / (counts[:, None] - 1) - 1
        place = place[:, None, :] if axis == 0 else place[:, :, None]
        moved = place + 2 * draws.sigma[:, None, None] * draws.moves[:, axis]
        targets.append(moved.clamp(-1, 1) - place)
    coarse = torch.stack(targets, dim=1)
    rows, columns = (_refinement(draws.nodes[:, axis]) for axis in range(2))
    return torch.einsum("bfr,bxrc,bgc->bxfg", rows, coarse, columns)


def _refinement(counts: Tensor) -> Float[Tensor, "b 7 4"]:
    """Weights of each sample's nodes in the fine ones, along one axis; unused nodes weigh nothing."""
    place = torch.linspace(0, 1, FINE_NODES) * (counts[:, None] - 1)
    return (1 - (place[:, :, None] - torch.arange(MOST_NODES)).abs()).clamp(min=0)


def _send(values: Tensor, device: torch.device | str, dtype: torch.dtype = torch.float32) -> Tensor:
    """Copy small values to the device without waiting for the work queued there."""
    return values.to(device, dtype, non_blocking=True)
