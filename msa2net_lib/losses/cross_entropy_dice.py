"""Cross-entropy and soft Dice, weighted and added: what the repositories of Tables 1 and 2 train with."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from torch import Tensor, nn

from msa2net_lib.errors import InputError
from msa2net_lib.losses.boundary import SMOOTH, AddUp, at_least_float32, check_classes, check_pair
from msa2net_lib.metrics.masks import checked_num_classes


class CrossEntropyDiceLoss(nn.Module):
    """Cross-entropy and soft Dice with squares, weighted and added: what the repositories of Tables 1 and 2 train with.

    Dice is the mean over classes of 1 - (2 sum pt + 1e-5) / (sum p² + sum t² + 1e-5) over the pixels of the batch,
    MONAI's `DiceLoss`.

    Args:
        num_classes, add_up, check_values: as for `BoundaryDoULoss`, but for one process only.
        dice: weight of Dice; cross-entropy has the rest.
        balanced: every class that is there weighs the same in the cross-entropy, and Dice leaves the background out.
        every_head: the loss of each head's logits, (heads, B, K, H, W), added up.

    Raises:
        InputError: ``num_classes`` is no integer of at least 2, or several processes.

    Source: the training code of the repositories that `baselines.recipes.OWN_RECIPES` names.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        add_up: AddUp | None = None,
        check_values: bool = True,
        dice: float = 0.0,
        balanced: bool = False,
        every_head: bool = False,
    ) -> None:
        super().__init__()
        if add_up is not None:
            raise InputError("this loss is for one process: train on one device, or with the loss boundary_dou")
        self.num_classes = checked_num_classes(num_classes)
        self.check_values, self.weight, self.balanced, self.every_head = check_values, dice, balanced, every_head
        self.dice: Any = None
        if dice:
            from monai.losses.dice import DiceLoss  # takes seconds to import, and few train with it

            smooth = {"smooth_nr": SMOOTH, "smooth_dr": SMOOTH}
            options = {"softmax": True, "to_onehot_y": True, "squared_pred": True, "batch": True, **smooth}
            self.dice = DiceLoss(include_background=not balanced, **options)

    def forward(self, logits: Float[Tensor, "*heads b k h w"], target: Integer[Tensor, "b h w"]) -> Float[Tensor, ""]:
        """Return the loss, weights times nats per pixel and a share; arguments and errors as `BoundaryDoULoss`."""
        if self.every_head:
            return torch.stack([self._of_one(head, target) for head in logits]).sum()
        return self._of_one(logits, target)

    def _of_one(self, logits: Tensor, target: Tensor) -> Tensor:
        check_pair(logits, target, self.num_classes)
        if self.check_values:
            check_classes(target.long(), self.num_classes)
        logits, target = at_least_float32(logits), target.long()
        weight = None
        if self.balanced:
            pixels = torch.stack([(target == index).sum() for index in range(self.num_classes)])
            weight = pixels.clamp(min=1).to(logits.dtype).reciprocal()
        loss = (1 - self.weight) * F.cross_entropy(logits, target, weight=weight)
        return loss + self.weight * self.dice(logits, target[:, None]) if self.weight else loss
