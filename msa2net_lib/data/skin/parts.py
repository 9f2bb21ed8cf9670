"""What dermoscopic images are drawn from: noise, colors, skin, and what lies on it or in front of it.

Lengths are in units of the image's shorter side, so that an image looks the same at every size. Colors
are linear light, red, green, blue; absorbers multiply it by exp(-amount * their color).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import fft, ndimage

Map = NDArray[np.floating]
"""A value for each pixel, (H, W), or a color, (H, W, 3)."""

MELANIN = np.array([0.60, 0.92, 1.40], np.float32)
"""Absorbs the more the shorter the wave: about its -3.3th power at 610, 545 and 465 nm, rounded by eye."""
BLOOD = np.array([0.06, 0.95, 0.75], np.float32)
"""Absorbs green and blue and lets red pass; set by eye."""
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""Weights of linear sRGB."""


@dataclass(frozen=True)
class SkinRecipe:
    """What the images show, and how often.

    typology_deg: range of the skin's individual typology angle, from dark to very light. kinds: share of each
    kind of lesion; the names say what it is drawn after, nothing here is a diagnosis. radius: median of the
    lesion's, and the standard deviation of its logarithm. The rest: share of images with hairs, a ruler, gel
    bubbles, reflections, and a round opening that cuts the corners off. Chosen by eye, sizes so that about
    a fifth of all pixels is lesion, as in ISIC 2018.
    """

    typology_deg: tuple[float, float] = (-50.0, 70.0)
    kinds: dict[str, float] = field(
        default_factory=lambda: {"nevus": 0.4, "melanoma": 0.25, "pale": 0.2, "keratosis": 0.15}
    )
    radius: tuple[float, float] = (0.25, 0.42)
    hairs: float = 0.65
    ruler: float = 0.15
    bubbles: float = 0.35
    reflections: float = 0.25
    aperture: float = 0.5


@dataclass(frozen=True)
class Canvas:
    """The grid that an image is drawn on."""

    height: int
    width: int

    @property
    def short(self) -> int:
        """The shorter side in pixels: one unit of length."""
        return min(self.height, self.width)

    @cached_property
    def grid(self) -> tuple[Map, Map]:
        """The coordinates (y, x) of every pixel's center, from the image's center."""
        y = (np.arange(self.height, dtype=np.float32) + 0.5 - self.height / 2) / self.short
        x = (np.arange(self.width, dtype=np.float32) + 0.5 - self.width / 2) / self.short
        return np.broadcast_to(y[:, None], (self.height, self.width)), np.broadcast_to(x, (self.height, self.width))

    @property
    def half(self) -> tuple[float, float]:
        """Half the height and half the width."""
        return self.height / self.short / 2, self.width / self.short / 2

    @cached_property
    def _frequency(self) -> Map:
        rows = np.fft.fftfreq(self.height, 1 / self.short)[:, None]
        columns = np.fft.rfftfreq(self.width, 1 / self.short)
        return np.hypot(rows, columns).astype(np.float32)

    def noise(self, rng: np.random.Generator, coarse: float, fine: float, slope: float = 1.0) -> Map:
        """Random map of mean 0 and standard deviation 1 with waves of length ``fine`` to ``coarse``.

        ``slope``: how much weaker the finer waves are; amplitudes fall as frequency to this power.
        """
        frequency = np.maximum(self._frequency, 1e-3)
        weight = frequency**-slope * np.exp(-((frequency * fine) ** 2) - (1 / (frequency * coarse)) ** 2)
        real, imaginary = rng.standard_normal((2, *weight.shape), dtype=np.float32)
        waves = np.asarray(fft.irfft2((real + 1j * imaginary) * weight, s=(self.height, self.width)))
        return (waves - waves.mean()) / waves.std()

    def box(self, y: float, x: float, reach: float) -> tuple[slice, slice]:
        """Return the pixels at most ``reach`` from (y, x) along either axis, as slices that may be empty."""
        starts = [place - reach + half for place, half in zip((y, x), self.half, strict=True)]
        edges = [(math.ceil(a * self.short - 0.5), math.ceil((a + 2 * reach) * self.short - 0.5)) for a in starts]
        rows, columns = (slice(max(first, 0), max(last, 0)) for first, last in edges)
        return rows, columns

    def strokes(self, lines: list[tuple[NDArray, float]]) -> Map:
        """Draw lines, each (N, 2) points (y, x) and a thickness, with soft edges: 0 to 1."""
        fold = 3
        sheet = Image.new("L", (self.width * fold, self.height * fold))
        pen = ImageDraw.Draw(sheet)
        scale = self.short * fold
        for points, thickness in lines:
            flat = [(x * scale + sheet.width / 2, y * scale + sheet.height / 2) for y, x in points.tolist()]
            pen.line(flat, fill=255, width=max(1, round(thickness * scale)), joint="curve")
        small = sheet.resize((self.width, self.height), Image.Resampling.BOX)
        return np.asarray(small, np.float32) / 255


