"""Runs of ours: one trained network's scores, and what the files beside its weights tell of how it came about."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import pandas as pd

from msa2net_lib.config import NetworkConfig, require_choice
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.selections import SELECTION_FILES, SELECTIONS, weights_of_run
from msa2net_lib.evaluation.volumes import Evaluation
from msa2net_lib.train_config import Selection, TrainConfig
from msa2net_lib.training.run import RECORD_FILE, WEIGHTS_FILE

Choice = Selection | Literal["unknown"]
CHOSEN: dict[str, str] = {**SELECTIONS, "unknown": "not recorded"}
"""How weights were chosen -> what tables call it."""


@dataclass(frozen=True, eq=False)
class ReproducedRun:
    """One trained network, scored on the test cases of one data set of scans.

    name: what its row is called; runs of one name, network, data and selection are seeds of one row. network: as it was
    built for training (its ``pretrained`` says what the encoder began from). training: None where it is not known.
    data: a name in `data.catalog.DATASETS`, or another. scores: `Evaluation.scores`, the released protocol in it.
    """

    name: str
    network: NetworkConfig
    data: str
    scores: pd.DataFrame
    selection: Choice = "last"
    training: TrainConfig | None = None

    def __post_init__(self) -> None:
        require_choice("selection", self.selection, tuple(CHOSEN))
        if "protocol" not in self.scores or "paper" not in set(self.scores["protocol"]):
            raise InputError(
                f"{self.name}: Table 1 has the released protocol's scores; evaluate with protocols='paper'"
            )

    @classmethod
    def from_evaluation(cls, evaluation: Evaluation, network: NetworkConfig, **named: Any) -> ReproducedRun:
        """Take over what `evaluate` returned; the other fields by name."""
        return cls(scores=evaluation.scores, network=network, **named)

    @classmethod
    def of_checkpoint(
        cls, evaluation: Evaluation, network: NetworkConfig, checkpoint: str | Path, *, name: str, data: str
    ) -> ReproducedRun:
        """The same, with what the files beside the checkpoint tell of selection and training, see `told_beside`."""
        selection, training, trained = told_beside(checkpoint)
        return cls(name, trained or network, data, evaluation.scores, selection, training)

    @classmethod
    def from_files(
        cls, scores: str | Path, run: str | Path | None, *, name: str, data: str, selection: Choice = "last"
    ) -> ReproducedRun:
        """Read scores (CSV of `Evaluation.scores`) and the record of the training (``run.json`` in its folder).

        Raises: `InputError` naming the file that is missing or is none of the kind.
        """
        table = read_scores(scores, text=("protocol", "case", "organ"))
        network, training = read_training(run)
        if network is None:
            raise InputError(f"{scores}: give the run.json of its training, which says what network it is")
        return cls(name, network, data, table, selection, training)

    @property
    def cases(self) -> list[str]:
        """Names of the cases scored."""
        return list(dict.fromkeys(self.scores.loc[self.scores["protocol"] == "paper", "case"]))

    @property
    def organs(self) -> list[str]:
        """Names of the organs scored."""
        return list(dict.fromkeys(self.scores["organ"]))

    @property
    def evaluation(self) -> Evaluation:
        """The scores as an `Evaluation`, without predictions."""
        return Evaluation(self.scores, {})


def read_scores(path: str | Path, text: Sequence[str]) -> pd.DataFrame:
    """Read a table of scores; ``text``: its columns that are names. Raises: `InputError` for another file."""
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(text, str))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable table of scores ({type(error).__name__}); evaluate again") from error
    if missing := [name for name in (*text, "dsc") if name not in table]:
        raise InputError(f"{path}: no column {', '.join(missing)}; give the scores that an evaluation wrote")
    return table


def read_training(path: str | Path | None) -> tuple[NetworkConfig | None, TrainConfig | None]:
    """Read what a ``run.json`` says of network and training. Raises: `InputError` for another file."""
    if path is None:
        return None, None
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        return NetworkConfig.from_dict(record["network"]), TrainConfig.from_dict(record["training"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not the record of a training ({type(error).__name__}); give its run.json") from error


def told_beside(checkpoint: str | Path) -> tuple[Choice, TrainConfig | None, NetworkConfig | None]:
    """What the files beside a checkpoint tell of it: how it was chosen, how it was trained, and the network then.

    A training folder has ``run.json``, the shipped network a file of its own name; without either nothing is known.
    """
    path = Path(checkpoint)
    choices: dict[str, Choice] = {file: cast("Choice", choice) for choice, file in SELECTION_FILES.items()}
    run, own = path.with_name(RECORD_FILE), path.with_suffix(".json")
    if path.name in choices and run.is_file():
        network, training = read_training(run)
        return choices[path.name], training, network
    if own.is_file():
        network, training = read_training(own)
        return "last", training, network
    return "unknown", None, None


def kept_beside(checkpoint: str | Path, *, with_best_on_test: bool = False) -> list[Path]:
    """Other weights that a checkpoint's training kept: the best on validation and, if asked for, on the test cases.

    Empty for a checkpoint that does not lie in its training's folder as the last step's weights. Raises: `InputError`
    where the best on the test cases are asked for and were not kept.
    """
    path = Path(checkpoint)
    if path.name != WEIGHTS_FILE or not path.with_name(RECORD_FILE).is_file():
        return []
    files = weights_of_run(path.parent, with_best_on_test=with_best_on_test).values()
    return [file for file in files if file != path]
