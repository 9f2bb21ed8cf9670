"""The lesion of a synthetic dermoscopic image: its outline, and the pigment inside."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from msa2net_lib.data.skin.parts import Canvas, Map, SkinRecipe, draw_spots, draw_vessels, smooth_step

VEIL = np.array([0.42, 0.50, 0.62], np.float32)
"""Color of a blue-gray veil, pigment deep in the skin seen through it, in parts of the healthy skin's luminance."""
SCAR = np.array([1.22, 1.06, 1.00], np.float32)
"""Color of regression, pale and scar-like, in the same unit."""


@dataclass(frozen=True, eq=False)
class Lesion:
    """Where the lesion is and what it adds.

    ``melanin`` and ``blood`` absorb; ``layers`` are opaque colors, in parts of the healthy skin's luminance,
    each with its share of every pixel.
    """

    kind: str
    mask: NDArray[np.bool_]
    melanin: Map
    blood: Map
    layers: list[tuple[NDArray[np.float32], Map]]


def draw_lesion(canvas: Canvas, rng: np.random.Generator, recipe: SkinRecipe) -> Lesion:
    """Draw one lesion at a random place, of a random kind, size and outline."""
    kind = str(rng.choice(list(recipe.kinds), p=list(recipe.kinds.values())))
    radius = float(np.clip(rng.lognormal(math.log(recipe.radius[0]), recipe.radius[1]), 0.07, 0.55))
    depth = _signed_depth(canvas, rng, radius, irregular=1.0 if kind == "melanoma" else rng.uniform(0.2, 0.7))
    mask = depth > 0
    radius = math.sqrt(mask.sum() / math.pi) / canvas.short
    inside = depth / radius  # 0 at the border, about 1 in the middle
    # The border is sharp in places and fades in others.
    softness = (0.004 + 0.02 * rng.random()) * np.exp(0.7 * canvas.noise(rng, 0.8, 0.2))
    profile = smooth_step(depth, softness)
    melanin = _pigment(canvas, rng, kind, inside, profile)
    blood = profile * rng.uniform(0.0, 0.25)
    if kind in ("pale", "melanoma"):
        blood += profile * (rng.uniform(0.15, 0.5) + 0.12 * canvas.noise(rng, 0.3, 0.05)).clip(0)
        blood += profile * 0.5 * draw_vessels(canvas, rng, int(rng.integers(0, 14)), 0.4)
    layers = []
    if kind == "melanoma":
        layers.append((VEIL, _patch(canvas, rng, inside, rng.uniform(0.05, 0.35)) * rng.uniform(0.2, 0.7)))
        layers.append((SCAR, _patch(canvas, rng, inside, rng.uniform(0.05, 0.25)) * rng.uniform(0.15, 0.55)))
    if kind == "keratosis":
        layers.append((SCAR, 0.8 * _dots(canvas, rng, mask, int(rng.integers(0, 25)), 0.004, 0.009)))
    return Lesion(kind, mask, melanin, blood, layers)


