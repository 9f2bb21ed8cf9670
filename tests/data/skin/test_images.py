"""Synthetic skin images: what is drawn, how it differs, and the files it is written to."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import cv2
import numpy as np
import pytest
from scipy import ndimage
from skimage import color
from skimage.filters import threshold_otsu
from stopping import interrupted_at

from msa2net_lib.data import prepare
from msa2net_lib.data.isic import IMAGES, MASKS, prepare_isic
from msa2net_lib.data.skin import images as skin
from msa2net_lib.data.skin.images import draw_skin_image, write_skin_images
from msa2net_lib.data.skin.parts import Canvas, SkinRecipe, draw_spots, skin_color
from msa2net_lib.metrics import pixel_scores

SIZE = (96, 128)
CLEAN = SkinRecipe(hairs=0, ruler=0, bubbles=0, reflections=0, aperture=0)


@pytest.fixture(scope="module")
def drawn():
    """Sixty images."""
    return [draw_skin_image(11, number, SIZE) for number in range(60)]


@pytest.fixture(scope="module")
def clean():
    """The same sixty without anything in front of the skin."""
    return [draw_skin_image(11, number, SIZE, CLEAN) for number in range(60)]


# ---- what is drawn ----------------------------------------------------------------------------------------


def test_form(drawn):
    for image in drawn:
        assert (image.image.shape, image.image.dtype) == ((*SIZE, 3), np.uint8)
        assert (image.mask.shape, image.mask.dtype) == (SIZE, bool)


def test_lesion_is_one_piece_without_holes(drawn):
    for image in drawn:
        assert ndimage.label(image.mask)[1] == 1
        np.testing.assert_array_equal(ndimage.binary_fill_holes(image.mask), image.mask)


def test_about_a_fifth_of_the_pixels_is_lesion(drawn):
    """As in ISIC 2018, from small to more than half the image."""
    shares = np.array([image.mask.mean() for image in drawn])
    assert 0.15 < shares.mean() < 0.27
    assert shares.min() < 0.06
    assert shares.max() > 0.45
    assert shares.min() > 0.005


def test_lesion_differs_from_the_skin_around_it(clean):
    """In CIELAB, mean color inside against a band outside; even the palest by more than a just visible step."""
    differences = []
    for image in clean:
        near = ndimage.binary_dilation(image.mask, iterations=14) & ~ndimage.binary_dilation(image.mask, iterations=3)
        lab = color.rgb2lab(image.image)
        differences.append(np.linalg.norm(lab[image.mask].mean(axis=0) - lab[near].mean(axis=0)))
    assert np.min(differences) > 2.3
    assert np.median(differences) > 10


def test_skin_tones_reach_from_dark_to_very_light(clean):
    """The angle that each image says is seen in it: lightness of the skin follows it."""
    typology = np.array([image.typology_deg for image in clean])
    assert typology.min() < -30  # dark and very light, by the classes of the typology angle
    assert typology.max() > 55
    lightness = []
    for image in clean:
        skin_only = ~ndimage.binary_dilation(image.mask, iterations=4)
        lightness.append(np.median(color.rgb2lab(image.image)[skin_only][:, 0]))
    assert np.corrcoef(typology, lightness)[0, 1] > 0.8
    assert np.ptp(lightness) > 30


def test_plain_threshold_fails(drawn):
    """Otsu's, darker is lesion, on the channel that suits it best."""
    masks = [image.mask for image in drawn]
    channels = {
        "gray": [color.rgb2gray(image.image) for image in drawn],
        "blue": [image.image[..., 2].astype(float) for image in drawn],
    }
    for images in channels.values():
        found = [image < threshold_otsu(image) for image in images]
        assert 0.4 < pixel_scores(found, masks)["dsc"] < 0.8


def test_all_kinds_appear(drawn):
    assert {image.kind for image in drawn} == set(SkinRecipe().kinds)


def test_seed_and_number_decide(drawn):
    again = draw_skin_image(11, 7, SIZE)
    np.testing.assert_array_equal(again.image, drawn[7].image)
    np.testing.assert_array_equal(again.mask, drawn[7].mask)
    for other in (drawn[8], draw_skin_image(12, 7, SIZE)):
        assert np.mean(other.image != again.image) > 0.9


