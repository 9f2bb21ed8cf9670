"""What can be predicted on and what cannot, and how it is read."""

from __future__ import annotations

import io

import cv2
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image

from msa2net_lib.prediction.run import predict_file
from msa2net_lib.prediction.source import read_source, result_name


@pytest.fixture
def gray():
    """A gray image (24, 20), all values from 0 to 255."""
    values = np.random.default_rng(3).integers(0, 256, (24, 20)).astype(np.uint8)
    values.flat[:2] = 0, 255
    return values


def video(path, gray):
    """A real video of some frames, in whatever container the ending asks for."""
    codec = {".mp4": "mp4v", ".avi": "MJPG"}[path.suffix]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 5, (64, 64), isColor=True)
    assert writer.isOpened()
    for shift in range(8):
        writer.write(cv2.resize(np.roll(gray, shift)[..., None].repeat(3, 2), (64, 64)))
    writer.release()
    return path


# ---- refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind"), [("film.mp4", "MP4"), ("film.avi", "AVI")])
@pytest.mark.parametrize("renamed", [None, "image.png", "image.jpg", "scan.nii.gz", "scan"])
def test_video_whatever_its_name(tmp_path, gray, refused, name, kind, renamed):
    path = video(tmp_path / name, gray)
    path = path.rename(tmp_path / renamed) if renamed else path
    refused([path, f"is a video ({kind})", "as PNG"], predict_file, path, progress=False)


@pytest.mark.parametrize("name", ["notes.txt", "scan.nii", "scan.nii.gz", "image.png", "scan", "scan.dcm", "a.jpg"])
def test_text_file_whatever_its_name(tmp_path, refused, name):
    (tmp_path / name).write_text("patient: Müller\nliver: unremarkable\n" * 200, encoding="utf-8")
    refused([tmp_path / name, "is a text file", "NIfTI"], read_source, tmp_path / name)


def test_text_named_like_a_text_header_is_the_formats_own_refusal(tmp_path, refused):
    (tmp_path / "scan.nrrd").write_text("no header")
    refused([tmp_path / "scan.nrrd", "not a NRRD file"], read_source, tmp_path / "scan.nrrd")


OTHERS = {
    "a TIFF": (b"II*\0" + bytes(60), "a TIFF image"),
    "a WebP": (b"RIFF\x10\0\0\0WEBPVP8 " + bytes(60), "a WebP image"),
    "a HEIC": (b"\0\0\0\x18ftypheic" + bytes(60), "HEIC"),
    "a QuickTime": (b"\0\0\0\x08moov" + bytes(60), "a video (QuickTime)"),
    "a PDF": (b"%PDF-1.7\n\xe2\xe3\0", "a PDF"),
    "an archive": (b"PK\x03\x04" + bytes(60), "a ZIP archive"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(60), "an HDF5 file"),
    "NumPy": (b"\x93NUMPY\x01\0" + bytes(60), "a NumPy array"),
    "nothing": (b"", "is empty"),
    "noise": (bytes(range(256)), "not a format that is read"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_files(tmp_path, refused, kind):
    content, words = OTHERS[kind]
    (tmp_path / "file.bin").write_bytes(content)
    refused([tmp_path / "file.bin", words], read_source, tmp_path / "file.bin")


def test_missing_file(tmp_path, refused):
    refused(["nowhere.nii", "no such file"], read_source, tmp_path / "nowhere.nii")


def test_four_dimensions(tmp_path, refused):
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6, 3), np.int16), np.eye(4)), tmp_path / "film.nii.gz")
    refused([tmp_path / "film.nii.gz", "is 4-D (4 x 5 x 6 x 3)"], read_source, tmp_path / "film.nii.gz")


def test_empty_folder_and_one_without_dicom(tmp_path, refused):
    refused([tmp_path, "holds no DICOM images"], read_source, tmp_path)
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)), tmp_path / "scan.nii.gz")
    refused([tmp_path, "holds no DICOM images", "scan.nii.gz", "name that file"], read_source, tmp_path)


def test_animated_and_transparent_images(tmp_path, gray, refused):
    frames = [Image.fromarray(np.roll(gray, shift)) for shift in range(3)]
    frames[0].save(tmp_path / "film.png", save_all=True, append_images=frames[1:])
    refused([tmp_path / "film.png", "several images"], read_source, tmp_path / "film.png")
    clear = Image.fromarray(np.dstack([gray, gray, gray, np.full_like(gray, 100)]))
    clear.save(tmp_path / "clear.png")
    refused(["clear.png", "transparent"], read_source, tmp_path / "clear.png")


