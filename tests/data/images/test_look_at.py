"""What is told of images and masks that may not mean what they say: turned, inverted, doubled, left out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from msa2net_lib.data.images.look_at import image_remarks
from msa2net_lib.data.images.prepare import prepare_images
from msa2net_lib.evaluation.images import original_mask

ORIENTATION = 0x0112


@pytest.fixture
def write(tmp_path):
    """Return a function that writes an image of (40, 60) with a bright corner, and its mask, and the folders."""
    folders = [tmp_path / "images", tmp_path / "masks"]
    for folder in folders:
        folder.mkdir()

    def save(name, *, image_exif=1, mask_exif=1, ending=".png", shape=(40, 60), mask=None, seed=0, level=255):
        pixels = np.random.default_rng(seed).integers(0, 40, (*shape, 3)).astype(np.uint8)
        pixels[5:15, 5:20] += 180
        lesion = np.zeros(shape, np.uint8)
        lesion[5:15, 5:20] = 1
        lesion = lesion if mask is None else mask(lesion)
        for folder, array, orientation, end in (
            (folders[0], pixels, image_exif, ending),
            (folders[1], level * lesion, mask_exif, ".png"),
        ):
            exif = Image.Exif()
            exif[ORIENTATION] = orientation
            options = {"exif": exif} if orientation > 1 else {}
            Image.fromarray(array).save(
                folder / f"{name}{end}", **options, **({"quality": 95} if end == ".jpg" else {})
            )
        return lesion

    return save, *folders


def prepared(write, tmp_path, **options):
    options = {"split": (0, 0, 1), "size": (40, 60), "workers": 1, "progress": False, **options}
    dataset = prepare_images(write[1], write[2], tmp_path / "out", **options)
    return dataset, image_remarks(dataset.manifest)


def bright(image):
    return image.max(axis=-1) > 0.5


# ---- turned -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("ending", [".png", ".jpg"])
def test_a_mask_of_the_stored_size_is_turned_with_its_image(write, tmp_path, orientation, ending):
    mask = write[0]("a", image_exif=orientation, ending=ending)
    dataset, remarks = prepared(write, tmp_path, size=(60, 40))
    case = dataset.load("a")
    np.testing.assert_array_equal(case.mask > 0, bright(case.image))
    assert any("was turned alike: 1 of 1 (a)" in line for line in remarks)
    original = original_mask(dataset, "a", write[2])  # scoring at their own size turns them as well
    np.testing.assert_array_equal(original, case.mask)
    assert original.sum() == mask.sum()
    upright = cv2.imread(str(write[1] / f"a{ending}"))  # OpenCV turns as EXIF says
    np.testing.assert_array_equal(original, upright.max(axis=-1) > 127)


@pytest.mark.parametrize(("orientation", "shape"), [(2, (40, 60)), (3, (40, 60)), (4, (40, 60)), (6, (50, 50))])
@pytest.mark.parametrize("which", ["image", "mask"])
def test_one_of_two_that_is_turned_is_told(write, tmp_path, orientation, shape, which):
    write[0]("a", **{f"{which}_exif": orientation}, shape=shape)
    write[0]("b", image_exif=orientation, mask_exif=orientation, shape=shape, seed=1)
    dataset, remarks = prepared(write, tmp_path, size=shape)
    assert [line for line in remarks if "EXIF" in line] == [
        f"EXIF turns the {'image and not its mask' if which == 'image' else 'mask and not its image'}; "
        "if they do not fit now, save both upright and without EXIF: 1 of 2 (a)"
    ]
    case = dataset.load("b")  # both alike
    np.testing.assert_array_equal(case.mask > 0, bright(case.image))


def test_an_upright_mask_of_a_turned_image_stays(write, tmp_path):
    write[0]("a", image_exif=6, ending=".jpg")
    mask = write[2] / "a.png"
    Image.open(mask).transpose(Image.Transpose.ROTATE_270).save(mask)
    dataset, remarks = prepared(write, tmp_path, size=(60, 40))
    case = dataset.load("a")
    np.testing.assert_array_equal(case.mask > 0, bright(case.image))
    assert any("EXIF turns the image and not its mask" in line for line in remarks)


@pytest.mark.parametrize("shape", [(40, 61), (39, 60), (80, 120)])
def test_a_mask_of_another_size_is_refused_with_both_names(write, tmp_path, refused, shape):
    write[0]("a")
    Image.fromarray(np.zeros(shape, np.uint8)).save(write[2] / "a.png")
    words = [write[2] / "a.png", f"has {shape[0]} rows and {shape[1]} columns", write[1] / "a.png", "40 and 60"]
    refused(words, prepared, write, tmp_path)


# ---- inverted, ones, unusual ---------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [255, 1])
def test_inverted_masks_are_told(write, tmp_path, level):
    for number in range(4):
        write[0](f"p{number}", mask=(lambda lesion: 1 - lesion) if number < 2 else None, level=level, seed=number)
    _, remarks = prepared(write, tmp_path)
    assert "lesion all along the border of 2 of 4 (p0, p1); their masks may be inverted: white is lesion" in remarks


def test_a_lesion_that_reaches_the_border_is_not_inverted(write, tmp_path):
    def half(lesion):
        lesion[:, 30:] = 1
        return lesion

    write[0]("a", mask=half)
    write[0]("b", seed=1)
    assert not any("inverted" in line for line in prepared(write, tmp_path)[1])


@pytest.mark.parametrize("threshold", [1, 127, 254])
def test_masks_of_zero_and_one_with_a_threshold_are_told(write, tmp_path, threshold):
    mask = write[0]("a", level=1)
    write[0]("b", level=255, seed=1)
    dataset, remarks = prepared(write, tmp_path, threshold=threshold)
    np.testing.assert_array_equal(dataset.load("a").mask, mask)
    assert any("0 and 1 only" in line and line.endswith("1 of 2 (a)") for line in remarks)


def test_without_a_threshold_nothing_is_told_of_ones(write, tmp_path):
    write[0]("a", level=1)
    assert prepared(write, tmp_path)[1] == []


def test_unusual_and_missing_lesions_are_told(write, tmp_path):
    def point(lesion):
        return lesion * (np.arange(60) == 6) * (np.arange(40) == 6)[:, None]

    for number, mask in enumerate([None, None, None, np.ones_like, point, np.zeros_like]):
        write[0](f"p{number}", mask=mask, seed=number)
    _, remarks = prepared(write, tmp_path, allow_empty=True)
    assert "unusual shares of lesion: p3 100.00%, p4 0.04%" in remarks
    assert "no pixel is lesion in 1 of 6 (p5)" in remarks


# ---- one image twice, left out ------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["a copy", "compressed again", "as BMP"])
def test_one_image_in_two_parts_is_told(write, tmp_path, how):
    for number in range(3):
        write[0](f"p{number}", seed=number)
    first = Image.open(write[1] / "p0.png")
    ending = ".bmp" if how == "as BMP" else ".png"
    again = write[1] / f"p9{ending}"
    if how == "a copy":
        again.write_bytes((write[1] / "p0.png").read_bytes())
    else:
        first.save(again, **({} if ending == ".bmp" else {"compress_level": 0}))
    (write[2] / "p9.png").write_bytes((write[2] / "p0.png").read_bytes())
    split = {"train": ["p0", "p1"], "test": ["p2", "p9"]}
    _, remarks = prepared(write, tmp_path, split=split)
    found = [line for line in remarks if "one and the same image" in line]
    assert len(found) == 1
    assert "p0 (train), p9 (test); a score of it is of training data" in found[0]


def test_what_is_left_out_is_counted(write, tmp_path):
    for number in range(4):
        write[0](f"p{number}", seed=number)
    (write[1] / "p1.png").unlink()
    (write[1] / "scan.tif").write_bytes(b"II*\0")
    _, remarks = prepared(write, tmp_path, split={"test": ["p0"]})
    assert "left out, 2 images that the split does not list: p2, p3" in remarks
    assert "left out, 1 files beside the images: scan.tif" in remarks
    assert "left out, 1 files beside the masks: p1.png" in remarks


@pytest.mark.parametrize("name", ["a" * 240, "ü" * 120, "x\ny"])
def test_names_that_no_file_system_or_list_takes(write, tmp_path, refused, name):
    write[0](name)
    line = refused(["rename its files and entries"], prepared, write, tmp_path)
    assert line.isprintable() or name.isprintable()
    assert not (tmp_path / "out").exists()
