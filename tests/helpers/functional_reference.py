"""A second implementation of the released network, to test the first: plain functions over its state dict.

Nothing here comes from ``msa2net_lib``. ``state`` maps the released code's own keys to tensors, ``prefix`` says where
in it a part begins ("decoder_1.ag_attn.", or "" for the arrays of one part). Maps are (B, C, H, W), tokens (B, N, C).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from torch import Tensor

State = Mapping[str, Tensor]
Grid = tuple[int, int]

ENCODER = "maxvit_rmlp_small_rw_224"
ENCODER_PREFIX = "backbone.backbone."
HEADS = 8


def linear(state: State, prefix: str, x: Tensor) -> Tensor:
    """A linear layer over the last axis, its bias if there is one."""
    return F.linear(x, state[f"{prefix}weight"], state.get(f"{prefix}bias"))


def conv(state: State, prefix: str, x: Tensor, dilation: int = 1) -> Tensor:
    """A convolution that keeps the grid; depthwise if the weight has one input channel and the map more."""
    weight = state[f"{prefix}weight"]
    padding = dilation * (weight.shape[-1] // 2)
    groups = x.shape[1] // weight.shape[1]
    return F.conv2d(x, weight, state[f"{prefix}bias"], padding=padding, dilation=dilation, groups=groups)


def batch_norm(state: State, prefix: str, x: Tensor, training: bool) -> Tensor:
    """By the batch's statistics in training, by the running ones otherwise; the running ones stay as they are."""
    weight, bias = state[f"{prefix}weight"], state[f"{prefix}bias"]
    if training:
        return F.batch_norm(x, None, None, weight, bias, training=True)
    return F.batch_norm(x, state[f"{prefix}running_mean"], state[f"{prefix}running_var"], weight, bias)


def layer_norm(state: State, prefix: str, x: Tensor) -> Tensor:
    """Over the last axis."""
    return F.layer_norm(x, x.shape[-1:], state[f"{prefix}weight"], state[f"{prefix}bias"])


def to_tokens(x: Tensor) -> Tensor:
    """Row-major tokens of a map."""
    return x.flatten(2).transpose(1, 2)


def to_map(tokens: Tensor, grid: Grid) -> Tensor:
    """The map of which these are the row-major tokens."""
    return tokens.transpose(1, 2).unflatten(2, grid)


def masag(state: State, prefix: str, x: Tensor, g: Tensor, training: bool) -> Tensor:
    """The multi-scale adaptive spatial attention gate: skip ``x``, decoder features ``g``."""
    multi = f"{prefix}multi."
    local = conv(state, f"{multi}local.dconv.0.", x)
    local = F.relu(batch_norm(state, f"{multi}local.dconv.1.", local, training))
    local = conv(state, f"{multi}local.dconv.3.", local, dilation=2)
    local = F.relu(batch_norm(state, f"{multi}local.dconv.4.", local, training))
    local = batch_norm(state, f"{multi}local.proj.1.", conv(state, f"{multi}local.proj.0.", local), training)
    pooled = torch.cat([g.mean(1, keepdim=True), g.amax(1, keepdim=True)], dim=1)
    context = batch_norm(state, f"{multi}global_.proj.1.", conv(state, f"{multi}global_.proj.0.", pooled), training)
    fused = batch_norm(state, f"{multi}bn.", local + context, training)

    w_x, w_g = conv(state, f"{prefix}selection.", fused).softmax(1).split(1, dim=1)
    x_chosen = w_x * x + x
    g_chosen = w_g * g + g
    mixed = (g_chosen.sigmoid() * x_chosen) * (x_chosen.sigmoid() * g_chosen)
    scale = batch_norm(state, f"{prefix}bn.", conv(state, f"{prefix}proj.", mixed), training).sigmoid()
    return batch_norm(state, f"{prefix}bn_2.", conv(state, f"{prefix}conv_block.0.", scale * x), training)