@pytest.mark.parametrize("apart", [1, 4, 8])
@pytest.mark.parametrize("name", ["a.png", "a.bmp"])
def test_a_lossless_image_of_nearly_equal_channels_keeps_its_colors(tmp_path, gray, name, apart):
    """Weak stains and difference images are such; only where JPEG may have rounded are channels taken for one."""
    pixels = np.stack([gray // 2, gray // 2 + apart // 2, gray // 2 + apart], axis=-1)
    cv2.imwrite(str(tmp_path / name), pixels[..., ::-1])
    np.testing.assert_array_equal(read_source(tmp_path / name).pixels, pixels)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.jpg"])
def test_a_gray_image_stored_as_rgb_has_one_channel(tmp_path, gray, name):
    cv2.imwrite(str(tmp_path / name), np.stack([cv2.GaussianBlur(gray, (9, 9), 3)] * 3, axis=-1))
    assert read_source(tmp_path / name).is_gray


# ---- DICOM with several series ------------------------------------------------------------------------------


@pytest.fixture
def two_series(tmp_path, scan_hu, write_dicom):
    folder = tmp_path / "study"
    write_dicom(folder, scan_hu(1), series="1.2.3.4", SeriesDescription="Portal venous")
    write_dicom(folder / "more", scan_hu(2, (3, 24, 20)), series="1.2.3.5", SeriesDescription="Scout")
    return folder


def test_two_series_are_refused_and_listed(two_series, refused):
    words = ["holds 2 series", "--series", "1.2.3.4 (Portal venous, CT, 5 slices)", "1.2.3.5 (Scout, CT, 3 slices)"]
    refused([two_series, *words], predict_file, two_series, progress=False)


@pytest.mark.parametrize("name", ["1.2.3.5", "Scout", "scout"])
def test_series_by_its_uid_or_description(two_series, scan_hu, name):
    source = read_source(two_series, name)
    np.testing.assert_array_equal(source.array, scan_hu(2, (3, 24, 20)))
    assert (result_name(source), source.modality) == ("study_Scout", "CT")


def test_series_that_is_not_there(two_series, refused):
    refused(["no series 'Thorax'", "Portal venous"], read_source, two_series, "Thorax")


def test_description_of_two_series_chooses_none(tmp_path, scan_hu, write_dicom, refused):
    for series in ("1.2.3.4", "1.2.3.5"):
        write_dicom(tmp_path, scan_hu(1), series=series, SeriesDescription="Abdomen")
    refused(["more than one series 'abdomen'", "1.2.3.4", "1.2.3.5"], read_source, tmp_path, "abdomen")


def test_series_of_what_has_none(tmp_path, gray, refused):
    Image.fromarray(gray).save(tmp_path / "gray.png")
    refused(["is an image", "leave it out"], read_source, tmp_path / "gray.png", "Scout")
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)), tmp_path / "scan.nii")
    refused(["is no DICOM", "Scout"], read_source, tmp_path / "scan.nii", "Scout")


# ---- images and single slices -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gray.png", "gray.PNG", "gray.bmp", "png without an ending"])
def test_gray_image(tmp_path, gray, threshold, name):
    buffer = io.BytesIO()
    Image.fromarray(gray).save(buffer, format="BMP" if name.endswith("bmp") else "PNG")
    (tmp_path / name).write_bytes(buffer.getvalue())
    made = predict_file(tmp_path / name, progress=False)
    np.testing.assert_array_equal(made.label, np.where(gray > 0.75 * 255, 5, 0))
    assert any("no HU and no pixel size" in line for line in made.warnings)
    assert made.spacing is None
    assert made.own is None


def test_gray_jpeg_in_color_is_gray(tmp_path, gray):
    smooth = cv2.resize(gray, (200, 240), interpolation=cv2.INTER_CUBIC)
    Image.fromarray(smooth).convert("RGB").save(tmp_path / "gray.jpg", quality=60)
    source = read_source(tmp_path / "gray.jpg")
    assert source.is_gray
    assert np.abs(source.pixels.astype(int) - smooth).mean() < 6


@pytest.mark.parametrize(
    ("stored", "bits"), [(lambda g: g.astype(np.uint16) * 257, 16), (lambda g: g.astype(np.uint16) * 16 + 15, 12)]
)
def test_sixteen_bit_image_is_that_of_eight_bits(tmp_path, gray, stored, bits):
    """Whether all 16 bits are used or, as scanners do, 12: the same organs, from the shipped network."""
    large = cv2.resize(gray, (128, 128), interpolation=cv2.INTER_CUBIC)
    Image.fromarray(large).save(tmp_path / "eight.png")
    cv2.imwrite(str(tmp_path / "deep.png"), stored(large))
    eight, deep = (predict_file(tmp_path / name) for name in ("eight.png", "deep.png"))
    assert read_source(tmp_path / "deep.png").pixels.dtype == np.uint16
    np.testing.assert_allclose(deep.image, eight.image, atol=2 / 255)
    assert (deep.label != eight.label).mean() < 0.02
    assert any(f"{bits} bits" in line for line in deep.warnings)


