"""Tables 1 and 2 row by row: as published, as reproduced here, and how far from MSA²Net trained in the same way.

Scores come from runs of a batch (`found_runs`) and from what was measured once and committed (`measured_once`). Runs
that share data, input size and training are a group; differences are taken within one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from msa2net_lib.analysis.complexity import TRAINING, build_empty, count_work
from msa2net_lib.baselines.spec import Config, NetworkSpec
from msa2net_lib.baselines.table import NETWORKS, STAND_INS, networks_of
from msa2net_lib.config import NetworkConfig
from msa2net_lib.data.catalog import DATASETS
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.experiments import read_measurement
from msa2net_lib.evaluation.paired import compare_cases
from msa2net_lib.paper.recorded import recorded_costs
from msa2net_lib.paper.reproduced.lines import COLUMNS, WORDS
from msa2net_lib.paper.reproduced.rows import data_in_words
from msa2net_lib.paper.reproduced.runs import read_training
from msa2net_lib.paper.tables import OWN, table_1, table_2
from msa2net_lib.train_config import TrainConfig
from msa2net_lib.training.files import RECORD_FILE
from msa2net_lib.utils.files import read_json

TableNumber = Literal["1", "2"]
SCORES_FILE, ROW_FILE = "scores.csv", "row.json"
"""In the folder of a row's run: its scores by case; and on which data, or in one line why there are none."""
RUNS = Path("runs", "networks")
"""Where a batch keeps these folders, below its profile's results: ``TABLE/NETWORK/seed_N``."""
NOT_REPRODUCED = "not reproduced by the official code"
_CLOSE = {"parameters": 0.005, "FLOPs": 0.02}  # shares of the printed number; fvcore also counts resampling
_AS_RELEASED: dict[str, dict[str, Any]] = {
    "missformer": {"compute_discarded": True},
    "daeformer": {"compute_discarded": True},
    "dermosegdiff": {"samples": 1, "steps": 1},
}
"""Options by which a network does the work that its original does; of DermoSegDiff one call."""
_SAID = {
    "HiFormer-B": "counted without the fusion, whose result is dropped; 10.69 G with all that the code runs",
    "DermoSegDiff": "one of 1250 calls an image",
}
_NOT_RUN = "not trained here: msa2net reproduce --profile gpu --networks {}"


@dataclass(frozen=True)
class RowRun:
    """One training of a row's network: its mean scores (0 to 1, voxels) and its DSC by case; or why there are none.

    group: data, size and training in words, the same for runs that may be compared. longer: steps it trained.
    """

    network: str
    seed: int
    data: str
    group: str
    dsc: float = math.nan
    hd95: float = math.nan
    cases: Mapping[str, float] = field(default_factory=dict)
    steps: int = 0
    why: str = ""


def side_by_side(table: TableNumber, runs: Iterable[RowRun]) -> pd.DataFrame:
    """One line for each published row of a table; index ``row``, columns `lines.COLUMNS`.

    A row shows its network's runs on the paper's data, else on data of its kind (scans or images), else on any; of
    these those of the group that has most rows, then those that trained longest. And the paired difference,
    case by case (seeds averaged first), to MSA²Net of the same group, with its 95 % interval. ``note`` has the reason
    where nothing was measured, and what else to know.
    """
    published, wanted, runs = (table_1(), "synapse", list(runs)) if table == "1" else (table_2(), "isic", list(runs))
    rows = {}
    lines: Any = published.to_dict("index")
    for name, printed in lines.items():
        networks = networks_of(str(name))
        chosen = _chosen(runs, networks, wanted)
        counts = recorded_costs(table)[networks[0]]
        notes = [_SAID[str(name)]] if name in _SAID else []
        row: dict[str, Any] = {
            "network": networks[0],
            "published_dsc": printed["dsc"] if table == "1" else 100 * printed["dsc"],
            "published_hd95": printed.get("hd95", math.nan),
            "printed_m": printed.get("parameters_m", math.nan),
            "printed_g": printed.get("flops_g", math.nan),
            **counts,
            "counts": _compared_counts(printed, counts),
        }
        done = [run for run in chosen if not run.why]
        if done:
            row |= _scores(done, runs)
            if done[0].network != networks[0]:
                notes.insert(0, f"trained: {NETWORKS[done[0].network].title}")
            notes += [f"seed {run.seed}: {run.why}" for run in chosen if run.why]
        else:
            notes.insert(0, "; ".join(dict.fromkeys(run.why for run in chosen)) or _NOT_RUN.format(networks[0]))
        rows[name] = row | {"note": "; ".join(notes)}
    shown: Any = pd.DataFrame.from_dict(rows, orient="index").reindex(columns=list(COLUMNS)).rename_axis("row")
    shown[list(WORDS)] = shown[list(WORDS)].astype(object).fillna("")
    return shown


