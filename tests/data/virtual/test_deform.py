"""Deformation: smooth, unfolded, and weakened until it is."""

from __future__ import annotations

import numpy as np
import pytest

from msa2net_lib.data.virtual.deform import DeformationRecipe, deform, jacobian_determinant, random_displacement
from msa2net_lib.data.volumes import read_pair


@pytest.fixture(scope="module")
def real(example_ct):
    """The real patient: image in HU and raw labels."""
    return read_pair(example_ct / "img" / "img0001.nii.gz", example_ct / "label" / "label0001.nii.gz")


@pytest.mark.parametrize("seed", range(2))
def test_no_folding(real, seed):
    """Signed volume of every voxel cell's three edges after the deformation, by plain differences."""
    spacing, shape = real[0].spacing, real[0].array.shape
    displacement = random_displacement(shape, spacing, np.random.default_rng(seed), DeformationRecipe())
    assert displacement.shape == (3, *shape)
    grid = np.stack(np.meshgrid(*(np.arange(n) * s for n, s in zip(shape, spacing, strict=True)), indexing="ij"))
    moved = grid + displacement
    corner = (slice(None), *(slice(0, -1),) * 3)
    edges = [np.diff(moved, axis=axis + 1) for axis in range(3)]
    edges = [edge[:, : shape[0] - 1, : shape[1] - 1, : shape[2] - 1] for edge in edges]
    volume = np.einsum("i...,i...->...", edges[0], np.cross(edges[1], edges[2], axis=0)) / np.prod(spacing)
    assert volume.min() > 0.1
    assert jacobian_determinant(displacement, spacing).min() > 0.1
    np.testing.assert_array_equal(moved[corner][0, 0], grid[corner][0, 0])  # the first slice stays in its plane
    assert np.linalg.norm(displacement, axis=0).mean() > 4  # mm: otherwise nothing could fold


def test_jacobian_of_a_linear_map():
    matrix = np.array([[1.1, 0.2, -0.1], [0.05, 0.9, 0.3], [0.0, -0.2, 1.3]])
    spacing = (3.0, 0.7, 1.5)
    position = np.stack(
        np.meshgrid(*(np.arange(n) * s for n, s in zip((5, 6, 7), spacing, strict=True)), indexing="ij")
    )
    displacement = np.tensordot(matrix - np.eye(3), position, axes=1)
    np.testing.assert_allclose(jacobian_determinant(displacement, spacing), np.linalg.det(matrix), rtol=1e-9)
    mirrored = -2 * position * np.array([1, 0, 0])[:, None, None, None]
    np.testing.assert_allclose(jacobian_determinant(mirrored, spacing), -1, rtol=1e-9)


def test_too_strong_a_recipe_is_weakened_until_nothing_folds_or_vanishes(real):
    wild = DeformationRecipe(bends=((30.0, 25.0),))
    displacement = random_displacement(real[0].array.shape, real[0].spacing, np.random.default_rng(1), wild)
    assert jacobian_determinant(displacement, real[0].spacing).min() < 0
    labels, _ = deform(real[1], np.random.default_rng(1), wild)
    assert set(np.unique(labels)) == set(np.unique(real[1].array))