def test_what_lies_in_front_leaves_the_lesion_as_it_is(drawn, clean):
    changed = [np.mean(np.abs(a.image.astype(int) - b.image) > 20) for a, b in zip(drawn, clean, strict=True)]
    assert np.mean(np.array(changed) > 0.005) > 0.6
    for with_all, without in zip(drawn, clean, strict=True):
        np.testing.assert_array_equal(with_all.mask, without.mask)
        assert (with_all.kind, with_all.typology_deg) == (without.kind, without.typology_deg)


@pytest.mark.parametrize("what", ["hairs", "ruler", "bubbles", "reflections", "aperture"])
def test_each_artifact_can_be_had_alone(clean, what):
    with_it = draw_skin_image(11, 3, SIZE, dataclasses.replace(CLEAN, **{what: 1.0}))
    difference = np.abs(with_it.image.astype(int) - clean[3].image).max(axis=-1)
    assert (difference > 15).sum() > 5
    if what == "aperture":
        corners = with_it.image[[0, 0, -1, -1], [0, -1, 0, -1]]
        assert corners.max() < 60


def test_sizes(refused):
    """The same image at twice the size is about the same image: lengths are in parts of the shorter side."""
    canvases = [Canvas(60, 90), Canvas(120, 180)]
    small, large = (
        draw_spots(canvas, np.array([[0.1, -0.2], [-0.3, 0.4]]), np.array([0.1, 0.2])) for canvas in canvases
    )
    np.testing.assert_allclose(large.reshape(60, 2, 90, 2).mean(axis=(1, 3)), small, atol=0.08)
    assert draw_skin_image(1, 1, (64, 200)).image.shape == (64, 200, 3)
    refused("size=(63, 80)", draw_skin_image, 1, 1, (63, 80))


def test_skin_color_against_scikit_image():
    for lab in ((30.0, 8.0, 12.0), (65.0, 14.0, 18.0), (80.0, 7.0, 11.0)):
        encoded = color.lab2rgb(np.array([[lab]]))[0, 0]
        linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
        np.testing.assert_allclose(skin_color(*lab), linear, atol=2e-3)


def test_noise_has_its_scale():
    """Unit variance, zero mean, and correlation that ends with the longest wave."""
    canvas, rng = Canvas(200, 200), np.random.default_rng(0)
    for coarse, fine in ((0.4, 0.1), (0.05, 0.02)):
        noise = canvas.noise(rng, coarse, fine)
        assert (noise.mean(), noise.std()) == (pytest.approx(0, abs=1e-4), pytest.approx(1, abs=1e-4))
        near = np.mean(noise[:, :-2] * noise[:, 2:])
        assert (near > 0.9) if coarse > 0.1 else (near < 0.8)


# ---- the files --------------------------------------------------------------------------------------------


def write(folder, **options):
    return write_skin_images(folder, **{"count": 4, "size": (64, 80), "progress": False, **options})


