"""Which cells MaxViT links, inner tensors of the decoder's blocks, what their attention weighs, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from einops import rearrange
from timm.models.maxxvit import grid_partition, window_partition
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from msa2net_lib.analysis.layers import capture
from msa2net_lib.analysis.slice_study import Study, network_input
from msa2net_lib.errors import InputError
from msa2net_lib.nn.decoder import DecoderLevel
from msa2net_lib.nn.dual_attention import DualAttentionBlock
from msa2net_lib.nn.lka import LKABlock

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy.typing import NDArray


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


def trace_blocks(study: Study, index: int = 0) -> dict[int, LKATrace | DualTrace]:
    """Run a study's slice again and trace block ``index`` (0 or 1) of every decoder level that has blocks."""
    chosen: dict[int, nn.Module] = {}
    for number, level in enumerate(study.network.decoder.levels):
        assert isinstance(level, DecoderLevel)
        if len(level.blocks) and "blocks" not in level.config.unused:
            chosen[number] = level.blocks[index]
    modules = {(number, name): one for number, block in chosen.items() for name, one in _inner(block).items()}
    pixels = network_input(study.network, study.image[None])
    with torch.no_grad():
        seen = capture(lambda: study.network.eval()(pixels), modules)
    return {number: _trace(block, lambda name, at=number: seen[at, name]) for number, block in chosen.items()}


def _inner(block: nn.Module) -> dict[str, nn.Module]:
    if isinstance(block, LKABlock):
        attention = block.attention.attention
        parts = {name: getattr(attention, name) for name in ("depthwise", "dilated", "pointwise")}
        return {"block": block, "attention": attention, **parts}
    assert isinstance(block, DualAttentionBlock)
    spatial, channel = block.spatial_attention, block.channel_attention
    parts = {name: getattr(spatial, name) for name in ("queries", "keys", "values", "project")}
    return {**parts, "qkv": channel.qkv}


def _trace(block: nn.Module, get: Callable[[str], tuple[tuple[Tensor, ...], Tensor]]) -> LKATrace | DualTrace:
    if isinstance(block, LKABlock):
        ((block_input,), block_output), ((x,), product) = get("block"), get("attention")
        local, wide, attention = (get(name)[1] for name in ("depthwise", "dilated", "pointwise"))
        return LKATrace(block, block_input, x, local, wide, attention, product, block_output)
    assert isinstance(block, DualAttentionBlock)
    height, width = get("queries")[1].shape[-2:]
    queries, keys, values = (get(name)[1].flatten(2) for name in ("queries", "keys", "values"))
    temperature = block.channel_attention.temperature.detach()
    maps = channel_attention_maps(get("qkv")[1], temperature)
    attended = get("project")[0][0].flatten(2)
    return DualTrace(block, (height, width), queries, keys, values, attended, maps, temperature.flatten())


def channel_attention_maps(
    qkv: Float[Tensor, "b n d"], temperature: Float[Tensor, "heads 1 1"]
) -> Float[Tensor, "b heads k k"]:
    """Attention between the channels of each head from what `ChannelAttention.qkv` gives, d = 3 * heads * k."""
    queries, keys, _ = rearrange(qkv, "b n (three heads k) -> three b heads k n", three=3, heads=len(temperature))
    queries, keys = F.normalize(queries, dim=-1), F.normalize(keys, dim=-1)
    return (queries @ keys.transpose(-2, -1) * temperature).softmax(dim=-1)


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


def busiest_channel(trace: LKATrace) -> int:
    """The channel whose attention map varies most over the slice."""
    return int(trace.attention[0].var(dim=(1, 2)).argmax())


def attention_row(trace: DualTrace, pixel: tuple[int, int]) -> NDArray[np.float32]:
    """Weights (h, w) that a cell (row, column) gives to all others in efficient attention; they sum to one."""
    row = implied_attention(trace.queries, trace.keys)[0, pixel[0] * trace.grid[1] + pixel[1]]
    return rearrange(row, "(h w) -> h w", h=trace.grid[0]).cpu().numpy()


def mean_row(trace: DualTrace) -> NDArray[np.float32]:
    """The mean over all cells of `attention_row`, (h, w): what any cell would get if its query did not matter."""
    rows = implied_attention(trace.queries, trace.keys)[0].mean(dim=0)
    return rearrange(rows, "(h w) -> h w", h=trace.grid[0]).cpu().numpy()


def count_attention(channels: int, positions: Sequence[int]) -> pd.DataFrame:
    """Multiply-adds of one attention with this many channels; index positions, columns standard and efficient."""
    counts = {
        n: [count_products(attend, channels, n) for attend in (standard_attention, by_context)] for n in positions
    }
    return pd.DataFrame.from_dict(counts, orient="index", columns=["standard", "efficient"])


def slopes(table: pd.DataFrame) -> pd.Series:
    """Slope of each column of `count_attention` on doubly logarithmic axes: the power of n with which it grows."""
    logarithm = np.log(table.index.to_numpy(dtype=float))
    return pd.Series({name: np.polyfit(logarithm, np.log(table[name]), 1)[0] for name in table.columns})


def sharpest_weight(temperature: float, channels: int) -> float:
    """The largest weight that a softmax over ``channels`` cosines times a temperature can give to one of them."""
    high, low = np.exp([temperature, -temperature])
    return float(high / (high + (channels - 1) * low))


PARTITIONS = {"window": window_partition, "grid": grid_partition}
"""How MaxViT groups cells, by timm's own functions: neighbors, or cells a fixed step apart."""


def partners(kind: str, shape: tuple[int, int], size: tuple[int, int], cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Cells (h, w) that exchange something with any of some ``cells`` (h, w) in one attention of MaxViT.

    kind: of `PARTITIONS`. shape: of the map. size: cells of a group, down and across. Raises: `InputError`.
    """
    if kind not in PARTITIONS:
        raise InputError(f"kind={kind!r} is unknown: use {' or '.join(PARTITIONS)}")
    places = torch.arange(shape[0] * shape[1]).view(1, *shape, 1)
    groups = PARTITIONS[kind](places, list(size)).flatten(1).numpy()  # one row of places for each group
    seen = groups[cells.ravel()[groups].any(axis=1)]
    found = np.zeros(shape[0] * shape[1], dtype=bool)
    found[seen] = True
    return found.reshape(shape)


def reach(shape: tuple[int, int], size: tuple[int, int], cell: tuple[int, int]) -> dict[str, NDArray[np.bool_]]:
    """Cells that one cell hears from: by "window" attention, by "grid" attention, and by "both", window first."""
    alone = np.zeros(shape, dtype=bool)
    alone[cell] = True
    window = partners("window", shape, size, alone)
    grid = partners("grid", shape, size, alone)
    return {"window": window, "grid": grid, "both": partners("window", shape, size, grid)}
