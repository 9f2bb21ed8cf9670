"""Which gray values are taken for Hounsfield units, which with a warning, and which are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from msa2net_lib.data.fingerprint import DatasetFingerprint
from msa2net_lib.data.volumes import Volume
from msa2net_lib.prediction.intensity import check_window, gray_image, gray_scan


@pytest.fixture
def make_scan(scan_hu):
    """A scan of random HU, its values changed by a function."""

    def make(change=lambda hu: hu, modality=""):
        return Volume(change(scan_hu().astype(np.float64)), (2.5, 0.8, 0.7), modality=modality, path=Path("scan.nii"))

    return make


def windowed(hu):
    return (np.clip(hu, -125, 275) + 125) / 400


def test_hounsfield_units_are_windowed_without_a_word(make_scan, scan_hu):
    image, chosen, warnings = gray_scan(make_scan(), "auto", None)
    np.testing.assert_allclose(image, windowed(scan_hu().astype(float)), atol=1e-6)
    assert (image.dtype, chosen, warnings) == (np.float32, (-125.0, 275.0), ())


TAKEN = {
    "windowed to 0 .. 1": (windowed, "windowed already", 1e-6),
    "an 8-bit export": (lambda hu: np.rint(255 * windowed(hu)), "8-bit export", 0.5 / 255),
}


@pytest.mark.parametrize("kind", TAKEN)
def test_other_values_that_are_taken_for_the_window_say_so(make_scan, scan_hu, kind):
    change, words, tolerance = TAKEN[kind]
    image, _, (warning,) = gray_scan(make_scan(change), "auto", None)
    np.testing.assert_allclose(image, windowed(scan_hu().astype(float)), atol=tolerance + 1e-6)
    assert words in warning
    assert "--window LOW HIGH" in warning


def test_clipped_hounsfield_units_are_taken_and_said(make_scan, scan_hu):
    image, _, (warning,) = gray_scan(make_scan(lambda hu: np.clip(hu, -400, 240)), "auto", None)
    np.testing.assert_allclose(image, windowed(np.clip(scan_hu().astype(float), -400, 240)), atol=1e-6)
    assert "-400 to 240" in warning


REFUSED = {
    "HU + 1024": (lambda hu: hu + 1024, ["values of 0 to 2524", "--window 899 1299", "HU + 1024"]),
    "16 bits": (lambda hu: (hu + 1024) * 20, ["no HU", "--window LOW HIGH"]),
    "z-scores": (lambda hu: (hu - hu.mean()) / hu.std(), ["normalized"]),
    "-1 .. 1": (lambda hu: 2 * windowed(hu) - 1, ["values of -1 to 1", "normalized"]),
    "a label map": (lambda hu: hu.astype(int) % 9, ["values of 0 to 8", "label map", "give the image"]),
    "a mask": (lambda hu: hu > 100, ["label map"]),
    "MR that dips below zero": (
        lambda hu: np.where(hu < 0, -5, hu),
        ["-5 to 1500", "most likely no CT", "--window -125 275"],
    ),
    "a resampled MR": (lambda hu: np.where(hu < 0, hu / 8, hu * 3), ["no CT", "--window -125 275"]),
    "HU cut to the window": (lambda hu: np.clip(hu, -125, 275), ["-125 to 275", "no CT", "--window -125 275"]),
    "HU + 1024 in padding": (lambda hu: np.where(hu < -900, -2000, hu + 1024), ["no HU", "--window 899 1299"]),
    "one value": (lambda hu: hu * 0 - 1000, ["every voxel has the value -1000"]),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_values_that_are_refused(make_scan, refused, kind):
    change, words = REFUSED[kind]
    refused(["scan.nii", *words], gray_scan, make_scan(change), "auto", None)


def test_other_modality(make_scan, refused):
    scan = make_scan(modality="MR")
    refused(["is MR", "trained on CT", "--window LOW HIGH"], gray_scan, scan, "auto", None)
    assert gray_scan(scan, (0, 500), None).window == (0, 500)
    assert gray_scan(make_scan(modality="CT"), "auto", None).warnings == ()
    mr = DatasetFingerprint("scans", "MR", {"low": 0.5, "high": 99.5, "unit": "percentile"})
    refused(["is CT", "--window LOW HIGH"], gray_scan, make_scan(modality="CT"), "auto", mr)


def test_a_window_insists_on_what_looks_like_no_ct(make_scan):
    scan = make_scan(lambda hu: np.clip(hu, -125, 275))
    np.testing.assert_allclose(gray_scan(scan, (-125, 275), None).image, windowed(scan.array), atol=1e-6)


def test_window_that_is_named(make_scan, scan_hu, refused):
    shifted = make_scan(lambda hu: hu + 1024)
    image, chosen, warnings = gray_scan(shifted, (899, 1299), None)
    np.testing.assert_allclose(image, windowed(scan_hu().astype(float)), atol=1e-6)
    assert (chosen, warnings) == ((899, 1299), ())
    refused(["no value lies within", "5000 .. 6000"], gray_scan, shifted, (5000, 6000), None)


def test_no_window(make_scan, refused):
    image, chosen, _ = gray_scan(make_scan(windowed), "none", None)
    np.testing.assert_allclose(image, make_scan(windowed).array, atol=1e-6)
    assert chosen is None
    refused(["--window none", "-1024 to 1500"], gray_scan, make_scan(), "none", None)


def test_window_of_the_training_data(make_scan):
    lung = DatasetFingerprint("scans", "CT", {"low": -1000.0, "high": 200.0, "unit": "HU"})
    assert gray_scan(make_scan(), "auto", lung).window == (-1000, 200)
    mr = DatasetFingerprint("scans", "MR", {"low": 0.5, "high": 99.5, "unit": "percentile"})
    scan = make_scan(lambda hu: hu + 3000, modality="MR")
    assert gray_scan(scan, "auto", mr).window == pytest.approx(tuple(np.percentile(scan.array, (0.5, 99.5))))


@pytest.mark.parametrize("option", [(1, 1), (2, 1), "wide", (1, 2, 3), (float("nan"), 1)])
def test_window_that_is_none(refused, option):
    refused(["window"], check_window, option)


def test_image_of_few_bits_is_eight(scan_hu):
    dark = np.array([[0, 50], [100, 200]], np.uint16)
    np.testing.assert_allclose(gray_image(dark, Path("dark.png"), "auto").image * 255, dark, rtol=1e-6)
