"""Differences in scoring and in the tables: protocols, units, and numbers that cannot be."""

from __future__ import annotations

import inspect
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from msa2net_lib.analysis import complexity
from msa2net_lib.config import NetworkConfig
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.metrics import hd95, score_volume
from msa2net_lib.paper import reference_implementation as released
from msa2net_lib.paper.claims import FLOAT, POINTS, claims_table
from msa2net_lib.paper.consistency import consistency_table, implied_specificity
from msa2net_lib.paper.discrepancies.evidence import Evidence, patient, patient_2
from msa2net_lib.paper.recorded import FORMS, recorded_count, recorded_shapes
from msa2net_lib.paper.tables import OWN, table_1, table_2, table_3, table_a

SLIGHT = 0.1
"""Points by which a statement may miss and still be called close."""


def empty_masks(data_dir: Path) -> Evidence:
    _, label = patient_2(data_dir)
    classes = len(ORGANS) + 1
    absent = sorted(set(range(1, classes)) - set(np.unique(label)))
    invented = label.copy()
    free = np.flatnonzero(label == 0)
    invented.flat[free[: len(absent)]] = absent
    spacing = patient(data_dir, 2)[2]
    rows = {
        name: {
            "paper protocol": score_volume(pred, label, classes)[:, 0].mean(),
            "strict protocol": np.nanmean(score_volume(pred, label, classes, "strict", spacing)[:, 0]),
        }
        for name, pred in (("every organ exactly right", label), ("and one voxel of each that is not there", invented))
    }
    table = pd.DataFrame(rows).T.rename_axis("mean DSC")
    right, worse = table["paper protocol"]
    says = (
        f"a perfect prediction of real patient 2 has a mean DSC of {right:.3f} in the released protocol, for "
        f"{len(absent)} organs are not in the scan; with one invented voxel of each "
        f"it has {worse:.3f} (it is a short scan; on whole abdomens organs are rarely absent)"
    )
    return Evidence(says, table, worse > right)


def broken_test_script(_: Path) -> Evidence:
    takes = inspect.Signature(
        [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in released.SCORING_ARGUMENTS]
    )
    try:
        takes.bind(**{released.TEST_ARGUMENT: "none"})
        refused = "nothing"
    except TypeError as error:
        refused = str(error)
    table = pd.DataFrame({"scoring takes": released.SCORING_ARGUMENTS})
    return Evidence(
        f"binding what test.py passes, 1 of its arguments is refused: {refused}", table, refused != "nothing"
    )


def ablation_code(_: Path) -> Evidence:
    parts = {"gate": ".ag_attn.", "LKA block": ".layer_lka_", "dual-attention block": ".tran_layer"}
    rows = {
        f"{form}, level {level}": {
            part: any(key.startswith(f"decoder_{level}{word}") for key in recorded_shapes(form))
            for part, word in parts.items()
        }
        for form in FORMS
        for level in range(4)
    }
    table = pd.DataFrame(rows).T
    whole = sum(row["gate"] and sum(row.values()) > 1 for row in rows.values())
    reduced = sum(not all(row) for row in table_3()[["masag", "lka", "dae_former"]].to_numpy())
    says = (
        f"{whole} of {len(table)} recorded levels have a gate and blocks: the source builds none of the {reduced} "
        "reduced rows of Table 3"
    )
    return Evidence(says, table, whole == len(table))


def hd95_voxels(data_dir: Path) -> Evidence:
    _, label, spacing = patient(data_dir, 2)
    liver = label == ORGANS.index("liver") + 1
    rows = {}
    for axis, name in enumerate("zyx"):
        moved = np.roll(liver, 3, axis)
        if axis == 0:
            moved[:3] = False
        rows[f"3 voxels along {name}"] = {"voxels": hd95(moved, liver), "mm": hd95(moved, liver, spacing)}
    table = pd.DataFrame(rows).T
    says = "real patient 2's liver moved by 3 voxels, of whose surface distances 95 % are within: " + ", ".join(
        f"{row['voxels']:.2f} voxels or {row['mm']:.2f} mm ({name[-1]})" for name, row in rows.items()
    )
    return Evidence(says, table, float((table.mm / table.voxels).max() / (table.mm / table.voxels).min()) > 1.01)


