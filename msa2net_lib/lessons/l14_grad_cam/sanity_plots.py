"""Charts of the sanity checks of heat maps, and the sentences that are computed from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from msa2net_lib.lessons.l14_grad_cam.grad_cam_study import LAYERS
from msa2net_lib.lessons.l14_grad_cam.heat_map_scores import EDGES, FLAT, PROBABILITY
from msa2net_lib.viz.plots import figure_grid, stamp

STYLES = (
    ("#000000", "-", "o"), ("#0072B2", "--", "s"), ("#D55E00", ":", "D"),
    ("#009E73", "-.", "^"), ("#CC79A7", (0, (6, 2)), "v"), ("#56B4E9", (0, (1, 1)), "X"),
)  # fmt: skip
"""Color, line and marker of each layer, in the order of `LAYERS`; lines and markers alone tell them apart."""
MEASURES = {"rank": "rank correlation, sign ignored", "ssim": "SSIM"}


def plot_randomization(tables: dict[str, pd.DataFrame], source: str) -> Figure:
    """Similarity to the trained network's map against the part drawn anew, a line per layer; one row per table.

    tables: title -> `heat_map_scores.randomization_table`. Points are means over organs and seeds, bars reach from the
    lowest to the highest seed.
    """
    figure, axes = figure_grid(len(tables), 2, width=4.6, height=2.9)
    for row, (title, table) in zip(axes, tables.items(), strict=True):
        for ax, (column, name) in zip(row, MEASURES.items(), strict=True):
            _lines(ax, table, column)
            ax.set_title(f"{title}: {name}", fontsize=8.5)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=7.5, frameon=False)
    return stamp(figure, source)


def _lines(ax: Axes, table: pd.DataFrame, column: str) -> None:
    parts = list(dict.fromkeys(table.part))
    layers = list(dict.fromkeys(table.layer))
    for index, layer in enumerate(layers):
        color, line, marker = STYLES[_order(layer, index)]
        groups: Any = table[table.layer == layer].groupby(["part", "seed"], sort=False)[column]
        by_seed = groups.mean().unstack()
        by_seed = by_seed.loc[parts]
        x = [position + 0.06 * (index - len(layers) / 2) for position in range(len(parts))]
        mean, low, high = by_seed.mean(axis=1), by_seed.min(axis=1), by_seed.max(axis=1)
        ax.errorbar(
            x, mean, yerr=[mean - low, high - mean], color=color, linestyle=line, marker=marker, markersize=4,
            linewidth=1.2, elinewidth=0.8, label=layer,
        )  # fmt: skip
    ax.set_xticks(range(len(parts)), parts, rotation=55, ha="right", fontsize=7)
    ax.set_ylim(-0.1, 1.05)
    ax.axhline(0, color="0.7", linewidth=0.8)
    ax.tick_params(axis="y", labelsize=7.5)
    ax.grid(axis="y", color="0.93")
    ax.set_axisbelow(True)


def plot_localization(summary: pd.DataFrame, source: str) -> Figure:
    """Share of the heat inside the organ and pointing game, a bar per map; baselines hatched and named as such."""
    figure, axes = figure_grid(1, 2, width=4.3, height=3.0)
    names = list(summary.index)
    titles = {"inside": "share of the heat inside the organ", "pointing": "largest value inside the organ"}
    for ax, (column, title) in zip(axes[0], titles.items(), strict=True):
        for y, name in enumerate(names):
            baseline = name in (PROBABILITY, EDGES, FLAT)
            style: dict[str, Any] = {"color": "0.85", "hatch": "////"} if baseline else {"color": "#0072B2"}
            ax.barh(y, summary[column][name], edgecolor="0.3", linewidth=0.6, **style)
            ax.text(summary[column][name] + 0.015, y, f"{summary[column][name]:.2f}", va="center", fontsize=7)
        ax.set_yticks(range(len(names)), names if column == "inside" else [], fontsize=7.5)
        ax.invert_yaxis()
        ax.set_xlim(0, 1.13)
        ax.set_title(title, fontsize=9)
        ax.tick_params(axis="x", labelsize=7.5)
    return stamp(figure, source)


def plot_pairs(pairs: pd.DataFrame, source: str) -> Figure:
    """Similarity of the maps of two networks by layer: true labels with two seeds beside true and permuted labels.

    pairs: `shuffled_labels.pair_table`. A marker is one pair, a bar the mean of its kind.
    """
    figure, axes = figure_grid(1, 2, width=4.3, height=3.0)
    layers = list(dict.fromkeys(pairs.layer))
    kinds = list(dict.fromkeys(pairs.pair))
    for ax, (column, name) in zip(axes[0], MEASURES.items(), strict=True):
        for offset, (kind, (color, _, marker)) in enumerate(zip(kinds, (STYLES[1], STYLES[2]), strict=False)):
            for y, layer in enumerate(layers):
                values = pairs[(pairs.pair == kind) & (pairs.layer == layer)][column]
                at, label = y + 0.3 * offset - 0.15, kind if y == 0 else None
                ax.plot(values, [at] * len(values), marker, color=color, alpha=0.7, markersize=5, label=label)
                ax.plot([values.mean()] * 2, [at - 0.13, at + 0.13], color=color, linewidth=2)
        ax.set_yticks(range(len(layers)), layers if column == "rank" else [], fontsize=7.5)
        ax.invert_yaxis()
        ax.set_xlim(-0.05, 1.05)
        ax.set_title(name, fontsize=9)
        ax.tick_params(axis="x", labelsize=7.5)
        ax.grid(axis="x", color="0.93")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return stamp(figure, source)


def survivors(table: pd.DataFrame, part: str) -> pd.Series:
    """Mean rank correlation (sign ignored) with the trained map at one step, by layer, the likest first."""
    means: Any = table[table.part == part].groupby("layer", sort=False)["rank"].mean()
    return means.sort_values(ascending=False)


def verdict_table(
    localized: pd.DataFrame, cascade: pd.DataFrame, regions: pd.DataFrame, layers: tuple[str, ...] = LAYERS
) -> pd.DataFrame:
    """What each layer's map can be trusted for, one row per layer, from three tests.

    localized: `localization_summary`. cascade: `randomization_table`, cascading. regions: `region_dependence`. Columns:
    pointing, beside the probability's; after all weights are drawn anew, ``reinitialized`` (rank, sign ignored),
    mean over organs of the ``lowest`` and ``highest`` seed; ``corner``, similarity with the map for a region in the
    picture's corner; and three verdicts: it finds the organ (pointing above one half), the weights matter (highest seed
    below one half; None where one half lies between lowest and highest), the region matters (corner below 0.9).
    """
    last = list(dict.fromkeys(cascade.part))[-1]
    groups: Any = cascade[cascade.part == last].groupby(["layer", "seed"], sort=False)["rank"]
    of_last = groups.mean().unstack()
    rows = {
        layer: {
            "pointing": localized.pointing[layer],
            "of the probability": localized.pointing[PROBABILITY],
            "reinitialized": of_last.loc[layer].mean(),
            "lowest": of_last.loc[layer].min(),
            "highest": of_last.loc[layer].max(),
            "corner": regions.corner[layer],
            "finds the organ": bool(localized.pointing[layer] > 0.5),
            "weights matter": _below(of_last.loc[layer], 0.5),
            "region matters": bool(regions.corner[layer] < 0.9),
        }
        for layer in layers
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def _below(by_seed: pd.Series, threshold: float) -> bool | None:
    """Whether all seeds are below a threshold; None where some are and some are not."""
    below = by_seed < threshold
    return bool(below.all()) if below.nunique() == 1 else None


def sentences(verdicts: pd.DataFrame) -> list[str]:
    """One sentence per layer of `verdict_table`."""
    weights = {
        True: "needs the trained weights",
        False: "looks alike with random weights",
        None: "not clear whether it needs the trained weights",
    }
    told = []
    for layer, row in verdicts.to_dict("index").items():
        finds = "finds its organ" if row["finds the organ"] else "does not find its organ"
        region = (
            "depends on the region asked about"
            if row["region matters"]
            else "is the same whatever region is asked about"
        )
        told.append(f"{layer}: {finds}, {weights[row['weights matter']]}, {region}")
    return told


def pair_sentences(pairs: pd.DataFrame) -> list[str]:
    """Per layer and measure: are maps of true labels liker to each other than to those of wrong ones, in every pair?"""
    told = []
    for layer in dict.fromkeys(pairs.layer):
        own = pairs[pairs.layer == layer]
        same, other = (own[own.pair == kind] for kind in ("true, two seeds", "true and permuted"))
        if not len(same) or not len(other):
            told.append(f"{layer}: not measured, it takes two seeds of each kind")
            continue
        parts = []
        for key, name in {"rank": "rank correlation", "ssim": "SSIM"}.items():
            true, wrong = (np.asarray(one[key], dtype=float) for one in (same, other))
            words = "told apart" if true.min() > wrong.max() else "not told apart"
            parts.append(f"{name} {true.mean():.2f} and {wrong.mean():.2f}, {words}")
        told.append(f"{layer}: {'; '.join(parts)}")
    return told


def _order(layer: str, index: int) -> int:
    return LAYERS.index(layer) if layer in LAYERS else index % len(STYLES)
