"""Which mask belongs to which image."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from msa2net_lib.data.images.folders import Pair, pair_images


@pytest.fixture
def folders(tmp_path):
    """Return a function that writes small images and masks by name, of (rows, columns), and the folders."""

    def write(images, masks, shape=(6, 8)):
        for folder, names in (("images", images), ("masks", masks)):
            (tmp_path / folder).mkdir(exist_ok=True)
            for name in names:
                Image.fromarray(np.zeros(shape, np.uint8)).save(tmp_path / folder / name)
        return tmp_path / "images", tmp_path / "masks"

    return write


@pytest.mark.parametrize(
    "mask",
    ["{}.png", "{}_segmentation.png", "{}_Segmentation.PNG", "{}_mask.bmp", "{}_MASK.png"],
)
def test_common_names(folders, mask):
    images, masks = folders(["b.jpg", "a.png"], [mask.format(name) for name in "ab"])
    assert pair_images(images, masks) == [
        Pair("a", images / "a.png", masks / mask.format("a")),
        Pair("b", images / "b.jpg", masks / mask.format("b")),
    ]


def test_other_suffix_has_to_be_given(folders, refused):
    images, masks = folders(["a.png", "b.png"], ["a_lesion.png", "b_lesion.png"])
    refused([masks, "no mask matches any of the 2", "a_segmentation.png", "mask_suffix"], pair_images, images, masks)
    assert [pair.mask.name for pair in pair_images(images, masks, mask_suffix="_lesion")] == [
        "a_lesion.png",
        "b_lesion.png",
    ]


def test_image_whose_own_name_ends_like_a_mask(folders):
    images, masks = folders(["face_mask.png", "face.png"], ["face_mask.png", "face.png"])
    assert [(pair.id, pair.mask.name) for pair in pair_images(images, masks)] == [
        ("face", "face.png"),
        ("face_mask", "face_mask.png"),
    ]


def test_both_in_one_folder(folders):
    images, _ = folders(["a.png", "a_mask.png", "b.jpg", "b_segmentation.png"], [])
    assert [(pair.id, pair.image.name, pair.mask.name) for pair in pair_images(images, images)] == [
        ("a", "a.png", "a_mask.png"),
        ("b", "b.jpg", "b_segmentation.png"),
    ]


def test_what_is_passed_over(folders):
    """Hidden files, superpixels beside ISIC 2016's and 2017's images, texts, and masks of other images."""
    images, masks = folders(["a.png", "a_superpixels.png", ".b.png"], ["a.png", "c_segmentation.png"])
    (images / "LICENSE.txt").write_text("terms")
    (images / "d.png").mkdir()
    assert [pair.id for pair in pair_images(images, masks)] == ["a"]


def test_missing_masks_are_counted_and_named(folders, refused):
    images, masks = folders(["a.png", "b.png", "c.png"], ["b.png"])
    refused([masks, "a has no mask", "2 of 3"], pair_images, images, masks)


@pytest.mark.parametrize(
    ("images", "masks", "words"),
    [
        (["a.jpg", "a.png"], ["a.png"], ["images", "a.jpg and a.png"]),
        (["a.jpg"], ["a.png", "a_segmentation.png"], ["masks", "a.png and a_segmentation.png"]),
        ([], ["a.png"], ["images", "holds no image"]),
        (["a.png"], [], ["masks", "no mask matches any of the 1"]),
    ],
)
def test_doubles_and_empty_folders(folders, refused, images, masks, words):
    refused(words, pair_images, *folders(images, masks))


def test_no_such_folder(folders, refused):
    images, masks = folders(["a.png"], ["a.png"])
    refused([images / "x", "no such folder"], pair_images, images / "x", masks)
    refused([masks / "x", "no such folder"], pair_images, images, masks / "x")


def test_mask_of_another_size(folders, refused):
    images, masks = folders(["a.png", "b.png"], ["a.png"])
    folders([], ["b.png"], shape=(8, 6))
    refused([masks / "b.png", "8 rows and 6 columns", images / "b.png", "6 and 8"], pair_images, images, masks)


def test_turned_image_and_the_mask_drawn_on_it(folders, refused):
    """The size that counts is the one the image is seen at, after its EXIF orientation."""
    images, masks = folders([], ["a.png"], shape=(8, 6))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(images / "a.jpg", exif=exif)
    assert [pair.id for pair in pair_images(images, masks)] == ["a"]
    folders([], ["a.png"], shape=(6, 8))  # that of the stored pixels: it will be turned like the image
    assert [pair.id for pair in pair_images(images, masks)] == ["a"]
    folders([], ["a.png"], shape=(8, 7))
    refused([masks / "a.png"], pair_images, images, masks)
