"""DermoSegDiff's network and its diffusion against recorded arrays and counts of the original code."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from baseline_parity import Reference, count, image, never_reached, noisy_mask, run
from torch import nn

from msa2net_lib.baselines import dermosegdiff
from msa2net_lib.baselines.dermosegdiff import Denoiser, DermoSegDiff, small
from msa2net_lib.baselines.diffusion import Diffusion, canny_edge
from msa2net_lib.baselines.registry import official_rules
from msa2net_lib.errors import InputError

pytestmark = pytest.mark.slow
TOLERANCE = 2e-5
SMALL = {"dim_x": 32, "dim_g": 16, "mults_x": (1, 2, 3), "mults_g": (1, 2, 4)}
LEVEL = ("x", "g", "skip_h", "skip_b")
MODULES = {
    "act/time_mlp_x": "time_x",
    "act/time_mlp_g": "time_g",
    **{
        f"act/encoder_blocks.{level}.0.{name}": (f"encoder.{level}", lambda found, index=index: found[index])
        for level in (0, 2, 5)
        for index, name in enumerate(LEVEL)
    },
    "act/bottleneck.rb_before": "bottleneck.rb_before",
    "act/bottleneck": "bottleneck",
    "act/decoder_blocks.0.0": "decoder.0",
    "act/final_rb": "last",
}
RULES = official_rules("dermosegdiff")[1:]  # the denoiser alone
WHEN = torch.tensor([137])


def call(network):
    picture = {"act/bottleneck.ls_attn": ("bottleneck.self_attention", lambda found: found)}
    levels = {f"act/encoder_blocks.{level}." for level in range(len(network.encoder))}
    modules = {name: place for name, place in MODULES.items() if "encoder" not in name or name[:21] in levels}
    wanted = modules | picture | {"linear": "bottleneck.linear_attention"}
    seen = run(network, wanted, noisy_mask(), image(size=64), WHEN)
    return seen | {"act/bottleneck.ls_attn": seen["act/bottleneck.ls_attn"] + seen["linear"]}


@pytest.fixture(scope="module")
def reference():
    return Reference("dermosegdiff_small")


@pytest.fixture
def network(reference):
    return reference.fill(lambda: Denoiser(**SMALL), [("^", "."), *RULES, (r"^\.", "")])


def test_every_recorded_array(reference, network):
    deviations = reference.deviations(call(network))
    assert len(deviations) == len(reference.facts["arrays"])
    assert max(deviations.values()) < TOLERANCE, deviations


def test_every_recorded_array_of_the_whole_network():
    whole = Reference("dermosegdiff")
    deviations = whole.deviations(call(whole.fill(Denoiser, [("^", "."), *RULES, (r"^\.", "")])))
    assert len(deviations) == len(whole.facts["arrays"])
    assert max(deviations.values()) < TOLERANCE, deviations


@pytest.mark.parametrize(("name", "sizes"), [("dermosegdiff", {}), ("dermosegdiff_small", SMALL)])
def test_counts(name, sizes):
    facts = Reference(name).facts
    for side, expected in facts["multiply_adds"].items():
        shapes = (1, 1, int(side), int(side)), (1, 3, int(side), int(side)), (1,)
        assert count(lambda: Denoiser(**sizes), *shapes) == (facts["total_parameters"], expected)


def test_every_parameter_gets_a_gradient(reference, network):
    assert never_reached(network, noisy_mask(), image(size=64), WHEN) == reference.facts["never_gradient_keys"] == []


def groups(module, number):
    module.norm1.num_groups = module.norm2.num_groups = number


def unbiased(module, x):
    variance, mean = torch.var_mean(module.weight, dim=(1, 2, 3), keepdim=True)
    return module._conv_forward(x, (module.weight - mean) * (variance + 1e-5).rsqrt(), module.bias)


@torch.no_grad()
@pytest.mark.parametrize(
    "mistake",
    [
        lambda network, patch: groups(network.bottleneck.rb_before, 8),
        lambda network, patch: groups(network.last, 8),
        lambda network, patch: patch.setattr(dermosegdiff.math, "log", lambda value: np.log(value) * 31 / 32),
        lambda network, patch: patch.setattr(dermosegdiff.StandardizedConv, "forward", unbiased),
        lambda network, patch: patch.setattr(dermosegdiff.StandardizedConv, "forward", nn.Conv2d.forward),
    ],
    ids=[
        "eight groups in the bottleneck",
        "eight groups at the end",
        "other frequencies",
        "unbiased",
        "not standardized",
    ],
)
def test_planted_mistakes_are_seen(reference, network, monkeypatch, mistake):
    mistake(network, monkeypatch)
    assert max(reference.deviations(call(network)).values()) > TOLERANCE


@pytest.fixture(scope="module")
def recorded():
    return Reference("dermosegdiff_process").arrays


def test_the_schedule_and_its_steps(recorded):
    process = Diffusion()
    for name, values in {
        "betas": process.betas,
        "alphas_cumprod": process.alphas_bar,
        "sqrt_alphas_cumprod": process.alphas_bar.sqrt(),
        "sqrt_one_minus_alphas_cumprod": (1 - process.alphas_bar).sqrt(),
    }.items():
        np.testing.assert_allclose(values, recorded[name], rtol=0, atol=1e-6)  # recorded in float32
    x, predicted, z, mask = (torch.from_numpy(recorded[name]) for name in ("x_t", "predicted_noise", "z", "x_0"))
    for t in (249, 137, 1, 0):
        np.testing.assert_allclose(process.step(x, predicted, t), recorded[f"sampler_mean_t{t}"], atol=2e-6)
        np.testing.assert_allclose(process.step(x, predicted, t, z), recorded[f"sampler_step_t{t}"], atol=2e-6)
        noisy = process.add_noise(mask, predicted, torch.tensor([t]))
        np.testing.assert_allclose(noisy, recorded[f"q_sample_t{t}"], atol=1e-6)


def discs():
    rows, columns = np.mgrid[:128, :128]
    two = ((rows - 64) ** 2 + (columns - 70) ** 2 < 900) | ((rows - 30) ** 2 + (columns - 28) ** 2 < 81)
    one = (rows - 50) ** 2 + (columns - 50) ** 2 < 36
    return np.stack([two, two, two, one])


@pytest.mark.parametrize("gamma", [1.5, 0.2])
def test_the_boundary_weight(recorded, gamma):
    masks = torch.from_numpy(discs()[:, None] * 2.0 - 1)
    weights = Diffusion().boundary_weight(masks, torch.tensor([1, 125, 249, 100]), gamma)
    np.testing.assert_allclose(weights[:, :, 1::5, 2::5], recorded[f"boundary_weight_gamma{gamma}"], atol=1e-5)
    np.testing.assert_allclose(weights.mean(dim=(1, 2, 3)), recorded[f"boundary_weight_gamma{gamma}_mean"], atol=1e-5)
    assert (weights[3] == 1).all(), "less than one percent of the image"


def test_the_edge_is_opencvs(recorded):
    np.testing.assert_array_equal(np.argwhere(canny_edge(discs()[0])), recorded["boundary_edge_rows_columns"])
    draw = np.random.default_rng(0)
    for _ in range(20):
        coarse = draw.random((9, 11)) > 0.5
        mask = np.kron(coarse, np.ones((int(draw.integers(1, 6)), 5))).astype(bool)
        theirs = cv2.Canny(mask.astype(np.uint8), 0, 0) > 0
        np.testing.assert_array_equal(canny_edge(mask), theirs)


def test_masks_are_drawn_the_same_way_each_time():
    torch.manual_seed(0)
    network = small(image_size=32, samples=2, steps=3).eval()
    picture = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        logits = network(picture)
        assert logits.shape == (2, 2, 32, 32)
        assert torch.equal(logits, network(picture))
        assert torch.equal(logits[:, 0], -logits[:, 1])
        assert logits.abs().max() <= 1, "the mean of two masks"
        network.samples = 1
        assert not torch.equal(logits, network(picture))


@pytest.mark.parametrize("steps", [1, 10, 249, 250])
def test_a_perfect_denoiser_finds_the_mask(steps):
    """Whatever the number of steps: the noise is known, so that every step leads to the mask."""
    process, mask = Diffusion(), torch.from_numpy(discs()[:1, None, ::4, ::4] * 2.0 - 1)

    def denoise(x, t):
        kept, added = process._at(t, x)
        return (x - kept * mask) / added

    found = process.draw(denoise, tuple(mask.shape), torch.device("cpu"), steps)
    torch.testing.assert_close(found.to(mask), mask, atol=1e-3, rtol=0)


def test_the_running_mean_predicts():
    network = small(image_size=32, steps=1)
    with torch.no_grad():
        for number in range(502):
            if number == 501:
                network.denoiser.head.bias += 1
            network.after_step() if number in (0, 501) else network.updates.add_(1)
    moved = network.average.head.bias - (network.denoiser.head.bias - 1)
    assert moved.item() == pytest.approx(503**-0.9, rel=1e-3)


def test_what_it_does_not_take():
    for options, said in {
        "num_classes": "num_classes=9: DermoSegDiff tells one thing from the background; give 2",
        "samples": "samples=0: give at least 1",
    }.items():
        with pytest.raises(InputError, match=f"^{said}$"):
            small(**{options: int(said.partition("=")[2].partition(":")[0])})
    with pytest.raises(InputError, match=r"^steps=251: give 1 to 250$"):
        small(steps=251)(torch.zeros(1, 3, 32, 32))
    with pytest.raises(InputError, match=r"^input of 30 x 32 pixels: resize it to multiples of 4 first$"):
        small()(torch.zeros(1, 3, 30, 32))
    assert isinstance(small(), DermoSegDiff)
