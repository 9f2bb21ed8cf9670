"""Spectra of trained networks, compared layer by layer and seed by seed, and what may be said of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from einops import rearrange
from torch import nn

from msa2net_lib.analysis.frequency import Along, Spectrum, layer_spectra
from msa2net_lib.analysis.layers import LAST, LOGITS, feature_maps, is_encoder
from msa2net_lib.config import PRESETS, NetworkConfig
from msa2net_lib.data.datasets import PreparedDataset
from msa2net_lib.data.resize import normalize, resize_image
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.intervals import excludes_zero, paired_interval
from msa2net_lib.nn.gates import GATES
from msa2net_lib.nn.network import MSA2Net
from msa2net_lib.viz.plots import busiest_slices

if TYPE_CHECKING:
    from numpy.typing import NDArray

WITH, WITHOUT, CONSTANT = "masag", "addition", "constant"
"""Figure A's two networks: MASAG, and what Table 3's rows leave when it is out; and a gate whose map is constant."""
FREQUENCY_GATES = (WITH, *(gate.name for gate in GATES.values() if gate.dims == 2 and gate.name != WITH), "none")
"""MASAG, the other gates on maps, and "none": the skips left out, a network that no row of a table has."""
ALONG: Along = "diagonal"
"""The curve that is stored of a run: that of the literature."""
PRESET, UNTRAINED, FULL_SIZE = "preset {}", "{}, not trained", "{}, full size, not trained"
"""Names of variants: decoders of the full-size presets on the base's encoder, networks as they start, and both."""
MEASURES = {"high_band": "relative to the mean", "high_over_low": "high over low, the mean left out"}
"""Numbers of a curve, see `msa2net_lib.analysis.frequency`, and what to call them."""
HIGHER, LOWER, NOISE, UNDEFINED = "higher", "lower", "within noise", "not defined"
BATCH = 8


def frequency_variants(
    base: NetworkConfig,
    gates: Sequence[str] = FREQUENCY_GATES,
    presets: Sequence[str] = ("published", "released"),
) -> dict[str, NetworkConfig]:
    """One network per gate by the gate's name, then the base's encoder with the decoder of each full-size preset.

    The decoder of preset "paper" is that of the gate "masag", so it need not be there twice.
    """
    encoder = {name: getattr(base, name) for name in ("encoder", "encoder_options", "image_size", "num_classes")}
    variants: dict[str, NetworkConfig] = {gate: base.with_gate(gate) for gate in gates}
    return variants | {PRESET.format(name): replace(PRESETS[name], **encoder) for name in presets}


def study_slices(dataset: PreparedDataset, per_case: int, size: tuple[int, int]) -> NDArray[np.float32]:
    """Slices rich in organs of every held-out case, (n, h, w) in about [0, 1] at a network's input size."""
    found = []
    for name in dataset.test_cases:
        case = dataset.load_case(name)
        found += [resize_image(case.image[z], size) for z in busiest_slices(case.label, per_case)]
    return np.stack(found)


def network_maps(network: MSA2Net, images: NDArray[np.float32]) -> dict[str, torch.Tensor]:
    """`feature_maps` on slices (n, h, w) in [0, 1] at the network's input size, run where the network is.

    The maps are on the CPU: spectra are taken in float64, which not every device has.
    """
    pixels = rearrange(torch.from_numpy(normalize(images)), "n h w -> n 1 h w")
    maps = feature_maps(network, pixels.to(next(network.parameters()).device))
    return {layer: values.cpu() for layer, values in maps.items()}


def network_spectra(network: MSA2Net, images: NDArray[np.float32], along: Along = ALONG) -> dict[str, Spectrum]:
    """The spectrum of every layer on slices (n, h, w) in [0, 1]: layer -> `Spectrum` with a curve per slice."""
    parts = [
        layer_spectra(network_maps(network, images[start : start + BATCH]), along)
        for start in range(0, len(images), BATCH)
    ]
    return {
        layer: replace(first, curves=np.concatenate([part[layer].curves for part in parts]))
        for layer, first in parts[0].items()
    }


