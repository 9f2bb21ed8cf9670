"""The boundary difference-over-union loss (BDoU) the paper trains with, and its sum with cross-entropy.

Source: the paper names the loss (Section 4, after Sun et al., MICCAI 2023); its exact form is the authors'
released code (github.com/xmindflow/MSA-2Net, commit 209ca72), which ``tests/reference/published`` records
in numbers.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Integer, Shaped
from torch import Tensor, nn

from msa2net_lib.errors import InputError
from msa2net_lib.metrics.masks import checked_num_classes

SMOOTH = 1e-5  # keeps 0/0 out of both fractions; an absent class therefore costs eps/eps = 1
MAX_ALPHA = 0.8  # at alpha = 1 both sides of the fraction are equal and nothing is left to learn

AddUp = Callable[[Tensor], Tensor]
"""Adds a tensor up over the processes of a distributed run, gradients included."""


def boundary_alpha(one_hot: Shaped[Tensor, "b k h w"]) -> Float[Tensor, " k"]:
    """Return how strongly BDoU discounts the overlap of each class, from its boundary-to-size ratio.

    A bulky object has few boundary pixels for its size, alpha near its ceiling 0.8, and the loss looks
    mostly at the mismatch along its boundary; a thin or tiny one is nearly all boundary and has alpha
    near -1, where the loss is the soft Dice loss with squares.

    Args:
        one_hot: (B, K, H, W), true (or non-zero) where the pixel belongs to the class.

    Returns:
        (K,), in [-1, 0.8], without unit: ``min(2 (1 - boundary / size) - 1, 0.8)``, boundary and size
        being pixel counts over the whole batch, each plus 1e-5. A class without pixels gets -1. The
        dtype is float64 if that of ``one_hot`` is, else float32.

    Raises:
        InputError: ``one_hot`` has not four dimensions.

    Source: the released code's boundary DoU loss.
    """
    if one_hot.ndim != 4:
        raise InputError(
            f"one_hot: expected 4 dimensions (B, K, H, W), got shape {tuple(one_hot.shape)}; "
            "turn class numbers into one channel per class first"
        )
    dtype = torch.float64 if one_hot.dtype == torch.float64 else torch.float32
    size, boundary = _size_and_boundary(one_hot.bool()).to(dtype)
    return _alpha(size, boundary)


def _size_and_boundary(inside: Bool[Tensor, "b k h w"]) -> Int[Tensor, "2 k"]:
    """Count the pixels of each class, and those on its boundary."""
    # Booleans add up to integers, so that no count is ever rounded.
    return torch.stack([inside.sum((0, 2, 3)), (inside & ~_cross_is_full(inside)).sum((0, 2, 3))])


def _alpha(size: Float[Tensor, " k"], boundary: Float[Tensor, " k"]) -> Float[Tensor, " k"]:
    share = (boundary + SMOOTH) / (size + SMOOTH)
    return (2 * (1 - share) - 1).clamp(max=MAX_ALPHA)


def _cross_is_full(inside: Bool[Tensor, "b k h w"]) -> Bool[Tensor, "b k h w"]:
    """Mark the pixels that are object together with all four neighbors; beyond the image is none."""
    padded = F.pad(inside, (1, 1, 1, 1), value=False)
    above, below = padded[..., :-2, 1:-1], padded[..., 2:, 1:-1]
    left, right = padded[..., 1:-1, :-2], padded[..., 1:-1, 2:]
    return inside & above & below & left & right


class BoundaryDoULoss(nn.Module):
    """Boundary difference over union: the mean over classes, background included, of one ratio each.

    For each class, over all pixels of the batch, with p the softmax probability and t the 0/1 target::

        (z + y - 2 i + 1e-5) / (z + y - (1 + alpha) i + 1e-5),   z = sum p², y = sum t², i = sum p t

    alpha comes from :func:`boundary_alpha`. The numerator is computed as ``sum (p - t)²``, the same
    number without the cancellation that costs the reference implementation all digits near a perfect prediction. A
    class absent from the batch costs exactly 1 and has no gradient of its own.

    Args:
        num_classes: K, background included, at least 2.
        add_up: in a distributed run, what adds the sums over pixels up over the processes: the loss of the whole
            batch is no mean of the losses of its parts.
        check_values: whether to look for targets outside 0..K-1, for which a device has to be waited for.

    Returns:
        Called with logits (B, K, H, W) and target (B, H, W): a scalar from about 0 (perfect) to 1, without unit.

    Raises:
        InputError: ``num_classes`` is no integer of at least 2; shapes, types or values of a call that do not fit.

    Example:
        >>> import torch
        >>> from msa2net_lib import BoundaryDoULoss
        >>> target = torch.tensor([[[0, 0, 1], [0, 1, 1], [0, 0, 1]]])
        >>> logits = 20.0 * torch.nn.functional.one_hot(target).movedim(-1, 1)
        >>> loss = BoundaryDoULoss(num_classes=2)
        >>> round(float(loss(logits, target)), 3), round(float(loss(-logits, target)), 3)
        (0.0, 1.0)

    Source: the reference implementation's boundary DoU loss, softmax included.
    """

    def __init__(self, num_classes: int, *, add_up: AddUp | None = None, check_values: bool = True) -> None:
        super().__init__()
        self.num_classes = checked_num_classes(num_classes)
        self.add_up = add_up
        self.check_values = check_values

    def forward(self, logits: Float[Tensor, "b k h w"], target: Integer[Tensor, "b h w"]) -> Float[Tensor, ""]:
        """Return the loss, a scalar from about 0 (perfect) to 1, without unit.

        Args:
            logits: (B, K, H, W), before the softmax.
            target: (B, H, W), integer class numbers from 0 to K-1.

        Returns:
            A scalar, float64 for float64 logits, else float32, also under autocast.

        Raises:
            InputError: the shapes or dtypes do not fit, or ``target`` has values outside 0..K-1.
        """
        check_pair(logits, target, self.num_classes)
        if self.check_values:
            check_classes(target.long(), self.num_classes)
        logits = at_least_float32(logits)
        classes = torch.arange(self.num_classes, device=target.device)
        inside = target.long().unsqueeze(1) == classes[:, None, None]
        truth = inside.to(logits.dtype)
        probability = logits.softmax(dim=1)
        difference = (probability - truth).square().sum((0, 2, 3))
        overlap = (probability * truth).sum((0, 2, 3))
        size, boundary = _size_and_boundary(inside).to(logits.dtype)
        if self.add_up is not None:
            difference, overlap, size, boundary = self.add_up(torch.stack([difference, overlap, size, boundary]))
        difference = difference + SMOOTH
        return (difference / (difference + (1 - _alpha(size, boundary)) * overlap)).mean()

    def extra_repr(self) -> str:
        """Show the number of classes in the printed module."""
        return f"num_classes={self.num_classes}"


class BoundaryDoUBalancedCrossEntropyLoss(nn.Module):
    """BDoU plus cross-entropy, which gives every pixel a gradient from the first step on.

    Classes are weighted by 1 / sqrt(pixels of the class in the batch), for without that the pancreas, 0.1 %
    of the virtual patients' pixels, scored 0 in two of four short runs. Not in the paper; the short recipes
    for laptops use it.

    Args:
        num_classes, add_up, check_values: as for `BoundaryDoULoss`.

    Raises:
        InputError: ``num_classes`` is no integer of at least 2.

    Source: this project.
    """

    def __init__(self, num_classes: int, *, add_up: AddUp | None = None, check_values: bool = True) -> None:
        super().__init__()
        self.boundary_dou = BoundaryDoULoss(num_classes, add_up=add_up, check_values=check_values)

    def forward(self, logits: Float[Tensor, "b k h w"], target: Integer[Tensor, "b h w"]) -> Float[Tensor, ""]:
        """Return BDoU (no unit) plus weighted cross-entropy (nats per pixel); arguments and errors as there."""
        overlap = self.boundary_dou(logits, target)  # first, because it checks the arguments
        logits, target = at_least_float32(logits), target.long()
        # Not `bincount`: a device has to be waited for there.
        pixels = torch.stack([(target == index).sum() for index in range(logits.shape[1])])
        add_up = self.boundary_dou.add_up
        if add_up is None:
            return overlap + F.cross_entropy(logits, target, weight=_rare_weigh_more(pixels, logits.dtype))
        pixels = add_up(pixels)
        weight = _rare_weigh_more(pixels, logits.dtype)
        total = add_up(F.cross_entropy(logits, target, weight=weight, reduction="sum"))
        return overlap + total / (weight * pixels).sum()


def _rare_weigh_more(pixels: Int[Tensor, " k"], dtype: torch.dtype) -> Float[Tensor, " k"]:
    return pixels.clamp(min=1).to(dtype).rsqrt()


def at_least_float32(logits: Tensor) -> Tensor:
    """Widen half precision: a sum over 50 000 pixels has no digits left in it."""
    return logits if logits.dtype == torch.float64 else logits.float()


def check_pair(logits: Tensor, target: Tensor, num_classes: int) -> None:
    """Raise InputError unless logits (B, K, H, W) and integer target (B, H, W) fit in shape and dtype."""
    if logits.ndim != 4 or logits.shape[1] != num_classes:
        raise InputError(
            f"logits: expected shape (B, {num_classes}, H, W), got {tuple(logits.shape)}; "
            "give the network and the loss the same num_classes"
        )
    if not logits.is_floating_point():
        raise InputError(f"logits: expected floating-point values before the softmax, got {logits.dtype}")
    expected = (logits.shape[0], *logits.shape[2:])
    if target.shape != expected:
        raise InputError(
            f"target: got shape {tuple(target.shape)}, logits {tuple(logits.shape)} need {expected}; "
            "give one class number per pixel and no channel axis"
        )
    if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
        raise InputError(f"target: expected integer class numbers, got {target.dtype}; convert with .long()")
    if target.numel() == 0:
        raise InputError(f"target: shape {tuple(target.shape)} holds no pixel; give at least one")


def check_classes(target: Tensor, num_classes: int) -> None:
    """Raise InputError naming the values of ``target`` outside 0..num_classes-1, if there are any."""
    low, high = torch.aminmax(target)
    if low >= 0 and high < num_classes:
        return
    stray = target[(target < 0) | (target >= num_classes)].unique().tolist()
    shown = ", ".join(map(str, stray[:5])) + (", ..." if len(stray) > 5 else "")
    raise InputError(
        f"target: values outside 0..{num_classes - 1}: {shown}; map them to a class (background is 0) "
        "or raise num_classes"
    )
