"""Inner tensors of the decoder's blocks, as a slice under study went through them, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from msa2net_lib.analysis.slice_study import Study
from msa2net_lib.data.resize import normalize
from msa2net_lib.errors import InputError
from msa2net_lib.nn.decoder import DecoderLevel
from msa2net_lib.nn.dual_attention import DualAttentionBlock
from msa2net_lib.nn.lka import LKABlock

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class LKATrace:
    """What one large-kernel attention block did; feature maps (1, c, h, w), in order of computation.

    block_input: what enters the block. x: what enters the attention. local: after 5x5. wide: after 7x7 dilated by 3.
    attention: the map after 1x1. product: attention times x. block_output: what leaves the block.
    """

    block: LKABlock
    block_input: Tensor
    x: Tensor
    local: Tensor
    wide: Tensor
    attention: Tensor
    product: Tensor
    block_output: Tensor


@dataclass(frozen=True, eq=False)
class DualTrace:
    """What one dual-attention block did on a ``grid`` (h, w) with n = h * w positions.

    queries, keys, values: (1, c, n), before any softmax. attended: (1, c, n), efficient attention before its last
    convolution. channel_attention: (1, heads, c/heads, c/heads), rows sum to one. temperature: (heads,).
    """

    block: DualAttentionBlock
    grid: tuple[int, int]
    queries: Tensor
    keys: Tensor
    values: Tensor
    attended: Tensor
    channel_attention: Tensor
    temperature: Tensor


def capture(run: Callable[[], Any], modules: Mapping[str, nn.Module]) -> dict[str, tuple[Tensor, Tensor]]:
    """Call ``run`` and note first input and output of each module by its name; hooks go whatever happens.

    Raises: `InputError` for a module that did not run.
    """
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def note(name: str, _: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen[name] = inputs[0].detach(), output.detach()

    hooks = [module.register_forward_hook(partial(note, name)) for name, module in modules.items()]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    if unused := [name for name in modules if name not in seen]:
        raise InputError(f"{', '.join(unused)} did not run: only modules that the forward pass calls can be captured")
    return seen


def trace_blocks(study: Study, index: int = 0) -> dict[int, LKATrace | DualTrace]:
    """Run a study's slice again and trace block ``index`` (0 or 1) of every decoder level that has blocks."""
    chosen: dict[int, nn.Module] = {}
    for number, level in enumerate(study.network.decoder.levels):
        assert isinstance(level, DecoderLevel)
        if len(level.blocks) and "blocks" not in level.config.unused:
            chosen[number] = level.blocks[index]
    modules = {f"{number}/{name}": one for number, block in chosen.items() for name, one in _inner(block).items()}
    device = next(study.network.parameters()).device
    pixels = torch.from_numpy(normalize(study.image))[None, None].to(device)
    with torch.no_grad():
        seen = capture(lambda: study.network.eval()(pixels), modules)
    return {number: _trace(block, partial(_of, seen, number)) for number, block in chosen.items()}


def _of(seen: Mapping[str, tuple[Tensor, Tensor]], number: int, name: str) -> tuple[Tensor, Tensor]:
    return seen[f"{number}/{name}"]


def _inner(block: nn.Module) -> dict[str, nn.Module]:
    if isinstance(block, LKABlock):
        attention = block.attention.attention
        parts = {name: getattr(attention, name) for name in ("depthwise", "dilated", "pointwise")}
        return {"block": block, "attention": attention, **parts}
    assert isinstance(block, DualAttentionBlock)
    spatial, channel = block.spatial_attention, block.channel_attention
    parts = {name: getattr(spatial, name) for name in ("queries", "keys", "values", "project")}
    return {**parts, "qkv": channel.qkv}


def _trace(block: nn.Module, get: Callable[[str], tuple[Tensor, Tensor]]) -> LKATrace | DualTrace:
    if isinstance(block, LKABlock):
        (block_input, block_output), (x, product) = get("block"), get("attention")
        local, wide, attention = (get(name)[1] for name in ("depthwise", "dilated", "pointwise"))
        return LKATrace(block, block_input, x, local, wide, attention, product, block_output)
    assert isinstance(block, DualAttentionBlock)
    height, width = get("queries")[1].shape[-2:]
    queries, keys, values = (get(name)[1].flatten(2) for name in ("queries", "keys", "values"))
    temperature = block.channel_attention.temperature.detach()
    maps = channel_attention_maps(get("qkv")[1], temperature)
    attended = get("project")[0].flatten(2)
    return DualTrace(block, (height, width), queries, keys, values, attended, maps, temperature.flatten())


def channel_attention_maps(
    qkv: Float[Tensor, "b n d"], temperature: Float[Tensor, "heads 1 1"]
) -> Float[Tensor, "b heads k k"]:
    """Attention between the channels of each head from what `ChannelAttention.qkv` gives, d = 3 * heads * k."""
    queries, keys, _ = rearrange(qkv, "b n (three heads k) -> three b heads k n", three=3, heads=len(temperature))
    queries, keys = F.normalize(queries, dim=-1), F.normalize(keys, dim=-1)
    return (queries @ keys.transpose(-2, -1) * temperature).softmax(dim=-1)


Qkv = tuple[Tensor, Tensor, Tensor]


def by_context(queries: Tensor, keys: Tensor, values: Tensor) -> Float[Tensor, "b c n"]:
    """Efficient attention, context first, as the library computes it: softmax(Q) (softmax(K)^T V). Each (b, c, n)."""
    context = torch.einsum("b k n, b v n -> b k v", keys.softmax(dim=2), values)
    return torch.einsum("b k v, b k n -> b v n", context, queries.softmax(dim=1))


def implied_attention(queries: Tensor, keys: Tensor) -> Float[Tensor, "b n n"]:
    """The n x n matrix that efficient attention never builds, softmax(Q) softmax(K)^T; rows sum to one."""
    return torch.einsum("b k n, b k m -> b n m", queries.softmax(dim=1), keys.softmax(dim=2))


def by_matrix(queries: Tensor, keys: Tensor, values: Tensor) -> Float[Tensor, "b c n"]:
    """Efficient attention by way of its n x n matrix: (softmax(Q) softmax(K)^T) V. Each (b, c, n)."""
    return torch.einsum("b n m, b v m -> b v n", implied_attention(queries, keys), values)


def standard_attention(queries: Tensor, keys: Tensor, values: Tensor) -> Float[Tensor, "b c n"]:
    """Dot-product attention of one head, softmax(Q K^T / sqrt(c)) V (Vaswani et al., 2017). Each (b, c, n)."""
    attention = torch.einsum("b k n, b k m -> b n m", queries, keys) / queries.shape[1] ** 0.5
    return torch.einsum("b n m, b v m -> b v n", attention.softmax(dim=2), values)


def count_products(attend: Callable[[Tensor, Tensor, Tensor], Tensor], channels: int, positions: int) -> int:
    """Multiply-adds of the matrix products of an attention over (1, channels, positions), by torch's counter."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        attend(*(torch.empty(1, channels, positions) for _ in range(3)))
    return counter.get_total_flops() // 2
