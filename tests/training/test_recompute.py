"""A step that keeps less has the same loss, gradients and statistics to the last bit."""

import copy
from contextlib import nullcontext

import pytest
import torch
from timm.layers.norm_act import BatchNormAct2d
from timm.layers.squeeze_excite import SEModule
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from msa2net_lib import MSA2Net
from msa2net_lib.nn.layout import ChannelLayerNorm
from msa2net_lib.training import recompute
from msa2net_lib.training.recompute import RecomputedActivations


@pytest.fixture(autouse=True)
def small_outputs_too(monkeypatch):
    monkeypatch.setattr(recompute, "LEAST_BYTES", 0)


def step(network, images, again):
    network.zero_grad(set_to_none=True)
    torch.manual_seed(3)
    if again:
        with RecomputedActivations(network, recompute.CHEAP):
            loss = network(images).square().mean()
    else:
        loss = network(images).square().mean()
    loss.backward()
    return loss, {name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None}


class Shortcut(nn.Module):
    """Its sum is another one where the activation leaves its input alone."""

    def __init__(self):
        super().__init__()
        self.act = nn.SiLU(inplace=True)

    def forward(self, x):
        return x + self.act(x)


def parts():
    """Small networks with each kind of layer, and what is odd about how they are used."""
    yield "gelu", nn.Sequential(nn.Conv2d(3, 8, 1), nn.GELU(), nn.Conv2d(8, 4, 3))
    yield "silu in place", nn.Sequential(nn.Conv2d(3, 8, 1), nn.SiLU(inplace=True), nn.Conv2d(8, 4, 3))
    yield "channels norm", nn.Sequential(nn.Conv2d(3, 8, 1), ChannelLayerNorm(8), nn.Conv2d(8, 4, 3))
    yield "flattened", nn.Sequential(nn.Conv2d(3, 8, 1), nn.GELU(), nn.Flatten(2), nn.LayerNorm(64), nn.Linear(64, 5))
    norm = BatchNormAct2d(8, act_layer=nn.SiLU)
    yield "norm and act", nn.Sequential(nn.Conv2d(3, 8, 1), norm, SEModule(8), nn.Conv2d(8, 4, 3))
    yield "norm alone", nn.Sequential(nn.Conv2d(3, 8, 1), BatchNormAct2d(8, apply_act=False), nn.Conv2d(8, 4, 1))
    in_place = nn.Sequential(nn.Conv2d(3, 8, 1), Shortcut(), nn.GELU(), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 1))
    yield "read once more", nn.Sequential(in_place, Shortcut())
    yield "twice", nn.Sequential(nn.Conv2d(3, 8, 1), *2 * [nn.GELU(), nn.Conv2d(8, 8, 3), nn.SiLU(inplace=True)])


@pytest.mark.parametrize("network", [pytest.param(network, id=name) for name, network in parts()])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("cast", [None, torch.bfloat16])
def test_gradients_and_statistics_are_the_same_to_the_last_bit(network, memory_format, cast):
    plain = network.to(memory_format=memory_format).train()
    other = copy.deepcopy(plain)
    images = torch.rand(2, 3, 8, 8).contiguous(memory_format=memory_format)
    with torch.autocast("cpu", cast or torch.bfloat16, enabled=cast is not None):
        expected, found = step(plain, images, False), step(other, images, True)
    assert torch.equal(expected[0], found[0])
    assert expected[1].keys() == found[1].keys()
    assert all(torch.equal(value, found[1][key]) for key, value in expected[1].items())
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in plain.state_dict().items())


def test_the_network_trains_as_before_to_the_last_bit():
    torch.manual_seed(0)
    plain = MSA2Net.from_preset("tiny", image_size=64, num_classes=3).to(memory_format=torch.channels_last).train()
    other, images = copy.deepcopy(plain), torch.rand(2, 1, 64, 64)
    expected, found = step(plain, images, False), step(other, images, True)
    assert torch.equal(expected[0], found[0])
    assert all(torch.equal(value, found[1][key]) for key, value in expected[1].items())
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in plain.state_dict().items())


@pytest.mark.parametrize("layers", [recompute.CHEAP, recompute.CHEAPEST])
def test_outputs_of_cheap_layers_are_gone_after_the_forward_pass(layers):
    network = MSA2Net.from_preset("tiny", image_size=64, num_classes=3).train()
    outputs: list[StorageWeakRef] = []
    for module in network.modules():
        if isinstance(module, layers) and not isinstance(module, BatchNormAct2d):
            module.register_forward_hook(lambda *given: outputs.append(StorageWeakRef(given[-1].untyped_storage())))
    images = torch.rand(2, 1, 64, 64)
    shares = []
    for context in (nullcontext(), RecomputedActivations(network, layers)):
        outputs.clear()
        with context:
            loss = network(images).mean()
        shares.append(sum(output.expired() for output in outputs) / len(outputs))
        del loss
    assert len(outputs) > 50
    assert shares[0] < 0.2
    assert shares[1] > 0.9


def test_what_was_changed_in_place_is_an_error_as_without():
    network = nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.Linear(4, 4))
    with RecomputedActivations(network):
        between = network[0](torch.ones(2, 4))
        loss = network[2](network[1](between)).sum()
    between.detach().add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_outside_of_it_nothing_is_noted_and_no_hook_stays():
    network = nn.Sequential(nn.Linear(4, 4), nn.GELU(), BatchNormAct2d(4))
    context = RecomputedActivations(network, recompute.CHEAP)
    with pytest.raises(AssertionError, match="4D"), context:
        network[2](torch.ones(4, 4))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert not context._made


def test_small_networks_and_compiled_ones_keep_everything(monkeypatch):
    """What it costs does not grow with the network, what it brings does."""
    network = nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.SiLU())
    assert isinstance(recompute.forward_pass(network), nullcontext)
    monkeypatch.setattr(recompute, "LARGE", 20)
    context = recompute.forward_pass(network)
    assert isinstance(context, RecomputedActivations)
    assert context._cheap == [network[1]]
    network._compiled_call_impl = lambda image: image
    assert isinstance(recompute.forward_pass(network), nullcontext)


def test_silu_behind_a_batch_norm_leaves_its_input_there_and_nothing_else_changes():
    norm = BatchNormAct2d(8, act_layer=nn.SiLU)
    network = nn.Sequential(nn.Conv2d(3, 8, 1), norm, Shortcut(), nn.Conv2d(8, 8, 1), nn.ReLU(inplace=True))
    assert norm.act.inplace
    before = torch.autograd.grad(network(torch.ones(2, 3, 4, 4)).sum(), [*network.parameters()])
    recompute.forward_pass(network)
    assert (norm.act.inplace, network[2].act.inplace, network[4].inplace) == (False, True, True)
    after = torch.autograd.grad(network(torch.ones(2, 3, 4, 4)).sum(), [*network.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
