"""What the paper's text says about its own tables, each statement recomputed from those tables.

A statement with a number holds if rounding explains what is left between it and the recomputed number: half
a unit of the last digit for the statement and for every table value that went in. A ranking holds if the
margin is larger than those halves. Where a sentence leaves room, ``how`` says what it is read as.

Not here, because no table speaks of it: section 4.1's numbers of images and section 4.2's training recipe.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import pandas as pd

from msa2net_lib.paper import tables
from msa2net_lib.paper.recorded import recorded_count
from msa2net_lib.paper.tables import OWN

DLKA, DAE, HIFORMER = "2D D-LKA Net", "DAE-Former", "HiFormer-B"
"""Rows of Table 1 that the text speaks of."""
HALF = 0.005
"""Half a unit of the last digit of the values used: percent (Table 2 too, once times 100), HD95 and M."""
FLOAT = 1e-9
POINTS, HD95, MILLION = "percentage points", "HD95", "M"


@dataclass(frozen=True)
class Claim:
    """One statement of the paper beside its recomputation.

    printed: the number in the statement, None for a ranking. recomputed: the same from the tables, for a
    ranking the margin (positive: ahead) or the count. rounding: the most that rounded digits explain, in ``unit``.
    """

    key: str
    says: str
    place: str
    printed: float | None
    recomputed: float | None
    unit: str
    how: str
    holds: bool
    rounding: float = 0.0


def claims() -> tuple[Claim, ...]:
    """Recompute every checkable statement, in the paper's order.

    Raises: none of its own. Source: the abstract, sections 1, 4.3 and 4.5, supplement B and the tables
    themselves, against `msa2net_lib.paper.tables` and the gates of `msa2net_lib.paper.recorded`.
    """
    return (*_opening(), *_synapse(), *_isic(), *_means_of_table_1(), *_ablation(), *_parameters())


def claims_table() -> pd.DataFrame:
    """`claims` as a table, one row per key; printed is nan for rankings. Source: `claims`."""
    table = pd.DataFrame([asdict(claim) for claim in claims()]).set_index("key")
    return table.astype({"printed": float, "recomputed": float})


def _number(key: str, says: str, place: str, printed: str, value: Any, operands: Any, unit: str, how: str) -> Claim:
    """A statement with a number, written as printed; operands: what rounding of the table values explains."""
    decimals = len(printed.partition(".")[2])
    rounding = 0.5 / 10**decimals + operands
    holds = abs(float(printed) - value) <= rounding + FLOAT
    return Claim(key, says, place, float(printed), float(value), unit, how, bool(holds), float(rounding))


def _ranking(key: str, says: str, place: str, margin: Any, operands: float, unit: str, how: str) -> Claim:
    return Claim(key, says, place, None, float(margin), unit, how, bool(margin > operands + FLOAT), operands)


def _count(key: str, says: str, place: str, count: int, least: int, unit: str, how: str) -> Claim:
    return Claim(key, says, place, None, float(count), unit, how, count >= least)


def _lead(scores: pd.DataFrame) -> Any:
    """By column: how far the paper's own row is above the best other row (negative: below)."""
    return scores.loc[OWN] - scores.drop(index=OWN).max()


def _leads() -> tuple[Any, Any]:
    """Leads in Table 1 (points; HD95 turned round, so that ahead is positive) and in Table 2 (points)."""
    one = tables.table_1()
    return _lead(one.assign(hd95=-one.hd95)), _lead(100 * tables.table_2())


def _opening() -> Iterator[Claim]:
    synapse, isic = _leads()
    yield _ranking(
        "ahead-on-both", "ahead or level on both datasets", "abstract", min(synapse.dsc, isic.dsc), 2 * HALF, POINTS,
        "smaller of its mean DSC's leads over the best other row, Tables 1 and 2",
    )  # fmt: skip
    means = [*synapse[["dsc", "hd95"]], *isic]
    yield _count(
        "several-metrics", "ahead in several metrics", "section 1", sum(m > 2 * HALF + FLOAT for m in means), 2,
        f"of {len(means)} columns", "read as: best in at least two of Table 1's DSC, HD95 and Table 2's columns",
    )  # fmt: skip


