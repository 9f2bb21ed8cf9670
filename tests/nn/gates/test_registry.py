"""What every skip gate of the registry has to pass, whatever it computes; exports are in test_gate_export.py."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from small_run import SMALL
from torch.func import functional_call

from msa2net_lib import MASAG, MSA2Net, NetworkConfig
from msa2net_lib.checkpoints import load_network, save_network
from msa2net_lib.errors import InputError
from msa2net_lib.export.network import without_unused_parts
from msa2net_lib.nn.gates import GATES, SliceByVolume, build_gate, inflated, list_gates
from msa2net_lib.nn.gates.controls import fixed_permutation
from msa2net_lib.nn.network import count_parameters

every_gate = pytest.mark.parametrize("name", GATES)


def randomize(gate, seed=0) -> Any:
    """Fill a gate with weights and batch-norm statistics that no two channels share."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, tensor in gate.state_dict().items():
            if key.endswith("running_var"):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            elif tensor.is_floating_point():
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.4)
    return gate


def built(name, channels=6, dtype=torch.float64) -> Any:
    return randomize(build_gate(name, channels).to(dtype)).eval()


def drawn(*shape, dtype=torch.float64, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(*shape, generator=generator, dtype=dtype) for _ in range(2))


def test_every_entry_says_what_it_is():
    assert list_gates() == list(GATES)
    assert "none" not in GATES
    for name, info in GATES.items():
        assert info.name == name
        assert all(text.strip() for text in (info.title, info.source, info.equation))
    assert len({info.title for info in GATES.values()}) == len({info.source for info in GATES.values()}) == len(GATES)
    with pytest.raises(InputError, match="gate='sum' is unknown: use one of addition, concatenation"):
        build_gate("sum", 4)


@pytest.mark.parametrize("channels", [1, 3, 24])
@pytest.mark.parametrize("size", [(1, 1), (5, 7), (8, 3)])
@every_gate
def test_shapes_and_the_map(name, channels, size):
    gate, (x, g) = built(name, channels), drawn(2, channels, *size)
    with torch.no_grad():
        y, attention = gate(x, g), gate.attention(x, g)
    assert y.shape == x.shape
    assert y.isfinite().all()
    assert (attention is not None) == GATES[name].has_map
    if attention is not None:
        assert attention.shape in (x.shape, (2, 1, *size))
        assert attention.min() > 0
        assert attention.max() < 1


@pytest.mark.parametrize("channels", [1, 6])
@pytest.mark.parametrize("training", [False, True])
@every_gate
def test_gradients_reach_the_inputs_that_count(name, training, channels):
    gate = built(name, channels).train(training)
    x, g = (features.requires_grad_() for features in drawn(3, channels, 5, 7))
    weights = torch.randn_like(x)  # a plain sum has no gradient behind a batch norm
    to_x, to_g = torch.autograd.grad((gate(x, g) * weights).sum(), (x, g), allow_unused=True)
    assert to_x.abs().max() > 1e-6
    assert (to_g is not None) == GATES[name].uses_g
    if to_g is not None:
        assert to_g.abs().max() > 1e-6


@pytest.mark.parametrize("training", [False, True])
@every_gate
def test_gradients_are_finite_differences(name, training):
    gate = built(name, 3).train(training)
    x, g = (features.requires_grad_() for features in drawn(3, 3, 2, 3))
    assert torch.autograd.gradcheck(gate, (x, g))
    parameters = dict(gate.named_parameters())

    def run(*values):
        return functional_call(gate, dict(zip(parameters, values, strict=True)), (x.detach(), g.detach()))

    if parameters:
        assert torch.autograd.gradcheck(run, tuple(parameters.values()), fast_mode=True)


@every_gate
def test_autocast_stays_near_float32(name):
    """Bounds are several roundings of bfloat16, which keeps 8 bits: one is 0.4 %."""
    gate, (x, g) = built(name, 24, torch.float32), drawn(2, 24, 9, 8, dtype=torch.float32)
    y, attention = gate(x, g), gate.attention(x, g)
    with torch.autocast("cpu", torch.bfloat16):
        rounded, rounded_map = gate(x, g), gate.attention(x, g)
    assert rounded.isfinite().all()
    distance = (rounded - y).square().mean().sqrt() / y.square().mean().sqrt()
    assert distance < 0.02
    if attention is not None:
        assert (rounded_map - attention).abs().max() < 0.04
        assert rounded_map.min() >= 0
        assert rounded_map.max() <= 1
    with torch.autocast("cpu", torch.bfloat16):
        gate.train()(x.requires_grad_(), g).float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in gate.parameters())