def test_sixteen_bit_image_through_a_window(tmp_path, threshold):
    hu = np.arange(-1000, 1000, 10, dtype=np.int32).reshape(10, 20)
    cv2.imwrite(str(tmp_path / "ct.png"), (hu + 1024).astype(np.uint16))
    made = predict_file(tmp_path / "ct.png", window=(899, 1299))
    np.testing.assert_array_equal(made.label, np.where(hu > threshold, 5, 0))


def test_damaged_sixteen_bit_image(tmp_path, gray, refused):
    cv2.imwrite(str(tmp_path / "deep.png"), gray.astype(np.uint16) * 200)
    content = bytearray((tmp_path / "deep.png").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "deep.png").write_bytes(content)
    refused(["deep.png", "truncated or damaged"], read_source, tmp_path / "deep.png")


@pytest.mark.parametrize("orientation", [3, 6])
def test_image_is_turned_upright_and_says_so(tmp_path, orientation):
    rows = np.linspace(0, 255, 40).astype(np.uint8)[:, None].repeat(64, 1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(rows).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    source = read_source(tmp_path / "turned.jpg")
    expected = np.rot90(rows, 2 if orientation == 3 else -1)
    assert source.pixels.shape == expected.shape
    assert np.abs(source.pixels.astype(int) - expected).max() < 10
    assert any("EXIF" in line for line in source.notes)


def test_single_slice_as_a_volume(tmp_path, scan_hu, threshold):
    array = scan_hu(4, (1, 24, 20))
    nib.save(nib.Nifti1Image(array.T, np.diag([-0.7, -0.8, 2.5, 1])), tmp_path / "one.nii.gz")
    made = predict_file(tmp_path / "one.nii.gz", output_dir=tmp_path, field_of_view="as-is", progress=False)
    label = nib.load(made.files["label map"])
    np.testing.assert_array_equal(np.asarray(label.dataobj), np.where(threshold < array.T, 5, 0))
    assert made.table.loc["liver", "ml"] == pytest.approx((array > threshold).sum() * 0.7 * 0.8 * 2.5 / 1000, rel=1e-6)


@pytest.mark.parametrize("writer", ["nibabel", "SimpleITK", "nibabel, big-endian"])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_nifti_of_two_dimensions(tmp_path, scan_hu, threshold, writer, ending):
    array, path = scan_hu(4)[0], tmp_path / f"flat{ending}"
    if writer == "SimpleITK":
        sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    else:
        header = nib.Nifti1Header(endianness=">") if "big" in writer else None
        nib.save(nib.Nifti1Image(array.T, np.diag([-0.7, -0.8, 2.5, 1]), header), path)
    assert nib.load(path).header["dim"][:3].tolist() == [2, 20, 24]  # the file really has two dimensions
    made = predict_file(path, output_dir=tmp_path, field_of_view="as-is", progress=False)
    label, image = nib.load(made.files["label map"]), nib.load(path)
    np.testing.assert_array_equal(np.asarray(label.dataobj)[..., 0], np.where(threshold < array.T, 5, 0))
    np.testing.assert_allclose(label.affine[:3, [0, 1, 3]], image.affine[:3, [0, 1, 3]], atol=1e-5)
    assert any("one axial slice" in line for line in made.warnings)


def test_damaged_nifti_of_two_dimensions_names_the_file(tmp_path, scan_hu, refused):
    path = tmp_path / "flat.nii"
    nib.save(nib.Nifti1Image(scan_hu(4)[0].T, np.diag([-0.7, -0.8, 2.5, 1])), path)
    path.write_bytes(path.read_bytes()[:-10])
    refused([path, "truncated, 950 of the 960 bytes"], read_source, path)


def test_names_of_results_are_plain(tmp_path, scan_hu, write_dicom):
    folder = write_dicom(tmp_path / "st:udy", scan_hu(), SeriesDescription="Abd/omen *1")
    write_dicom(folder, scan_hu(), series="1.9", SeriesDescription="x")
    assert result_name(read_source(folder, "Abd/omen *1")) == "st_udy_Abd_omen _1"
