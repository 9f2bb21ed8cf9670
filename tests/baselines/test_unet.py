"""U-Net, AttU-Net and the group's small U-Net against recorded arrays and counts of the original code."""

from __future__ import annotations

import pytest
import torch
from baseline_parity import Reference, count, image, never_reached, run
from torch import nn

from msa2net_lib.baselines import unet
from msa2net_lib.baselines.registry import official_rules
from msa2net_lib.errors import InputError
from msa2net_lib.utils.official_keys import our_key

pytestmark = pytest.mark.slow
TOLERANCE = 2e-5
LEVELS = {f"act/Conv{n}": f"encoder.{n - 1}" for n in range(1, 6)}
LEVELS |= {f"act/Up_conv{n}": f"decoder.{5 - n}.mix" for n in range(2, 6)} | {"act/Up5": "decoder.0.up"}
GATES = {
    f"act/Att{n}{part}": f"decoder.{5 - n}.gate{ours}" for n in (2, 5) for part, ours in (("", ""), (".psi", ".psi"))
}
SYSTEMS = {
    "unet": (unet.UNet, 1, LEVELS),
    "attunet": (unet.AttUNet, 1, LEVELS | GATES),
    "unet_nitr": (
        unet.SmallUNet,
        2,
        {f"act/en_{n}": f"encoder.{n - 1}" for n in (1, 2, 4)} | {f"act/de_{n}": f"decoder.{n - 1}" for n in (1, 3)},
    ),
}


@pytest.fixture(scope="module", params=SYSTEMS)
def case(request):
    build, classes, modules = SYSTEMS[request.param]
    reference = Reference(request.param)
    network = reference.fill(lambda: build(classes), official_rules(request.param))
    found = run(network, {k: (v, torch.sigmoid) if k.endswith("psi") else v for k, v in modules.items()}, image())
    return request.param, reference, network, found


def test_every_recorded_array(case):
    _, reference, _, found = case
    deviations = reference.deviations(found)
    assert len(deviations) == len(reference.facts["arrays"])
    assert max(deviations.values()) < TOLERANCE, deviations


def test_counts(case):
    name, reference, network, _ = case
    build, classes, _ = SYSTEMS[name]
    facts = reference.facts
    assert count(lambda: build(classes), (1, 3, 224, 224)) == (facts["total_parameters"], facts["multiply_adds"])
    assert never_reached(network, image(size=16 * 2)) == facts["never_gradient_keys"] == []


@torch.no_grad()
def test_planted_mistakes_are_seen(case):
    """Each is one line of the page that a reader might miss."""
    name, _, network, _ = case
    small = image(size=64)
    right, seen = network(small), []
    if name == "unet_nitr":
        up = nn.functional.interpolate
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(nn.functional, "interpolate", lambda x, **options: up(x, scale_factor=2))
            seen.append(network(small))
        mix = network.decoder[0][0].weight
        with torch.no_grad():  # the skip first, the upsampled features second
            mix.copy_(mix.roll(128, dims=1))
        seen.append(network(small))
    else:
        for mode in ("bilinear", "nearest"):
            for level in network.decoder:
                level.up[0] = nn.Upsample(scale_factor=2, mode=mode)
            seen.append(network(small))
        assert torch.equal(seen.pop(), right)
        mix = network.decoder[0].mix[0][0].weight
        mix.copy_(mix.roll(512, dims=1))  # the upsampled features first, the skip second
        seen.append(network(small))
    for logits in seen:
        assert (logits - right).abs().max() > 1000 * TOLERANCE


def test_the_gate_is_monais():
    """MONAI's block of another paper's name is the same function, with the same weights."""
    blocks = pytest.importorskip("monai.networks.nets.attentionunet")
    ours = unet.AttUNet(1, widths=(8, 16)).decoder[0].gate.eval()
    theirs = blocks.AttentionBlock(2, f_int=4, f_g=8, f_l=8).eval()
    names = {"phi_g.0.": "W_g.0.conv.", "phi_g.1.": "W_g.1.", "theta_x.0.": "W_x.0.conv.", "theta_x.1.": "W_x.1."}
    names |= {"psi.0.": "psi.0.conv.", "psi.1.": "psi.1."}
    rules = [("^" + prefix.replace(".", r"\."), name) for prefix, name in names.items()]
    state = {our_key(key, rules): value for key, value in ours.state_dict().items()}
    theirs.load_state_dict(state)
    x, g = torch.randn(2, 1, 8, 6, 6)
    torch.testing.assert_close(ours(x, g), theirs(g, x))


@pytest.mark.parametrize(("name", "size", "multiple"), [("unet", 40, 16), ("attunet", 24, 16), ("unet_nitr", 20, 8)])
def test_other_sizes(name, size, multiple):
    network = SYSTEMS[name][0](2, widths=(4, 8, 8, 8, 8)[: 4 + (multiple == 16)])
    assert network(torch.zeros(1, 1, 2 * multiple, multiple)).shape == (1, 2, 2 * multiple, multiple)
    with pytest.raises(
        InputError, match=f"^input of {size} x {size} pixels: resize it to multiples of {multiple} first$"
    ):
        network(torch.zeros(1, 3, size, size))
    with pytest.raises(InputError, match=r"^input of shape \(1, 2, 32, 32\): give"):
        network(torch.zeros(1, 2, 32, 32))
