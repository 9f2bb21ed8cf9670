"""Reading images and masks, against OpenCV's decoders, and refusing what is damaged or means something else."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile

from msa2net_lib.data.images import read as images
from msa2net_lib.data.images.read import read_image, read_mask, stored_image_size

ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def scene():
    """An image of (36, 52, 3), smooth enough for JPEG and different in every direction and channel."""
    y, x = np.mgrid[:36, :52]
    channels = [7 * y, 4 * x + y, 255 - 3 * x - 2 * y]
    return np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8)


def by_opencv(path):
    """Decode with OpenCV, which applies the EXIF orientation, to RGB."""
    return cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1]


# ---- what can be read -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.JPG"])
def test_against_opencv(scene, tmp_path, name):
    path = tmp_path / "Bilder, Süd" / name
    path.parent.mkdir()
    Image.fromarray(scene).save(path, quality=90)
    out = read_image(path)
    assert (out.shape, out.dtype) == ((36, 52, 3), np.uint8)
    np.testing.assert_allclose(out, by_opencv(path), atol=3 if name.endswith("JPG") else 0)
    assert stored_image_size(path) == (36, 52)
    out[0, 0] = 0  # the caller's own


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA"])
def test_other_modes_become_rgb(scene, tmp_path, mode):
    Image.fromarray(scene).convert(mode).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), by_opencv(tmp_path / "a.png"))


def test_sixteen_bits_a_channel_keep_their_upper_eight(scene, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), scene[..., ::-1].astype(np.uint16) * 256 + 77)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), scene)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(scene, tmp_path, orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(scene).save(tmp_path / "a.jpg", exif=exif, quality=95)
    out = read_image(tmp_path / "a.jpg")
    np.testing.assert_allclose(out, by_opencv(tmp_path / "a.jpg"), atol=3)
    assert stored_image_size(tmp_path / "a.jpg") == out.shape[:2] == ((36, 52) if orientation < 5 else (52, 36))


def test_size_is_known_without_decoding(scene, tmp_path):
    """Not a single row of a PNG has to be there for it."""
    path = tmp_path / "a.png"
    whole = encoded(scene, path)
    path.write_bytes(whole[: next(start for kind, start, _ in chunks(whole) if kind == b"IDAT")])
    assert stored_image_size(path) == (36, 52)


def test_exif_orientation_of_a_png(scene, tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(scene).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.rot90(scene, -1))
    assert stored_image_size(tmp_path / "a.png") == (52, 36)


# ---- masks ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def disc():
    y, x = np.mgrid[:30, :40]
    return (y - 14) ** 2 + (x - 22) ** 2 < 81


@pytest.mark.parametrize(
    "stored",
    [
        lambda disc: disc,
        lambda disc: np.uint8(255) * disc,
        lambda disc: np.uint8(1) * disc,
        lambda disc: np.stack([np.uint8(255) * disc] * 3, axis=-1),
    ],
    ids=["one bit", "0 and 255", "0 and 1", "gray RGB"],
)
def test_mask(disc, tmp_path, stored):
    Image.fromarray(stored(disc)).save(tmp_path / "m.png")
    out = read_mask(tmp_path / "m.png")
    assert out.dtype == bool
    np.testing.assert_array_equal(out, disc)


@pytest.mark.parametrize("value", [0, 1, 255])
def test_mask_of_one_value(tmp_path, value):
    Image.fromarray(np.full((5, 6), value, np.uint8)).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), np.full((5, 6), value > 0))


def test_mask_saved_as_jpeg_needs_a_threshold(disc, tmp_path, refused):
    path = tmp_path / "m.jpg"
    Image.fromarray(np.uint8(255) * disc).save(path, quality=85)
    refused([path, "JPEG", "threshold=127"], read_mask, path)
    np.testing.assert_array_equal(read_mask(path, threshold=127), disc)


def test_threshold_is_strict_and_leaves_zeros_and_ones_alone(tmp_path, refused):
    Image.fromarray(np.array([[10, 100, 101, 200]], np.uint8)).save(tmp_path / "gray.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "gray.png", threshold=100), [[False, False, True, True]])
    Image.fromarray(np.array([[0, 1]], np.uint8)).save(tmp_path / "ones.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "ones.png", threshold=127), [[False, True]])
    refused("threshold=255", read_mask, tmp_path / "gray.png", threshold=255)


def test_colored_and_other_valued_masks(scene, tmp_path, refused):
    Image.fromarray(scene).save(tmp_path / "m.png")
    refused([tmp_path / "m.png", "colored"], read_mask, tmp_path / "m.png")
    refused([tmp_path / "m.png", "colored"], read_mask, tmp_path / "m.png", threshold=127)
    Image.fromarray(np.array([[0, 2, 255]], np.uint8)).save(tmp_path / "m.png")
    refused([tmp_path / "m.png", "such as 2"], read_mask, tmp_path / "m.png")


# ---- what is refused --------------------------------------------------------------------------------------


def encoded(scene, path, **options):
    Image.fromarray(scene).save(path, **options)
    return path.read_bytes()


def chunks(png):
    """Yield (kind, start of the data, length) of each chunk of a PNG."""
    place = 8
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        yield png[place + 4 : place + 8], place + 8, length
        place += 12 + length


def test_every_flipped_byte_of_png_pixels_is_noticed(scene, tmp_path, refused):
    """Pillow alone decodes some of these files into another image without a word."""
    path = tmp_path / "a.png"
    png = encoded(scene // 16 * 16, path)
    start, length = next((start, length) for kind, start, length in chunks(png) if kind == b"IDAT")
    silent = 0
    for place in [*range(start, start + length, 5), start + length, start + length + 3]:
        path.write_bytes(png[:place] + bytes([png[place] ^ 4]) + png[place + 1 :])
        refused([path, "damaged"], read_image, path)
        try:
            silent += bool((np.asarray(Image.open(path)) != scene // 16 * 16).any())
        except (OSError, SyntaxError):
            continue
    assert silent


@pytest.mark.parametrize(("name", "kept"), [("a.png", 12), ("a.jpg", 0), ("a.bmp", 0)])
def test_truncated_anywhere(scene, tmp_path, refused, name, kept):
    """Of a PNG all but the empty closing chunk has to be there; without that chunk it is refused as well."""
    path = tmp_path / name
    whole = encoded(scene, path)
    for length in [*range(0, len(whole) - kept, len(whole) // 40), len(whole) - kept - 1]:
        path.write_bytes(whole[:length])
        refused([path], read_image, path)


def test_missing_and_other_files(scene, tmp_path, refused):
    refused([tmp_path / "a.png", "no such file"], read_image, tmp_path / "a.png")
    refused([tmp_path, "no such file"], stored_image_size, tmp_path)
    (tmp_path / "a.png").write_text("not an image")
    for read in (read_image, read_mask, stored_image_size):
        refused([tmp_path / "a.png", "PNG, JPEG, BMP"], read, tmp_path / "a.png")
    for ending in ("gif", "tiff", "webp"):
        Image.fromarray(scene).save(tmp_path / f"a.{ending}")
        refused([tmp_path / f"a.{ending}", "not an image of a known kind"], read_image, tmp_path / f"a.{ending}")


@pytest.mark.parametrize("kept", [None, 0, 2, 3])
def test_a_palette_that_lacks_the_colors_of_pixels(tmp_path, refused, kept):
    """Pillow alone stops at an assertion, or paints such pixels black."""
    pixels = np.arange(48).reshape(6, 8).astype(np.uint8) % 4
    image = Image.fromarray(pixels).convert("P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    path = tmp_path / "a.png"
    image.save(path)
    np.testing.assert_array_equal(read_image(path), by_opencv(path))
    png, parts = path.read_bytes(), [b"\x89PNG\r\n\x1a\n"]
    for kind, start, length in chunks(png):
        data = png[start : start + length]
        if kind == b"PLTE" and kept is None:
            continue
        data = data[: 3 * kept] if kind == b"PLTE" else data
        parts.append(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
    path.write_bytes(b"".join(parts))
    for read in (read_image, read_mask):
        refused([path, "colors that its palette lacks"], read, path)


def test_kinds_of_pixels_that_are_refused(scene, tmp_path, refused):
    Image.fromarray(scene).convert("CMYK").save(tmp_path / "cmyk.jpg")
    refused([tmp_path / "cmyk.jpg", "CMYK", "save it as RGB"], read_image, tmp_path / "cmyk.jpg")
    Image.fromarray(scene[..., 0].astype(np.uint16) * 9).save(tmp_path / "deep.png")
    refused([tmp_path / "deep.png", "I;16", "8 bits"], read_image, tmp_path / "deep.png")
    seen_through = Image.fromarray(scene).convert("RGBA")
    seen_through.putpixel((3, 4), (0, 0, 0, 254))
    seen_through.save(tmp_path / "alpha.png")
    refused([tmp_path / "alpha.png", "transparent"], read_image, tmp_path / "alpha.png")
    frames = [Image.fromarray(scene), Image.fromarray(255 - scene)]
    frames[0].save(tmp_path / "moving.png", save_all=True, append_images=frames[1:])
    refused([tmp_path / "moving.png", "several"], read_image, tmp_path / "moving.png")


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_bombs_are_refused_from_their_header(tmp_path, refused, side):
    """A few bytes that declare gigabytes; the second is beyond Pillow's own limit."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    for read in (read_image, read_mask, stored_image_size):
        refused([tmp_path / "a.png", "80,000,000"], read, tmp_path / "a.png")


def test_limit_is_on_pixels(scene, tmp_path, refused, monkeypatch):
    encoded(scene, tmp_path / "a.png")
    monkeypatch.setattr(images, "MAX_PIXELS", 36 * 52)
    read_image(tmp_path / "a.png")
    monkeypatch.setattr(images, "MAX_PIXELS", 36 * 52 - 1)
    refused([tmp_path / "a.png", "52 x 36"], read_image, tmp_path / "a.png")


def test_a_setting_that_hides_damage_is_refused(scene, tmp_path, refused, monkeypatch):
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(scene, path)[:-200])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    refused("LOAD_TRUNCATED_IMAGES", read_image, path)
