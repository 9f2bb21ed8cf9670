"""Our rows below the published ones: what was measured, on which data, chosen how, and whether it may be compared.

A table's columns are ``row``, those of the paper's table, what only ours have (spread, interval, HD95 in mm), and
then where a row is from: `COMPARABILITY`, as `paper.comparability` decides. Table 3 is in `table_3`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from msa2net_lib.analysis.complexity import TRAINING, build_empty, count_work
from msa2net_lib.config import NetworkConfig
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.intervals import bootstrap_interval, mean_score
from msa2net_lib.nn.network import count_parameters
from msa2net_lib.paper.comparability import NOT_TOLD, judge_volumes
from msa2net_lib.paper.reproduced.runs import CHOSEN, ReproducedRun
from msa2net_lib.paper.tables import TABLE_1_ORGANS, table_1
from msa2net_lib.utils.files import write_text

if TYPE_CHECKING:
    from jaxtyping import Float
    from numpy.typing import NDArray

    from msa2net_lib.paper.comparability import Verdict
    from msa2net_lib.paper.reproduced.table_2 import ReproducedImageRun

COMPARABILITY = ("origin", "data", "selection", "verdict", "note")
"""Last columns of every table: published, measured or not measured; on which data; chosen how; comparable or not."""
OWN_COLUMNS = ("dsc_sd", "dsc_low", "dsc_high", "hd95_mm")
"""What Table 1 has no column for: sd of the mean DSC over seeds, its 95 % interval (percent), mean HD95 in mm."""
TABLE_1_COLUMNS = ("parameters_m", "flops_g", *TABLE_1_ORGANS, "dsc", "hd95", *OWN_COLUMNS, *COMPARABILITY)
IN_WORDS = {
    "virtual": "virtual patients made from one real CT",
    "patient2": "real patient 2, five organs in view, model-made labels",
    "synapse": "Synapse (BTCV)",
}
"""Data sets of scans as the tables name them."""
NEEDED = "Synapse needs registration at synapse.org, its 700 epochs a GPU: msa2net reproduce --profile paper"
AUTHORS = "the authors' weights lie on Google Drive, Synapse needs registration at synapse.org: name them in OTHERS"


def reproduced_table_1(runs: Iterable[ReproducedRun] = ()) -> pd.DataFrame:
    """Table 1 and, below it, a row for each network of ours; index ``row``, columns `TABLE_1_COLUMNS`.

    DSC in percent; HD95 in voxels, as the released code computes it, and in mm where the voxel size is known. Several
    seeds of a network are one row, their mean. Then the rows that would be comparable, as "not measured", unless one of
    the runs is.
    """
    rows = [_published_row(method, values) for method, values in table_1().to_dict("index").items()]
    groups: dict[str, list[ReproducedRun]] = {}
    for run in runs:
        key = json.dumps([run.name, run.data, run.selection, run.network.to_dict()], sort_keys=True)
        groups.setdefault(key, []).append(run)
    rows += [_measured_row(group) for group in groups.values()]
    comparable = any(_verdict(group[0]).comparable for group in groups.values())
    rows += [] if comparable else _missing_rows()
    return as_table(rows, TABLE_1_COLUMNS)


def as_table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """Put rows together; those of one name get a number. Missing numbers are nan, missing words empty."""
    table = pd.DataFrame(rows).reindex(columns=["row", *columns])
    again = table.groupby("row").cumcount()
    table["row"] = [name if not n else f"{name} ({n + 1})" for name, n in zip(table["row"], again, strict=True)]
    words = [name for name in COMPARABILITY if name in table]
    table[words] = table[words].astype(object).fillna("")
    return table.set_index("row")


def costs(network: NetworkConfig) -> dict[str, float]:
    """Parameters in M and FLOPs in G at the network's own input size, counted as Table 1's were.

    The published 15.56 is what fvcore counts in training mode (`analysis.complexity.TRAINING`).
    """
    # Where the encoder's weights come from costs nothing, and must not make this fetch them.
    return dict(_costs(json.dumps(network.to_dict() | {"pretrained": False}, sort_keys=True)))


@cache
def _costs(config: str) -> dict[str, float]:
    empty = build_empty(NetworkConfig.from_dict(json.loads(config)))
    return {
        "parameters_m": round(count_parameters(empty) / 1e6, 2),
        "flops_g": round(TRAINING.total(count_work(empty)) / 1e9, 2),
    }


def _published_row(method: str, values: dict[str, float]) -> dict[str, Any]:
    own = method == "MSA²Net"
    return {
        "row": method,
        **values,
        "origin": "published",
        "data": "Synapse, 12 test cases",
        "selection": NOT_TOLD if own else "not said",
        "note": "HD95 is printed without a unit" if own else "as this paper prints it",
    }


def _measured_row(runs: list[ReproducedRun]) -> dict[str, Any]:
    first, verdict = runs[0], _verdict(runs[0])
    dsc = 100 * _stacked(runs, "dsc")
    organs = dict(zip(first.organs, mean_score(dsc.transpose(0, 2, 1)[..., None]).mean(axis=0), strict=True))
    means = mean_score(dsc)
    low, high = bootstrap_interval(dsc)
    over = "cases and seeds" if len(runs) > 1 else "cases"
    size = "{} x {}".format(*first.network.height_width)
    notes = [
        f"{len(runs)} seed{'s' * (len(runs) > 1)}; interval of the mean DSC: 95 %, bootstrap over {over}",
        f"HD95 in voxels; parameters and FLOPs at {size} are counted",
        *verdict.remarks,
    ]
    return {
        "row": f"ours: {first.name.removeprefix('ours: ')}"
        + ("" if first.selection == "last" else f", {CHOSEN[first.selection]}"),
        **costs(first.network),
        **{organ: round(float(organs.get(organ, math.nan)), 2) for organ in TABLE_1_ORGANS},
        "dsc": round(float(means.mean()), 2),
        "hd95": round(float(mean_score(_stacked(runs, "hd95")).mean()), 2),
        "dsc_sd": round(float(means.std(ddof=1)), 2) if len(runs) > 1 else math.nan,
        "dsc_low": round(low, 2),
        "dsc_high": round(high, 2),
        "hd95_mm": round(float(mean_score(_stacked(runs, "hd95_mm")).mean()), 2),
        "origin": "measured",
        "data": f"{len(first.cases)} cases, {IN_WORDS.get(first.data, first.data)}",
        "selection": CHOSEN[first.selection],
        "verdict": verdict.phrase,
        "note": "; ".join(notes),
    }


def _stacked(runs: list[ReproducedRun], column: str) -> Float[NDArray, "seeds cases organs"]:
    """One column of the runs' scores; of a table without it (an older one) nan. Raises: other cases or organs."""
    tables = []
    for run in runs:
        if (run.cases, run.organs) != (runs[0].cases, runs[0].organs):
            raise InputError(f"{run.name}: seeds were scored on different cases or organs; evaluate all on the same")
        scored = run.evaluation.case_table("paper", column if column in run.scores else "dsc").to_numpy(float)
        tables.append(scored if column in run.scores else np.full_like(scored, math.nan))
    return np.stack(tables)