def _chosen(runs: list[RowRun], networks: tuple[str, ...], wanted: str) -> list[RowRun]:
    """The runs to show of one row: of one network and one group, all seeds, those that failed included."""
    rows = Counter(group for group, _ in {(run.group, run.network) for run in runs})

    def rank(run: RowRun) -> tuple[bool, bool, bool, int, int, int]:
        alike = _is_images(run.data) == _is_images(wanted)
        return not run.why, run.data == wanted, alike, rows[run.group], run.steps, -networks.index(run.network)

    mine = [run for run in runs if run.network in networks]
    if not mine:
        return []
    best = max(mine, key=rank)
    return [run for run in mine if run.network == best.network and (run.why or run.group == best.group)]


def _scores(runs: list[RowRun], others: list[RowRun]) -> dict[str, Any]:
    dsc: Any = pd.Series([100 * run.dsc for run in runs])
    row: dict[str, Any] = {
        "dsc": round(float(dsc.mean()), 2),
        "dsc_sd": round(float(dsc.std(ddof=1)), 2) if len(runs) > 1 else math.nan,
        "seeds": len(runs),
        "hd95": round(sum(run.hd95 for run in runs) / len(runs), 2),
        "data": runs[0].group,
    }
    same = [run for run in others if run.group == runs[0].group and not run.why]
    own = next((name for name in STAND_INS[OWN] if any(run.network == name for run in same)), None)
    if own is None or runs[0].network in STAND_INS[OWN]:
        return row
    first, second = (_by_case(group) for group in ([run for run in same if run.network == own], runs))
    if first.index.equals(second.index) and len(first) > 1:
        compared: Any = compare_cases({OWN: first, runs[0].network: second}).iloc[0]
        row |= {name: round(100 * float(compared[name]), 2) for name in ("difference", "low", "high")}
        row["data"] += "" if own == STAND_INS[OWN][0] else f"; difference to {NETWORKS[own].title}"
    return row


def _by_case(runs: list[RowRun]) -> pd.DataFrame:
    """DSC by case, seeds averaged; one column."""
    return pd.DataFrame([run.cases for run in runs]).mean().sort_index().to_frame("mean over organs")


@cache
def counted(network: str, table: str) -> dict[str, float]:
    """Parameters that are learned in M and multiply-adds in G at 224 x 224, counted as Table 1's were.

    What `side_by_side` shows of its rows was counted so and recorded (`recorded_costs`): all take half a minute.
    """
    classes = 9 if table == "1" else 2
    config: Config
    if network.startswith("msa2net"):
        config = NetworkConfig.from_preset(network.removeprefix("msa2net_"), num_classes=classes)
    else:
        config = NetworkSpec(network, classes, 224, _AS_RELEASED.get(network, {}))
    empty = build_empty(config)
    learned = sum(parameter.numel() for parameter in empty.parameters() if parameter.requires_grad)
    work = TRAINING.total(count_work(empty))
    return {"counted_m": round(learned / 1e6, 2), "counted_g": round(work / 1e9, 2)}


