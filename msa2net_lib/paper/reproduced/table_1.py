"""Table 1 with the reproduced rows below: what was measured, on which data, chosen how, and whether it compares."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from msa2net_lib.analysis.complexity import TRAINING, build_empty, count_work
from msa2net_lib.baselines.spec import Config, config_from_dict
from msa2net_lib.config import NetworkConfig
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.intervals import mean_interval, mean_score, method_of
from msa2net_lib.nn.network import count_parameters
from msa2net_lib.paper.comparability import NOT_TOLD, Comparability, judge_volumes
from msa2net_lib.paper.reproduced.rows import (
    COMPARABILITY,
    MEASURED,
    as_table,
    data_in_words,
    missing_row,
    published_rows,
)
from msa2net_lib.paper.reproduced.runs import CHOSEN, ReproducedRun
from msa2net_lib.paper.tables import TABLE_1_ORGANS, table_1

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy.typing import NDArray

SPREAD = ("dsc_sd", "dsc_low", "dsc_high", "hd95_mm")
"""What Table 1 has no column for: sd of the mean DSC over seeds, its 95 % interval (percent), mean HD95 in mm."""
TABLE_1_COLUMNS = ("parameters_m", "flops_g", *TABLE_1_ORGANS, "dsc", "hd95", *SPREAD, *COMPARABILITY)
NEEDED = "Synapse needs registration at synapse.org, its 700 epochs a GPU: msa2net reproduce --profile paper"
AUTHORS = "the authors' weights lie on Google Drive, Synapse needs registration at synapse.org: name them in OTHERS"


def reproduced_table_1(runs: Iterable[ReproducedRun] = ()) -> pd.DataFrame:
    """Table 1 and, below it, a row for each reproduced network; index ``row``, columns `TABLE_1_COLUMNS`.

    DSC in percent; HD95 in voxels, as the reference implementation computes it, and in mm where the voxel size is
    known. Several seeds of a network are one row, their mean. Then the rows that would be comparable, as "not
    measured", unless one of the runs is.
    """
    said = {"data": "Synapse, 12 test cases", "selection": "not said", "note": "as this paper prints it"}
    own = said | {"selection": NOT_TOLD, "note": "HD95 is printed without a unit"}
    rows = published_rows(table_1(), said, own)
    groups: dict[str, list[ReproducedRun]] = {}
    for run in runs:
        key = json.dumps([run.name, run.data, run.selection, run.network.to_dict()], sort_keys=True)
        groups.setdefault(key, []).append(run)
    rows += [_measured_row(group) for group in groups.values()]
    if not any(_comparability(group[0]).comparable for group in groups.values()):
        for preset, name, why in (
            ("published", "trained here", NEEDED),
            ("published", "the authors' weights", AUTHORS),
        ):
            counted = costs(NetworkConfig.from_preset(preset))
            note = f"{why}; parameters and FLOPs are counted"
            rows.append(missing_row(f"{preset} on Synapse, {name}", "synapse", note, **counted))
    return as_table(rows, TABLE_1_COLUMNS)


def costs(network: Config) -> dict[str, float]:
    """Parameters in M and FLOPs in G at the network's own input size, counted as Table 1's were.

    The published 15.56 is what fvcore counts in training mode (`analysis.complexity.TRAINING`).
    """
    # Where the encoder's weights come from costs nothing, and must not make this fetch them.
    return dict(_costs(json.dumps(network.to_dict() | {"pretrained": False}, sort_keys=True)))


@cache
def _costs(config: str) -> dict[str, float]:
    empty = build_empty(config_from_dict(json.loads(config)))
    return {
        "parameters_m": round(count_parameters(empty) / 1e6, 2),
        "flops_g": round(TRAINING.total(count_work(empty)) / 1e9, 2),
    }


def _measured_row(runs: list[ReproducedRun]) -> dict[str, Any]:
    first, comparability = runs[0], _comparability(runs[0])
    dsc, hd95, hd95_mm = (_stacked(runs, column) for column in ("dsc", "hd95", "hd95_mm"))
    organs = first.evaluation.case_table("paper").columns
    by_organ = dict(zip(organs, mean_score(100 * dsc.transpose(0, 2, 1)[..., None]).mean(axis=0), strict=True))
    means = mean_score(100 * dsc)
    low, high = mean_interval(100 * dsc)
    seeds = f"{len(runs)} seed{'s' * (len(runs) > 1)}"
    size = "{} x {}".format(*first.network.height_width)
    notes = [
        f"{seeds}; interval of the mean DSC: 95 %, {method_of(*dsc.shape[:2])}",
        f"HD95 in voxels; parameters and FLOPs at {size} are counted",
        *(filter(None, (run.evaluation.missed_warning("paper") for run in runs))),
        *comparability.remarks,
    ]
    chosen = "" if first.selection == "last" else f", {CHOSEN[first.selection]}"
    numbers = {
        **{organ: by_organ.get(organ, math.nan) for organ in TABLE_1_ORGANS},
        "dsc": means.mean(),
        "hd95": mean_score(hd95).mean(),
        "dsc_sd": means.std(ddof=1) if len(runs) > 1 else math.nan,
        "dsc_low": low,
        "dsc_high": high,
        "hd95_mm": mean_score(hd95_mm).mean(),
    }
    return {
        "row": f"reproduced: {first.name}{chosen}",
        **costs(first.network),
        **{name: round(float(value), 2) for name, value in numbers.items()},
        "origin": MEASURED,
        "data": f"{dsc.shape[1]} cases, {data_in_words(first.data)}",
        "selection": CHOSEN[first.selection],
        "comparability": comparability.phrase,
        "note": "; ".join(notes),
    }


def _stacked(runs: list[ReproducedRun], column: str) -> Float[NDArray, "seeds cases organs"]:
    """One column of the runs' scores; nan where they lack it (older tables). Raises: other cases or organs."""
    tables = [run.evaluation.case_table("paper", column if column in run.scores else "dsc") for run in runs]
    if any(not (table.index.equals(tables[0].index) and table.columns.equals(tables[0].columns)) for table in tables):
        raise InputError(f"{runs[0].name}: seeds were scored on different cases or organs; evaluate all on the same")
    missing = [math.nan if column not in run.scores else 1.0 for run in runs]
    return np.stack([table.to_numpy(float) * factor for table, factor in zip(tables, missing, strict=True)])


def _comparability(run: ReproducedRun) -> Comparability:
    cases = run.scores.loc[run.scores["protocol"] == "paper", "case"].unique().tolist()
    return judge_volumes(run.data, cases, run.network, run.training, run.selection)
