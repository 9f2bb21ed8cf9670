"""Reproduced runs: one trained network's scores, and what the files beside its weights tell of how it came about."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from msa2net_lib.baselines.spec import Config, config_from_dict
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.images import COUNTS, ImageEvaluation
from msa2net_lib.evaluation.selections import SELECTION_FILES, SELECTIONS, weights_of_run
from msa2net_lib.evaluation.table import Evaluation
from msa2net_lib.train_config import Selection, TrainConfig
from msa2net_lib.training.files import RECORD_FILE, WEIGHTS_FILE
from msa2net_lib.utils.files import read_json
from msa2net_lib.utils.plain import require_choice

Choice = Selection | Literal["unknown"]
CHOSEN: dict[str, str] = {**SELECTIONS, "unknown": "not recorded"}
"""How weights were chosen -> what tables call it."""


@dataclass(frozen=True, eq=False)
class ReproducedRun:
    """One trained network, scored on the test cases or images of one data set.

    name: what its row is called; runs of one name, network, data and selection are seeds of one row. network: as it was
    built for training (its ``pretrained`` says what the encoder began from). training: None where it is not known.
    data: a name in `data.catalog.DATASETS`, or another. scores: `Evaluation.scores` with the paper's protocol in it, or
    `ImageEvaluation.by_image`. scoring: how masks of images were made of logits, in words.
    """

    name: str
    network: Config
    data: str
    scores: pd.DataFrame
    selection: Choice = "last"
    training: TrainConfig | None = None
    scoring: str = ""

    def __post_init__(self) -> None:
        require_choice("selection", self.selection, tuple(CHOSEN))
        if "protocol" in self.scores:
            if "paper" not in set(self.scores["protocol"]):
                raise InputError(
                    f"{self.name}: Table 1 has the paper protocol's scores; evaluate with protocols='paper'"
                )
        elif missing := [name for name in COUNTS if name not in self.scores]:
            raise InputError(f"{self.name}: scores without {', '.join(missing)}; evaluate the images again")

    @classmethod
    def from_evaluation(cls, evaluation: Evaluation | ImageEvaluation, network: Config, **named: Any) -> ReproducedRun:
        """Take over what `evaluate` or `evaluate_images` returned; the other fields by name."""
        if isinstance(evaluation, Evaluation):
            return cls(scores=evaluation.scores, network=network, **named)
        return cls(scores=evaluation.by_image, network=network, scoring=evaluation.rule.describe(), **named)

    @classmethod
    def of_checkpoint(
        cls,
        evaluation: Evaluation | ImageEvaluation,
        network: Config,
        checkpoint: str | Path,
        *,
        name: str,
        data: str,
    ) -> ReproducedRun:
        """The same, with what the files beside the checkpoint tell of selection and training, see `told_beside`."""
        selection, training, trained = told_beside(checkpoint)
        told = {"selection": selection, "training": training}
        return cls.from_evaluation(evaluation, trained or network, name=name, data=data, **told)

    @classmethod
    def from_files(
        cls, scores: str | Path, run: str | Path, *, name: str, data: str, selection: Choice = "last"
    ) -> ReproducedRun:
        """Read scores (CSV of `Evaluation.scores`) and the record of the training (``run.json`` in its folder).

        Raises: `InputError` naming the file that is missing or is none of the kind.
        """
        words = ("protocol", "case", "organ")
        try:
            table = pd.read_csv(scores, dtype=dict.fromkeys(words, str))
        except (OSError, ValueError) as error:
            kind = type(error).__name__
            raise InputError(f"{scores}: not a readable table of scores ({kind}); evaluate again") from error
        if missing := [column for column in (*words, "dsc") if column not in table]:
            raise InputError(f"{scores}: no column {', '.join(missing)}; give the scores that an evaluation wrote")
        network, training = read_training(run)
        return cls(name, network, data, table, selection, training)

    @property
    def evaluation(self) -> Evaluation:
        """The scores on scans as an `Evaluation`, without predictions."""
        return Evaluation(self.scores, {})


def read_training(path: str | Path) -> tuple[Config, TrainConfig]:
    """Read what a ``run.json`` says of network and training, precision "auto" as what it came to.

    Raises: `InputError` for another file.
    """
    try:
        record = read_json(path)
        training = TrainConfig.from_dict(record["training"])
        if training.precision == "auto" and (used := record.get("mixed_precision")):
            training = replace(training, precision="bf16" if used == "bf16" else "fp32")
        return config_from_dict(record["network"]), training
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not the record of a training ({type(error).__name__}); give its run.json") from error


def told_beside(checkpoint: str | Path) -> tuple[Choice, TrainConfig | None, Config | None]:
    """What the files beside a checkpoint tell of it: how it was chosen, how it was trained, and the network then.

    A training folder has ``run.json``, the shipped network a file of its own name; without either nothing is known.
    """
    path = Path(checkpoint)
    choices: dict[str, Choice] = {file: choice for choice, file in SELECTION_FILES.items()}
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
