"""What the code of each network does and its paper does not say, and the part of it that is measured here."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from msa2net_lib.analysis.layers import capture
from msa2net_lib.baselines.registry import build_network
from msa2net_lib.baselines.table import NETWORKS
from msa2net_lib.lessons.l17_rival_networks.study import build_empty, multiply_adds
from msa2net_lib.utils.tables import read_table

SMALL = 64
"""Pixels at which what the code does is measured: none of it depends on the size."""


@torch.no_grad()
def fusion_effect(preset: str, seed: int, size: int = SMALL) -> float:
    """Largest change of HiFormer-B's logits when every parameter of its fusion becomes noise of size 1.

    preset: "released", with the fusion evaluated as its code does, or "paper", where it acts.
    """
    torch.manual_seed(seed)
    network: Any = build_network("hiformer_b", 2, size, preset=preset, compute_discarded=True).eval()
    image = torch.rand(1, 3, size, size)
    before = network(image)
    for parameter in network.fusion.parameters():
        parameter.copy_(torch.randn_like(parameter))
    return float((network(image) - before).abs().max())


@contextmanager
def _small(name: str, seed: int, **options: Any) -> Iterator[tuple[Any, Tensor]]:
    """A small untrained network in evaluation mode, and an image for it."""
    torch.manual_seed(seed)
    with torch.no_grad():
        yield build_network(name, 2, SMALL, **options).eval(), torch.rand(1, 3, SMALL, SMALL)


def _largest(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


def _transunet(seed: int) -> str:
    with _small("transunet", seed, channels=64, depth=1) as (network, image):
        (_, coarse) = capture(lambda: network(image), {0: network.encoder.stages[0]})[0]
    return f"of {SMALL // 4} x {SMALL // 4} cells, {coarse.shape[2]} x {coarse.shape[3]} are left; at 224, 55 of 56"


def _swin_unet(seed: int) -> str:
    with _small("swin_unet", seed, channels=32, depth=1) as (network, image):
        found = capture(lambda: network(image), {0: network.encoder.patch_embed, 1: network.levels[2]})
    same = torch.equal(found[0][1].flatten(1, 2), found[1][0][1])
    return f"the finest skip is the patch embedding, bit by bit: {same}"


def _missformer(seed: int) -> str:
    return _expands_twice("missformer", seed, width=8)


def _daeformer(seed: int) -> str:
    return _expands_twice("daeformer", seed, channels=(16, 32, 64))


def _expands_twice(name: str, seed: int, **options: Any) -> str:
    with _small(name, seed, **options) as (network, image):
        before = network(image)
        for part in network.modules():
            if hasattr(part, "compute_discarded"):
                part.compute_discarded = True
        change = _largest(network(image), before)
    needed, discarded = multiply_adds(name)
    return f"{discarded / needed:.0%} more multiply-adds at 224 pixels, and logits that change by {change:g}"


def _scaleformer(seed: int) -> str:
    with _small("scaleformer", seed, width=8) as (network, image):
        attention = network.intra[0][0].attention
        ((x,), _) = capture(lambda: network(image), {0: attention})[0]
        weights = attention.attention(x, "width")
    rows, columns = weights.sum(dim=-1), weights.sum(dim=-2)
    return f"rows sum to {rows.min():.2f}, what is summed over to {columns.min():.2f} up to {columns.max():.2f}"


def _hiformer_b(seed: int) -> str:
    released, acting = (fusion_effect(preset, seed) for preset in ("released", "paper"))
    return f"noise in all of it changes the logits by {released:g}; by {acting:.2g} where it acts"


def _pvt_cascade(seed: int) -> str:
    with _small("pvt_cascade", seed, encoder="pvt_v2_b0") as (network, image):
        calls = _calls(network, image, [network.spatial_attention])
        gap = _largest(torch.stack(network.heads(image)).sum(dim=0), network(image))
    return f"called {calls[0]} times in one pass; logits minus the sum of four heads: {gap:g}"


def _dlka_2d(seed: int) -> str:
    network = build_empty("dlka_2d")
    sizes = {name: p.numel() for name, p in network.levels[:3].named_parameters()}
    offsets = sum(size for name, size in sizes.items() if ".offsets." in name)
    return f"offset convolutions hold {offsets / sum(sizes.values()):.0%} of the three levels that run"


def _unet(seed: int) -> str:
    usual, small = (sum(p.numel() for p in build_empty(name).parameters()) / 1e6 for name in ("unet", "unet_nitr"))
    return f"{usual:.1f} M parameters, and {small:.1f} M of the other 'U-Net'"


def _attunet(seed: int) -> str:
    with _small("attunet", seed, widths=(4, 8, 8)) as (network, image):
        ((x, g), _) = capture(lambda: network(image), {0: network.decoder[1].gate})[0]
    return f"the finest gate gets X {tuple(x.shape[2:])} and G {tuple(g.shape[2:])}"


def _fatnet(seed: int) -> str:
    with _small("fatnet", seed, cnn="resnet18", depth=1) as (network, image):
        calls = _calls(network, image, [*network.adapt, network.decoder[3]])
    return f"blocks ran {calls[0]}, {calls[1]} and {calls[2]} times, the fourth step {calls[3]} times"


def _uctransnet(seed: int) -> str:
    with _small("uctransnet", seed, base=8, layers=2) as (network, image):
        before = network(image)
        for layer in network.transformer.layers:
            layer.attention.width = 1
        change, size = _largest(network(image), before), float(before.abs().max())
    return f"without the division the logits, up to {size:.2g}, change by {change:.0e}"


def _dermosegdiff(seed: int) -> str:
    network: Any = build_network("dermosegdiff", 2, SMALL, dim_x=16, dim_g=8, mults_x=(1, 2), mults_g=(1, 2))
    boundary = inspect.signature(type(network).__init__).parameters["boundary"].default
    losses = []
    for weight in (boundary, 0.25):
        torch.manual_seed(seed)
        network.boundary = weight
        target = torch.zeros(1, SMALL, SMALL, dtype=torch.long)
        target[:, 20:44, 20:44] = 1
        losses.append(network(torch.rand(1, 3, SMALL, SMALL), target).item())
    return f"its weight is {boundary:g}; with 0.25 the loss of this mask is {losses[1] / losses[0] - 1:+.0%}"


def _calls(network: nn.Module, image: Tensor, parts: list[nn.Module]) -> list[int]:
    """How often each part is called in one pass."""
    counts: Counter[int] = Counter()
    hooks = [part.register_forward_hook(lambda *_, i=i: counts.update([i])) for i, part in enumerate(parts)]
    network(image)
    for hook in hooks:
        hook.remove()
    return [counts[i] for i, _ in enumerate(parts)]


_MEASURES = (
    *(_unet, _transunet, _swin_unet, _dermosegdiff, _hiformer_b, _dlka_2d, _fatnet, _attunet, _pvt_cascade),
    *(_uctransnet, _daeformer, _missformer, _scaleformer),
)
_MEASURE_OF = {measure.__name__: measure for measure in _MEASURES}
CLAIMS: dict[str, tuple[Callable[[int], str], tuple[str, str, str]]] = {
    name: (_MEASURE_OF[f"_{name}"], claims) for name, claims in read_table("rival_claims").items()
}
"""Three things that the code of each network does and its paper does not say; the first is measured by the function."""


@cache
def measured_claim(name: str, seed: int) -> str:
    """What this page finds about the first of a network's `CLAIMS`."""
    return CLAIMS[name][0](seed)


def claims_table(seed: int) -> pd.DataFrame:
    """One line a claim: network, claim, what was measured just now ("read in the code" where nothing was)."""
    rows = [
        (NETWORKS[name].title, claim, "read in the code" if number else measured_claim(name, seed))
        for name, (_, claims) in CLAIMS.items()
        for number, claim in enumerate(claims)
    ]
    return pd.DataFrame(rows, columns=["network", "its code", "measured"])
