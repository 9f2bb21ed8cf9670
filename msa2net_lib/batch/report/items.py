"""The registry: every table and figure of the paper, what it holds, and where a batch leaves ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from msa2net_lib.paper import tables

ORIGIN, PUBLISHED, MEASURED, NOT_MEASURED = "origin", "published", "measured", "not measured"
COMPARABILITY = (ORIGIN, "data", "selection", "verdict", "note")
"""Columns of ``tables/*.csv`` behind the numbers: where a row is from, and whether it may be compared."""

LABELS = {
    "parameters_m": "parameters (M)", "flops_g": "FLOPs (G)", "dsc": "DSC", "hd95": "HD95",
    "se": "SE", "sp": "SP", "acc": "ACC", "masag": "MASAG", "lka": "LKA", "dae_former": "DAE-Former",
}  # fmt: skip
"""What the columns are called on the page; others are their own name."""

SYNAPSE = "Synapse (BTCV), its 12 test cases: the data need registration at synapse.org, the schedule a GPU"
ISIC = "ISIC 2018 task 1, which you download, and the authors' own split of it, which is not published"


@dataclass(frozen=True)
class Item:
    """One table or figure of the paper.

    holds: what it shows, in our words. lesson: two digits of the lesson that makes ours; pictures: names that
    lesson may record them by, the first found is shown. published: the printed numbers, column "row" first.
    headline: columns that stand for the table in the overview; ours: which of our rows does. decimals: of our
    numbers; printed: decimals the paper prints, by column of scores; percent: whether DSC is in percent. dataset:
    the catalog's name of the data it was made from, empty if from none; needs: what a comparable one takes.
    """

    key: str
    title: str
    kind: Literal["table", "figure"]
    holds: str
    lesson: str
    dataset: str
    needs: str
    pictures: tuple[str, ...] = ()
    published: Callable[[], pd.DataFrame] | None = None
    headline: tuple[str, ...] = ()
    ours: Literal["first", "last"] = "first"
    decimals: int = 2
    printed: dict[str, int] = field(default_factory=dict)
    percent: bool = False

    @property
    def name(self) -> str:
        """Table 1, Figure A."""
        return self.title.partition(":")[0]

    def label(self, column: str) -> str:
        """What a column is called on the page."""
        return LABELS.get(column, column.replace("_", " ")) + (" (%)" if self.percent and column == "dsc" else "")


def _named(table: pd.DataFrame) -> pd.DataFrame:
    """The published table in the columns of ours: the first column is the row's name."""
    return table.rename_axis("row").reset_index()


def _table_3() -> pd.DataFrame:
    table, parts = tables.table_3(), ["masag", "lka", "dae_former"]
    rows = [" + ".join(LABELS[part] for part in parts if row[part]) for row in table.to_dict("records")]
    return _named(table.set_axis(rows, axis=0))


def _table_a() -> pd.DataFrame:
    table = tables.table_a()
    rows = [f"{structure}: {module}" if module else structure for structure, module in table.index.to_list()]
    return _named(table.set_axis(rows).to_frame())


ITEMS: tuple[Item, ...] = (
    Item(
        "table_1", "Table 1: scores on Synapse", "table",
        "Parameters, FLOPs, DSC of eight organs in percent, mean DSC and HD95 of nine networks. The paper prints HD95 "
        "without a unit; the released code computes voxels.",
        "11", "synapse", SYNAPSE, published=lambda: _named(tables.table_1()), headline=("dsc", "hd95"),
        printed=dict.fromkeys(("flops_g", *tables.TABLE_1_ORGANS, "dsc", "hd95"), 2), percent=True,
    ),
    Item(
        "table_2", "Table 2: scores on ISIC 2018", "table",
        "DSC, sensitivity, specificity and accuracy of eight networks on skin lesions, as shares of one.",
        "11", "isic", ISIC, published=lambda: _named(tables.table_2()), headline=("dsc", "se", "sp", "acc"),
        decimals=4, printed=dict.fromkeys(("dsc", "se", "sp", "acc"), 4),
    ),
    Item(
        "table_3", "Table 3: ablation on Synapse", "table",
        "Mean DSC in percent and HD95 with and without MASAG, LKA and DAE-Former blocks. The paper gives no spread "
        "over seeds: of its differences nothing can be said to be more than noise, or less.",
        "12", "synapse", SYNAPSE, ("figure_ablation",), _table_3, ("dsc", "hd95"), "last",
        printed={"dsc": 2, "hd95": 2}, percent=True,
    ),
    Item(
        "table_a", "Table A: parameters by module", "table",
        "Parameters in millions of encoder, gates, LKA and DAE-Former blocks, and in all. Counting needs no data.",
        "08", "", "no data: parameters are counted", published=_table_a, headline=("parameters_m",), ours="last",
        printed={"parameters_m": 2},
    ),
    Item(
        "figure_1", "Figure 1: the network", "figure",
        "The network as a drawing: encoder, gates on the skips, decoder levels, and the gate's stages.",
        "08", "", "no data: ours is drawn from the network that is built", ("figure_1", "drawn"),
    ),
    Item(
        "figure_2", "Figure 2: predictions on Synapse", "figure",
        "Slices of Synapse test cases as ground truth and as several networks label them.",
        "11", "synapse", SYNAPSE, ("figure_2",),
    ),
    Item(
        "figure_3", "Figure 3: predictions on ISIC 2018", "figure",
        "Pictures of skin lesions with their true outline and the one that several networks draw.",
        "11", "isic", ISIC, ("figure_3",),
    ),
    Item(
        "figure_a", "Figure A: frequency response", "figure",
        "How much of the high frequencies is left layer by layer, with MASAG and without.",
        "13", "synapse", SYNAPSE, ("figure_a",),
    ),
    Item(
        "figure_b", "Figure B: Grad-CAM", "figure",
        "Where the decoder's last layer looks for each organ, in two samples.",
        "14", "synapse", SYNAPSE, ("figure_b",),
    ),
)  # fmt: skip
