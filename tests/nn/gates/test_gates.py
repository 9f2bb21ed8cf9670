"""Skip gates: each against an independent computation, the controls against what they must not see.

What all of them share is in test_registry.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.networks.nets.attentionunet import AttentionBlock

from msa2net_lib import MASAG, MSA2Net
from msa2net_lib.checkpoints import SHIPPED_TINY, load_network
from msa2net_lib.errors import InputError
from msa2net_lib.nn.gates import Addition, AttentionGate, build_gate
from msa2net_lib.nn.network import count_parameters

CONTROLS = ("constant", "random")


def built(name, channels=6, seed=0) -> Any:
    """A gate in float64 with random weights and batch-norm statistics, in evaluation mode."""
    torch.manual_seed(seed)
    gate = build_gate(name, channels, "depthwise").double()
    with torch.no_grad():
        for tensor in gate.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(0.5 + torch.rand_like(tensor))
    return gate.eval()


def drawn(*shape, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(*shape, generator=generator, dtype=torch.float64) for _ in range(2))


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


def layer(values, weight, norm=None, bias=None):
    """A 1x1 convolution and batch norm in numpy, channels last."""
    values = values @ weight[:, :, 0, 0].T + (0 if bias is None else bias)
    if norm is None:
        return values
    scale = norm["weight"] / np.sqrt(norm["running_var"] + 1e-5)
    return (values - norm["running_mean"]) * scale + norm["bias"]


def arrays(module):
    """A module's state as nested dicts of arrays: of a `Sequential`, by the number of its layer."""
    found = {}
    for key, tensor in module.state_dict().items():
        *path, last = key.split(".")
        place = found
        for part in path:
            place = place.setdefault(part, {})
        place[last] = tensor.numpy()
    return found


