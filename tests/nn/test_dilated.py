"""The dilated depthwise convolution on grids against torch's own, in numbers and in every gradient."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from msa2net_lib.config import NetworkConfig
from msa2net_lib.nn.lka import DilatedDepthwise, train_on_grids
from msa2net_lib.nn.network import MSA2Net


@pytest.mark.parametrize("size", [(9, 9), (8, 10), (7, 5), (1, 2), (14, 1)])
@pytest.mark.parametrize(("kernel", "dilation"), [(7, 3), (3, 2), (5, 1)])
def test_it_is_torchs_convolution_with_all_its_gradients(size, kernel, dilation):
    torch.manual_seed(0)
    ours = DilatedDepthwise(3, kernel, dilation).double()
    ours.on_grids = True
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    padding = dilation * (kernel // 2)
    theirs = F.conv2d(x, ours.weight, ours.bias, padding=padding, dilation=dilation, groups=3)
    found = ours(x)
    torch.testing.assert_close(found, theirs, rtol=0, atol=1e-13)
    by = torch.randn_like(theirs)
    wanted = torch.autograd.grad(theirs, (x, ours.weight, ours.bias), by)
    for one, other in zip(torch.autograd.grad(found, (x, ours.weight, ours.bias), by), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_parameters_are_those_of_a_convolution():
    ours = DilatedDepthwise(4, 7, 3)
    theirs = nn.Conv2d(4, 4, 7, padding=9, dilation=3, groups=4)
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(1, 4, 12, 12)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=0)
    with pytest.raises(ValueError, match="kernel_size=6: give an odd one"):
        DilatedDepthwise(4, 6, 3)


def test_only_training_on_a_cpu_goes_by_grids(monkeypatch):
    network = MSA2Net(NetworkConfig.from_preset("tiny", image_size=64))
    dilated = [module for module in network.modules() if isinstance(module, DilatedDepthwise)]
    assert len(dilated) == 4  # two blocks on each of the two fine levels
    train_on_grids(network, torch.device("cuda"))
    assert not any(module.on_grids for module in dilated)
    train_on_grids(network, torch.device("cpu"))
    assert all(module.on_grids for module in dilated)
    images, shapes = torch.rand(1, 1, 64, 64), []
    convolve = F.conv2d

    def seen(x, weight, *rest, **named):
        if weight.shape[1:] == (1, 7, 7):
            shapes.append(tuple(x.shape))
        return convolve(x, weight, *rest, **named)

    monkeypatch.setattr(F, "conv2d", seen)
    network.eval()
    trained = network(images)
    assert {shape[0] for shape in shapes} == {9}
    with torch.no_grad():
        torch.testing.assert_close(network(images), trained.detach(), rtol=0, atol=1e-5)
    assert sorted(shape[0] for shape in shapes) == [1] * 4 + [9] * 4
