"""Spectra come out as theory says: noise, blur, cosine, constant, shift, energy; bands add up to the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from msa2net_lib.analysis import frequency as f
from msa2net_lib.errors import InputError

EULER = 0.5772156649


def noise(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


@pytest.mark.parametrize("along", ["diagonal", "radius"])
def test_white_noise_is_flat_at_the_level_that_theory_gives(along):
    """Log of an exponential variable has mean -gamma; where the coefficient is real (chi-squared), ln 2 less."""
    size, count = 32, 2000
    maps = 3 * noise(1, count, size, size)
    levels = f.log_amplitude(maps).mean(dim=1)[0].numpy()
    expected = (np.log(9 * size**2) - EULER) / 2
    spread = np.pi / 24**0.5  # standard deviation of half the log of an exponential variable
    real = np.zeros((size, size), bool)
    real[np.ix_([0, size // 2], [0, size // 2])] = True
    assert abs(levels[~real] - expected).max() < 5 * spread / count**0.5
    assert abs(levels[real] - (expected - np.log(2) / 2)).max() < 5 * np.pi / 8**0.5 / count**0.5
    curve = f.relative_log_amplitude(maps + 7, along)[0].numpy()[1:-1]
    assert np.ptp(curve) < 0.12
    # With a mean of 7 frequency 0 is size^2 * 7, and the curve says how far the noise lies below it.
    assert curve.mean() == pytest.approx(expected - np.log(7 * size**2), abs=0.02)


@pytest.mark.parametrize("along", ["diagonal", "radius"])
def test_a_gaussian_blur_falls_as_its_transfer_function(along):
    sigma, maps = 1.2, noise(2, 30, 64, 64) + 2
    blurred = torch.from_numpy(ndimage.gaussian_filter(maps.numpy(), (0, 0, sigma, sigma), mode="wrap", truncate=8))
    fall = (f.relative_log_amplitude(blurred, along) - f.relative_log_amplitude(maps, along)).numpy()
    frequency = f.frequencies(64, 64, along)
    within = frequency < 0.45  # beyond, the sampled kernel is no longer the Gaussian's own transform
    np.testing.assert_allclose(
        fall[:, within], np.tile(-2 * (np.pi * sigma * frequency[within]) ** 2, (2, 1)), atol=0.02, rtol=0.01
    )


def test_a_cosine_is_one_line_and_a_constant_is_frequency_0_alone():
    y, x = np.mgrid[:32, :32]
    wave = torch.from_numpy(np.cos(2 * np.pi * 5 * (x + y) / 32))[None, None]
    size = f.amplitude(wave)[0, 0]
    assert sorted(map(tuple, torch.nonzero(size > 1e-9).tolist())) == [(5, 5), (27, 27)]
    assert size[5, 5] == pytest.approx(32 * 32 / 2)
    constant = torch.full((1, 2, 16, 16), -3.0)
    assert f.amplitude(constant)[0, 0, 0, 0] == pytest.approx(3 * 256)
    curve = f.relative_log_amplitude(constant)[0]
    assert curve[0] == 0
    # Root mean square over 256 coefficients of which one is not 0: a sixteenth of it.
    np.testing.assert_allclose(curve[1:], np.log(f.FLOOR / 16), rtol=1e-9)


@pytest.mark.parametrize("along", ["diagonal", "radius"])
def test_neither_shift_nor_scale_nor_order_of_channels_matters(along):
    maps = noise(2, 3, 24, 24).float()
    curves = f.relative_log_amplitude(maps, along)
    for other in (maps.roll((5, -3), dims=(2, 3)), 1e-4 * maps, -maps, maps.flip(1), maps.mT):
        torch.testing.assert_close(f.relative_log_amplitude(other, along), curves, rtol=0, atol=1e-5)
    torch.testing.assert_close(f.relative_log_amplitude(maps[1:], along), curves[1:])


def test_parseval():
    maps = noise(2, 3, 12, 20)
    energy = f.amplitude(maps).square().sum() / (12 * 20)
    assert float(energy) == pytest.approx(float(maps.square().sum()), rel=1e-12)


def test_curve_by_hand_and_as_the_literature_writes_it():
    maps = noise(1, 4, 16, 16, seed=3)
    spectrum = np.fft.fftshift(np.log(abs(np.fft.fft2(maps.numpy()))), axes=(2, 3)).mean(axis=(0, 1))
    half = np.diag(spectrum)[8:]  # frequency 0 to one step below the highest
    np.testing.assert_allclose(f.relative_log_amplitude(maps)[0, :8], half - half[0], rtol=1e-10)
    assert len(f.frequencies(16, 16)) == 9


def test_frequencies_reach_the_corner():
    np.testing.assert_allclose(f.frequencies(8, 8), np.arange(5) * 2**0.5 / 8)
    ring = f.frequencies(64, 48, "radius")
    assert ring[0] == 0
    assert (np.diff(ring) > 0).all()
    assert ring[-1] == pytest.approx(0.5 * 2**0.5, abs=1 / 64)
    np.testing.assert_allclose(f.frequency_grid(6, 4)[1, 2], np.hypot(1 / 6, 0.5))
    # Each coefficient lies in exactly one ring.
    index = f._curve_index(64, 48, "radius")
    assert set(np.unique(index)) == set(range(len(ring)))
    assert (index == 0).sum() == 1


def test_both_curves_agree_where_the_spectrum_has_no_direction():
    maps = torch.from_numpy(ndimage.gaussian_filter(noise(1, 200, 48, 48).numpy() + 1, (0, 0, 0.7, 0.7), mode="wrap"))
    diagonal, radius = (f.relative_log_amplitude(maps, along)[0].numpy() for along in ("diagonal", "radius"))
    at = f.frequencies(48, 48)
    within = (at > 0.05) & (at < 0.4)  # beyond, a sampled Gaussian falls less along the axes than along the diagonal
    on_rings = np.interp(at[within], f.frequencies(48, 48, "radius"), radius)
    np.testing.assert_allclose(on_rings, diagonal[within], rtol=0, atol=0.2)


def test_dead_channels_are_left_out_and_a_dead_sample_is_nan():
    maps = noise(2, 3, 8, 8)
    dead = torch.cat([maps, torch.zeros(2, 2, 8, 8)], dim=1)
    torch.testing.assert_close(f.relative_log_amplitude(dead), f.relative_log_amplitude(maps))
    dead[1] = 0
    assert f.relative_log_amplitude(dead)[1].isnan().all()
    assert f.relative_log_amplitude(dead)[0].isfinite().all()


def test_measures_of_the_upper_half():
    frequency = np.arange(9) / 8
    curve = np.array([0.0, -1, -1, -1, -1, -3, -3, -3, -3])
    assert f.high_band(curve, frequency) == -3
    assert f.high_over_low(curve, frequency) == -2
    # The mean of the map moves the first and leaves the second.
    moved = np.where(frequency > 0, curve + 5, 0)
    assert f.high_band(moved, frequency) == 2
    assert f.high_over_low(moved, frequency) == -2
    assert np.isnan(f.high_over_low(np.array([0.0, -1]), np.array([0.0, 0.7])))


def test_spectra_of_layers():
    spectra = f.layer_spectra({"a": noise(3, 2, 8, 8), "b": noise(3, 2, 4, 4)})
    assert spectra["a"].curves.shape == (3, 5)
    np.testing.assert_allclose(spectra["b"].cycles_per_image, np.arange(3) * 2**0.5)
    assert spectra["b"].measures["high_over_low"].shape == (3,)
    only = f.layer_spectra({"a": noise(3, 2, 8, 8)}, "radius")["a"]
    assert len(only.frequency) == only.curves.shape[1]


def test_bands_add_up_and_share_no_energy():
    maps = noise(2, 3, 20, 32)
    bands = f.split_bands(maps, (0.02, 0.1, 0.3, 0.6))
    torch.testing.assert_close(bands.sum(dim=0), maps)
    assert float(bands.square().sum()) == pytest.approx(float(maps.square().sum()), rel=1e-9)
    torch.testing.assert_close(bands[0], maps.mean(dim=(2, 3), keepdim=True).expand_as(maps))
    y, x = np.mgrid[:16, :16]
    checkerboard = torch.from_numpy((-1.0) ** (x + y))[None, None]
    parts = f.split_bands(checkerboard, (0.5,))
    torch.testing.assert_close(parts[1], checkerboard)
    assert parts[0].abs().max() < 1e-12


def test_what_has_no_spectrum_is_refused():
    with pytest.raises(InputError, match="channels, height, width"):
        f.amplitude(torch.zeros(4, 4))
    with pytest.raises(InputError, match="nan or infinity"):
        f.relative_log_amplitude(torch.full((1, 1, 4, 4), float("nan")))
    with pytest.raises(InputError, match="use along='radius'"):
        f.relative_log_amplitude(noise(1, 1, 4, 6))
    with pytest.raises(InputError, match="'sideways' is unknown"):
        f.frequencies(4, 4, "sideways")  # pyright: ignore[reportArgumentType]
    for edges in ((0.3, 0.1), (0.0, 0.1)):
        with pytest.raises(InputError, match="each higher than the one before"):
            f.split_bands(noise(1, 1, 4, 4), edges)
