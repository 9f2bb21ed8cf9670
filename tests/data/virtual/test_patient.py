"""Virtual patients: smooth, unfolded, different from one another, enhanced like the phase they imitate."""

from __future__ import annotations

import dataclasses
from itertools import combinations

import numpy as np
import pytest

from msa2net_lib.data.labels import BTCV_IDS, ORGANS
from msa2net_lib.data.virtual.patient import PHASES, VirtualRecipe, make_virtual_patient
from msa2net_lib.data.virtual.scan import ScanSize
from msa2net_lib.data.volumes import Volume, read_pair

NOTHING = VirtualRecipe(bends=(), scale=0, rotation_deg=0, shear=0, noise_hu=(0, 0), individual_hu=0, margin_mm=None)
WHOLE = VirtualRecipe(margin_mm=None)
SEEDS = [20241001, 20241002, 20242001]


@pytest.fixture(scope="module")
def whole(example_ct):
    """The real patient all virtual ones come from: image in HU and raw labels."""
    return read_pair(example_ct / "img" / "img0001.nii.gz", example_ct / "label" / "label0001.nii.gz")


@pytest.fixture(scope="module")
def real(whole):
    """Every other voxel of it, 6 mm apart: an eighth of the work."""
    return tuple(
        dataclasses.replace(volume, array=volume.array[::2, ::2, ::2].copy(), spacing=(6.0, 6.0, 6.0))
        for volume in whole
    )


@pytest.fixture(scope="module")
def patients(real):
    """Virtual patients by seed, one in each phase, over the real patient's whole range."""
    return {
        seed: make_virtual_patient(*real, seed, phase=phase, recipe=WHOLE)
        for seed, phase in zip(SEEDS, PHASES, strict=True)
    }


def overlap(first, second, organ):
    """Return the Dice coefficient of one organ in two raw label arrays."""
    a, b = first == BTCV_IDS[organ], second == BTCV_IDS[organ]
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def mean_hu(patient, organ):
    image, label = patient
    return float(image.array[label.array == BTCV_IDS[organ]].mean())


def test_form_and_place(real, patients):
    for image, label in patients.values():
        assert (image.array.dtype, label.array.dtype) == (np.int16, np.uint8)
        assert image.array.shape == label.array.shape == real[0].array.shape
        for volume in (image, label):
            assert (volume.spacing, volume.origin) == (real[0].spacing, real[0].origin)
            assert volume.direction == real[0].direction
        assert image.array.min() >= -1024
        assert image.array.max() <= 3071


def test_every_structure_survives_at_a_plausible_size(real, patients):
    for _, label in patients.values():
        assert set(np.unique(label.array)) == set(np.unique(real[1].array))
        for organ in ORGANS:
            number = BTCV_IDS[organ]
            ratio = np.count_nonzero(label.array == number) / np.count_nonzero(real[1].array == number)
            assert 0.5 < ratio < 2


def test_a_memorized_patient_would_not_score(real, patients):
    """Labels overlap with the source's and with one another's, but far from fully."""
    labels = [real[1].array, *(label.array for _, label in patients.values())]
    for first, second in combinations(labels, 2):
        assert 0.4 < np.mean([overlap(first, second, organ) for organ in ORGANS]) < 0.85


def test_the_seed_decides(real, patients):
    seed = SEEDS[1]
    image, label = make_virtual_patient(*real, seed, phase=PHASES[1], recipe=WHOLE)
    np.testing.assert_array_equal(image.array, patients[seed][0].array)
    np.testing.assert_array_equal(label.array, patients[seed][1].array)


def test_image_and_labels_move_together():
    """An image that shows its own labels still does so afterwards."""
    z, y, x = np.ogrid[:40, :48, :44]
    label = np.zeros((40, 48, 44), np.uint8)
    label[((z - 20) / 12) ** 2 + ((y - 22) / 14) ** 2 + ((x - 18) / 9) ** 2 < 1] = BTCV_IDS["liver"]
    spacing = (4.0, 3.0, 3.0)
    recipe = VirtualRecipe(noise_hu=(0, 0), individual_hu=0, margin_mm=None)
    image = Volume(np.where(label > 0, 80, -100).astype(np.int16), spacing)
    for seed in range(3):
        bent_image, bent = make_virtual_patient(image, Volume(label, spacing), seed, phase="unenhanced", recipe=recipe)
        shown = np.where(bent_image.array > -10, BTCV_IDS["liver"], 0)
        assert overlap(shown, bent.array, "liver") > 0.97
        assert overlap(label, bent.array, "liver") < 0.95


