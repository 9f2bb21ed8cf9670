"""What one logit of a whole network looks at: its gradient on the image, and how far from the pixel it reaches.

`receptive_field` holds the same for single layers.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from einops import reduce
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from msa2net_lib.analysis.layers import differentiable
from msa2net_lib.errors import InputError


def logit_field(
    network: Callable[[Tensor], Tensor],
    images: Float[Tensor, "b ch h w"],
    pixel: tuple[int, int],
    class_index: int,
) -> NDArray[np.float32]:
    """How strongly one logit reacts to each pixel of the image: mean of |gradient| over the images, (h, w).

    pixel: (row, column) of the logit. Input channels are added up. Unit: logit per unit of the input, which is half
    the window. Raises: `InputError` for a pixel or class that is not there.
    Source: Luo et al., "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks" (NIPS 2016).
    """
    with differentiable(network):
        leaf = images.detach().clone().requires_grad_()
        logits = network(leaf)
        _, classes, height, width = logits.shape
        row, column = pixel
        if not (0 <= class_index < classes and 0 <= row < height and 0 <= column < width):
            raise InputError(f"class {class_index}, pixel {pixel}: there are {classes} maps of {height} x {width}")
        (gradient,) = torch.autograd.grad(logits[:, class_index, row, column].sum(), leaf)
    return reduce(gradient.abs(), "b ch h w -> h w", "sum").div(len(images)).float().cpu().numpy()


def holding_radius(
    field: NDArray, pixel: tuple[int, int], share: float, spacing: tuple[float, float] = (1.0, 1.0)
) -> float:
    """The smallest circle around a pixel that holds a share of a field (h, w): its radius, in units of ``spacing``.

    spacing: height and width of a pixel; leave it out for pixels. Raises: `InputError` for a share outside (0, 1] and
    a field that is zero.
    """
    if not 0 < share <= 1 or not field.any():
        raise InputError(f"share={share}: give a share in (0, 1] of a field that is not zero everywhere")
    rows, columns = np.indices(field.shape)
    distance = np.hypot((rows - pixel[0]) * spacing[0], (columns - pixel[1]) * spacing[1])
    order = np.argsort(distance, axis=None, kind="stable")
    held = np.cumsum(np.asarray(field, dtype=float).ravel()[order])
    # A hair less, for sums of rounded numbers: the whole field must be reached at share 1.
    return float(distance.ravel()[order][np.searchsorted(held, share * held[-1] * (1 - 1e-12))])
