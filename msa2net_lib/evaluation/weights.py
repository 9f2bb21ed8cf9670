"""Which files of weights `msa2net evaluate` scores: a checkpoint, or all that one training or several seeds left."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.selections import SELECTION_FILES, weights_of_run
from msa2net_lib.training.run import RECORD_FILE


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
            record = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
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
