"""Gates in networks of other libraries: outputs, weights and gradients, against the networks as they come."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from small_networks import evenly_drawn
from torch import nn

from msa2net_lib.errors import InputError
from msa2net_lib.nn.adapters import GatedSkip
from msa2net_lib.nn.gates import GATES, build_gate
from msa2net_lib.nn.masag import MASAG
from msa2net_lib.nn.network import count_parameters
from msa2net_lib.nn.third_party import gate_attention_unet, gate_basic_unet, gate_smp_unet

smp = pytest.importorskip("segmentation_models_pytorch", reason="these networks come with the extra 'notebooks'")
monai = pytest.importorskip("monai.networks.nets", reason="these networks come with the extra 'notebooks'")


FEATURES = (8, 12, 16, 20, 24, 5)


def smp_unet():
    widths = {"decoder_channels": (32, 24, 16, 12, 8), "in_channels": 1, "classes": 3}
    return evenly_drawn(lambda: smp.Unet("resnet18", encoder_weights=None, **widths))


def basic_unet(dims=2):
    return monai.BasicUNet(dims, 1, 3, features=FEATURES)


def attention_unet(dims=2):
    return monai.AttentionUnet(dims, 1, 3, channels=(8, 12, 16), strides=(2, 2))


BUILD = {"smp": smp_unet, "basic": basic_unet, "attention": attention_unet}
PUT = {"smp": gate_smp_unet, "basic": gate_basic_unet, "attention": gate_attention_unet}
SKIPS = {"smp": [256, 128, 64, 64], "basic": [8, 12, 16, 20], "attention": [8, 12]}
"""Channels of the skip connections, read off the networks' documentation."""


class FromX(nn.Module):
    """An attention block of MONAI's signature that lets x pass."""

    def forward(self, g, x):
        return x


def without_gates(kind, network):
    """What a network computes without gate: itself, or AttentionUnet with its own gates let through."""
    if kind == "attention":
        for layer in network.modules():
            if hasattr(layer, "upconv"):
                layer.attention = FromX()
    return network


