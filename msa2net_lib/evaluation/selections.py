"""The weights that a training run leaves, told apart by how they were chosen, and scored in labeled columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.table import HD95_UNIT, MEAN, Evaluation, Protocol
from msa2net_lib.metrics import UNITS
from msa2net_lib.official_checkpoints import open_checkpoint
from msa2net_lib.training.run import WEIGHTS_FILE
from msa2net_lib.training.selection import BEST_FILES

SELECTIONS = {
    "last": "last step",
    "validation": "best on validation",
    "test": "best on test (chosen on the reported cases)",
}
"""What a column is called, by what chose its weights. The last kind flatters: nobody can choose so beforehand."""
SELECTION_FILES = {"last": WEIGHTS_FILE, **BEST_FILES}

Scored = TypeVar("Scored")


def weights_of_run(run_dir: str | Path, *, with_best_on_test: bool = False) -> dict[str, Path]:
    """Return the weights in a training folder, label (of `SELECTIONS`) -> file, the last step's first.

    with_best_on_test: also those that the reported cases chose. Raises: `InputError` for a folder without a finished
    run's weights, or without those asked for.
    """
    folder = Path(run_dir)
    if not (folder / WEIGHTS_FILE).is_file():
        raise InputError(f"{folder}: holds no {WEIGHTS_FILE}; name the folder of a finished training")
    if with_best_on_test and not (folder / BEST_FILES["test"]).is_file():
        raise InputError(f"{folder}: holds no {BEST_FILES['test']}; train with selection='test', or do not ask for it")
    wanted = [name for name in SELECTIONS if name != "test" or with_best_on_test]
    files = {SELECTIONS[name]: folder / SELECTION_FILES[name] for name in wanted}
    return {label: path for label, path in files.items() if path.is_file()}


def score_run(
    run_dir: str | Path, score: Callable[[Any], Scored], *, with_best_on_test: bool = False
) -> dict[str, Scored]:
    """Score every selection of a training run: label -> what ``score`` makes of its network, one at a time.

    score: such as ``lambda network: evaluate(network, dataset)``. Raises: as `weights_of_run`.
    """
    files = weights_of_run(run_dir, with_best_on_test=with_best_on_test)
    return {label: score(open_checkpoint(path)) for label, path in files.items()}


def selection_table(evaluations: Mapping[str, Evaluation], protocol: Protocol = "paper") -> pd.DataFrame:
    """Return DSC and HD95 by organ, and their means in the last row, with the same columns for each selection.

    evaluations: label -> `Evaluation`, as `score_run` gives them. Columns: (label, "DSC (0 to 1)"), then
    (label, "HD95 (unit)") in the protocol's own unit and, where it was measured, in the other.
    """
    columns = {}
    for label, evaluation in evaluations.items():
        columns[label, "DSC (0 to 1)"] = _means(evaluation, protocol, "dsc")
        for unit in sorted(UNITS, key=lambda unit: unit != HD95_UNIT[protocol]):
            distances = _means(evaluation, protocol, f"hd95_{unit}")
            if unit == HD95_UNIT[protocol] or not distances.isna().all():
                columns[label, f"HD95 ({unit})"] = distances
    return pd.DataFrame(columns)


def _means(evaluation: Evaluation, protocol: Protocol, column: str) -> pd.Series:
    """Means over cases by organ, and the mean of these in the row "mean"."""
    by_organ = evaluation.case_table(protocol, column).mean()
    return pd.concat([by_organ, pd.Series({MEAN: by_organ.mean()})])


def selected_scores(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return tables of scores (selection -> table) below each other, the first column saying which ``selection``."""
    labeled = [table.assign(selection=label).reindex(columns=["selection", *table]) for label, table in tables.items()]
    return pd.concat(labeled)