def test_recipe_of_nothing_returns_the_patient(real):
    image, label = make_virtual_patient(*real, 3, phase="unenhanced", recipe=NOTHING)
    np.testing.assert_array_equal(label.array, real[1].array)
    np.testing.assert_array_equal(image.array, real[0].array)


def position(volume, index):
    """Return the (x, y, z) position in mm of a voxel [z, y, x], by SimpleITK's definition."""
    axes = np.reshape(volume.direction, (3, 3))
    return volume.origin + axes @ (np.array(volume.spacing) * index)[::-1]


def test_scan_range(real, patients):
    """Fifteen mm are three slices of 6 mm at most; within them it is the whole patient's scan, at its place."""
    seed = SEEDS[2]
    image, label = make_virtual_patient(*real, seed, phase=PHASES[2])
    whole_image, whole_label = patients[seed]
    scored = np.isin(whole_label.array, [BTCV_IDS[organ] for organ in ORGANS])
    occupied = np.flatnonzero(scored.any(axis=(1, 2)))
    first, last = occupied[0] - 3, min(len(scored), occupied[-1] + 4)
    assert 0 < first < last == len(scored)  # real patient 1's scan ends within the organs
    for cropped, whole in ((image, whole_image), (label, whole_label)):
        assert len(cropped.array) == last - first
        np.testing.assert_array_equal(cropped.array, whole.array[first:last])
        assert (cropped.spacing, cropped.direction) == (whole.spacing, whole.direction)
        np.testing.assert_allclose(position(cropped, (2, 7, 9)), position(whole, (first + 2, 7, 9)))
    for organ in ORGANS:
        number = BTCV_IDS[organ]
        assert np.count_nonzero(label.array == number) == np.count_nonzero(whole_label.array == number)


OBLIQUE = (1.0, 0.0, 0.0, 0.0, 0.8, -0.6, 0.0, 0.6, 0.8)


@pytest.mark.parametrize(
    ("margin", "first", "last"), [(None, 0, 24), (0.0, 9, 15), (4.0, 7, 17), (4.1, 6, 18), (900.0, 0, 24)]
)
def test_margin(margin, first, last):
    """Slices of 2 mm on tilted axes, an evaluated organ in 9 to 14 and another structure above it."""
    label = np.zeros((24, 8, 9), np.uint8)
    label[9:15, 2:6, 2:7] = BTCV_IDS["spleen"]
    label[20:22, 2:6, 2:7] = BTCV_IDS["esophagus"]
    place = (2.0, 1.5, 1.0), (-20.0, 30.0, 40.0), OBLIQUE
    source = Volume(np.full(label.shape, 40, np.int16), *place), Volume(label, *place)
    recipe = dataclasses.replace(NOTHING, margin_mm=margin)
    for cropped, whole in zip(make_virtual_patient(*source, 0, recipe=recipe), source, strict=True):
        assert cropped.array.shape == (last - first, 8, 9)
        np.testing.assert_allclose(position(cropped, (0, 3, 4)), position(whole, (first, 3, 4)))
        assert cropped.array.flags.c_contiguous
    _, cropped_label = make_virtual_patient(*source, 0, recipe=recipe)
    np.testing.assert_array_equal(cropped_label.array, label[first:last])


def test_without_an_evaluated_organ_there_is_nothing_to_crop_to():
    label = np.zeros((6, 8, 9), np.uint8)
    source = Volume(np.full(label.shape, 40, np.int16), (2.0, 1.5, 1.0)), Volume(label, (2.0, 1.5, 1.0))
    image, _ = make_virtual_patient(*source, 0)
    assert image.array.shape == label.shape


def test_phases_look_like_themselves(real):
    """Same seed, hence same shape, in each phase; HU ranges as a radiologist expects them."""
    by_phase = {phase: make_virtual_patient(*real, 7, phase=phase) for phase in PHASES}
    plain, arterial, portal = (by_phase[phase] for phase in PHASES)
    np.testing.assert_array_equal(plain[1].array, arterial[1].array)
    np.testing.assert_array_equal(plain[1].array, portal[1].array)
    assert mean_hu(arterial, "aorta") > 190 > mean_hu(portal, "aorta") > 90 > mean_hu(plain, "aorta")
    assert mean_hu(portal, "liver") > mean_hu(arterial, "liver") + 20
    assert mean_hu(portal, "inferior vena cava") > mean_hu(arterial, "inferior vena cava") + 20
    for organ in ("left kidney", "right kidney", "spleen"):
        assert mean_hu(arterial, organ) > mean_hu(plain, organ) + 30
        assert mean_hu(portal, organ) > mean_hu(plain, organ) + 30
    assert abs(mean_hu(portal, "gallbladder") - mean_hu(plain, "gallbladder")) < 25