def lka_block(state: State, prefix: str, x: Tensor) -> Tensor:
    """Large-kernel attention, then a convolutional feed-forward, each normed before and scaled per channel after."""

    def scaled(name: str, branch: Tensor) -> Tensor:
        return state[f"{prefix}{name}"][:, None, None] * branch

    def normed(name: str, features: Tensor) -> Tensor:
        return layer_norm(state, f"{prefix}{name}.", features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    attn, mlp = f"{prefix}attn.", f"{prefix}mlp."
    y = normed("norm1", x)
    hidden = F.gelu(conv(state, f"{attn}proj_1.", y))
    kernel = conv(state, f"{attn}spatial_gating_unit.conv0.", hidden)
    kernel = conv(state, f"{attn}spatial_gating_unit.conv_spatial.", kernel, dilation=3)
    kernel = conv(state, f"{attn}spatial_gating_unit.conv1.", kernel)
    x = x + scaled("layer_scale_1", conv(state, f"{attn}proj_2.", hidden * kernel) + y)

    hidden = conv(state, f"{mlp}fc1.", normed("norm2", x))
    hidden = F.gelu(conv(state, f"{mlp}dwconv.dwconv.", hidden))
    return x + scaled("layer_scale_2", conv(state, f"{mlp}fc2.", hidden))


def efficient_attention(state: State, prefix: str, x: Tensor) -> Tensor:
    """Attention linear in the number of positions, one head, on a map."""
    keys = conv(state, f"{prefix}keys.", x).flatten(2).softmax(2)
    queries = conv(state, f"{prefix}queries.", x).flatten(2).softmax(1)
    values = conv(state, f"{prefix}values.", x).flatten(2)
    context = torch.einsum("bkn,bvn->bkv", keys, values)
    attended = torch.einsum("bkv,bkn->bvn", context, queries)
    return conv(state, f"{prefix}reprojection.", attended.reshape(x.shape))


def channel_attention(state: State, prefix: str, x: Tensor) -> Tensor:
    """Attention among the channels of each head, on tokens."""
    b, n, c = x.shape
    q, k, v = linear(state, f"{prefix}qkv.", x).view(b, n, 3, HEADS, c // HEADS).permute(2, 0, 3, 4, 1)
    q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
    weights = (q @ k.transpose(-2, -1) * state[f"{prefix}temperature"]).softmax(-1)
    # (B, head, channel in head, N) to tokens whose channels count head first, as the qkv layer laid them out.
    merged = (weights @ v).reshape(b, c, n).transpose(1, 2)
    return linear(state, f"{prefix}proj.", merged)


def mix_ffn(state: State, prefix: str, x: Tensor, grid: Grid) -> Tensor:
    """Feed-forward on tokens with a depthwise convolution over the grid in it."""
    hidden = to_map(linear(state, f"{prefix}fc1.", x), grid)
    hidden = F.gelu(to_tokens(conv(state, f"{prefix}dwconv.dwconv.", hidden)))
    return linear(state, f"{prefix}fc2.", hidden)


def dual_attention_block(state: State, prefix: str, x: Tensor, grid: Grid) -> Tensor:
    """Efficient attention, feed-forward, channel attention, feed-forward, on tokens."""
    normed = to_map(layer_norm(state, f"{prefix}norm1.", x), grid)
    x = x + to_tokens(efficient_attention(state, f"{prefix}attn.", normed))
    x = x + mix_ffn(state, f"{prefix}mlp1.", layer_norm(state, f"{prefix}norm2.", x), grid)
    x = x + channel_attention(state, f"{prefix}channel_attn.", layer_norm(state, f"{prefix}norm3.", x))
    return x + mix_ffn(state, f"{prefix}mlp2.", layer_norm(state, f"{prefix}norm4.", x), grid)


def patch_expand(state: State, prefix: str, tokens: Tensor, grid: Grid, factor: int) -> Tensor:
    """Tokens of a grid ``factor`` times as fine: each token becomes a square of them, channels (p1 p2 c)."""
    b, (h, w) = tokens.shape[0], grid
    pixels = linear(state, f"{prefix}expand.", tokens).view(b, h, w, factor, factor, -1)
    pixels = pixels.permute(0, 1, 3, 2, 4, 5).reshape(b, factor * h * factor * w, -1)
    return layer_norm(state, f"{prefix}norm.", pixels)


def decoder_level(
    state: State, prefix: str, tokens: Tensor, skip: Tensor | None, grid: Grid, training: bool, gated: bool = True
) -> Tensor:
    """One level: tokens (B, N, C) and the encoder's skip (B, H, W, C) or None; ``gated=False`` adds the skip as it is.

    The finest level returns logits, every other one the tokens of the next.
    """
    b, _, c = tokens.shape
    if skip is None:
        return patch_expand(state, f"{prefix}layer_up.", tokens, grid, factor=2)

    # The skip's memory, channels last, is read as if channels came first; so is that of the linear layer's tokens.
    x = skip.contiguous().view(b, c, *grid)
    g = linear(state, f"{prefix}x1_linear.", tokens).contiguous().view(b, c, *grid)
    joined = g + masag(state, f"{prefix}ag_attn.", x, g, training) if gated else g + x
    normed = layer_norm(state, f"{prefix}ag_attn_norm.", joined.permute(0, 2, 3, 1))

    if f"{prefix}tran_layer1.norm1.weight" in state:
        # What was read as a map is laid out as tokens in the ordinary way: the reading above is never undone.
        tokens = normed.reshape(b, -1, c)
        for block in ("tran_layer1.", "tran_layer2."):
            tokens = dual_attention_block(state, f"{prefix}{block}", tokens, grid)
    else:
        features = normed.permute(0, 3, 1, 2)
        for block in ("layer_lka_1.", "layer_lka_2."):
            features = lka_block(state, f"{prefix}{block}", features)
        # The map's memory, channels first, is read as tokens, which have them last.
        tokens = features.contiguous().view(b, -1, c)

    if f"{prefix}last_layer.weight" not in state:
        return patch_expand(state, f"{prefix}layer_up.", tokens, grid, factor=2)
    fine = patch_expand(state, f"{prefix}layer_up.", tokens, grid, factor=4)
    return conv(state, f"{prefix}last_layer.", to_map(fine, (4 * grid[0], 4 * grid[1])))


@cache
def _backbone(size: Grid) -> Any:
    """timm's encoder for one size of images, whose weights are whatever was loaded last."""
    return timm.create_model(ENCODER, pretrained=False, num_classes=0, img_size=size).eval()


def encoder(state: State, image: Tensor) -> list[Tensor]:
    """The backbone's four maps in evaluation mode, finest first, the deepest one through its final norm."""
    backbone = _backbone((image.shape[2], image.shape[3]))
    own = {key.removeprefix(ENCODER_PREFIX): value for key, value in state.items() if key.startswith(ENCODER_PREFIX)}
    backbone.load_state_dict(own, strict=True)
    x = backbone.stem(image.expand(-1, 3, -1, -1))
    maps = []
    for stage in backbone.stages:
        x = stage(x)
        maps.append(x)
    maps[-1] = backbone.norm(x)
    return maps


def decoder(state: State, maps: list[Tensor], variant: str) -> list[Tensor]:
    """What each of the four levels returns in evaluation mode, deepest first; the last entry is the logits."""
    if variant not in ("published", "released"):
        raise ValueError(f"variant {variant!r}")
    outputs = []
    tokens = to_tokens(maps[3])
    for level in (3, 2, 1, 0):
        skip = None if level == 3 else maps[level].permute(0, 2, 3, 1)
        gated = not (variant == "released" and level == 2)
        grid = (maps[level].shape[2], maps[level].shape[3])
        tokens = decoder_level(state, f"decoder_{level}.", tokens, skip, grid, training=False, gated=gated)
        outputs.append(tokens)
    return outputs


def network(state: State, image: Tensor, variant: str) -> Tensor:
    """Logits of the full network in evaluation mode, for images of one or three channels."""
    return decoder(state, encoder(state, image), variant)[-1]


def seeded_state(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, Tensor]:
    """A full state dict by rule: the same for the same shapes and seed, and activations stay of order one under it."""
    generator = torch.Generator().manual_seed(seed)

    def normal(shape: tuple[int, ...], std: float) -> Tensor:
        return torch.randn(shape, generator=generator).mul_(std)

    def uniform(shape: tuple[int, ...], low: float, high: float) -> Tensor:
        return torch.rand(shape, generator=generator).mul_(high - low).add_(low)

    state = {}
    for key, shape in shapes.items():
        name = key.rpartition(".")[2]
        if name == "num_batches_tracked":
            state[key] = torch.tensor(1000, dtype=torch.int64)
        elif name == "running_var":
            state[key] = uniform(shape, 0.5, 1.5)
        elif name == "temperature":
            state[key] = uniform(shape, 1.0, 3.0)
        elif name == "gamma" or name.startswith("layer_scale"):
            state[key] = uniform(shape, 0.1, 0.3)
        elif name == "weight" and len(shape) > 1:
            state[key] = normal(shape, 1 / math.sqrt(math.prod(shape[1:])))
        elif name == "weight":
            state[key] = normal(shape, 0.1).add_(1)
        elif name in ("bias", "running_mean"):
            state[key] = normal(shape, 0.1)
        else:
            raise ValueError(f"no rule for {key}")
    return state


def places(channels: int, height: int, width: int) -> np.ndarray:
    """Every place of a map as one number: channel * pixels + pixel."""
    return np.arange(channels * height * width).reshape(channels, height, width)


def with_numpy(values: np.ndarray, step: str) -> np.ndarray:
    """One of the three reinterpretations of a map's memory (c, h, w), on numpy arrays."""
    c, h, w = values.shape
    if step == "after LKA":
        return np.ascontiguousarray(values).reshape(h, w, c).transpose(2, 0, 1)
    return np.ascontiguousarray(values.transpose(1, 2, 0)).reshape(c, h, w)