def _verdict(run: ReproducedRun) -> Verdict:
    return judge_volumes(run.data, run.cases, run.network, run.training, run.selection)


def _missing_rows() -> list[dict[str, Any]]:
    """What would be comparable and was not measured; parameters and FLOPs are counted all the same."""
    rows = []
    for preset, name, why in (("paper", "trained here", NEEDED), ("published", "the authors' weights", AUTHORS)):
        note = f"{why}; parameters and FLOPs are counted"
        row = {"row": f"ours: {preset} on Synapse, {name}", **costs(NetworkConfig.from_preset(preset))}
        honest = {"origin": "not measured", "data": IN_WORDS["synapse"], "verdict": "not measured", "note": note}
        rows.append(row | honest)
    return rows


def write_tables(
    folder: str | Path,
    runs: Iterable[ReproducedRun] = (),
    pictures: Iterable[ReproducedImageRun] | None = None,
    table_3: pd.DataFrame | None = None,
) -> list[Path]:
    """Write ``table_1.csv`` and ``table_a.csv`` and, where they are given, Tables 2 and 3; return the paths.

    runs: of Table 1. pictures: of Table 2; None leaves that table to lesson 11, which trains and scores on pictures.
    """
    from msa2net_lib.paper.reproduced.table_2 import reproduced_table_2
    from msa2net_lib.paper.reproduced.table_a import reproduced_table_a

    tables = {"table_1": reproduced_table_1(runs), "table_a": reproduced_table_a()}
    tables |= {} if pictures is None else {"table_2": reproduced_table_2(pictures)}
    tables |= {} if table_3 is None else {"table_3": table_3}
    return [write_text(Path(folder) / f"{name}.csv", table.to_csv()) for name, table in tables.items()]
