"""The paper's published numbers, typed once in ``recorded/*.csv``, each with its place.

Source of all: S. Ghorbani Kolahi et al., MSA²Net, BMVC 2024, arXiv:2407.21640. Scores of Tables 1 and 3 are
percent, HD95 is printed without a unit (the reference implementation computes voxels). Each table says where it
stands in the paper: ``table_1().attrs["source"]``.
"""

from __future__ import annotations

from importlib.resources import files

import pandas as pd

from msa2net_lib.data.labels import SCHEMES

OWN = "MSA²Net"
"""The paper's own row of Tables 1 and 2."""
TABLE_1_ORGANS = tuple(SCHEMES["B"])
"""Table 1's column order: that of the raw BTCV ids, as in label scheme B."""

_PAPER = "MSA²Net, BMVC 2024, arXiv:2407.21640"
SOURCES = {
    "table_1": f"{_PAPER}, section 4.3, Table 1: Synapse; competitors as this paper prints them",
    "table_2": f"{_PAPER}, section 4.3, Table 2: ISIC 2018; competitors as this paper prints them",
    "table_3": f"{_PAPER}, section 4.5, Table 3: ablation on Synapse",
    "table_a": f"{_PAPER}, supplement, section B, Table A: parameters",
    "table_1_counts": "the repositories of Table 1's systems, built and counted once",
    "table_2_elsewhere": "NITR098/Awesome-U-Net at 8785625: README and notebooks",
}
"""Where each table stands; also the ``source`` in its ``attrs``."""

SYNAPSE_SLICES = 3779
"""Slices of all 30 cases, section 4.1."""
SYNAPSE_TRAIN_SLICES_PRINTED = 2212
"""Training slices that papers on this data state, beginning with TransUNet (arXiv:2102.04306)."""


def table_1() -> pd.DataFrame:
    """Table 1, Synapse: parameters (M), FLOPs (G), DSC per organ (%), mean DSC (%), mean HD95 (no unit is printed).

    Index: method, see `REFERENCES`. Source: section 4.3; the paper's own method is the last row.
    """
    return _read("table_1").set_index("method")


def table_2() -> pd.DataFrame:
    """Table 2, ISIC 2018: DSC, sensitivity, specificity, accuracy (shares of one).

    Index: method, see `REFERENCES`. Source: section 4.3; the paper's own method is the last row.
    """
    return _read("table_2").set_index("method")


def table_3() -> pd.DataFrame:
    """Table 3, ablation on Synapse: which parts are in, mean DSC (%) and HD95 (no unit is printed).

    Source: section 4.5, where the column is headed "Dice"; its last row is Table 1's last.
    """
    return _read("table_3")


def table_a() -> pd.Series:
    """Table A of the supplement: parameters (M) by structure and module. Source: supplement, section B."""
    return _read("table_a").set_index(["structure", "module"]).parameters_m


def table_1_counts() -> pd.DataFrame:
    """What each system of Table 1 counts when its own repository builds it, beside what the table prints.

    Index: method; parameters, never_gradient (of these), fvcore_train_g and fvcore_eval_g: fvcore's count at 224 x 224
    in G, in training and evaluation mode. Source: the authors' repositories at the commits of `baselines.table`, built
    and counted once, untrained (fvcore 0.1.5).
    """
    return _read("table_1_counts").set_index("method")


def table_2_elsewhere() -> pd.DataFrame:
    """ISIC 2018 scores of systems of Table 2 as another repository of the same group prints them, shares of one.

    Columns: source (the README's table, or the last line of a notebook), method and the scores. Source:
    NITR098/Awesome-U-Net at 8785625, train_and_test/isic.
    """
    return _read("table_2_elsewhere")


def table_a_rows() -> pd.DataFrame:
    """Table A with rows named "structure: module"; column parameters_m."""
    table = table_a()
    names = [f"{structure}: {module}" if module else structure for structure, module in table.index.to_list()]
    return table.set_axis(names).to_frame()


def _read(name: str) -> pd.DataFrame:
    with (files("msa2net_lib.paper.recorded") / f"{name}.csv").open(encoding="utf-8") as file:
        table = pd.read_csv(file, keep_default_na=False)
    table.attrs["source"] = SOURCES[name]
    return table