@every_gate
def test_channels_last_is_the_same_function(name):
    gate, (x, g) = built(name), drawn(2, 6, 5, 7)
    expected, attention = gate(x, g), gate.attention(x, g)
    last: Any = {"memory_format": torch.channels_last}
    gate = gate.to(**last)
    torch.testing.assert_close(gate(x.to(**last), g.to(**last)), expected)
    if attention is not None:
        torch.testing.assert_close(gate.attention(x.to(**last), g.to(**last)), attention)


@every_gate
def test_in_evaluation_an_image_does_not_know_its_batch(name):
    gate, (x, g) = built(name), drawn(3, 6, 5, 7)
    whole = gate(x, g)
    for index in range(3):
        torch.testing.assert_close(gate(x[index : index + 1], g[index : index + 1]), whole[index : index + 1])


@every_gate
def test_state_and_copies_carry_everything(name):
    gate, (x, g) = built(name), drawn(2, 6, 5, 7)
    twin = build_gate(name, 6).double().eval()
    twin.load_state_dict(gate.state_dict())
    for other in (twin, copy.deepcopy(gate)):
        torch.testing.assert_close(other(x, g), gate(x, g), rtol=0, atol=0)
        shared = {p.data_ptr() for p in gate.parameters()} & {p.data_ptr() for p in other.parameters()}
        assert not shared


@every_gate
def test_a_batch_of_one_image_trains(name):
    """An epoch's last batch may hold one."""
    gate, (x, g) = built(name).train(), drawn(1, 6, 5, 7)
    assert gate(x, g).isfinite().all()


@every_gate
def test_no_call_draws_random_numbers(name):
    gate, (x, g) = built(name), drawn(2, 6, 5, 7)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with torch.no_grad():
        first = gate(x, g)
        torch.testing.assert_close(gate(x, g), first, rtol=0, atol=0)
    torch.testing.assert_close(torch.rand(3), expected)


@every_gate
def test_builds_without_memory_and_runs_there(name):
    with torch.device("meta"):
        assert build_gate(name, 6)(torch.empty(2, 6, 5, 7), torch.empty(2, 6, 5, 7)).shape == (2, 6, 5, 7)


@every_gate
def test_a_network_with_it_trains_and_comes_back_from_its_file(name, tmp_path):
    torch.manual_seed(3)
    network = MSA2Net.from_preset("tiny", gate=name, image_size=64, encoder_options=SMALL.encoder_options)
    assert NetworkConfig.from_dict(network.config.to_dict()) == network.config
    assert [level.gate for level in network.config.levels] == [name] * 3 + ["none"]
    network = network.to(memory_format=torch.channels_last)  # as training does
    before = copy.deepcopy(network.state_dict())
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    network(torch.randn(2, 1, 64, 64)).square().mean().backward()
    assert [key for key, p in network.named_parameters() if p.grad is None] == []
    optimizer.step()
    moved = {key for key, p in network.named_parameters() if not torch.equal(p, before[key])}
    assert {key for key, _ in network.named_parameters() if ".gate." in key} <= moved
    image = torch.randn(1, 1, 64, 64)
    read = load_network(save_network(network, tmp_path / "network.safetensors")).to(memory_format=torch.channels_last)
    with torch.no_grad():
        torch.testing.assert_close(read(image), network.eval()(image), rtol=0, atol=0)


def test_without_gates_no_skip_is_used():
    torch.manual_seed(3)
    small = {"image_size": 64, "encoder_options": SMALL.encoder_options}
    network = MSA2Net.from_preset("tiny", gate="none", **small)
    assert all(level.gate is None for level in network.decoder.levels)
    network(torch.randn(2, 1, 64, 64)).square().mean().backward()
    assert [key for key, p in network.named_parameters() if p.grad is None] == []
    plain = MSA2Net.from_preset("tiny", gate="addition", **small).eval()
    assert count_parameters(network) < count_parameters(plain)
    with torch.no_grad():
        for one, same in ((network.eval(), True), (plain, False)):
            features = one.encoder(torch.randn(1, 3, 64, 64))
            logits = one.decoder(features)
            for index in range(3):
                changed = [f + 1 if i == index else f for i, f in enumerate(features)]
                assert torch.equal(one.decoder(changed), logits) == same