def test_isics_layout(tmp_path, root):
    ids = write(tmp_path / "skin")
    assert ids == ["ISIC_9000000", "ISIC_9000001", "ISIC_9000002", "ISIC_9000003"]
    real = {name for path in (root / "data" / "splits").glob("isic2018_*.txt") for name in path.read_text().split()}
    assert len(real) == 2594
    assert not real & set(ids)
    for number, name in enumerate(ids):
        drawn = draw_skin_image(2024, number, (64, 80))
        image = cv2.imread(str(tmp_path / "skin" / IMAGES / f"{name}.jpg"))[..., ::-1]
        assert np.abs(image.astype(int) - drawn.image).mean() < 6  # JPEG
        mask = cv2.imread(str(tmp_path / "skin" / MASKS / f"{name}_segmentation.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(mask, np.uint8(255) * drawn.mask)
    dataset = prepare_isic(tmp_path / "skin", tmp_path / "out", split=(0.5, 0, 0.5), size=32, workers=1, progress=False)
    assert (dataset.train_ids, dataset.test_ids, dataset.is_synthetic) == (ids[:2], ids[2:], True)


def test_record_says_what_they_are(tmp_path):
    write(tmp_path, seed=5)
    text = (tmp_path / "synthetic.json").read_text()
    record = json.loads(text)
    assert "no photographs" in record["synthetic"]
    assert (record["plan"]["seed"], record["plan"]["height_width"]) == (5, [64, 80])
    assert record["plan"]["recipe"]["typology_deg"] == [-50, 70]
    for name, entry in record["made"].items():
        image = draw_skin_image(5, int(name[-1]), (64, 80))
        assert (entry["kind"], entry["typology_deg"]) == (image.kind, round(image.typology_deg, 1))
        for kind, file in (("image", f"{IMAGES}/{name}.jpg"), ("mask", f"{MASKS}/{name}_segmentation.png")):
            assert entry["sha256"][kind] == hashlib.sha256((tmp_path / file).read_bytes()).hexdigest()
    assert str(tmp_path) not in text


def test_second_run_draws_only_what_is_missing_or_altered(tmp_path, monkeypatch, tree):
    write(tmp_path)
    before = tree(tmp_path)
    numbers = []

    def counted(seed, number, *arguments):
        numbers.append(number)
        return draw_skin_image(seed, number, *arguments)

    monkeypatch.setattr(skin, "draw_skin_image", counted)
    write(tmp_path)
    assert numbers == []
    (tmp_path / IMAGES / "ISIC_9000001.jpg").write_bytes(b"altered")
    (tmp_path / MASKS / "ISIC_9000003_segmentation.png").unlink()
    (tmp_path / MASKS / ".partial-1-ISIC_9000002_segmentation.png").write_bytes(b"half")
    write(tmp_path)
    assert numbers == [1, 3]
    assert tree(tmp_path) == before
    write(tmp_path, count=6)
    assert numbers == [1, 3, 4, 5]


@pytest.mark.parametrize("stop", [0, 5, 7])
def test_stopped_and_run_again(tmp_path, monkeypatch, tree, stop):
    write(tmp_path / "clean")
    monkeypatch.setattr(skin, "_SAVE_EVERY", 2)
    with interrupted_at(stop, skin, "atomic_path"):
        write(tmp_path / "out")
    write(tmp_path / "out")
    assert tree(tmp_path / "out") == tree(tmp_path / "clean")


@pytest.mark.parametrize("options", [{"seed": 5}, {"count": 2}, {"size": (80, 64)}, {"recipe": CLEAN}])
def test_other_parameters_replace_the_images(tmp_path, tree, options):
    write(tmp_path / "out")
    before = tree(tmp_path / "out")
    write(tmp_path / "out", **options)
    write(tmp_path / "clean", **options)
    assert tree(tmp_path / "out") == tree(tmp_path / "clean") != before


def test_wrong_arguments_and_folders(tmp_path, refused, tree):
    refused("count=0", write, tmp_path / "out", count=0)
    refused("seed=-1", write, tmp_path / "out", seed=-1)
    refused("size=(8, 8)", write, tmp_path / "out", size=(8, 8))
    (tmp_path / "real" / IMAGES).mkdir(parents=True)
    (tmp_path / "real" / IMAGES / "ISIC_0000000.jpg").write_bytes(b"a photograph")
    refused([tmp_path / "real", "no synthetic.json"], write, tmp_path / "real")
    assert tree(tmp_path / "real") == {f"{IMAGES}/ISIC_0000000.jpg": b"a photograph"}
    (tmp_path / "real" / "synthetic.json").write_text("[]")
    refused([tmp_path / "real" / "synthetic.json", "not a record"], write, tmp_path / "real")


def test_two_runs_into_one_folder(tmp_path, refused, monkeypatch):
    monkeypatch.setattr(prepare, "PATIENCE", 0.0)
    out = tmp_path / "out"
    with prepare.claimed(out, out / ".lock"):
        refused([out, "another", "wait for it"], write, out)
        assert not list(out.glob("ISIC*"))
    ids = write(out)
    with prepare.claimed(out, out / ".lock"):
        assert write(out) == ids  # nothing to write, nothing to wait for