def isic_specificity(_: Path) -> Evidence:
    rows = consistency_table(table_2())
    own = rows.loc[OWN]
    specificity, prevalence = implied_specificity(own.dsc, own.se, own.acc)
    says = (
        f"pooled over pixels ACC lies between SE and SP, but {own.acc:.4f} is above both {own.se:.4f} and "
        f"{own.sp:.4f}; SP {specificity:.4f} at prevalence {prevalence:.4f} would agree with the other three"
    )
    shown = rows.filter(["dsc", "se", "sp", "acc", "acc_between", "closes"])
    return Evidence(says, shown, not bool(own.acc_between))


def claims_of_the_text(_: Path) -> Evidence:
    table = claims_table()
    wrong: Any = table[~table.holds]
    short = (wrong.recomputed - wrong.printed.fillna(0)).abs().where(wrong.unit.isin((POINTS, "%")))
    slight = short[short <= SLIGHT + FLOAT].sort_values()
    read = wrong.how.str.startswith("read as").sum() if len(wrong) else 0
    says = (
        f"of {len(table)} statements that the paper's own tables can check, {len(wrong)} do not hold; of these "
        f"{len(slight)} miss by {SLIGHT:g} of a point or less"
        + (f" ({', '.join(f'{key} by {value:.2f}' for key, value in slight.items())})" if len(slight) else "")
        + f", and {read} do so only as read here"
    )
    shown = wrong[["says", "place", "printed", "recomputed", "unit", "how"]].assign(missed_by=short)
    return Evidence(says, shown, len(wrong) > 0)


def table_a_rows(_: Path) -> Evidence:
    gates = [f"decoder_{level}.ag_attn." for level in range(4)]
    head = recorded_count("published", "decoder_0.last_layer.")
    counted = {
        "MaxViT-B": recorded_count("published", "backbone.backbone."),
        "MASAG": sum(recorded_count("published", gate) for gate in gates),
        "LKA": sum(recorded_count("published", f"decoder_{level}.", (gates[level],)) for level in (0, 1)),
        "DAE-Former": sum(recorded_count("published", f"decoder_{level}.", (gates[level],)) for level in (2, 3)),
        "": recorded_count("published"),
    }
    printed = table_a().droplevel("structure")
    table = printed.to_frame("printed (M)").assign(**{"counted (M)": pd.Series(counted) / 1e6})
    table = table.rename(index={"": "total"})
    rows = zip(table.index, table["printed (M)"], table["counted (M)"], strict=True)
    off = {name: abs(counted - stated) for name, stated, counted in rows if abs(counted - stated) > 0.005}
    says = (
        f"{len(off)} of {len(table)} rows are more than rounding off: "
        + ", ".join(f"{name} by {value:.3f} M" for name, value in off.items())
        + f" (LKA counted with the head's {head / 1e6:.4f} M)"
    )
    return Evidence(says, table, len(off) > 0)


@cache
def _published_work() -> complexity.Work:
    return complexity.count_work(complexity.build_empty(NetworkConfig.from_preset("published")))


def counting_rule(_: Path) -> Evidence:
    table = complexity.counting_table(_published_work())
    printed = table_1().flops_g[OWN]
    same = [rule for rule, value in table.g.items() if round(value, 2) == printed]
    products, operations = table.g[complexity.TORCH.name], table.g[complexity.OPERATIONS.name]
    says = (
        f"{printed} G is what these rules give: {', '.join(map(str, same)) or 'none'}; convolutions and products alone "
        f"are {products:.2f} G multiply-adds, {operations:.2f} G operations"
    )
    return Evidence(says, table, same == [complexity.TRAINING.name])
