"""Skip gates: each against an independent computation, the controls against what they must not see."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from monai.networks.nets.attentionunet import AttentionBlock

from msa2net_lib import MASAG, MSA2Net, NetworkConfig
from msa2net_lib.checkpoints import SHIPPED_TINY, load_network
from msa2net_lib.config import LevelConfig
from msa2net_lib.errors import InputError
from msa2net_lib.nn.gates import Addition, AttentionGate, attention_map, build_gate
from msa2net_lib.nn.network import count_parameters

NAMES = ("addition", "concatenation", "attention", "masag", "constant", "shuffled", "random")
MAPPED = ("attention", "masag", "constant", "shuffled", "random")
CONTROLS = ("constant", "random")


def built(name, channels=6, seed=0):
    """A gate in float64 with random weights and batch-norm statistics, in evaluation mode."""
    torch.manual_seed(seed)
    gate = build_gate(name, channels, "depthwise").double()
    with torch.no_grad():
        for tensor in (*gate.parameters(), *gate.buffers()):
            if tensor.is_floating_point():
                tensor.copy_(0.5 + torch.rand_like(tensor))
    return gate.eval()


def drawn(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(*shape, generator=generator, dtype=torch.float64) for _ in range(2))


@pytest.mark.parametrize("shape", [(1, 6, 1, 1), (2, 6, 5, 7), (3, 6, 8, 4)])
@pytest.mark.parametrize("name", NAMES)
def test_any_size(name, shape):
    x, g = drawn(*shape)
    gate = built(name)
    with torch.no_grad():
        assert gate(x, g).shape == shape
        attention = attention_map(gate, x, g)
    if name not in MAPPED:
        assert attention is None
        return
    assert attention is not None
    assert attention.shape == (shape[0], 1 if name in ("attention", "random") else 6, *shape[2:])
    assert attention.min() > 0
    assert attention.max() <= 1


def test_addition_changes_nothing():
    x, g = drawn(2, 6, 5, 7)
    assert built("addition")(x, g) is x
    assert count_parameters(Addition()) == 0


def test_concatenation_by_hand():
    x, g = drawn(2, 6, 3, 5)
    gate = built("concatenation")
    weight, bias = gate.mix.weight[:, :, 0, 0], gate.mix.bias
    expected = torch.einsum("oc,bchw->bohw", weight[:, :6], x) + torch.einsum("oc,bchw->bohw", weight[:, 6:], g)
    torch.testing.assert_close(gate(x, g), expected + bias[:, None, None])


def normed(norm, values):
    """Batch norm in evaluation mode on channels that come last."""
    scaled = (values - norm.running_mean) / (norm.running_var + norm.eps) ** 0.5
    return scaled * norm.weight + norm.bias


def test_attention_gate_pixel_by_pixel():
    x, g = drawn(2, 6, 4, 3)
    gate = built("attention")
    (theta, theta_norm), (phi, phi_norm), (psi, psi_norm) = gate.theta_x, gate.phi_g, gate.psi
    assert theta.out_channels == 3
    y = gate(x, g)
    for b, i, j in ((0, 0, 0), (1, 3, 2), (1, 1, 1)):
        from_x = normed(theta_norm, theta.weight[:, :, 0, 0] @ x[b, :, i, j] + theta.bias)
        from_g = normed(phi_norm, phi.weight[:, :, 0, 0] @ g[b, :, i, j] + phi.bias)
        logit = normed(psi_norm, psi.weight[:, :, 0, 0] @ (from_x + from_g).clamp(min=0) + psi.bias)
        torch.testing.assert_close(y[b, :, i, j], x[b, :, i, j] / (1 + torch.exp(-logit)))


def test_attention_gate_is_monais_block():
    x, g = drawn(2, 6, 4, 3)
    ours = built("attention")
    theirs = AttentionBlock(spatial_dims=2, f_int=3, f_g=6, f_l=6).double().eval()
    ours_state = list(ours.state_dict().values())
    entries = len(ours.theta_x.state_dict())
    keys = [key for part in ("W_x", "W_g", "psi") for key in theirs.state_dict() if key.startswith(f"{part}.")]
    assert entries * 3 == len(keys) == len(ours_state)
    theirs.load_state_dict(dict(zip(keys, ours_state, strict=True)))
    torch.testing.assert_close(ours(x, g), theirs(g, x))


@pytest.mark.parametrize("name", CONTROLS)
def test_constant_and_random_maps_see_no_content(name):
    gate = built(name)
    first, second = attention_map(gate, *drawn(2, 6, 5, 7)), attention_map(gate, *drawn(2, 6, 5, 7, seed=2))
    assert first is not None
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    torch.testing.assert_close(first[0], first[1], rtol=0, atol=0)
    x, g = drawn(2, 6, 5, 7)
    torch.testing.assert_close(gate(x, g), gate(x, g * 3 - 1), rtol=0, atol=0)


def test_a_constant_map_has_no_place_and_a_random_one_has():
    x, g = drawn(2, 6, 5, 7)
    constant, random = attention_map(built("constant"), x, g), attention_map(built("random"), x, g)
    assert constant is not None
    assert random is not None
    assert constant.std(dim=(-2, -1)).max() < 1e-12
    assert random.std() > 0.1
    assert not list(dict(built("random").named_buffers()).keys() - {f"project_norm.{key}" for key in (
        "running_mean", "running_var", "num_batches_tracked")})  # fmt: skip


def test_the_random_map_is_one_picture_at_every_size():
    gate = built("random")
    large, small = (attention_map(gate, *drawn(1, 6, size, size)) for size in (32, 16))
    assert large is not None
    assert small is not None
    pooled = torch.nn.functional.avg_pool2d(large, 2)
    assert (pooled - small).abs().max() < 0.05


def test_shuffling_keeps_the_values_and_moves_them():
    x, g = drawn(3, 6, 5, 7)
    gate = built("shuffled")
    own, shuffled = attention_map(gate.masag, x, g), attention_map(gate, x, g)
    assert own is not None
    assert shuffled is not None
    flat, moved = own.flatten(2), shuffled.flatten(2)
    torch.testing.assert_close(moved.sort(dim=-1).values, flat.sort(dim=-1).values)
    assert ((flat - moved).abs() > 1e-6).float().mean() > 0.8
    # One permutation for all images and channels: a pixel's channels stay together.
    columns = {tuple(column.tolist()) for column in flat.transpose(1, 2).flatten(0, 1)}
    assert columns == {tuple(column.tolist()) for column in moved.transpose(1, 2).flatten(0, 1)}


def test_controls_differ_from_masag_in_the_map_only():
    """Each control is MASAG's last step with another map."""
    x, g = drawn(2, 6, 5, 7)
    masag = built("masag")
    trace = masag.trace(x, g)
    torch.testing.assert_close(attention_map(masag, x, g), trace.attention)
    shuffled = build_gate("shuffled", 6, "depthwise").double().eval()
    shuffled.masag.load_state_dict(masag.state_dict())
    for gate in (shuffled, built("constant"), built("random")):
        attention = attention_map(gate, x, g)
        last = getattr(gate, "masag", gate)
        last = getattr(last, "recalibration", last)
        weighed = torch.einsum("oc,bchw->bohw", last.project.weight[:, :, 0, 0], attention * x)
        weighed = weighed + last.project.bias[:, None, None]
        expected = normed(last.project_norm, weighed.movedim(1, -1)).movedim(-1, 1)
        torch.testing.assert_close(gate(x, g), expected)


