"""The two preparations in circulation, against the libraries that their sources use."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import resize

from msa2net_lib.data.images.recipes import (
    RECIPES,
    ImageRecipe,
    image_recipe,
    resize_color,
    resize_mask,
    scale_image,
)

SIZES = [((96, 131), (56, 56)), ((40, 31), (64, 96)), ((77, 300), (32, 32))]


@pytest.fixture(params=SIZES, ids=str)
def case(request):
    """An image of uint8 noise, a blobby mask, and the size wanted."""
    shape, size = request.param
    rng = np.random.default_rng(5)
    image = rng.integers(20, 231, (*shape, 3), dtype=np.uint8)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 7), dtype=np.uint8))
    return image, np.asarray(coarse.resize(shape[::-1], Image.Resampling.BICUBIC)) > 127, size


def test_dlka_is_pillows_bilinear_resize(case):
    image, mask, size = case
    recipe = RECIPES["dlka"]
    expected = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(resize_color(image, size, recipe), expected)
    soft = np.asarray(Image.fromarray(np.uint8(255) * mask).resize(size[::-1], Image.Resampling.BILINEAR)) / 255.0
    out = resize_mask(mask, size, recipe)
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(out, soft > 0.5)


def test_dermosegdiff_is_torchvisions_resize_of_tensors(case):
    image, mask, size = case
    recipe = RECIPES["dermosegdiff"]
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    expected = resize(tensor, list(size), InterpolationMode.BILINEAR, antialias=False).permute(1, 2, 0).numpy()
    out = resize_color(image, size, recipe)
    assert (out.shape, out.dtype) == ((*size, 3), np.uint8)
    # The same arithmetic in another order: what lies at a half may be rounded the other way.
    difference = np.abs(out.astype(int) - expected)
    assert difference.max() <= 1
    assert np.mean(difference > 0) < 0.005
    expected = resize(torch.from_numpy(np.uint8(255) * mask)[None], list(size), InterpolationMode.NEAREST)[0].numpy()
    np.testing.assert_array_equal(255 * resize_mask(mask, size, recipe), expected)


def test_the_two_differ_where_an_image_shrinks(case):
    """Enlarging, both mix the same four neighbors."""
    image, mask, size = case
    area, nearby = (resize_color(image, size, RECIPES[name]).astype(int) for name in ("dlka", "dermosegdiff"))
    if size[0] > image.shape[0] and size[1] > image.shape[1]:
        assert np.abs(area - nearby).max() <= 1
    else:
        assert np.mean(np.abs(area - nearby) > 10) > 0.3
    masks = [resize_mask(mask, size, recipe) for recipe in RECIPES.values()]
    assert 0 < np.mean(masks[0] != masks[1]) < 0.15


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_same_size_changes_nothing(case, recipe):
    image, mask, _ = case
    out = resize_color(image, image.shape[:2], recipe)
    np.testing.assert_array_equal(out, image)
    assert not np.shares_memory(out, image)
    np.testing.assert_array_equal(resize_mask(mask, mask.shape, recipe), mask)


def test_intensity(case):
    image, _, _ = case
    stretched = scale_image(image, RECIPES["dlka"])
    low, high = image.min(), image.max()
    assert (stretched.dtype, stretched.min(), stretched.max()) == (np.float32, 0.0, 1.0)
    np.testing.assert_allclose(stretched, (image - float(low)) / (high - float(low)), atol=1e-6)
    plain = ImageRecipe("own", "area", "nearest", "as stored")
    np.testing.assert_allclose(scale_image(image, plain), image / 255.0, atol=1e-6)
    assert not scale_image(np.full((3, 3, 3), 90, np.uint8), RECIPES["dlka"]).any()


def test_every_field_has_its_source():
    for name, recipe in RECIPES.items():
        assert recipe.name == name
        assert {"image_filter", "mask_filter", "intensity", "split"} <= recipe.notes.keys()


def test_names(refused):
    assert image_recipe("dlka") is RECIPES["dlka"]
    own = ImageRecipe("own", "area", "nearest", "as stored")
    assert image_recipe(own) is own
    refused(["'bcdu'", "dlka, dermosegdiff"], image_recipe, "bcdu")
    refused("size", resize_mask, np.zeros((4, 4), bool), 0, own)
