"""Whole batches are resized as SciPy resizes slices: cubic to 1e-4 by matrices, nearest exactly, odd sizes too."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from msa2net_lib.data.resize import (
    check_resampling,
    nearest_index,
    resize_back,
    resize_image,
    resize_images,
    resize_label,
    resize_labels,
    spline_matrix,
    without_lost_edge,
)
from msa2net_lib.data.resize_matrix import resize_on_device
from msa2net_lib.data.volumes import read_volume, window
from msa2net_lib.errors import InputError

SIZES = ((224, 224), (128, 128), (97, 131), (512, 512), (101, 122), (1, 5), (33, 224))


@pytest.fixture(scope="module")
def slices(root):
    """Slices of both shipped patients: 101 x 122 and 512 x 512 pixels, windowed."""
    scans = {number: read_volume(root / "data" / "example_ct" / "img" / f"img000{number}.nii.gz") for number in (1, 2)}
    return {number: window(scan.array[[5, len(scan.array) // 2]]) for number, scan in scans.items()}


def by_scipy(images, size, order):
    """Zoom each slice without the library."""
    zoom = tuple(new / old for new, old in zip(size, images.shape[1:], strict=True))
    return np.stack([np.asarray(ndimage.zoom(image, zoom, order=order)) for image in images])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("patient", [1, 2])
def test_ct_slices_by_matrices_equal_scipy(slices, patient, size):
    images = slices[patient]
    expected = by_scipy(images, size, 3)
    assert expected.shape == (2, *size)
    found = resize_on_device(torch.from_numpy(images), size)
    assert found.dtype == torch.float32
    assert np.abs(found.numpy() - expected).max() < 1e-4
    np.testing.assert_array_equal(resize_images(images, size), expected if size != images.shape[1:] else images)


@pytest.mark.parametrize(("old", "new"), [((37, 53), (224, 17)), ((224, 224), (509, 511)), ((2, 3), (7, 1))])
def test_noise_by_matrices_equals_scipy(old, new):
    """Noise overshoots most: nothing in it is smooth."""
    images = np.random.default_rng(0).random((5, *old), dtype=np.float32)
    found = resize_on_device(torch.from_numpy(images), new).numpy()
    assert np.abs(found - by_scipy(images, new, 3)).max() < 1e-4
    for index, image in enumerate(images):  # and the library's own way, slice by slice
        np.testing.assert_allclose(found[index], resize_image(image, new), atol=1e-4, rtol=0)


def test_precision_allowed_elsewhere_is_not_used_here(slices):
    images = torch.from_numpy(slices[2])
    expected = resize_on_device(images, 224)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = resize_on_device(images, 224)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("old", "new"), [(512, 224), (224, 512), (640, 96)])
def test_no_weight_of_the_matrices_is_subnormal(old, new):
    """Some processors count a hundred times slower with such. Slices of one white pixel show the weights."""
    images = torch.eye(old).unsqueeze(1)  # n slices of one row, one white pixel each
    found = resize_on_device(images, (1, new)).abs()
    assert found.gt(0).any()
    assert found[found > 0].min() >= torch.finfo(torch.float32).tiny


def test_the_matrices_serve_in_and_out_of_inference_mode():
    image = torch.rand(1, 9, 9)
    with torch.inference_mode():
        resize_on_device(image, 5)
    image.requires_grad_()
    resize_on_device(image, 5).sum().backward()
    assert image.grad is not None


def test_labels_at_once_equal_scipy_for_every_size():
    rng = np.random.default_rng(1)
    sizes = [1, 2, 3, 7, 31, 64, 100, 101, 122, 128, 224, 257, 511, 512]
    for old in sizes:
        labels = rng.integers(1, 9, (2, old, 13)).astype(np.uint8)
        for new in sizes:
            found = resize_labels(labels, (new, 29))
            assert found.dtype == np.uint8
            np.testing.assert_array_equal(found, by_scipy(labels, (new, 29), 0))
            np.testing.assert_array_equal(found[1], resize_label(labels[1], (new, 29)))


def test_the_released_sizes_lose_their_last_row_and_column():
    """SciPy rounds its way out of the picture from 512 to 224 pixels, and not on the way back."""
    assert nearest_index(512, 224)[-1] == -1
    assert (nearest_index(512, 224)[:-1] >= 0).all()
    assert (nearest_index(224, 512) >= 0).all()
    ones = np.ones((1, 512, 512), np.uint8)
    assert resize_labels(ones, 224).sum() == 223 * 223
    assert resize_label(ones[0], 224).sum() == 223 * 223
    assert not spline_matrix(512, 224)[-1].any()


@pytest.mark.parametrize("old", [224, 128, 64])
def test_the_way_back_takes_the_nearest_pixel_whatever_the_size(old):
    """Of the sizes 200 to 1100, 90 lose their last pixel from 224 by SciPy's zoom, 576 among them."""
    lost = []
    for new in [*range(200, 1101), 1, 2, 31]:
        taken = nearest_index(old, new, "nearest")
        exact = np.arange(new) * ((old - 1) / max(new - 1, 1))
        assert taken.shape == (new,)
        assert np.abs(taken - exact).max() < 0.5 + 1e-9
        by_zoom = np.asarray(ndimage.zoom(np.arange(1, old + 1), new / old, order=0)) - 1
        np.testing.assert_array_equal(taken[by_zoom >= 0], by_zoom[by_zoom >= 0])
        lost += [new] * bool((by_zoom < 0).any())
    if old == 224:
        assert len(lost) == 90
        assert 576 in lost


@pytest.mark.parametrize("size", [(576, 512), (512, 576), (576, 576), (300, 500)])
def test_classes_come_back_whole_and_the_released_map_is_known_from_them(size):
    classes = np.random.default_rng(0).integers(1, 9, (2, 224, 224)).astype(np.uint8)
    back = resize_back(classes, size)
    assert (back.shape, back.dtype, back.min()) == ((2, *size), np.uint8, 1)
    np.testing.assert_array_equal(resize_back(classes[0], size), back[0])
    released = without_lost_edge(back, 224)
    np.testing.assert_array_equal(released, by_scipy(classes, size, 0))
    assert (released is back) == (576 not in size)


def test_tables_are_kept_and_cannot_be_spoilt():
    assert spline_matrix(40, 30) is spline_matrix(40, 30)
    for table in (spline_matrix(40, 30), nearest_index(40, 30)):
        with pytest.raises(ValueError, match="read-only"):
            table[0] = 1


def test_equal_sizes_are_copied():
    labels = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)
    same = resize_labels(labels, (3, 4))
    np.testing.assert_array_equal(same, labels)
    same[:] = 0
    assert labels.any()


def test_what_is_refused():
    flat = np.zeros((4, 4), np.float32)
    for resize in (resize_images, resize_labels):
        with pytest.raises(InputError, match=r"slices of shape \(4, 4\): give \(n, H, W\)"):
            resize(flat, 3)
    with pytest.raises(InputError, match="give"):
        resize_on_device(torch.from_numpy(flat), 3)
    with pytest.raises(InputError, match="positive"):
        resize_labels(flat[None], 0)
    with pytest.raises(InputError, match="resampling='linear' is unknown: use one of scipy, matrix"):
        check_resampling("linear")