def _synapse() -> Iterator[Claim]:
    place, one, (lead, _) = "section 4.3", tables.table_1(), _leads()
    over = one.loc[OWN] - one
    for key, other, printed in (("d-lka", DLKA, "0.48"), ("dae-former", DAE, "2.21"), ("hiformer", HIFORMER, "4.36")):
        yield _number(
            f"dsc-over-{key}", f"mean DSC above {other}", place, printed, over.dsc[other], 2 * HALF, POINTS,
            f"Table 1, mean DSC: {OWN} minus {other}",
        )  # fmt: skip
    yield _number(
        "hd95-under-hiformer", f"HD95 below {HIFORMER}", place, "1.41", -over.hd95[HIFORMER], 2 * HALF, HD95,
        f"Table 1, HD95: {HIFORMER} minus {OWN}",
    )  # fmt: skip
    yield _ranking(
        "lowest-hd95", "lowest HD95", "Table 1", lead.hd95, 2 * HALF, HD95,
        "Table 1: the lowest other HD95 minus its own",
    )  # fmt: skip
    for organ in ("spleen", "aorta", "liver", "pancreas", "left kidney"):
        yield _ranking(
            f"best-{organ.replace(' ', '-')}", f"improves on the {organ}", place, lead[organ], 2 * HALF, POINTS,
            f"read as best; Table 1, {organ}: its DSC minus the best other",
        )  # fmt: skip
    for organ, printed in (("pancreas", "1.59"), ("aorta", "1.13")):
        yield _number(
            f"{organ}-margin", f"{organ} above the second best", place, printed, lead[organ], 2 * HALF, POINTS,
            f"Table 1, {organ}: its DSC minus the best other",
        )  # fmt: skip
    organs = lead[list(tables.TABLE_1_ORGANS)]
    stressed = organs[["pancreas", "aorta"]]
    yield _ranking(
        "largest-margins", "leads most in pancreas and aorta", place,
        stressed.min() - organs.drop(index=list(stressed.index)).max(), 4 * HALF, POINTS,
        "read as the two largest; smaller lead of these two minus the largest lead in any other organ",
    )  # fmt: skip
    for size, named in (("small", ["gallbladder", "aorta"]), ("large", ["liver", "stomach"])):
        yield _ranking(
            f"{size}-organs-over-d-lka", f"better than 2D D-LKA on {size} organs", place, over.loc[DLKA, named].min(),
            2 * HALF, POINTS, f"read as each organ that supplement C calls {size}, {' and '.join(named)}: least lead",
        )  # fmt: skip


def _isic() -> Iterator[Claim]:
    _, lead = _leads()
    ahead = int((lead > 2 * HALF + FLOAT).sum())
    yield _count(
        "isic-most-metrics", "best in most ISIC metrics", "section 4.3", ahead, len(lead) // 2 + 1,
        f"of {len(lead)} columns", "Table 2: columns in which its value is the highest; most is more than half",
    )  # fmt: skip
    yield _number(
        "isic-margin", "ISIC DSC above every other", "section 4.3", "1.24", lead.dsc, 2 * HALF, POINTS,
        "Table 2, DSC: its own minus the best other, times 100",
    )  # fmt: skip


def _means_of_table_1() -> Iterator[Claim]:
    one = tables.table_1()
    means = one[list(tables.TABLE_1_ORGANS)].mean(axis=1)
    # Eight values rounded by HALF at most: so is their mean.
    for key, method in (("hiformer", HIFORMER), ("dae-former", DAE), ("own-row", OWN)):
        yield _number(
            f"mean-of-{key}", f"mean DSC of {method}'s row", "Table 1", f"{one.dsc[method]:.2f}", means[method], HALF,
            "%", f"mean of {method}'s eight organ columns",
        )  # fmt: skip
    off = float((means - one.dsc).abs().drop(index=[HIFORMER, DAE, OWN]).max())
    yield Claim(
        "mean-of-others", "the other rows' means are means", "Table 1", None, off, POINTS,
        "largest distance of a printed mean from the mean of its organs, other rows; at most as rounding",
        off <= 2 * HALF + FLOAT, 2 * HALF,
    )  # fmt: skip