@pytest.mark.parametrize("name", NAMES)
def test_drawing_of_a_control_leaves_other_randomness_alone(name):
    gate, (x, g) = built(name), drawn(2, 6, 5, 7)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with torch.no_grad():
        first = gate(x, g)
        torch.testing.assert_close(gate(x, g), first, rtol=0, atol=0)
    torch.testing.assert_close(torch.rand(3), expected)


def network_with(name, **overrides):
    base = NetworkConfig.from_preset("tiny", image_size=64, **overrides)
    levels = tuple(level if level.gate == "none" else replace(level, gate=name) for level in base.levels)
    return replace(base, levels=levels)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_trains_through_every_gate_and_repeats_itself(name):
    config = network_with(name)
    assert NetworkConfig.from_dict(config.to_dict()) == config
    runs = []
    for _ in range(2):
        torch.manual_seed(3)
        network = MSA2Net(config)
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
        network(torch.randn(2, 1, 64, 64)).square().mean().backward()
        gates = [level.gate for level in network.decoder.levels[:3]]
        for gate in gates:
            assert all(p.grad is not None for p in gate.parameters())
        assert [p for p in network.parameters() if p.grad is None] == []
        optimizer.step()
        runs.append(network.state_dict())
    for key, value in runs[0].items():
        torch.testing.assert_close(value, runs[1][key], rtol=0, atol=0)


def test_at_one_seed_all_gates_start_from_the_same_encoder():
    encoders = []
    for name in ("addition", "masag"):
        torch.manual_seed(3)
        encoders.append(MSA2Net(network_with(name)).encoder.state_dict())
    for key, value in encoders[0].items():
        torch.testing.assert_close(value, encoders[1][key], rtol=0, atol=0)


def test_every_gate_builds_without_memory_and_runs_there():
    with torch.device("meta"):
        for name in NAMES:
            gate = build_gate(name, 6, "depthwise")
            assert gate(torch.empty(2, 6, 5, 7), torch.empty(2, 6, 5, 7)).shape == (2, 6, 5, 7)


@pytest.mark.parametrize("level", range(3))
def test_the_shipped_networks_gates_are_masags_still(level):
    assert isinstance(load_network(SHIPPED_TINY).decoder.levels[level].gate, MASAG)


def test_an_unknown_gate_is_named():
    with pytest.raises(InputError, match="gate='masagg' is unknown: use one of 'masag', 'addition', 'concatenation'"):
        LevelConfig("lka", "masagg")  # pyright: ignore[reportArgumentType]


def test_inner_channels_are_half_and_never_none():
    assert AttentionGate(1).theta_x[0].out_channels == 1
    assert AttentionGate(8).theta_x[0].out_channels == 4
