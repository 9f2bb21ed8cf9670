"""Spectra of trained networks by layer and by band, compared seed by seed, and what may be said of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from msa2net_lib.analysis.frequency import Along, Spectrum, frequencies, layer_spectra, split_bands
from msa2net_lib.analysis.layers import LAST, LOGITS, feature_maps, is_encoder
from msa2net_lib.analysis.slice_study import network_input
from msa2net_lib.config import PRESETS, NetworkConfig
from msa2net_lib.data.datasets import PreparedDataset
from msa2net_lib.data.resize import resize_image
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.intervals import detectable, each_of, excludes_zero, paired_interval, t_interval
from msa2net_lib.nn.gates import GATES
from msa2net_lib.nn.network import MSA2Net
from msa2net_lib.viz.plots import busiest_slices

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
"""What a difference may be, see `contrast`."""
BATCH = 8
BAND_EDGES = (0.5, 1.5, 3, 6, 12, 24)
"""Edges of the bands in cycles per image, the same for layers of every grid; the first band is the mean alone."""
BANDS = ("mean", *(f"{low:g} to {high:g}" for low, high in pairwise(BAND_EDGES)), f"above {BAND_EDGES[-1]:g}")
"""Names of the bands."""


class Curve(NamedTuple):
    """One line: frequency (k,) in cycles per pixel, mean (k,), and up to two standard deviations (k,) around it."""

    frequency: NDArray
    mean: NDArray
    seeds: NDArray | None = None
    slices: NDArray | None = None


def frequency_variants(base: NetworkConfig) -> dict[str, NetworkConfig]:
    """One network per gate by the gate's name, then the base's encoder with the decoders of the full-size presets.

    The decoder of preset "paper" is that of the gate "masag", so it is not there twice.
    """
    encoder = {name: getattr(base, name) for name in ("encoder", "encoder_options", "image_size", "num_classes")}
    variants: dict[str, NetworkConfig] = {gate: base.with_gate(gate) for gate in FREQUENCY_GATES}
    return variants | {PRESET.format(name): replace(PRESETS[name], **encoder) for name in ("published", "released")}


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
    return {layer: maps.cpu() for layer, maps in feature_maps(network, network_input(network, images)).items()}


def network_spectra(network: MSA2Net, images: NDArray[np.float32]) -> dict[str, Spectrum]:
    """The spectrum of every layer along `ALONG` on slices (n, h, w) in [0, 1]: layer -> a curve per slice."""
    parts = [
        layer_spectra(network_maps(network, images[start : start + BATCH]), ALONG)
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
    layers = [list(_by_seed(runs, name).iloc[0]) for name in variants]
    return [layer for layer in layers[0] if all(layer in others for others in layers[1:])]


def layer_values(runs: pd.DataFrame, variant: str, layer: str, measure: str) -> pd.Series:
    """A measure of one layer, one value per seed; runs: rows with variant, seed and ``layers`` as from `compact`."""
    return _by_seed(runs, variant, layer).map(lambda row: row[measure]).astype(float)


def spectrum_curve(spectrum: Spectrum) -> Curve:
    """The curve of one layer of one network: mean over slices, and its standard deviation over slices."""
    slices = _spread(spectrum.curves) if len(spectrum.curves) > 1 else None
    return Curve(spectrum.frequency, spectrum.curves.mean(axis=0), None, slices)


def run_curve(runs: pd.DataFrame, variant: str, layer: str) -> Curve:
    """A layer's curve over runs of a variant: mean over seeds, its sd over seeds, and the mean sd over slices.

    runs: as for `layer_values`. Raises: `InputError` for a variant without runs, and a layer that it does not have.
    """
    rows = _by_seed(runs, variant, layer)
    means, slices = (np.array([row[key] for row in rows], dtype=float) for key in ("mean", "slices_sd"))
    seeds = _spread(means) if len(rows) > 1 else None
    height, width = rows.iloc[0]["grid"]
    return Curve(frequencies(height, width, ALONG), means.mean(axis=0), seeds, slices.mean(axis=0))


def contrast(runs: pd.DataFrame, first: str, second: str, measure: str, layers: Sequence[str] = ()) -> pd.DataFrame:
    """First minus second variant, layer by layer, differences taken seed by seed.

    measure: a key of `MEASURES`. layers: if none is named all that both have. Columns: the two variants' means over
    seeds, ``difference``, its 95 % interval ``low`` to ``high`` (paired t), ``seeds``, the differences ``by_seed`` and
    ``reading``: `HIGHER` or `LOWER` if the interval leaves out zero, `NOISE` if not or with one seed, `UNDEFINED` on a
    grid that has no such number; ``at_once``: the same by intervals that hold for all layers at once (Bonferroni).
    Raises: `InputError` without seeds in common.
    """
    rows = {}
    for layer in layers or shared_layers(runs, first, second):
        pair = pd.concat([layer_values(runs, name, layer, measure) for name in (first, second)], axis=1, join="inner")
        if not len(pair):
            raise InputError(f"{first} and {second} have no seed in common: train both with the same seeds")
        one, other = pair.iloc[:, 0], pair.iloc[:, 1]
        difference, low, high = paired_interval(one, other)
        rows[layer] = {first: one.mean(), second: other.mean(), "difference": difference, "low": low, "high": high,
                       "seeds": len(pair), "reading": _reading(difference, low, high),
                       "by_seed": (one - other).tolist()}  # fmt: skip
    table = pd.DataFrame.from_dict(rows, orient="index")
    together = each_of(int(table.difference.notna().sum()))
    at_once = [(mean, *t_interval(row, together)) for mean, row in zip(table.difference, table.by_seed, strict=True)]
    return table.assign(at_once=[_reading(*one) for one in at_once])


def _reading(difference: float, low: float, high: float) -> str:
    if excludes_zero(low, high):
        return HIGHER if difference > 0 else LOWER
    return UNDEFINED if np.isnan(difference) else NOISE


def layer_mean(table: pd.DataFrame, layers: Sequence[str] = ()) -> dict[str, Any]:
    """The mean difference over layers of a table of `contrast`, all by default, seed by seed: one test of them all.

    Layers without a number are left out. Returns ``layers`` (how many), ``difference``, ``low`` to ``high`` (95 %,
    paired t), ``seeds``, ``reading``, and ``detectable``, the mean that so many seeds show in four of five studies.
    """
    chosen = (table.loc[list(layers)] if layers else table).dropna(subset="difference")
    by_seed = np.array(chosen.by_seed.tolist()).mean(axis=0) if len(chosen) else np.array([np.nan])
    mean, (low, high) = float(by_seed.mean()), t_interval(by_seed)
    words = {"reading": _reading(mean, low, high), "seeds": len(by_seed), "layers": len(chosen)}
    return {"difference": mean, "low": low, "high": high, "detectable": detectable(by_seed), **words}


def layer_groups(layers: Sequence[str]) -> dict[str, list[str]]:
    """Layers by the words that the paper uses of them, as read here: encoder, and the decoder from coarse to fine."""
    decoder = {
        "coarse decoder (levels 3 and 2)": ("level 3", "level 2"),
        "fine decoder (levels 1 and 0, logits)": ("level 1", "level 0", LAST, LOGITS),
    }
    return {"encoder": [name for name in layers if is_encoder(name)]} | {
        group: [name for name in layers if name.startswith(starts)] for group, starts in decoder.items()
    }


def sentences(table: pd.DataFrame, title: str) -> list[str]:
    """What a table of `contrast` says of "MASAG preserves high frequencies": a sentence per group, then those of all.

    title: what was compared, and by which measure.
    """
    lines = [f"{title}, {table.seeds.min()} seeds:"]
    for group, layers in layer_groups(list(table.index)).items():
        counts = table.reading[layers].value_counts()
        told = [f"{word} in {counts[word]}" for word in (HIGHER, LOWER, NOISE, UNDEFINED) if word in counts]
        lines.append(
            f"  {group}: {', '.join(told)} of {len(layers)} layers; {mean_in_words(layer_mean(table, layers))}"
        )
    return [*lines, f"  all layers: {mean_in_words(layer_mean(table))}", f"  each layer: {in_all_layers(table)}"]


def mean_in_words(mean: dict[str, Any]) -> str:
    """Say what `layer_mean` found, and if that is within noise which mean so many seeds would have shown."""
    if np.isnan(mean["difference"]):
        return "mean not defined"
    if np.isnan(mean["low"]):
        return f"mean {mean['difference']:+.2f}, one seed"
    told = f"mean {mean['difference']:+.2f} ({mean['low']:+.2f} to {mean['high']:+.2f}), {mean['reading']}"
    return told + (f" (four in five would see {mean['detectable']:.2f})" if mean["reading"] == NOISE else "")


def in_all_layers(table: pd.DataFrame) -> str:
    """Whether a table of `contrast`, with MASAG first, shows what the paper reads from its Figure A; in one sentence.

    Its reading is of *all* layers, so that it is seen only where every layer with a number is `HIGHER` at once with
    the others. The sentence says from which difference on the seeds could show that.
    """
    counts: Any = [table[key].value_counts() for key in ("reading", "at_once")]
    (alone, once), count = counts, table.difference.notna().sum()
    higher, lower = (f"{word} in {int(alone.get(word, 0))}" for word in (HIGHER, LOWER))
    together = f"all at once {HIGHER} in {int(once.get(HIGHER, 0))}, {LOWER} in {int(once.get(LOWER, 0))}"
    answer = "yes" if int(once.get(HIGHER, 0)) == count > 0 else "not shown"
    widths = [np.ptp(t_interval(row, each_of(int(count)))) / 2 for row in table.by_seed[table.difference.notna()]]
    needs = f"; {table.seeds.min()} seeds could show it of differences from about {np.median(widths):.1f} on"
    return f"{answer}: {higher} of {count} alone, {lower}; {together}" + (needs if len(widths) else "")


def show_bands(maps: torch.Tensor) -> torch.Tensor:
    """The parts of maps (b, c, h, w) in the bands of `BANDS`, (bands, b, c, h, w); they add up to the maps.

    A band that the grid cannot hold is zero.
    """
    side = max(maps.shape[-2:])
    return split_bands(maps, [edge / side for edge in BAND_EDGES])


def band_shares(maps: torch.Tensor) -> dict[str, float]:
    """Share of each band but the mean's in the energy that is not the mean's; all 0 for a constant map."""
    energy = show_bands(maps).square().sum(dim=(1, 2, 3, 4))[1:]
    shares = energy / energy.sum().clamp(min=torch.finfo(energy.dtype).tiny)
    return dict(zip(BANDS[1:], shares.tolist(), strict=True))


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


def _by_seed(runs: pd.DataFrame, variant: str, layer: str | None = None) -> pd.Series:
    """What is stored of a variant by seed: of all layers, or of one."""
    rows: Any = runs[runs.variant == variant]
    if not len(rows):
        raise InputError(f"variant {variant!r} has no runs: there are {', '.join(dict.fromkeys(runs.variant))}")
    layers = rows.set_index("seed").layers
    if layer is not None and any(layer not in row for row in layers):
        raise InputError(f"no run of {variant!r} has a layer {layer!r}: use one of {', '.join(layers.iloc[0])}")
    return layers if layer is None else layers.map(lambda row: row[layer])


def _spread(values: NDArray) -> NDArray:
    return values.std(axis=0, ddof=1) if len(values) > 1 else np.full(values.shape[1:], np.nan)


def _rounded(values: Any, decimals: int = 3) -> Any:
    """Plain rounded numbers; None for nan, which is not JSON."""
    plain = np.round(np.asarray(values, dtype=float), decimals)
    return np.where(np.isnan(plain), None, plain).tolist()  # pyright: ignore[reportCallIssue, reportArgumentType]