def test_fat_and_air_take_up_nothing(real):
    quiet = VirtualRecipe(noise_hu=(0, 0), individual_hu=0)
    plain, _ = make_virtual_patient(*real, 7, phase="unenhanced", recipe=quiet)
    portal, _ = make_virtual_patient(*real, 7, phase="portal-venous", recipe=quiet)
    dull = plain.array < -80
    np.testing.assert_array_equal(portal.array[dull], plain.array[dull])
    muscle = (plain.array > 30) & (plain.array < 80)
    assert (portal.array[muscle] >= plain.array[muscle]).all()
    assert portal.array[muscle].mean() > plain.array[muscle].mean() + 5


def test_noise_has_its_strength_and_is_correlated_within_slices(real):
    def patient(sigma):
        recipe = VirtualRecipe(noise_hu=(sigma, sigma), margin_mm=None)
        return make_virtual_patient(*real, 5, phase="arterial", recipe=recipe)[0].array.astype(float)

    tissue = np.s_[30:55, 15:35, 15:45]  # inside the body, where nothing is clipped at -1024
    noise = (patient(15.0) - patient(0.0))[tissue]
    assert noise.std() == pytest.approx(15, rel=0.03)
    assert abs(noise.mean()) < 0.5

    def correlation(a, b):
        return np.corrcoef(a.ravel(), b.ravel())[0, 1]

    assert 0.2 < correlation(noise[:, :, 1:], noise[:, :, :-1]) < 0.8
    assert abs(correlation(noise[1:], noise[:-1])) < 0.02


@pytest.mark.slow
def test_on_a_fine_grid_it_is_the_same_patient(whole):
    """As many slices and pixels as asked for, and every organ where it was and as large, to a few per cent."""
    seed = SEEDS[1]
    image, label = make_virtual_patient(*whole, seed, phase=PHASES[1], size=ScanSize(90, 128))
    coarse = make_virtual_patient(*whole, seed, phase=PHASES[1], recipe=WHOLE)
    assert image.array.shape == label.array.shape == (90, 128, 128)
    assert (image.array.dtype, label.array.dtype) == (np.int16, np.uint8)
    assert set(np.unique(label.array)) == set(np.unique(coarse[1].array))
    for organ in ORGANS:
        fine_mm, coarse_mm = (
            np.argwhere(volume.array == BTCV_IDS[organ]) * volume.spacing + np.array(volume.origin)[::-1]
            for volume in (label, coarse[1])
        )
        volumes = len(fine_mm) * np.prod(label.spacing), len(coarse_mm) * np.prod(coarse[1].spacing)
        assert volumes[0] / volumes[1] == pytest.approx(1, abs=0.12)
        assert np.linalg.norm(fine_mm.mean(axis=0) - coarse_mm.mean(axis=0)) < 3.0  # a source voxel
        brightness = mean_hu((image, label), organ), mean_hu(coarse, organ)
        assert brightness[0] == pytest.approx(brightness[1], abs=16)  # edges are softer


def test_grid_too_coarse_for_a_structure(refused):
    label = np.zeros((20, 24, 22), np.uint8)
    label[4:16, 4:20, 4:18] = BTCV_IDS["liver"]
    label[9, 11, 12] = BTCV_IDS["left adrenal gland"]
    source = Volume(np.full(label.shape, 40, np.int16), (3.0, 3.0, 3.0)), Volume(label, (3.0, 3.0, 3.0))
    words = ["4 slices of 16 x 16", "too coarse", "left adrenal gland", "ask for more"]
    refused(words, make_virtual_patient, *source, 1, recipe=NOTHING, size=ScanSize(4, 16))


def test_wrong_arguments(real, refused):
    refused("margin_mm=-1", VirtualRecipe, margin_mm=-1.0)
    refused("'late'", make_virtual_patient, *real, 1, phase="late")
    other = Volume(real[1].array[1:], real[1].spacing)
    refused("shape", make_virtual_patient, real[0], other, 1)
