"""What a heat map is judged by: how much of it lies in the organ, where it peaks, and how like it is to another."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from kornia.metrics import ssim
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.stats import spearmanr
from torch.nn import functional as F

from msa2net_lib.errors import InputError

WINDOW = 11
"""Side of the window of `structural_similarity` in pixels, as Wang et al. chose it."""


def edge_map(image: ArrayLike) -> NDArray[np.float64]:
    """Edges of an image (h, w): the length of its gradient by Sobel's filters. It knows no network and no label."""
    pixels = np.asarray(image, dtype=float)
    return np.hypot(ndimage.sobel(pixels, axis=0), ndimage.sobel(pixels, axis=1))


def share_inside(heat: ArrayLike, mask: ArrayLike) -> float:
    """Share of a map's heat (h, w) that lies inside a mask (h, w), 0 to 1; negative values count as no heat.

    A map that is the same everywhere has the mask's share of the image. nan for a map without heat. Errors:
    `InputError` for other shapes.
    """
    values, inside = _pair(heat, mask)
    positive = np.maximum(values, 0)
    return float(positive[inside.astype(bool)].sum() / positive.sum()) if positive.any() else math.nan


def pointing(heat: ArrayLike, mask: ArrayLike) -> float:
    """The pointing game: 1 if the map (h, w) is largest inside the mask (h, w), else 0; no tolerance.

    Of several largest pixels it is the share inside, so that a flat map scores by luck. nan for a map without heat.
    Raises: `InputError` for other shapes. Source: Zhang et al., "Top-down Neural Attention by Excitation Backprop"
    (2018).
    """
    values, inside = _pair(heat, mask)
    return float(inside.astype(bool)[values == values.max()].mean()) if (values > 0).any() else math.nan


def rank_correlation(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's correlation of two maps' pixels, -1 to 1; nan if one of them is constant. Raises: `InputError`."""
    one, other = _pair(first, second)
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return math.nan
    correlation: Any = spearmanr(one.ravel(), other.ravel())
    return float(correlation.statistic)


def structural_similarity(first: ArrayLike, second: ArrayLike) -> float:
    """SSIM of two maps (h, w), each stretched to [0, 1] first, as heat maps are drawn; 1 for the same map.

    Gaussian window of `WINDOW` pixels; the border that it does not fit in is left out. Raises: `InputError` for other
    shapes and maps smaller than the window. Source: Wang et al., "Image quality assessment" (2004), as Adebayo et al.
    (2018) use it.
    """
    one, other = _pair(first, second)
    if min(one.shape) < WINDOW:
        raise InputError(f"maps of shape {one.shape}: SSIM needs at least {WINDOW} x {WINDOW} pixels")
    left, right = (torch.from_numpy(_stretched(values))[None, None] for values in (one, other))
    border = WINDOW // 2
    return float(ssim(left, right, WINDOW)[..., border:-border, border:-border].mean())


def _stretched(values: NDArray[np.float64]) -> NDArray[np.float64]:
    extent = np.ptp(values)
    return (values - values.min()) / extent if extent else np.zeros_like(values)


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    one, other = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if one.shape != other.shape or one.ndim != 2:
        raise InputError(f"maps of shapes {one.shape} and {other.shape}: give two of one shape (h, w)")
    return one, other


def chance_likeness(grid: tuple[int, int], side: int = 64, draws: int = 200) -> float:
    """How like two unrelated maps of a grid are on average: the size of their `rank_correlation`, enlarged as maps are.

    What a likeness has to be held against: few cells cannot differ much. side: pixels of the enlarged maps.

    Example:
        >>> chance_likeness((4, 4)) > 2 * chance_likeness((32, 32))
        True
    """
    maps = torch.randn(2 * draws, 1, *grid, generator=torch.Generator().manual_seed(0)).relu()
    wide = F.interpolate(maps, (side, side), mode="bilinear", align_corners=False)[:, 0].numpy()
    likeness = [rank_correlation(one, other) for one, other in zip(wide[::2], wide[1::2], strict=True)]
    return float(np.abs(np.nan_to_num(likeness)).mean())