def compact(spectra: Mapping[str, Spectrum]) -> dict[str, dict[str, Any]]:
    """Spectra along `ALONG` as plain values of three decimals: means and standard deviations over slices, nan as None.

    The frequencies are not in it: they follow from the grid, see `msa2net_lib.analysis.frequency.frequencies`.
    """
    return {
        layer: {
            "grid": list(spectrum.grid),
            "mean": _rounded(spectrum.curves.mean(axis=0)),
            "slices_sd": _rounded(_spread(spectrum.curves)),
            **{name: _rounded(values.mean()) for name, values in spectrum.measures.items()},
            **{f"{name}_slices_sd": _rounded(_spread(values)) for name, values in spectrum.measures.items()},
        }
        for layer, spectrum in spectra.items()
    }


def shared_layers(runs: pd.DataFrame, *variants: str) -> list[str]:
    """Layers that every named variant has, in the order of the first. Raises: `InputError`, a variant without runs."""
    layers: list[list[str]] = [list(rows.layers.iloc[0]) for rows in (_runs_of(runs, name) for name in variants)]
    return [layer for layer in layers[0] if all(layer in others for others in layers[1:])]


def layer_values(runs: pd.DataFrame, variant: str, layer: str, measure: str) -> pd.Series:
    """A measure of one layer, one value per seed; runs: rows with variant, seed and ``layers`` as from `compact`."""
    rows = _runs_of(runs, variant)
    return pd.Series([row[layer][measure] for row in rows.layers], index=rows.seed, dtype=float)


