"""Flips: letters, and what they do to an array, against indexing by hand."""

from __future__ import annotations

import numpy as np
import pytest

from msa2net_lib.data.contract.flips import FLIPS, IN_PLANE_FLIPS, apply_flip, flip_spacing, parse_flip, undo_flip

VOLUME = np.arange(2 * 3 * 4).reshape(2, 3, 4)


def test_letters_mean_what_the_module_says():
    np.testing.assert_array_equal(apply_flip(VOLUME, "none"), VOLUME)
    np.testing.assert_array_equal(apply_flip(VOLUME, "x"), VOLUME[:, :, ::-1])
    np.testing.assert_array_equal(apply_flip(VOLUME, "y"), VOLUME[:, ::-1])
    np.testing.assert_array_equal(apply_flip(VOLUME, "z"), VOLUME[::-1])
    np.testing.assert_array_equal(apply_flip(VOLUME, "t"), VOLUME.transpose(0, 2, 1))
    # Rows and columns are swapped first: after that, x reverses what were rows.
    np.testing.assert_array_equal(apply_flip(VOLUME, "tx"), VOLUME[:, ::-1].transpose(0, 2, 1))


def test_a_slice_has_no_z():
    np.testing.assert_array_equal(apply_flip(VOLUME[0], "tyz"), apply_flip(VOLUME, "ty")[0])


def test_sixteen_different_flips_that_can_be_undone():
    turned = [apply_flip(VOLUME, flip) for flip in FLIPS]
    assert len({(array.shape, array.tobytes()) for array in turned}) == 16
    assert len(IN_PLANE_FLIPS) == 8
    for flip, array in zip(FLIPS, turned, strict=True):
        assert array.flags.c_contiguous
        np.testing.assert_array_equal(undo_flip(array, flip), VOLUME)


def test_spacing_follows_its_axes():
    assert flip_spacing((3.0, 1.0, 0.5), "tyz") == (3.0, 0.5, 1.0)
    assert flip_spacing((3.0, 1.0, 0.5), "xyz") == (3.0, 1.0, 0.5)


@pytest.mark.parametrize(
    ("text", "flip"), [("none", "none"), ("", "none"), ("zt", "tz"), ("YX", "xy"), ("zyxt", "txyz")]
)
def test_parse(text, flip):
    assert parse_flip(text) == flip


@pytest.mark.parametrize("text", ["xx", "a", "x,y", "nope"])
def test_parse_refuses(refused, text):
    refused([repr(text), "'none' or letters"], parse_flip, text)
