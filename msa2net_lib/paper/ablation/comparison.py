"""Table 3's six rows as networks, and its differences: MASAG, LKA and DAE-Former blocks in or out.

The paper does not say what stands in where a part is out. Without MASAG the skip is added as it is: so does the
second constructor of the deep layer in the reference implementation. For the blocks there are two readings
(`Reading`); the default is "replaced", for that constructor puts LKA blocks where DAE-Former blocks were, and the
table has no row with neither kind, which would be the natural baseline if blocks could simply be missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import torch

from msa2net_lib.analysis.complexity import build_empty
from msa2net_lib.config import Block, LevelConfig, NetworkConfig
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.intervals import BEYOND, NOT_KNOWN, corrected, difference_row
from msa2net_lib.nn.decoder import Decoder
from msa2net_lib.nn.network import count_parameters
from msa2net_lib.paper.ablation.rows import FULL, PARTS, ROWS, AblationRow, published_rows
from msa2net_lib.utils.plain import require_choice

Reading = Literal["replaced", "removed"]
"""Where a kind of block is out, the other kind takes its place, or the level merges and enlarges without blocks."""
Contrasts = dict[str, tuple[str, str]]
"""What a difference is called -> (row, the row that is subtracted)."""

OWN_BLOCK: tuple[Block, ...] = ("lka", "lka", "dual_attention", "dual_attention")
"""Blocks of the whole network by decoder level, 0 is the finest. Source: section 3.2, Figure 1."""
_OTHER: dict[Block, Block] = {"lka": "dual_attention", "dual_attention": "lka"}


def ablation_config(base: NetworkConfig, row: AblationRow, reading: Reading = "replaced") -> NetworkConfig:
    """The network of a row: a base network with the row's gates and blocks, all else unchanged.

    base: any preset. Its unused parts stay, but a gate at a level with a skip runs; so the whole network's row of
    "paper", "published" and "tiny" is that preset itself, and of "released", whose deep levels hold LKA blocks and no
    MASAG, it is not. A base with another gate (`NetworkConfig.with_gate`) has that gate in the rows with MASAG, which
    are not the paper's rows then; see `other_gate`. Raises: `InputError` for an unknown reading.
    """
    require_choice("reading", reading, get_args(Reading))
    levels = tuple(_level(base.levels[index], index, row, reading) for index in range(4))
    return NetworkConfig.from_dict(base.to_dict() | {"levels": levels})


def _level(level: LevelConfig, index: int, row: AblationRow, reading: Reading) -> LevelConfig:
    own = OWN_BLOCK[index]
    block: Block = own
    if not (row.lka if own == "lka" else row.dae_former):
        block = _OTHER[own] if reading == "replaced" else "none"
    gate = level.gate if level.gate == "none" or row.masag else "addition"
    unused = level.unused if index == 3 else tuple(part for part in level.unused if part != "gate")
    return replace(level, gate=gate, block=block, unused=unused)


def other_gate(base: NetworkConfig) -> str | None:
    """The gate that stands in a base network's rows where the paper has MASAG; None if it is MASAG."""
    gate = base.levels[0].gate
    return None if gate == "masag" else gate


def ablation_configs(base: NetworkConfig, reading: Reading = "replaced") -> dict[str, NetworkConfig]:
    """The six networks by their rows' names, see `ablation_config`."""
    return {row.name: ablation_config(base, row, reading) for row in ROWS}


def parameter_table(base: NetworkConfig, reading: Reading = "replaced") -> pd.DataFrame:
    """Parameters of the six networks, index row: in all, of the gates, and of the LKA and the DAE-Former blocks.

    Unused parts count, as they do in Table 1.
    """
    rows = {}
    encoder = build_empty(base).encoder  # the same in all six, and most of the work
    for name, config in ablation_configs(base, reading).items():
        with torch.device("meta"):
            decoder = Decoder(encoder.channels, config)
        levels: list[Any] = list(decoder.levels)
        blocks = dict.fromkeys(("lka", "dual_attention", "none"), 0)
        for level in levels:
            blocks[level.config.block] += count_parameters(level.blocks)
        gates = sum(count_parameters(level.gate) for level in levels if level.gate is not None)
        whole = count_parameters(encoder) + count_parameters(decoder)
        rows[name] = (whole, gates, blocks["lka"], blocks["dual_attention"])
    columns = ["parameters", *PARTS.values()]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("row")


def row_contrasts() -> Contrasts:
    """Each row minus the whole network: five differences."""
    return {row.name: (row.name, FULL) for row in ROWS[:-1]}


