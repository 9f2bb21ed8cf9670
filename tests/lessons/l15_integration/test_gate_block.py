"""MASAG on a block: equal to 2-D where it must be, deeper where it may be, and no further."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from msa2net_lib.checkpoints import SHIPPED_TINY, load_network
from msa2net_lib.data.datasets import Case
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l15_integration.study import flicker, gate_block, slice_influence, with_depth
from msa2net_lib.nn.gates import SliceByVolume, inflated
from msa2net_lib.nn.masag import MASAG


@pytest.fixture(scope="module")
def block():
    rng = np.random.default_rng(0)
    case = Case("case", rng.random((11, 96, 96), dtype=np.float32), np.zeros((11, 96, 96), np.uint8), (2.0, 1.0, 1.0))
    return gate_block(load_network(SHIPPED_TINY), case, range(9))


def test_features_of_a_block_are_those_of_its_slices(block):
    assert block.x.shape == block.g.shape == (1, 24, 9, *block.x.shape[-2:])
    one = block.gate.attention(block.x[:, :, 4], block.g[:, :, 4])
    torch.testing.assert_close(block.slice_by_slice()[:, :, 4], one, rtol=1e-4, atol=1e-5)


def test_inflated_it_equals_the_2d_gate_on_every_slice(block):
    torch.testing.assert_close(block.in_3d(inflated(block.gate)), block.slice_by_slice(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(block.in_3d(with_depth(block.gate, 0)), block.slice_by_slice(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("dilated", ["depthwise", "dense"])
def test_inflated_gates_in_training_and_out_of_it(depth, dilated):
    torch.manual_seed(0)
    flat = MASAG(3, dilated).double()
    volume = inflated(flat)
    x, g = torch.randn(2, 2, 3, depth, 6, 5).double()
    slices = [(a.movedim(2, 1).flatten(0, 1)) for a in (x, g)]
    for mode in (True, False):  # in training the norms see all slices either way
        expected = flat.train(mode)(*slices).unflatten(0, (2, depth)).movedim(1, 2)
        torch.testing.assert_close(volume.train(mode)(x, g), expected)


def test_any_3d_gate_is_its_middle_planes_on_a_single_slice():
    torch.manual_seed(0)
    gate, flat = MASAG(4, dims=3).eval(), MASAG(4).eval()
    state = {k: v[:, :, v.shape[2] // 2] if v.ndim == 5 else v for k, v in gate.state_dict().items()}
    flat.load_state_dict(state)
    x, g = torch.randn(2, 2, 4, 7, 6)
    torch.testing.assert_close(gate(x[:, :, None], g[:, :, None])[:, :, 0], flat(x, g))
    single = SliceByVolume(4).eval()
    single.volume.load_state_dict(gate.state_dict())
    torch.testing.assert_close(single(x, g), flat(x, g))


def test_depth_reaches_three_slices_to_each_side_and_no_further(block):
    influence = slice_influence(with_depth(block.gate), block, 4)
    assert influence.idxmax() == 0
    assert set(influence.index[influence > 0]) == set(range(-3, 4))
    alone = slice_influence(inflated(block.gate), block, 4)
    assert set(alone.index[alone > 0]) == {0}


def test_flicker_is_the_mean_step_between_slices():
    ramp = torch.arange(4.0).reshape(1, 1, 4, 1, 1).expand(1, 2, 4, 3, 3)
    assert flicker(ramp) == 1
    assert flicker(torch.ones(1, 2, 4, 3, 3)) == 0


def test_mistakes_are_told(block):
    with pytest.raises(InputError, match="share="):
        with_depth(block.gate, 0.6)
    case = Case("case", np.zeros((3, 32, 32), np.float32), np.zeros((3, 32, 32), np.uint8), None)
    network = load_network(SHIPPED_TINY)
    with pytest.raises(InputError, match="slices 0 to 2"):
        gate_block(network, case, range(2, 5))
    with pytest.raises(InputError, match="level 3 has no MASAG"):
        gate_block(network, case, range(2), level=3)
