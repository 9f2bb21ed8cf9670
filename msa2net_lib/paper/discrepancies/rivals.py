"""Differences in the other rows of Tables 1 and 2: who is missing, how they were counted, where they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from msa2net_lib.baselines.recipes import OWN_RECIPES
from msa2net_lib.paper.consistency import share_table
from msa2net_lib.paper.discrepancies.evidence import Evidence
from msa2net_lib.paper.tables import OWN, table_1, table_1_counts, table_2, table_2_elsewhere

MERIT = pd.Series({"dsc": 84.90, "hd95": 13.22}, name="MERIT")
"""Rahman and Marculescu, arXiv:2303.16892, as a third party lists it (hyper.ai, benchmarks of the paper)."""
TEXT_AORTA = 1.13
"""What section 4.3 states as the aorta's margin over the second best."""
README_PRECISION = 0.8823
"""Beside TransUNet's row in Awesome-U-Net's README."""


def missing_row(_: Path) -> Evidence:
    table = pd.concat([table_1()[["dsc", "hd95"]], MERIT.to_frame().T])
    ranks = pd.DataFrame({"rank by DSC": table.dsc.rank(ascending=False), "rank by HD95": table.hd95.rank()})
    own = ranks.loc[OWN]
    says = (
        f"MERIT's listed {MERIT.dsc:.2f} and {MERIT.hd95:.2f} beside the paper's {table.dsc[OWN]:.2f} and "
        f"{table.hd95[OWN]:.2f}: with it in the table the paper's row is number {own.iloc[0]:.0f} by DSC and "
        f"{own.iloc[1]:.0f} by HD95 (a third party's list; two encoders and two image sizes; no seeds on either side)"
    )
    return Evidence(says, table.join(ranks).sort_values("dsc", ascending=False), bool((own > 1).any()))


def aorta(_: Path) -> Evidence:
    scores = table_1().aorta.sort_values(ascending=False)
    table = scores.to_frame("aorta").assign(margin=(scores.iloc[0] - scores).round(2))
    named = table.index[table.margin == TEXT_AORTA]
    place = list(table.index).index(named[0]) + 1 if len(named) else 0
    says = (
        f"the second best is {scores.index[1]}, {table.margin.iloc[1]:.2f} below; {TEXT_AORTA} is the distance to "
        f"{', '.join(named) or 'none'}, number {place}, which the table colors as second best"
    )
    return Evidence(says, table, place > 2)


def compute_columns(_: Path) -> Evidence:
    table = table_1()[["parameters_m", "flops_g"]].join(table_1_counts())
    table["parameters"] = table.parameters / 1e6
    same = {mode: (table[f"fvcore_{mode}_g"] / table.flops_g - 1).abs() < 0.001 for mode in ("train", "eval")}
    sizes = table.index[(table.parameters - table.parameters_m).abs() > 0.06]
    odd = table.index[~same["train"]]
    says = (
        f"of {len(table)} printed FLOPs, {same['train'].sum()} are fvcore's count in training mode to 0.1 %, "
        f"{same['eval'].sum()} that in evaluation mode; {', '.join(odd)} prints "
        f"{', '.join(f'{table.flops_g[name] / table.fvcore_train_g[name]:.2f}' for name in odd)} times its count. Of "
        f"the sizes {' and '.join(sizes)} differ from what the code builds, by "
        + " and ".join(f"{table.parameters[name] - table.parameters_m[name]:+.2f} M" for name in sizes)
    )
    return Evidence(says, table, bool(same["train"].sum() > same["eval"].sum()))


def dead_parameters(_: Path) -> Evidence:
    counts = table_1_counts() / 1e6
    table = counts[["parameters", "never_gradient"]].assign(share=counts.never_gradient / counts.parameters)
    dead = table[table.share > 0.01]
    says = f"{len(dead)} of {len(table)} systems count parameters that never get a gradient: " + ", ".join(
        f"{name} {row.never_gradient:.2f} of {row.parameters:.2f} M" for name, row in dead.iterrows()
    )
    return Evidence(says, table, len(dead) > 0)


def scored_on_test(_: Path) -> Evidence:
    others = [name for name in table_1().index if name != OWN]
    columns = ("chosen", "loss", "augmentation", "epochs", "images")
    rows = {
        name: {column: getattr(OWN_RECIPES[name], column) for column in columns}
        for name in others
        if name in OWN_RECIPES
    }
    table = pd.DataFrame(rows, index=list(columns)).T.reindex(others).astype(object).fillna("not released")
    scored = table.index[table.chosen.str.contains("test cases")]
    kinds = ", ".join(f"{table[column].nunique()} {column}" for column in columns[1:])
    says = (
        f"{len(scored)} of {len(table)} score the test cases while they train: {', '.join(scored)}; different settings "
        f"among the rows: {kinds}"
    )
    return Evidence(says, table, len(scored) > 0)


def lesion_shares(_: Path) -> Evidence:
    table = share_table(table_2())
    pooled = list(table.index[table.pooled])
    inside = table.drop(index=OWN)
    meet = bool(inside.low.max() <= inside.high.min())
    says = (
        f"{len(pooled)} of {len(table)} rows can be pooled scores ({', '.join(pooled)}); the shares of lesion pixels "
        f"that SE, SP and ACC imply run from {inside.low.min():.3f} to {inside.high.max():.3f}, and "
        f"{'one share suits' if meet else 'no share suits'} all of them; {OWN}'s would be {table.high[OWN]:.3f}"
    )
    return Evidence(says, table, not meet)


def transunet_row(_: Path) -> Evidence:
    elsewhere, own = table_2_elsewhere(), table_2().loc["TransUNet"]
    rows = elsewhere[elsewhere.method == "TransUNet"].set_index("source").drop(columns="method")
    table = pd.concat([own.to_frame("Table 2").T, rows])
    same = [str(source) for source in rows.index if (rows.loc[source] == own).all()]
    f1 = 2 * README_PRECISION * own.se / (README_PRECISION + own.se)
    says = (
        f"Table 2's four scores of TransUNet are those of Awesome-U-Net's {', '.join(same) or 'no table'}, whose "
        f"precision of {README_PRECISION} with SE {own.se} gives a DSC of {f1:.4f}, not {own.dsc}; its notebook ends "
        f"with {rows.dsc['notebook']:.4f}"
    )
    return Evidence(says, table, len(same) > 0)


def two_test_sets(_: Path) -> Evidence:
    elsewhere = table_2_elsewhere()
    notebooks = share_table(elsewhere[elsewhere.source == "notebook"].set_index("method"))
    here = share_table(table_2())
    there = here[here.pooled]
    table: Any = pd.concat({"Awesome-U-Net's notebooks": notebooks, "Table 2": there})
    first, second = ((part.low.max(), part.high.min()) for part in (notebooks, there))
    apart = notebooks.high.max() < there.low.min()
    says = (
        f"the last 520 images in directory order hold {first[0]:.4f} to {first[1]:.4f} lesion pixels in "
        f"{len(notebooks)} notebooks of one repository, {second[0]:.4f} to {second[1]:.4f} in {len(there)} rows of "
        f"Table 2 from another of the same group: the intervals {'do not meet' if apart else 'meet'}"
    )
    return Evidence(says, table, bool(apart))
