"""Matching field of view and pixel size: what it gains on real patient 2, and that nothing moves."""

from __future__ import annotations

import numpy as np
import pytest

from msa2net_lib.data.datasets import Case
from msa2net_lib.data.fingerprint import DatasetFingerprint, Range
from msa2net_lib.data.labels import raw_to_scheme
from msa2net_lib.data.volumes import Volume, read_volume, window
from msa2net_lib.evaluation.volumes import rescaled_case
from msa2net_lib.metrics import dice
from msa2net_lib.prediction.field_of_view import FieldMatching, check_field, match_field_of_view
from msa2net_lib.prediction.run import predict_file


def like(pixel=3.0, field=(303.0, 366.0), slices=3.0):
    """Training data of one pixel size (mm) and field of view."""
    y, x = field
    same = Range(pixel, pixel, pixel)
    return DatasetFingerprint(
        "scans", "CT", None, slice_mm=Range(*[slices] * 3), pixel_mm=(same, same),
        field_of_view_mm=(Range(y, y, y), Range(x, x, x)),
    )  # fmt: skip


def body(shape, spacing):
    """A volume in [0, 1] with a box of body a third as wide, off its middle, and that volume."""
    image = np.zeros(shape, np.float32)
    _, height, width = shape
    image[:, height // 6 : height // 2, width // 2 : 5 * width // 6] = 0.8
    return image, Volume(image, spacing)


# ---- what it is for -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def patient_2(root):
    """Image file of real patient 2 and its label in scheme A."""
    folder = root / "data" / "example_ct"
    label = raw_to_scheme(read_volume(folder / "label" / "label0002.nii.gz").array)
    return folder / "img" / "img0002.nii.gz", label


def mean_dice(predicted, label):
    return np.mean([dice(predicted == index, label == index) for index in range(1, 9) if (label == index).any()])


@pytest.mark.slow
def test_patient_2_scores_on_its_own_grid_as_lesson_11_matched_it(patient_2):
    """0.24 as it is, 0.70 matched on the matched grid (lesson 11); here both on the grid of the file."""
    path, label = patient_2
    as_it_is = predict_file(path, field_of_view="as-is", progress=False)
    made = predict_file(path, progress=False)
    assert mean_dice(as_it_is.label, label) == pytest.approx(0.24, abs=0.03)
    assert mean_dice(made.label, label) == pytest.approx(0.70, abs=0.02)
    told = [line for line in made.warnings if "resampled" in line]
    assert len(told) == 1
    for words in ("500 x 500 mm", "0.977 x 0.977 mm", "3 x 3 mm", "303 x 366 mm", "--field-of-view as-is"):
        assert words in told[0]
    assert not any("resampled" in line for line in as_it_is.warnings)


def test_cut_is_that_of_lesson_11(patient_2):
    path, label = patient_2
    volume = read_volume(path)
    image = window(volume.array)
    seen, matching, _ = match_field_of_view(image, volume, like())
    case = rescaled_case(Case("patient 2", image, label, volume.spacing), (3.0, 3.0), (101, 122))
    np.testing.assert_array_equal(seen, case.image)
    np.testing.assert_array_equal(matching.apply(image), case.image)


# ---- when ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1 / 1.15, 1.0, 1.15])
def test_field_of_view_within_the_limit_is_left_alone(factor):
    image, volume = body((3, 101, 122), (3.0, 3.0 * factor, 3.0 * factor))
    assert match_field_of_view(image, volume, like())[1:] == (None, [])


@pytest.mark.parametrize("factor", [1 / 1.3, 1.3])
@pytest.mark.parametrize("axis", [0, 1])
def test_field_of_view_beyond_it_is_matched(factor, axis):
    spacing = [3.0, 3.0]
    spacing[axis] *= factor
    image, volume = body((3, 101, 122), (3.0, *spacing))
    _, matching, warnings = match_field_of_view(image, volume, like())
    assert matching.field == (101, 122)
    assert matching.size[axis] == round((101, 122)[axis] * factor)
    assert "resampled" in warnings[0]


@pytest.mark.parametrize(("pixel", "matched"), [(1.6, False), (1.4, True), (5.5, False), (6.5, True)])
def test_pixel_size_alone(pixel, matched):
    shape = (2, round(303 / pixel), round(366 / pixel))
    _, matching, _ = match_field_of_view(*body(shape, (3.0, pixel, pixel)), like())
    assert (matching is not None) == matched


def test_spread_of_the_training_data_counts():
    wide = DatasetFingerprint(
        "scans", "CT", pixel_mm=(Range(0.6, 0.8, 1.0),) * 2, field_of_view_mm=(Range(300, 380, 500),) * 2
    )  # fmt: skip
    for field in (260, 320, 500, 590):
        image, volume = body((2, 512, 512), (3.0, field / 512, field / 512))
        assert match_field_of_view(image, volume, wide)[1] is None
    assert match_field_of_view(*body((2, 512, 512), (3.0, 1.3, 1.3)), wide)[1] is not None


def test_unknown_training_data_change_nothing_and_say_so():
    for unknown in (None, DatasetFingerprint("scans", "CT")):
        _, matching, (warning,) = match_field_of_view(*body((2, 64, 64), (3.0, 8.0, 8.0)), unknown)
        assert matching is None
        assert "does not say" in warning
        assert "512 x 512 mm" in warning


def test_field_of_view_that_is_asked_for():
    image, volume = body((2, 100, 100), (3.0, 4.0, 4.0))
    _, matching, (warning,) = match_field_of_view(image, volume, None, 200.0)
    assert (matching.size, matching.field) == ((100, 100), (50, 50))
    assert "200 x 200 mm" in warning
    np.testing.assert_array_equal(matching.apply(image), image[:, 7:57, 41:91])  # around the body's 16..49 and 50..82


@pytest.mark.parametrize("option", ["wide", 0.0, -3.0, 1e9, float("nan")])
def test_field_of_view_that_is_none(refused, option):
    refused(["field_of_view", "as-is"], check_field, option)


def test_slices_far_apart_are_told_only():
    image, volume = body((3, 101, 122), (10.0, 3.0, 3.0))
    _, matching, (warning,) = match_field_of_view(image, volume, like())
    assert matching is None
    assert "10 mm apart" in warning
    assert "3 mm" in warning


def test_scan_much_longer_than_the_training_scans_is_told(root, threshold):
    """Whole patient 1 down to the pelvis, where the virtual patients, made from its abdomen, end."""
    made = predict_file(root / "data" / "example_ct" / "img" / "img0001.nii.gz", progress=False)
    (warning,) = made.warnings
    assert "336 mm long" in warning
    assert "177 mm at most" in warning


def test_body_outside_the_field_is_told():
    image = np.full((2, 100, 100), 0.8, np.float32)
    _, _, warnings = match_field_of_view(image, Volume(image, (3.0, 6.0, 6.0)), like(pixel=6.0, field=(300.0, 300.0)))
    assert any(line.startswith("75% of what is brighter than air") for line in warnings)


def test_nothing_but_air_is_cut_around_the_middle():
    image = np.zeros((2, 100, 100), np.float32)
    _, matching, warnings = match_field_of_view(
        image, Volume(image, (3.0, 6.0, 6.0)), like(pixel=6.0, field=(300.0, 300.0))
    )
    assert matching.corner == (25, 25)
    assert not any("brighter" in line for line in warnings)


# ---- nothing moves ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("corner", [(-7, 9), (30, -20), (12, 12), (-30, -30)])
@pytest.mark.parametrize("field", [(40, 30), (90, 100)])
def test_label_comes_back_where_it_was(corner, field):
    """Without resampling, exactly; what the field does not cover is background."""
    label = np.random.default_rng(0).integers(0, 9, (3, 60, 50)).astype(np.uint8)
    matching = FieldMatching((60, 50), corner, field)
    cut = np.rint(matching.apply(label / np.float32(8)) * 8).astype(np.uint8)
    assert cut.shape == (3, *field)
    inside = np.zeros((60, 50), bool)
    inside[max(0, corner[0]) : max(0, corner[0] + field[0]), max(0, corner[1]) : max(0, corner[1] + field[1])] = True
    np.testing.assert_array_equal(matching.undo(cut, (60, 50)), np.where(inside, label, 0))


def test_field_beside_the_slice_is_air():
    matching = FieldMatching((10, 10), (20, -40), (8, 8))
    assert not matching.apply(np.ones((1, 10, 10), np.float32)).any()
    assert not matching.undo(np.ones((1, 8, 8), np.uint8), (10, 10)).any()


@pytest.mark.parametrize("pixel", [1.0, 2.0, 3.0])
def test_resampled_discs_come_back_in_place(pixel):
    """Center of mass within 0.15 of a new pixel, area within 3 %, through another pixel size and back."""
    rows, columns = np.mgrid[:200, :180]
    disc = ((rows - 70) ** 2 + (columns - 110) ** 2 < 40**2).astype(np.uint8)
    _, matching, _ = match_field_of_view(
        disc[None].astype(np.float32), Volume(disc[None], (3.0, 1.0, 1.0)), like(pixel, (150.0, 150.0))
    )
    matched = (matching.apply(disc[None].astype(np.float32)) > 0.5).astype(np.uint8)
    back = matching.undo(matched, disc.shape)[0]
    for center, positions in zip((70, 110), np.nonzero(back), strict=True):
        assert np.mean(positions) == pytest.approx(center, abs=0.15 * pixel + 1e-9)
    assert int(back.sum()) == pytest.approx(int(disc.sum()), rel=0.03)
