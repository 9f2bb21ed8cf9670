"""What the lesson on the boundary loss measures: drawn shapes, corrupted predictions, and the losses of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from msa2net_lib.data.datasets import Case
from msa2net_lib.data.resize import normalize, resize_image, resize_label
from msa2net_lib.errors import InputError
from msa2net_lib.losses import SMOOTH, BoundaryDoULoss, boundary_alpha
from msa2net_lib.nn.network import MSA2Net

GRID = 96
AT_ONCE = 8
STEEPNESS, HIGHEST = 1.5, 6.0
"""Logits of a drawn prediction: this much per pixel of distance from its outline, and never beyond this."""


def _disc(y: NDArray, x: NDArray, radius: float) -> NDArray[np.bool_]:
    return y**2 + x**2 <= radius**2


SHAPES: dict[str, Callable[[NDArray, NDArray, float], NDArray[np.bool_]]] = {
    "disc": _disc,
    "square": lambda y, x, r: np.maximum(abs(y), abs(x)) <= r,
    "ring": lambda y, x, r: _disc(y, x, r) & ~_disc(y, x, 0.6 * r),
    "bar": lambda y, x, r: (abs(y) <= r / 5) & (abs(x) <= r),
    "two discs": lambda y, x, r: _disc(y, abs(x) - 0.55 * r, 0.45 * r),
}


def draw_shape(shape: str, radius: float, elongation: float = 1.0, size: int = GRID) -> NDArray[np.bool_]:
    """A mask (size, size) of a shape of `SHAPES` in the middle, ``radius`` in pixels.

    elongation: how many times it is stretched across, and squeezed from top to bottom by as much. Errors:
    `InputError` for an unknown shape.
    """
    if shape not in SHAPES:
        raise InputError(f"shape={shape!r} is unknown: use one of {', '.join(SHAPES)}")
    y, x = np.mgrid[:size, :size] - size // 2
    return SHAPES[shape](y * elongation, x / elongation, radius)


def boundary(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of a mask (h, w) that the loss calls boundary: their cross of five pixels is not all object."""
    return mask & ~np.asarray(ndimage.binary_erosion(mask), dtype=bool)


def alpha_of(mask: NDArray[np.bool_]) -> float:
    """Alpha of one mask (h, w), by the library's `boundary_alpha`."""
    return float(boundary_alpha(torch.from_numpy(mask)[None, None].double())[0])


ERRORS = ("shifted", "shrunk", "holed")


def corrupt(mask: NDArray[np.bool_], error: str, amount: int) -> NDArray[np.bool_]:
    """A wrong prediction of a mask (h, w): moved right, eroded, or with a square hole, by ``amount`` pixels.

    The hole has 2 ``amount`` + 1 pixels a side and lies at the mask's deepest pixel. Raises: `InputError` for an
    error not in `ERRORS`.
    """
    if error not in ERRORS:
        raise InputError(f"error={error!r} is unknown: use one of {', '.join(ERRORS)}")
    if amount == 0:
        return mask.copy()
    if error == "shifted":
        return np.asarray(ndimage.shift(mask.astype(np.uint8), (0, amount), order=0)).astype(bool)
    if error == "shrunk":
        return np.asarray(ndimage.binary_erosion(mask, iterations=amount), dtype=bool)
    depth = np.asarray(ndimage.distance_transform_cdt(mask, "chessboard"))
    y, x = np.unravel_index(np.argmax(depth), mask.shape)
    rows, columns = np.ogrid[: mask.shape[0], : mask.shape[1]]
    return mask & ~(np.maximum(abs(rows - y), abs(columns - x)) <= amount)


def drawn_logits(predicted: NDArray[np.bool_]) -> Tensor:
    """Logits (1, 2, h, w) in float64 whose argmax is a mask (h, w): sure inside and outside, unsure at its outline."""
    inside, outside = (np.asarray(ndimage.distance_transform_edt(m)) for m in (predicted, ~predicted))
    distance = np.where(predicted, inside - 0.5, 0.5 - outside)  # the outline lies between pixels
    logits = torch.from_numpy(np.clip(STEEPNESS * distance, -HIGHEST, HIGHEST))
    return torch.stack([-logits / 2, logits / 2])[None]


def class_losses(logits: Tensor, target: Tensor, alpha: Tensor | float | None = None) -> Tensor:
    """BDoU of each class (k,), whose mean is `BoundaryDoULoss`; with ``alpha`` given, that one in place of its own.

    logits: (b, k, h, w); target: (b, h, w) class numbers.
    """
    truth = F.one_hot(target.long(), logits.shape[1]).movedim(-1, 1).to(logits.dtype)
    probability = logits.softmax(dim=1)
    difference = (probability - truth).square().sum((0, 2, 3)) + SMOOTH
    overlap = (probability * truth).sum((0, 2, 3))
    alpha = boundary_alpha(truth) if alpha is None else alpha
    return difference / (difference + (1 - alpha) * overlap)


def soft_dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Soft Dice loss with squares, mean over classes (Milletari et al., 2016). Arguments as of `class_losses`."""
    truth = F.one_hot(target.long(), logits.shape[1]).movedim(-1, 1).to(logits.dtype)
    probability = logits.softmax(dim=1)
    overlap = 2 * (probability * truth).sum((0, 2, 3)) + SMOOTH
    return 1 - (overlap / (probability.square().sum((0, 2, 3)) + truth.sum((0, 2, 3)) + SMOOTH)).mean()


COMPARED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "BDoU": lambda logits, target: BoundaryDoULoss(logits.shape[1])(logits, target),
    "Dice loss": soft_dice_loss,
    "cross-entropy": F.cross_entropy,
}


def loss_and_gradient(name: str, mask: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> tuple[float, NDArray]:
    """A loss of `COMPARED` for a mask and a drawn prediction, and its gradient (h, w) by the object's logits."""
    logits, target = drawn_logits(predicted).requires_grad_(), torch.from_numpy(mask)[None].long()
    loss = COMPARED[name](logits, target)
    (gradient,) = torch.autograd.grad(loss, logits)
    return float(loss.detach()), gradient[0, 1].numpy()


def loss_floor(labels: Any, num_classes: int) -> float:
    """What BDoU of a perfect prediction costs: the share of classes that a batch of labels does not hold."""
    return 1 - len(np.unique(labels)) / num_classes


def slice_losses(network: MSA2Net, case: Case) -> tuple[list[float], list[NDArray[np.uint8]]]:
    """BDoU of each slice of a case as a batch of its own, and the labels (h, w) at the network's input size."""
    size, device = network.config.height_width, next(network.parameters()).device
    labels = [resize_label(label, size) for label in case.label]
    images = torch.from_numpy(np.stack([normalize(resize_image(image, size)) for image in case.image]))[:, None]
    network, loss = network.eval(), BoundaryDoULoss(network.config.num_classes)
    with torch.inference_mode():
        logits = [one for batch in images.split(AT_ONCE) for one in network(batch.to(device)).cpu()]
        pairs = zip(logits, labels, strict=True)
        return [float(loss(one[None], torch.from_numpy(label)[None].long())) for one, label in pairs], labels
