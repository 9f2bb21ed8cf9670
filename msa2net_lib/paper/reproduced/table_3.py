"""Table 3 with the reproduced rows below the published ones: what was measured, on which data, and what compares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from msa2net_lib.config import NetworkConfig
from msa2net_lib.evaluation.experiments import read_measurement
from msa2net_lib.evaluation.intervals import NOT_KNOWN
from msa2net_lib.paper.ablation.comparison import (
    FULL,
    ROWS,
    Reading,
    differences,
    parameter_table,
    published_rows,
    row_contrasts,
)
from msa2net_lib.paper.ablation.runs import AblationPlan
from msa2net_lib.paper.comparability import NOT_TOLD
from msa2net_lib.paper.reproduced.rows import COMPARABILITY, MEASURED, NOT_MEASURED, PUBLISHED, data_in_words
from msa2net_lib.train_config import PROFILES, TrainConfig

COLUMNS = ("masag", "lka", "dae_former", "dsc", "hd95", *COMPARABILITY)
"""Columns behind ``row``: those of the table (DSC in percent, HD95 in voxels), then where a row is from."""
LAST_STEP = "last step; nothing was chosen"
LEAST_STEPS = 300
"""Shorter runs find hardly any organ: lesson 12 shows what they teach, and a table of scores leaves them out."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Runs of the six rows, or the reason why there are none.

    title: what was run, in words. runs: as `evaluation.experiments.compare` returns them, None if not measured.
    data: on which data, in words. network: of which rows leave parts out. comparable: the paper's data and schedule.
    steps: of each run; 0 where an epoch is the unit, or nothing was run.
    """

    title: str
    runs: pd.DataFrame | None
    data: str
    network: NetworkConfig
    reading: Reading
    comparable: bool = False
    why_not: str = ""
    steps: int = 0


def measured_by(plan: AblationPlan, runs: pd.DataFrame | None, why_not: str = "") -> Measured:
    """What a profile's ablation found, or why it was not run."""
    paper = PROFILES["paper"]
    schedule = TrainConfig.from_recipe(paper.recipe, seed=plan.training.seed)
    comparable = (
        plan.dataset == paper.dataset
        and plan.training == schedule
        and plan.cases is None
        and plan.network == NetworkConfig.from_preset(paper.preset, pretrained=paper.pretrained)
    )
    size = "{} x {}".format(*plan.network.height_width)
    cases = "" if plan.cases is None else f", {plan.cases} held-out case(s)"
    title = f"{plan.length()}, {size} pixels{cases}"
    data, steps = data_in_words(plan.dataset), plan.training.steps
    return Measured(title, runs, data, plan.network, plan.reading, comparable, why_not, steps)


def measured_once(path: str | Path, reading: Reading) -> Measured:
    """The measurement that ``benchmarks/ablation.py`` wrote, for one reading; without the file, "not measured".

    Raises: `InputError` for a file that holds no runs.
    """
    data = data_in_words("virtual")
    if not Path(path).is_file():
        tiny = NetworkConfig.from_preset("tiny", image_size=64)
        return Measured("", None, data, tiny, reading, why_not="benchmarks/ablation.py was not run")
    runs, record = read_measurement(path)
    network, training = NetworkConfig.from_dict(record["network"]), record["training"]
    title = "{} steps, {} x {} pixels".format(training["steps"], *network.height_width)
    chosen: Any = runs[runs.reading == reading]
    why = "" if len(chosen) else f"the file holds no runs of the reading {reading!r}"
    found = None if why else chosen.drop(columns="reading")
    return Measured(title, found, data, network, reading, why_not=why, steps=training["steps"])


def reproduced_table_3(blocks: Sequence[Measured]) -> pd.DataFrame:
    """The published rows and, block by block, the reproduced ones below; index ``row``, columns `COLUMNS`.

    Blocks of runs shorter than `LEAST_STEPS` are left out. ``origin`` is "published", "measured" or "not measured";
    then dsc and hd95 are nan and ``note`` has the reason.
    """
    note = "one number per row; neither seeds nor spread are said"
    mark = {"origin": PUBLISHED, "data": "Synapse", "selection": NOT_TOLD, "comparability": "", "note": note}
    tables = [
        published_rows().assign(**mark),
        *(_block(block) for block in blocks if not 0 < block.steps < LEAST_STEPS),
    ]
    return pd.concat(tables).reindex(columns=list(COLUMNS))


def _block(block: Measured) -> pd.DataFrame:
    parts = published_rows()[["masag", "lka", "dae_former"]]
    if block.runs is None:
        said = {"origin": NOT_MEASURED, "selection": "", "comparability": NOT_MEASURED, "note": block.why_not}
        return parts.assign(dsc=math.nan, hd95=math.nan, data=block.data, **said)
    scores = block.runs.groupby("variant")
    other = "not comparable: other data or training"
    return parts.assign(
        dsc=(100 * scores.dsc.mean()).round(2),
        hd95=scores.hd95.mean().round(2),
        origin=MEASURED,
        data=block.data,
        selection=LAST_STEP,
        comparability="comparable, by our reading of the rows" if block.comparable else other,
        note=pd.Series(_notes(block)),
    )


def _notes(block: Measured) -> dict[str, str]:
    """By row: spread, difference from the whole network as tolerance, how it was trained, parameters."""
    assert block.runs is not None
    sd = 100 * block.runs.groupby("variant").dsc.std(ddof=1)
    count = block.runs.groupby("variant").seed.count()
    table = differences(block.runs, row_contrasts())
    millions = parameter_table(block.network, block.reading).parameters / 1e6
    notes = {}
    for row in ROWS:
        name = row.name
        spread = f"{count[name]} seeds, sd {sd[name]:.2f} points" if count[name] > 1 else "1 seed"
        told = [block.title, f"part out: {block.reading}", f"{millions[name]:.2f} M parameters", spread]
        if name != FULL and table.significance[name] != NOT_KNOWN:
            low, high = table.low[name], table.high[name]
            corrected = f"{table.significance[name]} (Holm, {len(table)} rows)"
            told.append(f"minus the whole network {low:+.2f} to {high:+.2f} (95 %, paired t): {corrected}")
        notes[name] = "; ".join(told)
    return notes