def images(size=(32, 64), seed=0):
    return torch.randn(2, 1, *size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("kind", BUILD)
def test_every_gate_of_the_family_in_every_network(kind, gate):
    torch.manual_seed(0)
    network = BUILD[kind]()
    before = {name: value.clone() for name, value in network.state_dict().items() if ".attention." not in name}
    own = sum(value.numel() for name, value in network.named_parameters() if ".attention." in name)
    count = count_parameters(network)
    assert PUT[kind](network, gate) is network
    after = network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    new = [name for name in after if name not in before]
    assert all(".gate." in name or ".attention." in name for name in new)
    gates = [count_parameters(build_gate(gate, channels)) for channels in SKIPS[kind]]
    adapters = sum(value.numel() for name, value in network.named_parameters() if ".to_channels." in name)
    assert count_parameters(network) == count - own + sum(gates) + adapters
    logits = network(images())
    assert logits.shape == (2, 3, 32, 64)
    logits.square().mean().backward()
    learned = {n: p for n, p in network.named_parameters() if ".gate.gate." in n or ".attention." in n}
    assert bool(learned) == bool(sum(gates))
    assert all(p.grad is not None for p in learned.values())
    reached = {name.split("gate.gate.")[0].split("attention.")[0] for name, p in learned.items() if p.grad.any()}
    assert len(reached) == (len(SKIPS[kind]) if learned else 0), "a gradient reaches the gate of every skip"


@pytest.mark.parametrize("kind", BUILD)
def test_an_identity_gate_leaves_the_network_as_it_was(kind):
    network = BUILD[kind]()
    plain = without_gates(kind, copy.deepcopy(network))
    gated = PUT[kind](network, "addition")
    for mode in (True, False):  # in training first, which moves the batch norms alike
        torch.testing.assert_close(gated.train(mode)(images()), plain.train(mode)(images()), rtol=0, atol=0)


@pytest.mark.parametrize("kind", BUILD)
def test_the_gate_is_really_passed_through(kind):
    """With a gate that returns zeros the skips say nothing: the network computes as with zeros in their place."""

    class Nothing(nn.Module):
        def forward(self, x, g):
            return torch.zeros_like(x)

    network = PUT[kind](BUILD[kind](), "addition").eval()
    passed = network(images())
    for module in list(network.modules()):
        if hasattr(module, "gate") and hasattr(module.gate, "to_grid"):
            module.gate.gate = Nothing()
        if hasattr(module, "attention") and hasattr(module, "upconv"):
            module.attention = Nothing()
    nothing = network(images())
    torch.testing.assert_close(nothing, on_zero_skips(kind, network, images()))
    assert not torch.allclose(nothing, passed)


def on_zero_skips(kind, network, image):
    """The network's own parts put together by hand, with zeros wherever a skip comes in; gates are not called."""
    if kind == "smp":
        features = network.encoder(image)
        bare = copy.deepcopy(network.decoder)
        for block in bare.blocks:
            block._forward_pre_hooks.clear()
            block._forward_pre_hooks_with_kwargs.clear()
        return network.segmentation_head(bare([*(torch.zeros_like(skip) for skip in features[:-1]), features[-1]]))
    if kind == "basic":
        skips = [network.conv_0(image)]
        for level in (1, 2, 3, 4):
            skips.append(getattr(network, f"down_{level}")(skips[-1]))
        features = skips.pop()
        for level in (4, 3, 2, 1):
            block = getattr(network, f"upcat_{level}")
            features = block.convs(torch.cat([torch.zeros_like(skips[level - 1]), block.upsample(features)], dim=1))
        return network.final_conv(features)
    head, layers, last = network.model

    def merged(layer, x):
        deeper = isinstance(layer.submodule, nn.Sequential)  # else the bottom, one block
        below = merged(layer.submodule[1], layer.submodule[0](x)) if deeper else layer.submodule(x)
        features = layer.upconv(below)
        return layer.merge(torch.cat([torch.zeros_like(x), features], dim=1))

    return last(merged(layers, head(image)))


def test_gates_get_the_skip_as_x_and_the_decoder_as_g():
    seen = []

    class Spy(nn.Module):
        def forward(self, x, g):
            seen.append((tuple(x.shape[1:]), tuple(g.shape[1:])))
            return x

    network = gate_smp_unet(smp_unet(), "addition")
    for block in network.decoder.blocks[:4]:
        block.gate.gate = Spy()
    features = network.encoder(images((64, 64)))
    network.decoder(features)
    assert seen == [(tuple(f.shape[1:]),) * 2 for f in features[-2:0:-1]]


@pytest.mark.parametrize("kind", BUILD)
def test_state_goes_out_and_in_again_and_copies_are_independent(kind):
    network = PUT[kind](BUILD[kind](), "masag")
    network.train()(images(seed=1))
    twin = copy.deepcopy(network)
    other = PUT[kind](BUILD[kind](), "masag")
    other.load_state_dict(network.state_dict())
    expected = network.eval()(images())
    torch.testing.assert_close(other.eval()(images()), expected, rtol=0, atol=0)
    for value in network.parameters():
        value.data.zero_()
    torch.testing.assert_close(twin.eval()(images()), expected, rtol=0, atol=0)
    torch.testing.assert_close(twin.train()(images()).shape, expected.shape)


@pytest.mark.parametrize("kind", ["basic", "attention"])
def test_volumes_get_masag_in_3d(kind):
    network = PUT[kind](BUILD[kind](3), "masag")
    volume = torch.randn(2, 1, 16, 16, 32)
    network(volume).square().mean().backward()
    kernels = [p for n, p in network.named_parameters() if n.endswith("depthwise.weight")]
    assert len(kernels) == len(SKIPS[kind])
    assert all(kernel.ndim == 5 and bool(kernel.grad.any()) for kernel in kernels)
    with pytest.raises(InputError, match="works on maps"):
        PUT[kind](BUILD[kind](3), "sk")


def test_odd_sizes_are_the_networks_own_affair():
    """BasicUNet pads what its pooling cut off; the gate follows."""
    assert gate_basic_unet(basic_unet())(images((33, 50))).shape == (2, 3, 33, 50)


def test_mistakes_are_told_in_one_line():
    with pytest.raises(InputError, match="has a gate already"):
        gate_smp_unet(gate_smp_unet(smp_unet()))
    with pytest.raises(InputError, match="has a gate already"):
        gate_basic_unet(gate_basic_unet(basic_unet()))
    with pytest.raises(InputError, match=r"Linear has no decoder\.blocks"):
        gate_smp_unet(nn.Linear(2, 2))
    with pytest.raises(InputError, match="give MONAI's AttentionUnet"):
        gate_attention_unet(basic_unet())
    with pytest.raises(InputError, match="Linear has no conv_0"):
        gate_basic_unet(nn.Linear(2, 2))
    with pytest.raises(InputError, match="gate='none' is unknown"):
        gate_attention_unet(attention_unet(), "none")
    old = smp_unet()
    old.decoder.blocks[0].forward = lambda features, skip=None: features
    with pytest.raises(InputError, match="install 0"):
        gate_smp_unet(old)


def test_networks_of_other_forms():
    """A Mix Transformer has no features at half the size, and an upsampling without weights has no convolution."""
    transformer = gate_smp_unet(smp.Unet("mit_b0", encoder_weights=None, in_channels=3, classes=2))
    assert [hasattr(block, "gate") for block in transformer.decoder.blocks] == [True, True, True, False, False]
    assert transformer(torch.zeros(2, 3, 64, 64)).shape == (2, 2, 64, 64)
    plain = gate_basic_unet(monai.BasicUNet(2, 1, 3, features=(8, 12, 16, 20, 24, 5), upsample="nontrainable"))
    assert plain(images()).shape == (2, 3, 32, 64)


@pytest.mark.parametrize("name", ["UnetPlusPlus", "Linknet", "MAnet"])
def test_other_decoders_are_refused_and_left_as_they_were(name):
    network = getattr(smp, name)("resnet18", encoder_weights=None, in_channels=1)
    before = count_parameters(network)
    with pytest.raises(InputError, match=r"give a Unet|passes skips in another way"):
        gate_smp_unet(network)
    assert count_parameters(network) == before


def test_the_lines_to_copy_from_lesson_15_run(root):
    """Replacing while walking would meet the new gates, which have a method called attention, and never end."""
    snippet = lines_to_copy(root, "for layer")
    unet = attention_unet()
    exec(snippet, {"unet": unet, "MASAG": MASAG})  # our own page
    assert sum(isinstance(module, MASAG) for module in unet.modules()) == len(SKIPS["attention"])
    assert unet(images()).shape == (2, 3, 32, 64)


def lines_to_copy(root, start):
    """The one Python snippet of lesson 15's page that starts so."""
    lesson = json.loads((root / "notebooks" / "15_integration.ipynb").read_text(encoding="utf-8"))
    blocks = [
        part.split("```")[0] for cell in lesson["cells"] for part in "".join(cell["source"]).split("```python\n")[1:]
    ]
    (snippet,) = [block for block in blocks if block.startswith(start)]
    return snippet


COPIED = {"smp": "from msa2net_lib.nn.adapters import GatedSkip\n\nfor block, channels in zip", "basic": "for level in"}


@pytest.mark.parametrize("kind", COPIED)
def test_the_lines_to_copy_compute_what_the_librarys_functions_do(kind, root):
    torch.manual_seed(0)
    made = PUT[kind](BUILD[kind](), "masag")
    copied = BUILD[kind]()
    exec(
        lines_to_copy(root, COPIED[kind]), {"unet": copied, "GatedSkip": GatedSkip, "features": FEATURES}
    )  # our own page
    copied.load_state_dict(made.state_dict())  # strict: gates stand at the same places
    for mode in (True, False):  # in training first, which moves the batch norms alike
        torch.testing.assert_close(copied.train(mode)(images()), made.train(mode)(images()), rtol=0, atol=0)
    gates = [module for module in copied.modules() if isinstance(module, MASAG)]
    assert len(gates) == len(SKIPS[kind])
    copied(images()).sum().backward()
    assert all(gate.recalibration.project.weight.grad is not None for gate in gates)