def _compared_counts(printed: Mapping[Any, float], counts: dict[str, float]) -> str:
    """Which printed counts the official code does not give; "" for none, or where none is printed."""
    pairs = {
        "parameters": (printed.get("parameters_m"), counts["counted_m"]),
        "FLOPs": (printed.get("flops_g"), counts["counted_g"]),
    }
    off = [name for name, (said, found) in pairs.items() if said is not None and abs(found / said - 1) > _CLOSE[name]]
    return f"{' and '.join(off)} {NOT_REPRODUCED}" if off else ""


def found_runs(results: str | Path) -> list[RowRun]:
    """Read the rows' runs in the results of a profile (`RUNS`), each with its scores or the reason why it has none."""
    runs = []
    for path in sorted(Path(results, RUNS).glob(f"*/*/seed_*/{ROW_FILE}")):
        home, said = path.parent, read_json(path)
        network, seed = home.parent.name, home.name.removeprefix("seed_")
        if not seed.isdigit():  # one that was set aside
            continue
        if "why" in said:
            runs.append(RowRun(network, int(seed), "", "", why=said["why"]))
        else:
            runs.append(read_run(home / SCORES_FILE, home / RECORD_FILE, network, int(seed), said["data"]))
    return runs


def read_run(scores: Path, record: Path, network: str, seed: int, data: str) -> RowRun:
    """One run from its scores by case or image (CSV) and its training's record.

    Raises: `InputError` for files that are none of such a run.
    """
    config, training = read_training(record)
    steps = int(read_json(record).get("steps", training.steps))
    table: Any = pd.read_csv(scores, dtype={"case": str, "image": str})
    if "image" in table:
        dsc, hd95, cases = table["dsc"].mean(), math.nan, table.set_index("image")["dsc"]
    elif {"protocol", "case", "organ", "dsc", "hd95"} <= set(table):
        paper = table[table["protocol"] == "paper"]
        organs = paper.groupby("organ")[["dsc", "hd95"]].mean()
        dsc, hd95, cases = organs["dsc"].mean(), organs["hd95"].mean(), paper.groupby("case")["dsc"].mean()
    else:
        raise InputError(f"{scores}: no scores by case or image; evaluate again")
    group = group_in_words(data, config.height_width, steps, training)
    return RowRun(network, seed, data, group, float(dsc), float(hd95), cases.to_dict(), steps)


def measured_once(folder: str | Path) -> list[RowRun]:
    """Read the committed measurements of all rows, ``rival_networks*.json`` in a folder; none where there are none.

    Raises: `InputError` for a file that holds no such runs.
    """
    runs = []
    for path in sorted(Path(folder).glob("rival_networks*.json")):
        table, record = read_measurement(path)
        lines: Any = table.to_dict("records")
        try:
            data, training = str(record["data"]), TrainConfig.from_dict({**record["training"], "seed": 0})
            runs += [_measured(row, data, training) for row in lines]
        except (KeyError, TypeError, ValueError, InputError) as error:
            raise InputError(f"{path}: its runs are not whole ({error}); measure anew") from error
    return runs


def _measured(row: dict[str, Any], data: str, training: TrainConfig) -> RowRun:
    run = {name: value for name, value in row.items() if value == value}  # what it lacks became nan
    network, seed = str(run["network"]), int(run.get("seed", 0))
    if "why" in run:
        return RowRun(network, seed, data, "", why=run["why"])
    size, cases = int(run["image_size"]), dict(run["cases"])
    dsc = sum(cases.values()) / len(cases) if _is_images(data) else float(run["dsc"])  # there it is of pooled pixels
    group = group_in_words(data, (size, size), training.steps, training)
    return RowRun(network, seed, data, group, dsc, float(run.get("hd95", math.nan)), cases, training.steps)


def group_in_words(data: str, size: tuple[int, int], steps: int, training: TrainConfig) -> str:
    """Data, size and training of a run, in words that are the same for runs that may be compared."""
    height, width = size
    mean = "images" if _is_images(data) else "organs"
    how = f"recipe {training.recipe}, rate {training.peak_rate:g}, {steps} steps of {training.batch_size}, last step"
    return f"{data_in_words(data)}, mean over {mean}; {height} x {width} pixels, {how}"


def _is_images(data: str) -> bool:
    return data in DATASETS and DATASETS[data].kind == "images"
