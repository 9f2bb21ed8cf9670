"""Deformation: smooth random displacement fields, and volumes bent by them without folding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from msa2net_lib.data.volumes import Volume

_SMALLEST_JACOBIAN = 0.2
"""Local volume may shrink to a fifth, not further: well clear of folding."""


@dataclass(frozen=True)
class DeformationRecipe:
    """How strongly to bend.

    ``bends``: pairs (smoothness, amplitude), both in mm: a random displacement field whose components vary
    over about ``smoothness`` and have ``amplitude`` as standard deviation. ``scale``, ``rotation_deg``,
    ``shear``: standard deviations of the affine part.
    """

    bends: tuple[tuple[float, float], ...] = ((75.0, 3.2), (35.0, 2.0))
    scale: float = 0.025
    rotation_deg: float = 2.0
    shear: float = 0.02


def deform(label: Volume, rng: np.random.Generator, recipe: DeformationRecipe) -> tuple[NDArray[np.uint8], NDArray]:
    """Bend labels (Z, Y, X) by one random field, as strongly as folding and the smallest structure allow.

    Returns the bent labels, with every structure of ``label`` still there, and the coordinates (3, Z, Y, X): where in
    the source, in voxels, each voxel is taken from.
    """
    shape = label.array.shape
    displacement = random_displacement(shape, label.spacing, rng, recipe)
    voxel_mm = np.asarray(label.spacing, np.float32)[:, None, None, None]
    structures = np.unique(label.array)
    grid = np.indices(shape, dtype=np.float32)
    strength = 1.0
    while True:  # ends: an unbent patient neither folds nor loses anything
        coordinates = grid + strength * displacement / voxel_mm
        if jacobian_determinant(strength * displacement, label.spacing).min() >= _SMALLEST_JACOBIAN:
            labels = _warp_labels(label.array, coordinates)
            if np.isin(structures, labels).all():
                return labels, coordinates
        strength = strength - 0.2 if strength > 0.3 else 0.0


def structure_weights(labels: NDArray, coordinates: NDArray) -> dict[int, NDArray[np.float32]]:
    """Return structure -> its share of each voxel (Z, Y, X), 0 to 1, at ``coordinates``; 0 is background.

    Shares keep where within a voxel an outline runs, which the labels that win a vote have lost.
    """
    return {int(structure): _weight(labels, structure, coordinates) for structure in np.unique(labels)}


def random_displacement(
    shape: Sequence[int], spacing: Sequence[float], rng: np.random.Generator, recipe: DeformationRecipe
) -> NDArray[np.float32]:
    """Return a smooth random displacement field (3, Z, Y, X) in mm; components in the order z, y, x.

    Output voxel at position p takes its value from p + displacement(p). The z component fades to zero at the
    first and last slice, so that no slice has to be invented beyond the scanned range.
    """
    field = _affine_displacement(shape, spacing, rng, recipe)
    for smoothness, amplitude in recipe.bends:
        for component in field:
            component += amplitude * _smooth_noise(shape, spacing, rng, smoothness)
    edge_mm = 0.25 * shape[0] * spacing[0]
    from_edge_mm = np.minimum(np.arange(shape[0]), np.arange(shape[0])[::-1]) * spacing[0]
    field[0] *= np.sin(0.5 * math.pi * np.minimum(1.0, from_edge_mm / edge_mm))[:, None, None]
    return field


def jacobian_determinant(displacement: NDArray, spacing: Sequence[float]) -> NDArray[np.float32]:
    """Return det(I + grad u), (Z, Y, X), of a displacement u (3, Z, Y, X) in mm; at or below 0 it folds."""
    jacobian = np.stack([np.stack(np.gradient(u, *spacing)) for u in displacement])
    jacobian += np.eye(3)[:, :, None, None, None]
    return np.einsum("i...,i...->...", jacobian[0], np.cross(jacobian[1], jacobian[2], axis=0))


def _warp_labels(labels: NDArray, coordinates: NDArray) -> NDArray:
    """Sample labels at ``coordinates``: each output voxel takes the label with most weight around its source.

    Linear weights of every label's own map give rounder outlines than the nearest voxel's label. Only voxels
    with a labeled neighbor need the vote.
    """
    nearest = ndimage.map_coordinates(labels, coordinates, order=0, mode="nearest")
    close = np.asarray(ndimage.binary_dilation(nearest > 0, iterations=2), dtype=bool)
    points = coordinates[:, close]
    best = np.zeros(points.shape[1], dtype=np.uint8)
    best_weight = np.zeros(points.shape[1], dtype=np.float32)
    for structure in np.unique(labels):
        weight = _weight(labels, structure, points)
        best[weight > best_weight] = structure
        best_weight = np.maximum(weight, best_weight)
    warped = np.zeros(labels.shape, dtype=np.uint8)
    warped[close] = best
    return warped


def _weight(labels: NDArray, structure: int, coordinates: NDArray) -> NDArray:
    """Return one structure's share at ``coordinates``, linear between its voxels (1) and the others (0)."""
    return ndimage.map_coordinates((labels == structure).astype(np.float32), coordinates, order=1, mode="nearest")


def _smooth_noise(
    shape: Sequence[int], spacing: Sequence[float], rng: np.random.Generator, smoothness_mm: float
) -> NDArray:
    """Return a random map (Z, Y, X), standard normal at each voxel, that varies over ``smoothness_mm``.

    Random values on a coarse grid with that pitch, joined by cubic B-splines axis by axis.
    """
    weights = [_cubic_weights(np.arange(n) * s / smoothness_mm) for n, s in zip(shape, spacing, strict=True)]
    values = rng.standard_normal([w.shape[1] for w in weights])
    return np.einsum("zi,yj,xk,ijk->zyx", *weights, values, optimize=True).astype(np.float32)


def _cubic_weights(at: NDArray) -> NDArray:
    """Return the (positions, knots) matrix of cubic B-spline weights at ``at`` >= 0, in units of the pitch.

    Each row has unit length, so that standard normal knots give a standard normal value everywhere.
    """
    distance = np.abs(at[:, None] - np.arange(-1, math.ceil(at[-1]) + 2))
    near = 2.0 / 3.0 - distance**2 + distance**3 / 2.0
    far = np.clip(2.0 - distance, 0.0, None) ** 3 / 6.0
    weights = np.where(distance < 1.0, near, far)
    return weights / np.linalg.norm(weights, axis=1, keepdims=True)


def _affine_displacement(
    shape: Sequence[int], spacing: Sequence[float], rng: np.random.Generator, recipe: DeformationRecipe
) -> NDArray:
    """Return the displacement (3, Z, Y, X) in mm of a small random scaling, shear and in-plane rotation."""
    angle = math.radians(rng.normal(0.0, recipe.rotation_deg))
    turn = np.eye(3)
    turn[1:, 1:] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    stretch = np.diag(np.exp(rng.normal(0.0, recipe.scale, 3)))
    slant = np.eye(3) + np.triu(rng.normal(0.0, recipe.shear, (3, 3)), k=1)
    extent = [np.arange(n) * s - 0.5 * (n - 1) * s for n, s in zip(shape, spacing, strict=True)]
    position = np.stack(np.meshgrid(*extent, indexing="ij"))
    return np.tensordot(turn @ stretch @ slant - np.eye(3), position, axes=1).astype(np.float32)
