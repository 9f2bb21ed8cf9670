"""The paper's published numbers, typed once, each with its place.

Source of all: S. Ghorbani Kolahi et al., MSA²Net, BMVC 2024, arXiv:2407.21640. Scores of Tables 1 and 3 are
percent, HD95 is printed without a unit (the released code computes voxels). Each table says where it stands in the
paper: ``table_1().attrs["source"]``.
"""

from __future__ import annotations

from typing import TypeVar

import pandas as pd

_TableT = TypeVar("_TableT", pd.DataFrame, pd.Series)

OWN = "MSA²Net"
"""The paper's own row of Tables 1 and 2."""
TABLE_1_ORGANS = (
    "spleen",
    "right kidney",
    "left kidney",
    "gallbladder",
    "liver",
    "stomach",
    "aorta",
    "pancreas",
)
"""Table 1's column order, which is none of the label schemes in circulation."""

_TABLE_1 = {
    "TransUNet": (96.07, 88.91, 85.08, 77.02, 81.87, 63.16, 94.08, 75.62, 87.23, 55.86, 77.49, 31.69),
    "Swin-UNet": (27.17, 6.16, 90.66, 79.61, 83.28, 66.53, 94.29, 76.60, 85.47, 56.58, 79.13, 21.55),
    "MISSFormer": (42.46, 9.89, 91.92, 82.00, 85.21, 68.65, 94.41, 80.81, 86.99, 65.67, 81.96, 18.20),
    "ScaleFormer": (111.6, 48.93, 89.40, 83.31, 86.36, 74.97, 95.12, 80.14, 88.73, 64.85, 82.86, 16.81),
    "HiFormer-B": (25.51, 8.045, 90.99, 79.77, 85.23, 65.23, 94.61, 81.08, 86.21, 59.52, 80.39, 14.70),
    "DAE-Former": (48.07, 27.89, 91.82, 82.39, 87.66, 71.65, 95.08, 80.77, 87.84, 63.93, 82.63, 16.39),
    "PVT-CASCADE": (35.28, 6.40, 90.10, 80.37, 82.23, 70.59, 94.08, 83.69, 83.01, 64.43, 81.06, 20.23),
    "2D D-LKA Net": (101.64, 19.92, 91.22, 84.92, 88.38, 73.79, 94.88, 84.94, 88.34, 67.71, 84.27, 20.04),
    "MSA²Net": (112.77, 15.56, 92.69, 84.24, 88.30, 74.35, 95.59, 84.03, 89.47, 69.30, 84.75, 13.29),
}

_TABLE_2 = {
    "U-Net": (0.8545, 0.8800, 0.9697, 0.9404),
    "AttU-Net": (0.8566, 0.8674, 0.9863, 0.9376),
    "TransUNet": (0.8499, 0.8578, 0.9653, 0.9452),
    "FAT-Net": (0.8903, 0.9100, 0.9699, 0.9578),
    "Swin-UNet": (0.8946, 0.9056, 0.9798, 0.9645),
    "UCTransNet": (0.8838, 0.8429, 0.9825, 0.9527),
    "DermoSegDiff": (0.9005, 0.8761, 0.9811, 0.9587),
    "MSA²Net": (0.9129, 0.8840, 0.9557, 0.9640),
}

_TABLE_3 = [
    (False, True, False, 82.80, 17.42),
    (False, False, True, 83.16, 16.18),
    (False, True, True, 83.76, 14.42),
    (True, True, False, 84.32, 15.14),
    (True, False, True, 84.41, 14.82),
    (True, True, True, 84.75, 13.29),
]

_TABLE_A = {
    ("Encoder", "MaxViT-B"): 64.12,
    ("Skip Connection", "MASAG"): 9.44,
    ("Decoder", "LKA"): 1.37,
    ("Decoder", "DAE-Former"): 37.84,
    ("Total", ""): 112.77,
}