def test_attentional_fusion_in_numpy():
    """Equations 2 to 4 of the source, pixel by pixel for the local and once an image for the global context."""
    x, g = drawn(2, 6, 4, 3)
    gate = built("aff")
    parts, both = arrays(gate), (x + g).movedim(1, -1).numpy()

    def context(values, first, second, norms=(None, None)):
        hidden = np.maximum(layer(values, first["weight"], norms[0], first["bias"]), 0)
        assert hidden.shape[-1] == 1  # 6 // 4
        return layer(hidden, second["weight"], norms[1], second["bias"])

    part = parts["local_context"]
    local = context(both, part["0"], part["3"], (part["1"], part["4"]))
    overall = context(both.mean(axis=(1, 2)), parts["global_context"]["0"], parts["global_context"]["2"])
    share = 1 / (1 + np.exp(-local - overall[:, None, None]))
    np.testing.assert_allclose(gate.attention(x, g).detach().movedim(1, -1).numpy(), share, rtol=1e-10)
    expected = share * x.movedim(1, -1).numpy() + (1 - share) * g.movedim(1, -1).numpy()
    np.testing.assert_allclose(gate(x, g).detach().movedim(1, -1).numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize(("channels", "inner"), [(6, 32), (640, 40)])
def test_selective_kernel_in_numpy(channels, inner):
    """Section 3.1 of the source: squeeze, two rows of logits per channel, softmax between the two."""
    x, g = drawn(2, channels, 4, 3)
    gate = built("sk", channels)
    with torch.no_grad():
        gate.select.weight.sub_(1).mul_(4 / inner)  # of both signs, so that the shares differ
    parts = arrays(gate)
    first = parts["squeeze"]["0"]
    hidden = np.maximum(layer((x + g).numpy().mean(axis=(2, 3)), first["weight"], bias=first["bias"]), 0)
    assert hidden.shape == (2, inner)
    logits = np.exp(layer(hidden, parts["select"]["weight"]).reshape(2, 2, channels))
    for_x, for_g = (logits / logits.sum(axis=1, keepdims=True)).transpose(1, 0, 2)
    expected = np.einsum("bc,bchw->bchw", for_x, x) + np.einsum("bc,bchw->bchw", for_g, g)
    assert for_x.std() > 0.01
    np.testing.assert_allclose(gate(x, g).detach().numpy(), expected, rtol=1e-9, atol=1e-12)
    shown = gate.attention(x, g).detach().numpy()
    np.testing.assert_allclose(shown, np.broadcast_to(for_x[..., None, None], shown.shape), rtol=1e-10)


def test_selections_keep_between_their_inputs():
    """Both give a weighted mean of x and g, so that equal inputs come out as they went in."""
    x, g = drawn(2, 6, 4, 3)
    for name in ("aff", "sk"):
        gate = built(name)
        torch.testing.assert_close(gate(x, x), x)
        y = gate(x, g)
        assert (y >= torch.minimum(x, g) - 1e-12).all()
        assert (y <= torch.maximum(x, g) + 1e-12).all()


@pytest.mark.parametrize("name", CONTROLS)
def test_constant_and_random_maps_see_no_content(name):
    gate = built(name)
    first, second = gate.attention(*drawn(2, 6, 5, 7)), gate.attention(*drawn(2, 6, 5, 7, seed=2))
    assert first is not None
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    torch.testing.assert_close(first[0], first[1], rtol=0, atol=0)
    x, g = drawn(2, 6, 5, 7)
    torch.testing.assert_close(gate(x, g), gate(x, g * 3 - 1), rtol=0, atol=0)


def test_a_constant_map_has_no_place_and_a_random_one_has():
    x, g = drawn(2, 6, 5, 7)
    constant, random = built("constant").attention(x, g), built("random").attention(x, g)
    assert constant is not None
    assert random is not None
    assert constant.std(dim=(-2, -1)).max() < 1e-12
    assert random.std() > 0.1
    assert {key.split(".")[0] for key in built("random").state_dict()} == {"project", "project_norm"}


def test_the_random_map_is_one_image_at_every_size():
    gate = built("random")
    large, small = (gate.attention(*drawn(1, 6, size, size)) for size in (32, 16))
    assert large is not None
    assert small is not None
    pooled = torch.nn.functional.avg_pool2d(large, 2)
    assert (pooled - small).abs().max() < 0.05


def test_shuffling_keeps_the_values_and_moves_them():
    x, g = drawn(3, 6, 5, 7)
    gate = built("shuffled")
    own, shuffled = gate.masag.attention(x, g), gate.attention(x, g)
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
    torch.testing.assert_close(masag.attention(x, g), trace.attention)
    shuffled: Any = build_gate("shuffled", 6, "depthwise").double().eval()
    shuffled.masag.load_state_dict(masag.state_dict())
    for gate in (shuffled, built("constant"), built("random")):
        attention = gate.attention(x, g)
        last = getattr(gate, "masag", gate)
        last = getattr(last, "recalibration", last)
        weighed = torch.einsum("oc,bchw->bohw", last.project.weight[:, :, 0, 0], attention * x)
        weighed = weighed + last.project.bias[:, None, None]
        expected = normed(last.project_norm, weighed.movedim(1, -1)).movedim(-1, 1)
        torch.testing.assert_close(gate(x, g), expected)


def test_at_one_seed_all_gates_start_from_the_same_encoder():
    encoders = []
    for name in ("addition", "masag", "sk"):
        torch.manual_seed(3)
        encoders.append(MSA2Net.from_preset("tiny", gate=name, image_size=64).encoder.state_dict())
    for other in encoders[1:]:
        for key, value in encoders[0].items():
            torch.testing.assert_close(value, other[key], rtol=0, atol=0)


@pytest.mark.parametrize("level", range(3))
def test_the_shipped_networks_gates_are_masags_still(level):
    assert isinstance(load_network(SHIPPED_TINY).decoder.levels[level].gate, MASAG)


def test_an_unknown_gate_is_named():
    with pytest.raises(InputError, match="gate='masagg' is unknown: use one of addition, concatenation, attention"):
        MSA2Net.from_preset("tiny", gate="masagg")


def test_inner_channels_are_half_and_never_none():
    assert AttentionGate(1).theta_x[0].out_channels == 1
    assert AttentionGate(8).theta_x[0].out_channels == 4
