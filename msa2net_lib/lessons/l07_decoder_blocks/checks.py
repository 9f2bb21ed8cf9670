"""Exercises of the lesson on decoder blocks: large-kernel attention and efficient attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from msa2net_lib.lessons.exercise import Check, random_tensor
from msa2net_lib.nn.dual_attention import EfficientAttention
from msa2net_lib.nn.lka import LargeKernelAttention


def _draw_lka(rng: np.random.Generator) -> tuple[Any, ...]:
    batch, channels = (int(n) for n in rng.integers([2, 2], [4, 5]))
    height, width = int(rng.integers(9, 15)), int(rng.integers(16, 22))
    x, pointwise = random_tensor(rng, batch, channels, height, width), random_tensor(rng, channels, channels, 1, 1)
    return x, random_tensor(rng, channels, 1, 5, 5), random_tensor(rng, channels, 1, 7, 7), pointwise


def _library_lka(x: Tensor, depthwise: Tensor, dilated: Tensor, pointwise: Tensor) -> Tensor:
    """`LargeKernelAttention` with these weights and no bias."""
    layer = LargeKernelAttention(x.shape[1]).double()
    weights = {"depthwise": depthwise, "dilated": dilated, "pointwise": pointwise}
    biases = {f"{name}.bias": torch.zeros(x.shape[1]) for name in weights}
    layer.load_state_dict({f"{name}.weight": weight for name, weight in weights.items()} | biases)
    return layer(x)


def _local(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(x, weight, padding=2, groups=x.shape[1])


def _wide(x: Tensor, weight: Tensor, padding: int = 9, dilation: int = 3) -> Tensor:
    return F.conv2d(x, weight, padding=padding, dilation=dilation, groups=x.shape[1])


def _shifted(x: Tensor, weight: Tensor) -> Tensor:
    return _wide(F.pad(x, (0, 18, 0, 18)), weight, padding=0)


def _stretched(x: Tensor, weight: Tensor) -> Tensor:
    """Padded by 3 only, which loses 6 cells on each side of a large enough map, and stretched back."""
    return F.interpolate(_wide(F.pad(x, (3, 3, 3, 3)), weight, padding=3), x.shape[-2:])


def _dense(x: Tensor, weight: Tensor, padding: int, dilation: int = 1) -> Tensor:
    channels = x.shape[1]
    return F.conv2d(x, weight.expand(channels, channels, *weight.shape[2:]), padding=padding, dilation=dilation)


def _map(x: Tensor, d: Tensor, w: Tensor, p: Tensor) -> Tensor:
    """The map as it should be."""
    return F.conv2d(_wide(_local(x, d), w), p)


def _seeing(see: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """The attention with something else in place of its two depthwise convolutions."""
    return lambda x, d, w, p: x * F.conv2d(see(x, d, w), p)


large_kernel_attention = Check(
    "large_kernel_attention",
    _library_lka,
    _draw_lka,
    {
        "the product is missing: the map multiplies x": _map,
        "the map is added to x: it must multiply it": lambda x, d, w, p: x + _map(x, d, w, p),
        "the 7x7 has no dilation: its taps lie 3 cells apart": _seeing(
            lambda x, d, w: _wide(_local(x, d), w, padding=3, dilation=1)
        ),
        "the padding is on one side: 9 zeros belong on each, or the map is shifted": _seeing(
            lambda x, d, w: _shifted(_local(x, d), w)
        ),
        "the padding is too small and the map stretched to fit: pad by 9, dilation times 3": _seeing(
            lambda x, d, w: _stretched(_local(x, d), w)
        ),
        "the 7x7 runs before the 5x5: at the border, where zeros come in, that differs": _seeing(
            lambda x, d, w: _local(_wide(x, w), d)
        ),
        "the two convolutions run side by side: the 7x7 takes what the 5x5 gives": _seeing(
            lambda x, d, w: _local(x, d) + _wide(x, w)
        ),
        "the 5x5 is missing": _seeing(lambda x, d, w: _wide(x, w)),
        "the dilated 7x7 is missing": _seeing(lambda x, d, w: _local(x, d)),
        "the 1x1 is missing: so far no channel has seen another": lambda x, d, w, p: x * _wide(_local(x, d), w),
        "dense for depthwise: a channel's kernel sees that channel alone, use groups": _seeing(
            lambda x, d, w: _dense(_dense(x, d, padding=2), w, padding=9, dilation=3)
        ),
        "there is no sigmoid: the map may have any sign and size": lambda x, d, w, p: x * _map(x, d, w, p).sigmoid(),
    },
)


def _draw_rows(rng: np.random.Generator) -> tuple[Any, ...]:
    batch, queries, deep, wide = (int(n) for n in rng.integers([2, 3, 3, 2], [4, 7, 9, 6]))
    keys = queries + int(rng.integers(1, 4))
    return (
        random_tensor(rng, batch, queries, deep),
        random_tensor(rng, batch, keys, deep),
        random_tensor(rng, batch, keys, wide),
    )


def _products(queries: Tensor, keys: Tensor, power: float = 0.5) -> Tensor:
    return queries @ keys.mT / queries.shape[-1] ** power


self_attention = Check(
    "self_attention",
    F.scaled_dot_product_attention,
    _draw_rows,
    {
        "the softmax runs over the queries: the weights of one query over all keys sum to one": lambda q, k, v: (
            _products(q, k).softmax(1) @ v
        ),
        "the softmax runs over samples": lambda q, k, v: _products(q, k).softmax(0) @ v,
        "the products are not divided by the root of d": lambda q, k, v: _products(q, k, 0).softmax(-1) @ v,
        "divided by d: by its root": lambda q, k, v: _products(q, k, 1).softmax(-1) @ v,
        "multiplied by the root of d: divide": lambda q, k, v: _products(q, k, -0.5).softmax(-1) @ v,
        "divided after the softmax: before it": lambda q, k, v: _products(q, k, 0).softmax(-1) @ v / q.shape[-1] ** 0.5,
        "the softmax is missing": lambda q, k, v: _products(q, k) @ v,
        "a sigmoid where the softmax belongs: weights of one query sum to one": lambda q, k, v: (
            _products(q, k).sigmoid() @ v
        ),
        "those are the weights: the values are missing": lambda q, k, v: _products(q, k).softmax(-1),
        "the mean of all values, whatever the products": lambda q, k, v: v.mean(1, True).repeat(1, q.shape[1], 1),
        "each query takes its best key's value alone: all values, weighted": lambda q, k, v: (
            F.one_hot(_products(q, k).argmax(-1), k.shape[1]).double() @ v
        ),
        "queries and keys are divided by their lengths: that is cosine attention": lambda q, k, v: (
            _products(F.normalize(q, dim=-1), F.normalize(k, dim=-1)).softmax(-1) @ v
        ),
    },
)


def _draw_qkv(rng: np.random.Generator) -> tuple[Any, ...]:
    shape = [int(n) for n in rng.integers([2, 3, 8], [4, 7, 16])]
    return tuple(random_tensor(rng, *shape) for _ in range(3))


def _library_attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """`EfficientAttention` fed with all three side by side, its convolutions set to pick each out.

    Channels that are not the queries get a logit of minus infinity, so that the softmax gives them nothing.
    """
    channels = queries.shape[1]
    layer = EfficientAttention(3 * channels).double()
    pick = torch.eye(3 * channels).double()[..., None, None]
    for index, convolution in enumerate((layer.queries, layer.keys, layer.values)):
        chosen = torch.zeros_like(pick)
        chosen[:channels] = pick[index * channels : (index + 1) * channels]
        bias = torch.zeros(3 * channels)
        if convolution is layer.queries:
            bias[channels:] = -torch.inf
        convolution.load_state_dict({"weight": chosen, "bias": bias})
    layer.project.load_state_dict({"weight": pick, "bias": torch.zeros(3 * channels)})
    together = torch.cat([queries, keys, values], dim=1)[..., None]
    return layer(together)[:, :channels, :, 0]


def _attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention with queries and keys that have been through their softmax already."""
    return values @ keys.mT @ queries


