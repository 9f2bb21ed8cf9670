"""Table 2 with the reproduced rows below: scores on images, pooled and per image, each said to be so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, get_args

import pandas as pd

from msa2net_lib.evaluation.images import ImageEvaluation
from msa2net_lib.paper.comparability import Comparability, judge_images
from msa2net_lib.paper.reproduced.rows import (
    COMPARABILITY,
    MEASURED,
    as_table,
    data_in_words,
    missing_row,
    published_rows,
)
from msa2net_lib.paper.reproduced.runs import CHOSEN, ReproducedRun
from msa2net_lib.paper.tables import table_2

Average = Literal["pooled", "per_image"]
TABLE_2_COLUMNS = ("dsc", "se", "sp", "acc", "dsc_low", "dsc_high", *COMPARABILITY)
AVERAGE_IN_WORDS: dict[Average, str] = {"pooled": "all pixels pooled", "per_image": "mean over images"}
NEEDED = "ISIC 2018 has to be downloaded (11 GB), its 50 epochs need a GPU: msa2net prepare isic --download"


def reproduced_table_2(runs: Iterable[ReproducedRun] = ()) -> pd.DataFrame:
    """Table 2 and, below it, two rows for each run, pooled and per image; index ``row``, shares of one.

    Then the row that would be comparable, as "not measured", unless one is.
    """
    runs = list(runs)
    said = {"data": "ISIC 2018; which images is not told", "selection": "not said", "note": "as this paper prints it"}
    rows = published_rows(table_2(), said, said | {"note": "does not close as pooled counts (lesson 16)"})
    rows += [_measured_row(run, average) for run in runs for average in get_args(Average)]
    if not any(_comparability(run, "pooled").comparable for run in runs):
        rows.append(missing_row("paper on ISIC 2018, trained here", "isic", NEEDED))
    return as_table(rows, TABLE_2_COLUMNS)


def _comparability(run: ReproducedRun, average: Average) -> Comparability:
    return judge_images(run.data, len(run.scores), average, run.network, run.training, run.selection)


def _measured_row(run: ReproducedRun, average: Average) -> dict[str, Any]:
    evaluation, comparability = ImageEvaluation("test", run.scores, {}), _comparability(run, average)
    low, high = evaluation.interval(average)
    scores = {**evaluation.scores.loc[average], "dsc_low": low, "dsc_high": high}
    notes = [AVERAGE_IN_WORDS[average], "1 seed; interval of the DSC: 95 %, Student's t over images", run.scoring]
    return {
        "row": f"reproduced: {run.name}, {average.replace('_', ' ')}",
        **{name: round(float(value), 4) for name, value in scores.items()},
        "origin": MEASURED,
        "data": f"{len(run.scores)} {data_in_words(run.data)}",
        "selection": CHOSEN[run.selection],
        "comparability": comparability.phrase,
        "note": "; ".join(filter(None, (*notes, *comparability.remarks))),
    }
