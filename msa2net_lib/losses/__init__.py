"""Losses by name: the boundary loss of the paper (`boundary`), and what the rival networks' repositories train with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from msa2net_lib.errors import InputError
from msa2net_lib.losses.boundary import (
    MAX_ALPHA,
    SMOOTH,
    AddUp,
    BoundaryDoUBalancedCrossEntropyLoss,
    BoundaryDoULoss,
    boundary_alpha,
)
from msa2net_lib.losses.cross_entropy_dice import CrossEntropyDiceLoss

LOSSES: dict[str, Callable[..., nn.Module]] = {
    "boundary_dou": BoundaryDoULoss,
    "boundary_dou+balanced_cross_entropy": BoundaryDoUBalancedCrossEntropyLoss,
    "cross_entropy": CrossEntropyDiceLoss,
    "cross_entropy_0.5+dice_0.5": partial(CrossEntropyDiceLoss, dice=0.5),
    "cross_entropy_0.4+dice_0.6": partial(CrossEntropyDiceLoss, dice=0.6),
    "cross_entropy_0.3+dice_0.7, every head": partial(CrossEntropyDiceLoss, dice=0.7, every_head=True),
    "balanced_cross_entropy_0.5+dice_0.5": partial(CrossEntropyDiceLoss, dice=0.5, balanced=True),
}


def build_loss(name: str, num_classes: int, *, add_up: AddUp | None = None, check_values: bool = True) -> nn.Module:
    """Return the loss called ``name`` in `LOSSES` for K classes.

    The other arguments are those of `BoundaryDoULoss`.

    Raises:
        InputError: the name is unknown, or ``num_classes`` is no integer of at least 2.
    """
    if name not in LOSSES:
        raise InputError(f"name: unknown loss {name!r}; choose one of {', '.join(sorted(LOSSES))}")
    return LOSSES[name](num_classes, add_up=add_up, check_values=check_values)
