"""Table 2 with our rows below the published ones: scores on pictures, pooled and per image, each said to be so."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd

from msa2net_lib.config import NetworkConfig, require_choice
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.images import COUNTS, ImageEvaluation
from msa2net_lib.metrics import scores_of_counts
from msa2net_lib.paper.comparability import Verdict, judge_images
from msa2net_lib.paper.reproduced.runs import CHOSEN, Choice, read_scores, read_training, told_beside
from msa2net_lib.paper.reproduced.table_1 import COMPARABILITY, as_table
from msa2net_lib.paper.tables import table_2
from msa2net_lib.train_config import TrainConfig

Average = Literal["pooled", "per_image"]
SCORES = ("dsc", "se", "sp", "acc")
TABLE_2_COLUMNS = (*SCORES, "dsc_low", "dsc_high", *COMPARABILITY)
IN_WORDS = {"skin": "synthetic skin pictures, drawn by a program", "isic": "ISIC 2018 task 1"}
AVERAGE_IN_WORDS = {"pooled": "all pixels pooled", "per_image": "mean over pictures"}
NEEDED = "ISIC 2018 has to be downloaded (11 GB), its 50 epochs need a GPU: msa2net prepare isic --download"


@dataclass(frozen=True, eq=False)
class ReproducedImageRun:
    """One trained network, scored on the test pictures of one data set.

    name, network, training, selection: as in `runs.ReproducedRun`. data: a name in `catalog.PICTURES`, or another.
    by_image: `ImageEvaluation.by_image`, with its pixel counts. scoring: how masks were made of
    logits, in words.
    """

    name: str
    network: NetworkConfig
    data: str
    by_image: pd.DataFrame
    selection: Choice = "last"
    training: TrainConfig | None = None
    scoring: str = ""

    def __post_init__(self) -> None:
        require_choice("selection", self.selection, tuple(CHOSEN))
        if missing := [name for name in COUNTS if name not in self.by_image]:
            raise InputError(f"{self.name}: scores without {', '.join(missing)}; evaluate the pictures again")

    @classmethod
    def from_evaluation(cls, evaluation: ImageEvaluation, network: NetworkConfig, **named: Any) -> ReproducedImageRun:
        """Take over what `evaluate_images` returned; the other fields by name."""
        return cls(by_image=evaluation.by_image, network=network, scoring=evaluation.rule.describe(), **named)

    @classmethod
    def of_checkpoint(
        cls, evaluation: ImageEvaluation, network: NetworkConfig, checkpoint: str | Path, *, name: str, data: str
    ) -> ReproducedImageRun:
        """The same, with what the files beside the checkpoint tell of selection and training."""
        selection, training, trained = told_beside(checkpoint)
        about = {"data": data, "selection": selection, "training": training}
        return cls.from_evaluation(evaluation, trained or network, name=name, **about)

    @classmethod
    def from_files(
        cls, scores: str | Path, run: str | Path, *, name: str, data: str, selection: Choice = "last"
    ) -> ReproducedImageRun:
        """Read scores (CSV of ``by_image``) and the record of the training, as `ReproducedRun.from_files` does."""
        table = read_scores(scores, text=("image",)).set_index("image")
        network, training = read_training(run)
        assert network is not None
        return cls(name, network, data, table, selection, training)

    def scores(self, average: Average) -> tuple[dict[str, float], tuple[float, float]]:
        """The four scores (0 to 1), and the 95 % bootstrap interval of the DSC over pictures, nan for less than 2."""
        counts = self.by_image[list(COUNTS)].to_numpy()
        scores = {name: scores_of_counts(counts, name) for name in get_args(Average)}
        table = pd.DataFrame.from_dict(scores, orient="index")
        evaluation = ImageEvaluation("test", table, self.by_image, {})
        return scores[average], evaluation.interval(average)


def reproduced_table_2(runs: Iterable[ReproducedImageRun] = ()) -> pd.DataFrame:
    """Table 2 and, below it, two rows for each run of ours, pooled and per image; index ``row``.

    Columns `TABLE_2_COLUMNS`, shares of one. Then the row that would be comparable, as "not measured", unless one is.
    """
    runs = list(runs)
    rows = [_published_row(method, values) for method, values in table_2().to_dict("index").items()]
    rows += [_measured_row(run, average) for run in runs for average in get_args(Average)]
    if not any(_verdict(run, "pooled").comparable for run in runs):
        honest = {"origin": "not measured", "data": IN_WORDS["isic"], "verdict": "not measured", "note": NEEDED}
        rows.append({"row": "ours: paper on ISIC 2018, trained here"} | honest)
    return as_table(rows, TABLE_2_COLUMNS)


def _published_row(method: str, values: dict[str, float]) -> dict[str, Any]:
    own = method == "MSA²Net"
    note = "does not close as pooled counts (lesson 16)" if own else "as this paper prints it"
    honest = {"origin": "published", "data": "ISIC 2018; which pictures is not told", "selection": "not said"}
    return {"row": method, **values, **honest, "note": note}


def _verdict(run: ReproducedImageRun, average: Average) -> Verdict:
    return judge_images(run.data, len(run.by_image), average, run.network, run.training)


def _measured_row(run: ReproducedImageRun, average: Average) -> dict[str, Any]:
    scores, (low, high) = run.scores(average)
    verdict = _verdict(run, average)
    notes = [AVERAGE_IN_WORDS[average], "1 seed; interval of the DSC: 95 %, bootstrap over pictures", run.scoring]
    return {
        "row": f"ours: {run.name}, {average.replace('_', ' ')}",
        **{name: round(value, 4) for name, value in scores.items()},
        "dsc_low": round(low, 4),
        "dsc_high": round(high, 4),
        "origin": "measured",
        "data": f"{len(run.by_image)} {IN_WORDS.get(run.data, run.data)}",
        "selection": CHOSEN[run.selection],
        "verdict": verdict.phrase,
        "note": "; ".join(filter(None, (*notes, *verdict.remarks))),
    }