def part_contrasts() -> Contrasts:
    """What one part adds: each pair of rows that differ in one part, seven of them, "MASAG beside LKA"."""
    found: Contrasts = {}
    for part, title in PARTS.items():
        for row in ROWS:
            without = replace(row, **{part: False})
            if without != row and without in ROWS:
                found[f"{title} beside {without.name}"] = (row.name, without.name)
    return found


def published_differences(contrasts: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """The same differences in the printed table, columns dsc (percentage points) and hd95. They have no spread."""
    table = published_rows()[["dsc", "hd95"]]
    return pd.DataFrame({name: table.loc[one] - table.loc[other] for name, (one, other) in contrasts.items()}).T


def differences(runs: pd.DataFrame, contrasts: Mapping[str, tuple[str, str]], column: str = "dsc") -> pd.DataFrame:
    """Measured differences, taken seed by seed, corrected for how many they are.

    runs: as `evaluation.experiments.compare` returns them, variants called as in `ROWS`. Returns one row per contrast:
    ``seeds``, ``difference`` (mean over seeds), its standard deviation, its own 95 % interval ``low`` to ``high``
    (paired t), ``seeds_above`` 0, ``p`` (paired t), ``detectable`` (`intervals.detectable`), ``holm`` and
    ``significance`` (`intervals.corrected`). DSC comes in percentage points, HD95 in voxels. Raises: `InputError` if a
    row is missing.
    """
    scores = _scores(runs, column)
    if missing := [name for pair in contrasts.values() for name in pair if name not in scores]:
        raise InputError(f"runs hold no {missing[0]!r}: train it too")
    rows = {name: difference_row((scores[one] - scores[other]).dropna()) for name, (one, other) in contrasts.items()}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("difference of")
    return corrected(table)[0]


def _scores(runs: pd.DataFrame, column: str) -> pd.DataFrame:
    """Scores by seed and row, DSC in percentage points."""
    return runs.pivot(index="seed", columns="variant", values=column) * (100 if column.startswith("dsc") else 1)


def pooled_effects(runs: pd.DataFrame, columns: Sequence[str] = ("dsc",)) -> pd.DataFrame:
    """What a part adds over all pairs of rows that differ in it alone: the mean of the pairs, seed by seed.

    columns: of the runs, such as those of single organs; with several the rows are named by part and column. Returns
    what `differences` returns, all of it one family, and ``pairs``.
    """
    rows = {}
    for part in PARTS.values():
        pairs = [pair for name, pair in part_contrasts().items() if name.startswith(f"{part} beside")]
        for column in columns:
            scores = _scores(runs, column)
            by_seed: Any = sum(scores[one] - scores[other] for one, other in pairs) / len(pairs)
            name = part if len(columns) == 1 else f"{part}, {column.removeprefix('dsc ')}"
            rows[name] = difference_row(by_seed.dropna()) | {"pairs": len(pairs)}
    return corrected(pd.DataFrame.from_dict(rows, orient="index").rename_axis("part"))[0]


def sentences(table: pd.DataFrame, unit: str = "points of DSC") -> list[str]:
    """One sentence per difference: how large, which interval, whether that is noise, and what would have been seen."""
    told = []
    for name, row in table.iterrows():
        start = f"{name}: {row.difference:+.2f} {unit}"
        if row.significance == NOT_KNOWN:
            told.append(f"{start}; one seed, so nothing is known of the noise")
        else:
            interval = f"95 % interval {row.low:+.2f} to {row.high:+.2f} (paired t, {row.seeds} seeds)"
            small = "" if row.significance == BEYOND else f"; four in five would see {row.detectable:.2f}"
            told.append(f"{start}, {interval}, Holm p {row.holm:.2f}: {row.significance}{small}")
    return told


def seed_spread(runs: pd.DataFrame, column: str = "dsc") -> float:
    """Standard deviation over seeds within a row, pooled over the rows; points for DSC. nan with one seed.

    It is the spread of single runs: what a table of one run per row is blurred by.
    """
    scale = 100 if column.startswith("dsc") else 1
    groups = runs.groupby("variant")[column]
    freedom: Any = groups.count() - 1
    if not freedom.sum():
        return np.nan
    return float(scale * np.sqrt((groups.var(ddof=1) * freedom).sum() / freedom.sum()))


def largest_spread(difference: float) -> float:
    """The spread over seeds beyond which a difference of two single runs is within noise, in the difference's unit.

    Two runs that scatter independently with standard deviation s differ by chance by s times the root of two;
    1.96 times that is passed by chance in one of twenty.
    """
    return abs(difference) / (1.96 * 2**0.5)