REFERENCES = {
    "TransUNet": "Chen et al. 2021, arXiv:2102.04306 (reference 10)",
    "Swin-UNet": "Cao et al., ECCV 2022 (reference 8)",
    "MISSFormer": "Huang et al. 2021, arXiv:2109.07162 (reference 20)",
    "ScaleFormer": "Huang et al. 2022, arXiv:2207.14552 (reference 19)",
    "HiFormer-B": "Heidari et al., WACV 2023 (reference 17)",
    "DAE-Former": "Azad et al., PRIME 2023 (reference 5)",
    "PVT-CASCADE": "Rahman and Marculescu, WACV 2023 (reference 30)",
    "2D D-LKA Net": "Azad et al., WACV 2024 (reference 6)",
    "U-Net": "Ronneberger et al., MICCAI 2015 (reference 31)",
    "AttU-Net": "Oktay et al. 2018, arXiv:1804.03999 (reference 29)",
    "FAT-Net": "Wu et al., Medical Image Analysis 2022 (reference 42)",
    "UCTransNet": "Wang et al., AAAI 2022 (reference 40)",
    "DermoSegDiff": "Bozorgpour et al., PRIME 2023 (reference 7)",
    "MSA²Net": "Ghorbani Kolahi et al., BMVC 2024, arXiv:2407.21640 (the paper itself)",
}
"""Method of Tables 1 and 2 -> whose it is, with its number in the paper's reference list.

The numbers are those that this paper prints. Whether it copied or measured a competitor's row it does not say.
"""

_PAPER = "MSA²Net, BMVC 2024, arXiv:2407.21640"
SOURCES = {
    "table_1": f"{_PAPER}, section 4.3, Table 1: Synapse; competitors as this paper prints them",
    "table_2": f"{_PAPER}, section 4.3, Table 2: ISIC 2018; competitors as this paper prints them",
    "table_3": f"{_PAPER}, section 4.5, Table 3: ablation on Synapse",
    "table_a": f"{_PAPER}, supplement, section B, Table A: parameters",
}
"""Where each table stands; also the ``source`` in its ``attrs``."""

SYNAPSE_TRAIN_SLICES = {
    "0005": 117, "0006": 131, "0007": 163, "0009": 149, "0010": 148, "0021": 143, "0023": 96, "0024": 124, "0026": 131,
    "0027": 88, "0028": 89, "0030": 153, "0031": 93, "0033": 104, "0034": 98, "0037": 99, "0039": 90, "0040": 195,
}  # fmt: skip
"""Slices of each training case in the field's id list (lists/lists_Synapse/train.txt of the released code)."""
SYNAPSE_TRAIN_SLICES_PRINTED = 2212
"""Training slices that papers on this data state, beginning with TransUNet (arXiv:2102.04306)."""


def table_1() -> pd.DataFrame:
    """Table 1, Synapse: parameters (M), FLOPs (G), DSC per organ (%), mean DSC (%), mean HD95 (no unit is printed).

    Index: method, see `REFERENCES`. Source: section 4.3; the paper's own method is the last row.
    """
    columns = ["parameters_m", "flops_g", *TABLE_1_ORGANS, "dsc", "hd95"]
    return _named(pd.DataFrame.from_dict(_TABLE_1, orient="index", columns=columns).rename_axis("method"), "table_1")


def table_2() -> pd.DataFrame:
    """Table 2, ISIC 2018: DSC, sensitivity, specificity, accuracy (shares of one).

    Index: method, see `REFERENCES`. Source: section 4.3; the paper's own method is the last row.
    """
    columns = ["dsc", "se", "sp", "acc"]
    return _named(pd.DataFrame.from_dict(_TABLE_2, orient="index", columns=columns).rename_axis("method"), "table_2")


def table_3() -> pd.DataFrame:
    """Table 3, ablation on Synapse: which parts are in, mean DSC (%) and HD95 (no unit is printed).

    Source: section 4.5, where the column is headed "Dice"; its last row is Table 1's last.
    """
    return _named(pd.DataFrame(_TABLE_3, columns=["masag", "lka", "dae_former", "dsc", "hd95"]), "table_3")


def table_a() -> pd.Series:
    """Table A of the supplement: parameters (M) by structure and module. Source: supplement, section B."""
    return _named(pd.Series(_TABLE_A, name="parameters_m").rename_axis(["structure", "module"]), "table_a")


def table_a_rows() -> pd.DataFrame:
    """Table A with rows named "structure: module"; column parameters_m."""
    table = table_a()
    names = [f"{structure}: {module}" if module else structure for structure, module in table.index.to_list()]
    return table.set_axis(names).to_frame()


def _named(table: _TableT, name: str) -> _TableT:
    table.attrs["source"] = SOURCES[name]
    return table