def contrast(runs: pd.DataFrame, first: str, second: str, measure: str, layers: Sequence[str] = ()) -> pd.DataFrame:
    """First minus second variant, layer by layer, differences taken seed by seed.

    measure: a key of `MEASURES`. layers: if none is named all that both have. Columns: the two variants' means over
    seeds, ``difference``, its 95 % interval ``low`` to ``high`` (paired t), ``seeds`` and ``verdict``: `HIGHER` or
    `LOWER` if the interval leaves out zero, `NOISE` if not or with one seed, `UNDEFINED` on a grid that has no such
    number. Raises: `InputError` without seeds in common.
    """
    rows = {}
    for layer in layers or shared_layers(runs, first, second):
        pair = pd.concat([layer_values(runs, name, layer, measure) for name in (first, second)], axis=1, join="inner")
        if not len(pair):
            raise InputError(f"{first} and {second} have no seed in common: train both with the same seeds")
        one, other = pair.iloc[:, 0], pair.iloc[:, 1]
        difference, low, high = paired_interval(one, other)
        rows[layer] = {
            first: one.mean(),
            second: other.mean(),
            "difference": difference,
            "low": low,
            "high": high,
            "seeds": len(pair),
            "verdict": _verdict(difference, low, high),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _verdict(difference: float, low: float, high: float) -> str:
    if np.isnan(difference):
        return UNDEFINED
    if not excludes_zero(low, high):
        return NOISE
    return HIGHER if difference > 0 else LOWER


def layer_groups(layers: Sequence[str]) -> dict[str, list[str]]:
    """Layers by the words that the paper uses of them, as read here: encoder, and the decoder from coarse to fine."""
    return {
        "encoder": [name for name in layers if is_encoder(name)],
        "coarse decoder (levels 3 and 2)": [name for name in layers if name.startswith(("level 3", "level 2"))],
        "fine decoder (levels 1 and 0, logits)": [
            name for name in layers if name.startswith(("level 1", "level 0", LAST, LOGITS))
        ],
    }


def reading(table: pd.DataFrame, title: str) -> list[str]:
    """What a table of `contrast` says of "MASAG preserves high frequencies", in sentences: one per group, then one.

    title: what was compared, and by which measure.
    """
    lines = [f"{title}, {table.seeds.min()} seeds:"]
    for group, layers in layer_groups(list(table.index)).items():
        counts = table.verdict[layers].value_counts()
        told = [f"{word} in {counts[word]}" for word in (HIGHER, LOWER, NOISE, UNDEFINED) if word in counts]
        lines.append(f"  {group}: {', '.join(told)} of {len(layers)} layers")
    return [*lines, f"  more high frequencies in all layers: {seen(table)}"]


def seen(table: pd.DataFrame) -> str:
    """Whether a table of `contrast` shows the first variant higher: in all layers, in some, in none, or both ways."""
    defined = table.verdict[table.verdict != UNDEFINED]
    higher, lower = int((defined == HIGHER).sum()), int((defined == LOWER).sum())
    if not len(defined):
        return "nothing to be seen: no layer has this number"
    if higher == len(defined):
        return "seen"
    if not higher:
        return "not seen in any" + (f", the opposite in {lower} of {len(defined)}" if lower else "")
    both_ways = f", the opposite in {lower}" if lower else ""
    return f"not seen in all, in {higher} of {len(defined)}{both_ways}"


def paper_verdict(table: pd.DataFrame) -> str:
    """Whether a table of `contrast`, with MASAG first, shows what the paper reads from its Figure A; in one sentence.

    Its reading is of *all* layers, so that it is seen only where every layer with a number is `HIGHER`.
    """
    defined: pd.Series = table.verdict[table.verdict != UNDEFINED]
    higher, lower, noise = (int((defined == verdict).sum()) for verdict in (HIGHER, LOWER, NOISE))
    answer = "yes" if len(defined) and higher == len(defined) else "no"
    return f"{answer}: higher in {higher} of {len(defined)} layers, lower in {lower}, within noise in {noise}"


def untrained_runs(
    variants: Mapping[str, NetworkConfig], seeds: Sequence[int], images: NDArray[np.float32], title: str = UNTRAINED
) -> list[dict[str, Any]]:
    """Rows as training runs have them, but of networks as they start, each seed's own: no step, so no score.

    images: slices (n, h, w) in [0, 1] at the networks' input size. title: name of a row's variant, around the given.
    """
    rows = []
    for seed in seeds:
        for name, config in variants.items():
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                network = MSA2Net(replace(config, pretrained=False))
            rows.append(
                {"variant": title.format(name), "seed": seed, "layers": compact(network_spectra(network, images))}
            )
    return rows


@contextmanager
def disturbed(network: MSA2Net, kind: str, strength: float, seed: int = 0) -> Iterator[MSA2Net]:
    """A network whose gates' outputs carry a disturbance while the context lasts; no weight changes.

    kind: "noise" (white, new for every pass, from ``seed``) or "checkerboard", of the other sign in every second
    channel: one alike in all channels would be taken out by the layer norm that follows. strength: its standard
    deviation as a share of the gate's own. Raises: `InputError` for another kind.
    """
    if kind not in ("noise", "checkerboard"):
        raise InputError(f"kind={kind!r} is unknown: use 'noise' or 'checkerboard'")
    generator = torch.Generator().manual_seed(seed)

    def add(_: nn.Module, __: Any, y: torch.Tensor) -> torch.Tensor:
        if kind == "noise":
            pattern = torch.randn(y.shape, generator=generator).to(y)
        else:
            channel, row, column = (torch.arange(side, device=y.device) for side in y.shape[1:])
            pattern = (1 - 2 * ((channel[:, None, None] + row[:, None] + column) % 2)).to(y)
        return y + strength * y.std() * pattern

    levels: list[Any] = list(network.decoder.levels)
    handles = [level.gate.register_forward_hook(add) for level in levels if level.gate is not None]
    try:
        yield network
    finally:
        for handle in handles:
            handle.remove()


def _runs_of(runs: pd.DataFrame, variant: str) -> pd.DataFrame:
    rows: Any = runs[runs.variant == variant]
    if not len(rows):
        raise InputError(f"variant {variant!r} has no runs: there are {', '.join(dict.fromkeys(runs.variant))}")
    return rows


def _spread(values: NDArray) -> NDArray:
    return values.std(axis=0, ddof=1) if len(values) > 1 else np.full(values.shape[1:], np.nan)


def _rounded(values: Any, decimals: int = 3) -> Any:
    """Plain rounded numbers; None for nan, which is not JSON."""
    plain = np.round(np.asarray(values, dtype=float), decimals)
    return np.where(np.isnan(plain), None, plain).tolist()  # pyright: ignore[reportCallIssue, reportArgumentType]
