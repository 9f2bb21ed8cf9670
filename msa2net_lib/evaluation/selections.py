"""The weights that trainings leave, told apart by how they were chosen and by seed, and scored in labeled columns."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.table import HD95_UNIT, MEAN, MISSED, Evaluation, Protocol
from msa2net_lib.metrics import UNITS
from msa2net_lib.training.files import BEST_FILES, RECORD_FILE, WEIGHTS_FILE
from msa2net_lib.utils.files import read_json

SELECTIONS = {
    "last": "last step",
    "validation": "best on validation",
    "test": "best on test (chosen on the reported cases)",
}
"""What a column is called, by what chose its weights. The last kind flatters: nobody can choose so beforehand."""
SELECTION_FILES: dict[Any, str] = {"last": WEIGHTS_FILE, **BEST_FILES}


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


@dataclass(frozen=True)
class Weights:
    """One file to score: how it was chosen (a label of `SELECTIONS`; "" for a checkpoint of its own), of which seed."""

    path: Path
    selection: str = ""
    seed: int | None = None

    @property
    def label(self) -> str:
        """What its column is called."""
        return self.selection + ("" if self.seed is None else f", seed {self.seed}")

    def predictions(self, folder: Path | None) -> Path | None:
        """Where its label maps go."""
        if folder is None or not self.selection:
            return folder
        return (folder if self.seed is None else folder / f"seed_{self.seed}") / self.path.stem


def find_weights(
    checkpoint: Path | None, run_dirs: Sequence[Path] | None, with_best_on_test: bool = False
) -> list[Weights]:
    """Return the files to score: one checkpoint, or what the folders of trainings hold, seed by seed.

    Raises: `InputError` for a folder without a finished training, or trainings that differ in more than their seeds.
    """
    if run_dirs is None:
        assert checkpoint is not None
        return [Weights(checkpoint)]
    seeds = [None] if len(run_dirs) == 1 else _seeds_of(run_dirs)
    weights = []
    for folder, seed in zip(run_dirs, seeds, strict=True):
        files = weights_of_run(folder, with_best_on_test=with_best_on_test)
        weights += [Weights(path, label, seed) for label, path in files.items()]
        left_out = folder / SELECTION_FILES["test"]
        if left_out.is_file() and not with_best_on_test:
            print(f"left out: {left_out}, chosen on the reported cases (--with-best-on-test)", file=sys.stderr)
    return weights


def _seeds_of(folders: Sequence[Path]) -> list[int]:
    """Return the seeds of trainings that differ in nothing else, by the records in their folders."""
    said: dict[int, Path] = {}
    first = None
    for folder in folders:
        try:
            record = read_json(folder / RECORD_FILE)
            seed = record["training"].pop("seed")
            of = {name: record[name] for name in ("network", "training", "data")}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{folder / RECORD_FILE}: no record of a finished training; name its folder") from error
        if seed in said:
            raise InputError(f"--run {folder}: seed {seed} is that of {said[seed]} too; name each seed once")
        first = of if first is None else first
        if different := [name for name in of if of[name] != first[name]]:
            raise InputError(
                f"--run {folder}: another {' and '.join(different)} than {folders[0]}; only seeds may differ"
            )
        said[seed] = folder
    return list(said)


def by_selection(weights: Sequence[Weights], results: Mapping[str, Any]) -> dict[str, dict[int, Any]]:
    """Return the results of several seeds: selection -> seed -> result; empty for one training."""
    seeds: dict[str, dict[int, Any]] = {}
    for one in weights:
        if one.seed is not None:
            seeds.setdefault(one.selection, {})[one.seed] = results[one.label]
    return seeds


def selection_table(evaluations: Mapping[str, Evaluation], protocol: Protocol = "paper") -> pd.DataFrame:
    """Return DSC and HD95 by organ, and their means in the last row, with the same columns for each selection.

    evaluations: label -> `Evaluation`. Columns: (label, "DSC (0 to 1)"), then
    (label, "HD95 (unit)") in the protocol's own unit and, where it was measured, in the other; then how many organs
    were "missed", and "HD95, found (unit)" over the others, in the protocol's own unit.
    """
    columns = {}
    for label, evaluation in evaluations.items():
        columns[label, "DSC (0 to 1)"] = _means(evaluation, protocol, "dsc")
        for unit in sorted(UNITS, key=lambda unit: unit != HD95_UNIT[protocol]):
            distances = _means(evaluation, protocol, f"hd95_{unit}")
            if unit == HD95_UNIT[protocol] or not distances.isna().all():
                columns[label, f"HD95 ({unit})"] = distances
        if evaluation.has(MISSED):
            by_organ, unit = evaluation.case_table(protocol, MISSED).sum().astype(int), HD95_UNIT[protocol]
            columns[label, "missed"] = pd.concat([by_organ, pd.Series({MEAN: by_organ.sum()})])
            columns[label, f"HD95, found ({unit})"] = _means(evaluation, protocol, f"hd95_{unit}_found")
    return pd.DataFrame(columns)


def _means(evaluation: Evaluation, protocol: Protocol, column: str) -> pd.Series:
    """Means over cases by organ, and the mean of these in the row "mean"."""
    by_organ = evaluation.case_table(protocol, column).mean()
    return pd.concat([by_organ, pd.Series({MEAN: by_organ.mean()})])


def selected_scores(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return tables of scores (selection -> table) below each other, the first column saying which ``selection``."""
    labeled = [table.assign(selection=label).reindex(columns=["selection", *table]) for label, table in tables.items()]
    return pd.concat(labeled)
