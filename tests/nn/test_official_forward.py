"""A second implementation agrees with the recorded arrays, and the library with it on full official state dicts."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from functional_reference import (
    channel_attention,
    decoder,
    decoder_level,
    dual_attention_block,
    efficient_attention,
    encoder,
    lka_block,
    masag,
    patch_expand,
    seeded_state,
)
from torch import Tensor

pytestmark = pytest.mark.slow

GRID = (12, 12)
SIZE = 96  # pixels; the deepest grid is odd, as at 224, and no weight depends on it

# In training mode alone: the recorded running statistics are those after the recorded training pass, so evaluation
# with them is not what was recorded as `out_eval`.
PARTS = {
    "published/masag": lambda state, x, g: masag(state, "", x, g, training=True),
    "published/lka_block": lambda state, x: lka_block(state, "", x),
    "published/efficient_attention": lambda state, x: efficient_attention(state, "", x),
    "published/channel_attention": lambda state, x: channel_attention(state, "", x),
    "published/dual_transformer_block": lambda state, x: dual_attention_block(state, "", x, GRID),
    "published/patch_expand_x2": lambda state, x: patch_expand(state, "", x, GRID, factor=2),
    "published/patch_expand_x4": lambda state, x: patch_expand(state, "", x, (6, 6), factor=4),
    "published/decoder_layer_dae_no_skip": lambda state, x: decoder_level(state, "", x, None, GRID, training=True),
    "published/decoder_layer_dae_with_skip": lambda state, x, s: decoder_level(state, "", x, s, GRID, training=True),
    "published/decoder_layer_lka_with_skip": lambda state, x, s: decoder_level(state, "", x, s, GRID, training=True),
    "published/decoder_layer_lka_last": lambda state, x, s: decoder_level(state, "", x, s, GRID, training=True),
    "released/decoder_layer_dae_no_skip": lambda state, x: decoder_level(state, "", x, None, GRID, training=True),
    "released/decoder_layer_dae_with_skip": lambda state, x, s: decoder_level(
        state, "", x, s, GRID, training=True, gated=False
    ),
}

RUNNING = (
    "decoder_3.layer_up.expand.weight",
    "decoder_2.x1_linear.weight",
    "decoder_1.ag_attn.proj.weight",
    "decoder_0.layer_lka_2.mlp.fc2.weight",
)
UNUSED = {
    "published": ("decoder_3.x1_linear.weight", "decoder_3.ag_attn.proj.weight"),
    "released": ("decoder_3.x1_linear.weight", "decoder_2.ag_attn.proj.weight"),
}


@dataclass(frozen=True)
class Official:
    """A full state dict of one variant, an image, and what the second implementation makes of them."""

    variant: str
    state: dict[str, Tensor]
    image: Tensor
    maps: list[Tensor]
    logits: Tensor


@pytest.fixture(scope="module", params=["published", "released"])
def official(request, official_shapes) -> Official:
    state = seeded_state(official_shapes(request.param), seed=2024)
    image = torch.randn(1, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        maps = encoder(state, image)
        logits = decoder(state, maps, request.param)[-1]
    return Official(request.param, state, image, maps, logits)


def altered(state: dict[str, Tensor], key: str) -> dict[str, Tensor]:
    """The state with one number of one entry changed."""
    value = state[key].clone()
    value.view(-1)[0] += 1
    return {**state, key: value}


@pytest.mark.parametrize("name", PARTS)
def test_parts_agree_with_the_recorded_arrays(recorded, name):
    """The second implementation computes what the released code computed."""
    arrays = recorded(name)
    with torch.no_grad():
        output = PARTS[name](arrays.parameters, *arrays.inputs)
    torch.testing.assert_close(output, arrays.outputs["train"], rtol=0, atol=1e-5)


def test_library_agrees_on_a_full_official_state_dict(official, tmp_path):
    """An official checkpoint file, loaded by the library, gives the logits that its numbers stand for."""
    from msa2net_lib import load_official_checkpoint

    path = tmp_path / f"{official.variant}.pth"
    torch.save(official.state, path)
    network = load_official_checkpoint(path, image_size=SIZE).eval()
    path.unlink()  # hundreds of megabytes, which pytest would keep

    with torch.no_grad():
        logits = network(official.image)
    assert logits.shape == (1, 9, SIZE, SIZE)
    assert logits.std((2, 3)).min() > 0.1, "every class's logits must vary for the comparison to mean something"
    torch.testing.assert_close(logits, official.logits, rtol=0, atol=1e-4)


@torch.no_grad()
def test_one_weight_of_each_level_shows_in_the_logits(official):
    """The comparison is sharp enough to notice a single wrong number, in the encoder and at every level."""
    changes = {}
    for key in RUNNING:
        logits = decoder(altered(official.state, key), official.maps, official.variant)[-1]
        changes[key] = (logits - official.logits).abs().max().item()
    key = "backbone.backbone.stages.2.blocks.4.attn_grid.mlp.fc1.weight"
    state = altered(official.state, key)
    logits = decoder(state, encoder(state, official.image), official.variant)[-1]
    changes[key] = (logits - official.logits).abs().max().item()
    assert min(changes.values()) > 1e-3, changes


@torch.no_grad()
def test_weights_that_never_run_do_not_show(official):
    """The parameters counted as unused are: changing them changes nothing."""
    for key in UNUSED[official.variant]:
        logits = decoder(altered(official.state, key), official.maps, official.variant)[-1]
        assert torch.equal(logits, official.logits), key
