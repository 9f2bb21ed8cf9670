"""The exercise of Grad-CAM: an answer written another way passes, stubs do not, and each mistake has its name."""

from __future__ import annotations

import torch

from msa2net_lib.lessons.exercise import checks_of
from msa2net_lib.lessons.l14_grad_cam import checks
from msa2net_lib.lessons.l14_grad_cam.checks import grad_cam


def pixel_by_pixel(activations, gradients):
    """Loops over everything, by the formula's indices."""
    samples, channels, height, width = activations.shape
    heat = torch.zeros(samples, height, width, dtype=activations.dtype)
    for b in range(samples):
        for c in range(channels):
            weight = sum(gradients[b, c, i, j] for i in range(height) for j in range(width)) / (height * width)
            heat[b] += weight * activations[b, c]
    return torch.where(heat > 0, heat, torch.zeros_like(heat))


def test_an_independent_answer_passes():
    assert grad_cam.diagnosis(pixel_by_pixel) is None


def test_stubs_do_not():
    assert str(grad_cam.diagnosis(lambda a, g: torch.zeros_like(a[:, 0]))).startswith("not yet")
    assert str(grad_cam.diagnosis(lambda a, g: a)).startswith("it returned shape")


def test_each_mistake_is_told_from_every_other():
    assert checks_of(checks)["grad_cam"] is grad_cam
    assert len(grad_cam.mistakes) >= 4
    for message, mistake in grad_cam.mistakes.items():
        assert grad_cam.diagnosis(mistake) == message