def _standard(queries: Tensor, keys: Tensor, values: Tensor, scale: float = 1.0) -> Tensor:
    return values @ (scale * queries.mT @ keys).softmax(2).mT


efficient_attention = Check(
    "efficient_attention",
    _library_attention,
    _draw_qkv,
    {
        "the keys' softmax runs over channels: it runs over positions": lambda q, k, v: _attend(
            q.softmax(1), k.softmax(1), v
        ),
        "the queries' softmax runs over positions: it runs over channels": lambda q, k, v: _attend(
            q.softmax(2), k.softmax(2), v
        ),
        "the two softmaxes have changed places: queries over channels, keys over positions": lambda q, k, v: _attend(
            q.softmax(2), k.softmax(1), v
        ),
        "the queries' softmax is missing": lambda q, k, v: _attend(q, k.softmax(2), v),
        "the keys' softmax is missing": lambda q, k, v: _attend(q.softmax(1), k, v),
        "there is no softmax at all": _attend,
        "that is standard attention, softmax(QK^T)V: here each has a softmax of its own": _standard,
        "that is standard attention, scaled by sqrt(c): here each has a softmax of its own": lambda q, k, v: _standard(
            q, k, v, q.shape[1] ** -0.5
        ),
        "the context is transposed: sum over the keys' channels, not the values'": lambda q, k, v: (
            k.softmax(2) @ v.mT @ q.softmax(1)
        ),
        "keys and values have changed places": lambda q, k, v: _attend(q.softmax(1), v.softmax(2), k),
        "keys and queries have changed places": lambda q, k, v: _attend(k.softmax(1), q.softmax(2), v),
        "the softmax is on the context: it belongs on queries and keys": lambda q, k, v: (k @ v.mT).softmax(-1).mT @ q,
        "scaled by sqrt(c): the softmaxes make that unnecessary": lambda q, k, v: (
            _attend(q.softmax(1), k.softmax(2), v) / q.shape[1] ** 0.5
        ),
    },
)