def _ablation() -> Iterator[Claim]:
    place, three = "section 4.5", tables.table_3().set_index(["masag", "lka", "dae_former"])
    gain = pd.DataFrame({"dsc": three.loc[True].dsc - three.loc[False].dsc,
                         "hd95": three.loc[False].hd95 - three.loc[True].hd95})  # fmt: skip
    beside = {"lka": (True, False), "dae-former": (False, True), "both": (True, True)}
    for blocks, row in beside.items():
        for score, verb, unit in (("dsc", "raises DSC", POINTS), ("hd95", "lowers HD95", HD95)):
            name = "both blocks" if blocks == "both" else f"{blocks.upper().replace('FORMER', 'Former')} alone"
            yield _ranking(
                f"masag-{score}-{blocks}", f"MASAG {verb}, beside {name}", place, gain.loc[row, score], 2 * HALF, unit,
                "Table 3: gain of the row with MASAG over the row without it, other parts equal",
            )  # fmt: skip
    full, rest = three.loc[(True, True, True)], three.drop(index=(True, True, True))
    yield _ranking(
        "full-best-dsc", "all parts together: highest DSC", place, full.dsc - rest.dsc.max(), 2 * HALF, POINTS,
        "Table 3: last row's DSC minus the highest other",
    )  # fmt: skip
    yield _ranking(
        "full-best-hd95", "all parts together: lowest HD95", place, rest.hd95.min() - full.hd95, 2 * HALF, HD95,
        "Table 3: the lowest other HD95 minus the last row's",
    )  # fmt: skip
    alone = max(gain.loc[beside["lka"], "dsc"], gain.loc[beside["dae-former"], "dsc"])
    yield _ranking(
        "synergy", "the parts strengthen each other", place, gain.loc[beside["both"], "dsc"] - alone, 4 * HALF, POINTS,
        "read as: MASAG gains more DSC beside both blocks than beside either alone; the difference of gains",
    )  # fmt: skip
    own = tables.table_1().loc[OWN]
    for score, unit in (("dsc", "%"), ("hd95", HD95)):
        yield _number(
            f"full-{score}-is-table-1", f"last row's {score.upper()} is Table 1's", "Table 3",
            f"{own[score]:.2f}", full[score], HALF, unit, "Table 3's last row against Table 1's own row",
        )  # fmt: skip


def _parameters() -> Iterator[Claim]:
    place, table = "supplement B", tables.table_a()
    total, parts = table["Total", ""], table.drop(index=("Total", "")).droplevel("structure")
    yield _number(
        "three-gates", "three MASAG modules in all", place, "9.44", _gate_millions(3), 0, MILLION,
        "counted: the three gates that run in the published preset (a fourth, unused, makes up the rest)",
    )  # fmt: skip
    share = parts["MASAG"] / total
    yield _number(
        "gate-share", "share of MASAG in the parameters", place, "8", 100 * share,
        100 * HALF / total * (1 + share), "%", "Table A: MASAG over the total, times 100",
    )  # fmt: skip
    yield _ranking(
        "encoder-largest", "the encoder has most parameters", place,
        parts["MaxViT-B"] - parts.drop(index="MaxViT-B").max(), 2 * HALF, MILLION,
        "Table A: its count minus the largest other",
    )  # fmt: skip
    behind = parts["DAE-Former"] - parts.drop(index=["MaxViT-B", "DAE-Former"]).max()
    yield _ranking(
        "dae-former-second", "DAE-Former has second most", place,
        min(behind, parts.max() - parts["DAE-Former"]), 2 * HALF, MILLION,
        "Table A: smaller of its distances to the largest part and to the next below",
    )  # fmt: skip
    yield _ranking(
        "lka-fewer", "LKA has fewer than DAE-Former", place, parts["DAE-Former"] - parts["LKA"], 2 * HALF, MILLION,
        "Table A: DAE-Former minus LKA",
    )  # fmt: skip
    yield _number(
        "table-a-sum", "the parts add up to the total", "Table A", f"{total:.2f}", parts.sum(),
        len(parts) * HALF, MILLION, "Table A: sum of its parts",
    )  # fmt: skip
    yield _number(
        "totals-agree", "Table A's total is Table 1's", "Table A", f"{total:.2f}",
        tables.table_1().parameters_m[OWN], HALF, MILLION, f"Table 1: parameters of {OWN}",
    )  # fmt: skip


@cache
def _gate_millions(count: int) -> float:
    """Parameters (M) of the ``count`` shallowest gates of the published network, as its source builds them."""
    return sum(recorded_count("published", f"decoder_{level}.ag_attn.") for level in range(count)) / 1e6