@pytest.mark.parametrize("dilated", ["depthwise", "dense"])
def test_one_slice_is_seen_by_the_middle_planes_alone(dilated):
    """A 3-D gate with all its planes set, against the 2-D gate that has the middle ones."""
    gate, (x, g) = randomize(SliceByVolume(4, dilated)).double().eval(), drawn(2, 4, 6, 5)
    flat = MASAG(4, dilated).double().eval()
    planes = {k: v[:, :, v.shape[2] // 2] if v.ndim == 5 else v for k, v in gate.volume.state_dict().items()}
    flat.load_state_dict(planes)
    torch.testing.assert_close(gate(x, g), flat(x, g))
    torch.testing.assert_close(gate.attention(x, g), flat.attention(x, g))
    gate(x, g).square().sum().backward()
    kernel = gate.volume.fusion.local_context.depthwise.weight.grad
    assert kernel[:, :, [0, 2]].abs().max() == 0
    assert kernel[:, :, 1].abs().max() > 0


@pytest.mark.parametrize("dilated", ["depthwise", "dense"])
def test_an_inflated_gate_does_to_every_slice_what_the_flat_one_does(dilated):
    flat = randomize(MASAG(4, dilated)).double().eval()
    volume = inflated(flat)
    assert not volume.training
    x, g = drawn(2, 4, 3, 6, 5)
    with torch.no_grad():
        whole = volume(x, g)
        for z in range(3):
            torch.testing.assert_close(whole[:, :, z], flat(x[:, :, z], g[:, :, z]))
        volume.fusion.local_context.depthwise.weight[:, :, 0] += 0.3
        assert not torch.allclose(volume(x, g)[:, :, 1], whole[:, :, 1])


def test_inflating_keeps_dtype_and_mode():
    volume = inflated(MASAG(3).to(torch.bfloat16).train())
    assert volume.training
    assert {p.dtype for p in volume.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("count", [1, 2, 49, 3136, 65536])
def test_the_fixed_permutation_is_one_and_leaves_no_order(count):
    order = fixed_permutation(count)
    assert torch.equal(order.sort().values, torch.arange(count))
    assert torch.equal(order, fixed_permutation(count))
    if count < 49:
        return
    places = torch.arange(count, dtype=torch.float64)
    # Correlations of a random order scatter by one over the root of the count, its mean displacement is count / 3.
    for first, second in ((places, order), (order[:-1], order[1:]), (order[:-7], order[7:])):
        correlation = torch.corrcoef(torch.stack([first.double(), second.double()]))[0, 1]
        assert abs(correlation) < 3.5 / count**0.5
    displacement = (order - places).abs().mean() / count
    assert abs(displacement - 1 / 3) < 1 / count**0.5
    assert ((order[1:] - order[:-1]).abs() == 1).double().mean() < 5 / count


def volumes(depth, channels=3, size=(2, 3), dtype=torch.float64):
    return drawn(2, channels, depth, *size, dtype=dtype)


@pytest.mark.parametrize("depth", [3, 5])
@pytest.mark.parametrize("training", [False, True])
def test_in_3d_gradients_are_finite_differences(depth, training):
    """Deeper than the kernel, so that planes above and below have a say; batch norms over depth too."""
    gate = randomize(MASAG(2, dims=3).double()).train(training)
    x, g = (features.requires_grad_() for features in volumes(depth, 2))
    assert torch.autograd.gradcheck(gate, (x, g), fast_mode=depth == 5)
    parameters = dict(gate.named_parameters())

    def run(*values):
        return functional_call(gate, dict(zip(parameters, values, strict=True)), (x.detach(), g.detach()))

    assert torch.autograd.gradcheck(run, tuple(parameters.values()), fast_mode=True)


def test_in_3d_autocast_stays_near_float32():
    gate = randomize(MASAG(24, dims=3)).eval()
    x, g = volumes(4, 24, (9, 8), torch.float32)
    with torch.no_grad():
        y = gate(x, g)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = gate(x, g)
    assert rounded.isfinite().all()
    assert (rounded - y).square().mean().sqrt() / y.square().mean().sqrt() < 0.02  # as for maps


@pytest.mark.parametrize("preset", ["paper", "published", "released"])
@every_gate
def test_every_preset_takes_every_gate(name, preset):
    """On a small encoder: the gate stands where MASAG stood, and every parameter of the levels' that run trains."""
    small = {field: getattr(SMALL, field) for field in ("encoder", "encoder_options")}
    torch.manual_seed(3)
    network = MSA2Net.from_preset(preset, gate=name, image_size=64, pretrained=False, **small)
    assert {level.gate for level in network.config.levels[:3]} == {name}
    without_unused_parts(network)
    network(torch.randn(2, 1, 64, 64)).square().mean().backward()
    assert [key for key, parameter in network.named_parameters() if parameter.grad is None] == []
    kind = type(build_gate(name, 2))
    run = [isinstance(level.gate, kind) for level in network.decoder.levels[:3]]
    assert run == [True, True, preset != "released"], "released adds the skip of level 2 as it is"
