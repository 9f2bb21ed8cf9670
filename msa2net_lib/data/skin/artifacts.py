"""What a dermatoscope sees besides skin: light and dark corners, hairs, a ruler, gel bubbles, reflections."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from msa2net_lib.data.skin.parts import Canvas, Map, SkinRecipe, smooth_step


def add_artifacts(canvas: Canvas, rng: np.random.Generator, image: Map, recipe: SkinRecipe) -> Map:
    """Return a linear RGB image (H, W, 3) with what lies on the skin and what the instrument adds."""
    if rng.random() < recipe.ruler:
        image = _mix(image, np.array([0.03, 0.03, 0.035]), 0.75 * _ruler(canvas, rng))
    if rng.random() < recipe.hairs:
        image = _add_hairs(canvas, rng, image)
    image = image * _illumination(canvas, rng)[..., None]
    if rng.random() < recipe.bubbles:
        image = _add_bubbles(canvas, rng, image, int(rng.integers(1, 16)))
    if rng.random() < recipe.reflections:
        image = _mix(image, np.array([0.95, 0.95, 0.98]), _reflections(canvas, rng))
    if rng.random() < recipe.aperture:
        image = image * _aperture(canvas, rng)[..., None]
    return image


def _mix(image: Map, color: NDArray, share: Map) -> Map:
    """Lay an opaque color over an image, with its share of each pixel."""
    return image + (color.astype(np.float32) - image) * share[..., None]


def _illumination(canvas: Canvas, rng: np.random.Generator) -> Map:
    """Return the light: a gradient, and a fall towards the corners."""
    y, x = canvas.grid
    angle = rng.uniform(0, 2 * math.pi)
    slope = rng.uniform(0, 0.35) * (x * math.cos(angle) + y * math.sin(angle))
    return np.exp(slope - rng.uniform(0.1, 1.1) * (x * x + y * y)).astype(np.float32)


def _aperture(canvas: Canvas, rng: np.random.Generator) -> Map:
    """Return the instrument's round opening, 1 inside; it leaves the corners dark, sharply or softly."""
    y, x = canvas.grid
    middle = rng.normal(0, 0.02, 2)
    radius = math.hypot(*canvas.half) * rng.uniform(0.8, 0.97)
    edge = rng.choice([0.004, 0.03])
    return 0.015 + 0.985 * smooth_step(radius - np.hypot(y - middle[0], x - middle[1]), edge)


def _add_hairs(canvas: Canvas, rng: np.random.Generator, image: Map) -> Map:
    """Lay hairs over an image, dark or light, most of them running about the same way."""
    count = int(rng.choice([3, 10, 30], p=[0.5, 0.35, 0.15]))
    lead, reach = rng.uniform(0, 2 * math.pi), math.hypot(*canvas.half)
    lines = []
    for _ in range(count):
        angle = lead + rng.normal(0, 0.5)
        forward = np.array([math.sin(angle), math.cos(angle)])
        middle, length = rng.uniform(-1, 1, 2) * canvas.half, rng.uniform(0.25, 1.1) * reach
        aside = forward[::-1] * [1, -1] * rng.normal(0, 0.2) * length
        t = np.linspace(-1, 1, 40)[:, None]
        lines.append((middle + t * forward * length + (1 - t * t) * aside, rng.uniform(0.003, 0.009)))
    hair = canvas.strokes(lines)
    shadow = ndimage.shift(ndimage.gaussian_filter(hair, 0.006 * canvas.short), rng.normal(0, 2, 2), order=1)
    image = image * (1 - 0.2 * shadow)[..., None]
    dark, light = np.array([0.025, 0.015, 0.010]), np.array([0.85, 0.74, 0.58])
    color, share = (dark, rng.uniform(0.6, 0.95)) if rng.random() < 0.8 else (light, rng.uniform(0.35, 0.6))
    return _mix(image, color, share * hair)


def _ruler(canvas: Canvas, rng: np.random.Generator) -> Map:
    """Return the ticks of a scale along one side, 0 to 1, every fifth longer and every tenth longest."""
    pitch, tilt = rng.uniform(0.022, 0.045), rng.normal(0, 0.03)
    half_height, half_width = canvas.half
    along_x = rng.random() < 0.5
    offset = (half_height if along_x else half_width) * rng.uniform(0.7, 0.92) * rng.choice([-1, 1])
    lines = []
    for n, place in enumerate(np.arange(-1.2, 1.2, pitch)):
        length = pitch * (2.2 if n % 10 == 0 else 1.6 if n % 5 == 0 else 1.0)
        ends = np.array([offset + tilt * place, offset + tilt * place - math.copysign(length, offset)])
        places = np.array([place, place + tilt * length])
        points = np.stack([ends, places] if along_x else [places, ends], axis=1)
        lines.append((points, 0.0035))
    return canvas.strokes(lines)


def _add_bubbles(canvas: Canvas, rng: np.random.Generator, image: Map, count: int) -> Map:
    """Lay gel bubbles over an image: bright on the side of the light, dark opposite, with one reflection."""
    y, x = canvas.grid
    light = rng.uniform(0, 2 * math.pi)
    image = image.copy()
    for _ in range(count):
        cy, cx = rng.uniform(-1, 1, 2) * canvas.half
        radius = 0.006 + rng.exponential(0.018)
        box = canvas.box(cy, cx, 1.4 * radius)
        down, right = (y[box] - cy) / radius, (x[box] - cx) / radius
        away, toward = np.hypot(down, right), np.cos(np.arctan2(down, right) - light)
        rim = np.exp(-(((away - 0.93) / 0.10) ** 2))
        body = smooth_step(1 - away, 0.03)
        bent = image[box] * (1 + (0.10 + 0.06 * toward * away) * body + 0.5 * rim * toward)[..., None]
        spot = np.hypot(down - 0.55 * math.sin(light), right - 0.55 * math.cos(light)) / 0.16
        image[box] = _mix(bent, np.ones(3), 0.9 * np.exp(-(spot**2)))
    return image


def _reflections(canvas: Canvas, rng: np.random.Generator) -> Map:
    """Return small white reflections, 0 to 1, in one or two places where the skin shines."""
    y, x = canvas.grid
    out = np.zeros((canvas.height, canvas.width), np.float32)
    grain = canvas.noise(rng, 0.10, 0.018, 0.7)
    for _ in range(rng.integers(1, 4)):
        cy, cx = rng.uniform(-0.9, 0.9, 2) * canvas.half
        near = np.exp(-((np.hypot(y - cy, x - cx) / rng.uniform(0.03, 0.10)) ** 2))
        out = np.maximum(out, smooth_step(grain + 2.2 * near - 2.8, 0.15) * near**0.3)
    return out * rng.uniform(0.4, 0.9)