def _signed_depth(canvas: Canvas, rng: np.random.Generator, radius: float, irregular: float) -> Map:
    """Return about the distance from the border, positive inside of one simply connected outline.

    Radius by angle: an ellipse with harmonics, low ones for the shape and high ones for notches; then the
    plane is bent a little, so that the outline need not be a function of the angle.
    """
    y, x = canvas.grid
    middle = rng.normal(0, 0.06 + 0.1 * max(0.0, 0.3 - radius), 2)
    bend = 0.05 * radius * (0.3 + irregular)
    y = y - middle[0] + bend * canvas.noise(rng, 0.8 * radius, 0.15 * radius)
    x = x - middle[1] + bend * canvas.noise(rng, 0.8 * radius, 0.15 * radius)
    turn, stretch = rng.uniform(0, math.pi), rng.uniform(1.0, 1.6) ** 0.5
    along, across = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    angle, distance = np.arctan2(across * stretch, along / stretch), np.hypot(across * stretch, along / stretch)
    wave = np.zeros_like(distance)
    for order in (*range(2, 8), 11, 15, 20, 27):
        wave += rng.normal(0, 0.16 * irregular * order**-1.1) * np.cos(order * angle + rng.uniform(0, 2 * math.pi))
    depth = radius * np.exp(wave) - distance
    inside = _largest(depth > 0)
    return np.where(inside == (depth > 0), depth, np.where(inside, 1e-3, -1e-3)).astype(np.float32)


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the largest connected piece of a mask, its holes filled."""
    pieces = np.zeros(mask.shape, np.int32)
    ndimage.label(mask, output=pieces)
    biggest = np.bincount(pieces.ravel())[1:].argmax() + 1
    return np.asarray(ndimage.binary_fill_holes(pieces == biggest), dtype=bool)


def _pigment(canvas: Canvas, rng: np.random.Generator, kind: str, inside: Map, profile: Map) -> Map:
    """Return the lesion's melanin: base, a darker part, mottling, and the structures of its kind."""
    low, high = {"nevus": (0.6, 1.5), "melanoma": (0.7, 1.6), "pale": (0.2, 0.45), "keratosis": (0.5, 1.2)}[kind]
    base = rng.uniform(low, high)
    depth = base * (1 + 0.16 * canvas.noise(rng, 0.4, 0.05) + 0.08 * canvas.noise(rng, 0.05, 0.01, 0.3))
    if rng.random() < 0.6:  # two tones: what stands out darkest is only a part of the lesion
        depth += base * rng.uniform(0.4, 1.5) * _patch(canvas, rng, inside, rng.uniform(0.1, 0.5))
    if kind == "melanoma":
        depth *= 1 - rng.uniform(0.2, 0.7) * _patch(canvas, rng, inside, 0.4)
        depth += rng.uniform(0.5, 1.5) * _patch(canvas, rng, inside, 0.15)
    if kind in ("nevus", "melanoma"):
        rim = smooth_step(inside, 0.05) * smooth_step(rng.uniform(0.3, 0.8) - inside, 0.1)
        patchy = smooth_step(canvas.noise(rng, 0.5, 0.15) + 0.3, 0.3)
        depth += base * rng.uniform(0.0, 0.7) * rim * patchy * (_network(canvas, rng) - 0.4)
        depth += rng.uniform(0.3, 0.9) * _dots(canvas, rng, inside > 0.05, int(rng.integers(0, 45)), 0.004, 0.012)
    if kind == "keratosis":
        depth += rng.uniform(0.5, 1.2) * _dots(canvas, rng, inside > 0.05, int(rng.integers(3, 30)), 0.006, 0.016)
    return profile * depth.clip(0.25 * base)


def _patch(canvas: Canvas, rng: np.random.Generator, inside: Map, share: float) -> Map:
    """Return 0 to 1: a blotch, or a few, that fill about ``share`` of the lesion, with soft edges."""
    y, x = canvas.grid
    places = np.argwhere(inside > 0.15)
    cy, cx = (places[rng.integers(len(places))] + 0.5) / canvas.short - canvas.half
    radius = math.sqrt(np.count_nonzero(inside > 0) / math.pi) / canvas.short
    blotches = 0.4 * canvas.noise(rng, 0.6, 0.03, 1.8) - np.hypot(y - cy, x - cx) / radius
    level = np.quantile(blotches[inside > 0], 1 - share)
    return smooth_step(blotches - level, rng.uniform(0.08, 0.3)) * smooth_step(inside - 0.08, 0.05)


def _dots(canvas: Canvas, rng: np.random.Generator, where: NDArray, count: int, small: float, large: float) -> Map:
    """Return 0 to 1: round spots at random places of ``where``."""
    places = np.argwhere(where)
    if not len(places):
        return np.zeros(where.shape, np.float32)
    centers = (places[rng.integers(0, len(places), count)] + 0.5) / canvas.short - canvas.half
    return draw_spots(canvas, centers, rng.uniform(small, large, count))


def _network(canvas: Canvas, rng: np.random.Generator) -> Map:
    """Return the lines of a pigment network, 0 to 1: the borders between the cells around scattered points."""
    pitch = rng.uniform(0.022, 0.036)
    half_height, half_width = canvas.half
    rows, columns = np.mgrid[-half_height : half_height + pitch : pitch, -half_width : half_width + pitch : pitch]
    columns = columns + np.where(np.arange(len(columns)) % 2, pitch / 2, 0.0)[:, None]  # a honeycomb
    points = np.stack([rows, columns], axis=-1).reshape(-1, 2)
    points = points + rng.normal(0, 0.16 * pitch, points.shape)
    near, second = KDTree(points).query(np.stack(canvas.grid, axis=-1), k=2)[0].transpose(2, 0, 1)
    return np.exp(-(((second - near) / (0.22 * pitch)) ** 2)).astype(np.float32)