def smooth_step(value: Map, width: Map | float) -> Map:
    """Return 0 well below zero, 1 well above, and one half at zero; ``width`` is the half-way distance."""
    return (0.5 + 0.5 * np.tanh(value / (2 * width))).astype(np.float32)


def skin_color(lightness: float, ruddiness: float, yellowness: float) -> NDArray[np.float32]:
    """Return CIELAB (L*, a*, b*; D65) as linear RGB."""
    middle = (lightness + 16) / 116
    xyz = np.array([middle + ruddiness / 500, middle, middle - yellowness / 200])
    xyz = np.where(xyz > 6 / 29, xyz**3, 3 * (6 / 29) ** 2 * (xyz - 4 / 29)) * [0.9505, 1.0, 1.089]
    matrix = [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
    return np.clip(matrix @ xyz, 0.01, 1.0).astype(np.float32)


def draw_skin(canvas: Canvas, rng: np.random.Generator, angle_deg: float) -> Map:
    """Return healthy skin, (H, W, 3) linear RGB: a tone, its mottling, the furrows, redness and vessels.

    ``angle_deg`` is the individual typology angle, atan((L* - 50) / b*): above 55 very light, below -30 dark
    (Chardon, Cretois and Hourseau, 1991).
    """
    yellowness = rng.uniform(11, 19)
    lightness = 50 + yellowness * math.tan(math.radians(angle_deg))
    color = skin_color(float(np.clip(lightness, 22, 82)), rng.uniform(7, 15), yellowness)
    melanin = 0.05 * canvas.noise(rng, 0.8, 0.05) + 0.02 * canvas.noise(rng, 0.05, 0.008, 0.3)
    melanin += _furrows(canvas, rng) * rng.uniform(0.02, 0.10)
    blood = 0.06 * canvas.noise(rng, 1.0, 0.1) + 0.02 * canvas.noise(rng, 0.06, 0.01, 0.3)
    if rng.random() < 0.35:
        blood += rng.uniform(0.1, 0.45) * smooth_step(canvas.noise(rng, 0.9, 0.2, 1.5) - 0.6, 0.5)
    if rng.random() < 0.3:
        blood += rng.uniform(0.15, 0.5) * draw_vessels(canvas, rng, int(rng.integers(2, 9)), 0.7)
    melanin += _freckles(canvas, rng)
    return color * np.exp(-melanin[..., None] * MELANIN - blood[..., None] * BLOOD)


def draw_vessels(canvas: Canvas, rng: np.random.Generator, count: int, reach: float) -> Map:
    """Return the strength, 0 to 1, of thin winding vessels within ``reach`` of the center."""
    lines = []
    for _ in range(count):
        start, heading = rng.uniform(-reach, reach, 2), rng.uniform(0, 2 * math.pi)
        turns = heading + np.cumsum(rng.normal(0, 0.5, 14))
        steps = 0.014 * np.stack([np.sin(turns), np.cos(turns)], axis=1)
        lines.append((start + np.cumsum(steps, axis=0), rng.uniform(0.003, 0.007)))
    return ndimage.gaussian_filter(canvas.strokes(lines), 0.003 * canvas.short)


def draw_spots(canvas: Canvas, centers: NDArray, radii: NDArray) -> Map:
    """Return 0 to 1: soft round spots at (y, x) centers; where they overlap, the stronger counts."""
    out = np.zeros((canvas.height, canvas.width), np.float32)
    y, x = canvas.grid
    for (cy, cx), radius in zip(centers, radii, strict=True):
        box = canvas.box(cy, cx, 1.6 * radius)
        distance = np.hypot(y[box] - cy, x[box] - cx)
        out[box] = np.maximum(out[box], smooth_step(radius - distance, 0.12 * radius))
    return out


def _freckles(canvas: Canvas, rng: np.random.Generator) -> Map:
    """Return the melanin of small pigmented spots around the lesion."""
    count = int(rng.choice([0, 3, 12, 40], p=[0.4, 0.3, 0.2, 0.1]))
    centers = rng.uniform(-1, 1, (count, 2)) * canvas.half
    spots = draw_spots(canvas, centers, rng.uniform(0.006, 0.028, count))
    return spots * rng.uniform(0.15, 0.8) * (1 + 0.25 * canvas.noise(rng, 0.1, 0.02)).clip(0, 2)


def _furrows(canvas: Canvas, rng: np.random.Generator) -> Map:
    """Return the fine criss-cross lines of skin, 0 to 1."""
    y, x = canvas.grid
    pitch, first = rng.uniform(0.02, 0.04), rng.uniform(0, math.pi)
    lines = np.zeros((canvas.height, canvas.width), np.float32)
    for direction in (first, first + rng.uniform(1.0, 1.8)):
        bent = 0.35 * pitch * canvas.noise(rng, 0.25, 0.03)
        phase = (x * math.cos(direction) + y * math.sin(direction) + bent) / pitch
        groove = np.exp(-((np.sin(math.pi * phase) / 0.3) ** 2))
        lines += groove * smooth_step(canvas.noise(rng, 0.3, 0.05), 0.5)
    return lines
