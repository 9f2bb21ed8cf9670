"""Claims: judged as the tables say, computed when asked, and deaf to no table."""

from __future__ import annotations

import itertools

import pytest

from msa2net_lib.nn.masag import MASAG
from msa2net_lib.paper import claims as claims_module
from msa2net_lib.paper import tables
from msa2net_lib.paper.claims import claims, claims_table

pytestmark = pytest.mark.slow

NOT_HOLDING = {
    "dsc-over-dae-former", "best-left-kidney", "aorta-margin", "largest-margins", "large-organs-over-d-lka",
    "isic-most-metrics", "mean-of-hiformer", "mean-of-dae-former", "synergy", "three-gates",
}  # fmt: skip
TABLES = {"table_1": tables.table_1, "table_2": tables.table_2, "table_3": tables.table_3, "table_a": tables.table_a}


@pytest.fixture
def altered(monkeypatch):
    """Change one table value, judge the claims, and put the value back: altered(table, row, column, value)."""
    gates = claims_module._gate_millions(3)
    monkeypatch.setattr(claims_module, "_gate_millions", lambda count: gates)

    def judge(name, row, column, value):
        table = TABLES[name]()
        if column is None:
            table.loc[row] = value
        else:
            table.loc[row, column] = value
        with monkeypatch.context() as patch:
            patch.setattr(tables, name, lambda: table.copy())
            return {claim.key: claim for claim in claims()}

    return judge


def test_which_claims_hold():
    found = claims()
    assert len({claim.key for claim in found}) == len(found) >= 40
    assert {claim.key for claim in found if not claim.holds} == NOT_HOLDING


@pytest.mark.parametrize(
    ("key", "recomputed"),
    [("dsc-over-d-lka", 0.48), ("dsc-over-dae-former", 2.12), ("dsc-over-hiformer", 4.36), ("pancreas-margin", 1.59),
     ("hd95-under-hiformer", 1.41), ("aorta-margin", 0.74), ("best-left-kidney", -0.08), ("isic-most-metrics", 1),
     ("isic-margin", 1.24), ("mean-of-own-row", 84.746), ("mean-of-hiformer", 80.33), ("mean-of-dae-former", 82.6425),
     ("three-gates", 2.3413), ("gate-share", 8.371), ("table-a-sum", 112.77), ("totals-agree", 112.77),
     ("masag-dsc-both", 0.99), ("masag-hd95-both", 1.13), ("several-metrics", 3)],
)  # fmt: skip
def test_recomputed_by_hand(key, recomputed):
    assert claims_table().loc[key, "recomputed"] == pytest.approx(recomputed, abs=5e-4)


def test_the_gates_are_counted_one_by_one():
    """Three gates built singly, at the channels of the three skips."""
    counted = sum(p.numel() for c in (96, 192, 384) for p in MASAG(c, dilated="dense").parameters())
    assert claims_table().loc["three-gates", "recomputed"] == pytest.approx(counted / 1e6, abs=1e-12)
    assert claims_module._gate_millions(4) == pytest.approx(tables.table_a()["Skip Connection", "MASAG"], abs=0.005)


@pytest.mark.parametrize(
    ("key", "name", "row", "column", "value"),
    [("dsc-over-dae-former", "table_1", "DAE-Former", "dsc", 82.54),
     ("aorta-margin", "table_1", "ScaleFormer", "aorta", 88.33),
     ("best-left-kidney", "table_1", "2D D-LKA Net", "left kidney", 88.28),
     ("largest-margins", "table_1", "MISSFormer", "spleen", 92.00),
     ("large-organs-over-d-lka", "table_1", "2D D-LKA Net", "stomach", 84.01),
     ("mean-of-hiformer", "table_1", "HiFormer-B", "dsc", 80.33),
     ("mean-of-dae-former", "table_1", "DAE-Former", "dsc", 82.64),
     ("synergy", "table_3", 2, "dsc", 83.20),
     ("isic-margin", "table_2", "DermoSegDiff", "dsc", 0.9008),
     ("isic-most-metrics", "table_2", "MSA²Net", ["se", "sp"], 0.99),
     ("best-spleen", "table_1", "MISSFormer", "spleen", 92.70),
     ("lowest-hd95", "table_1", "HiFormer-B", "hd95", 13.20),
     ("masag-hd95-lka", "table_3", 0, "hd95", 15.14),
     ("full-best-dsc", "table_3", 4, "dsc", 84.80),
     ("gate-share", "table_a", ("Skip Connection", "MASAG"), None, 9.67),
     ("table-a-sum", "table_a", ("Decoder", "LKA"), None, 1.34),
     ("totals-agree", "table_1", "MSA²Net", "parameters_m", 112.75)],
)  # fmt: skip
def test_an_altered_value_flips_the_claim(altered, key, name, row, column, value):
    before = claims_table().loc[key, "holds"]
    assert altered(name, row, column, value)[key].holds == (not before)


def test_every_claim_hears_some_table(altered):
    """Values lowered by a fifth, one by one, until all are heard but the counted gates, which no table moves."""
    before = {claim.key: claim.recomputed for claim in claims()}
    made = {name: build() for name, build in TABLES.items()}
    columns = {
        name: [None] if name == "table_a" else [c for c in table.columns if table[c].dtype != bool]
        for name, table in made.items()
    }
    cells = [cell for name in made for cell in itertools.product([name], made[name].index, columns[name])]
    cells.sort(key=lambda cell: cell[0] == "table_1" and cell[1] != tables.OWN)  # what few claims are about comes last
    deaf = set(before)
    for name, row, column in cells:
        if deaf == {"three-gates"}:
            break
        value = made[name].loc[row] if column is None else made[name].loc[row, column]
        after = altered(name, row, column, 0.8 * value)
        deaf -= {key for key, claim in after.items() if claim.recomputed != before[key]}
    assert deaf == {"three-gates"}
    for name, table in made.items():
        chosen = None if name == "table_a" else columns[name]
        after = altered(name, slice(None), chosen, 0.8 * (table if chosen is None else table[chosen]))
        assert after["three-gates"].recomputed == before["three-gates"]


def test_the_counted_gates_are_heard_too(monkeypatch):
    monkeypatch.setattr(claims_module, "_gate_millions", lambda count: 9.4407)
    assert claims_table().loc["three-gates", "holds"]


def test_rounding_follows_from_the_digits():
    table = claims_table()
    assert table.loc["dsc-over-dae-former", "rounding"] == pytest.approx(3 * 0.005)  # 2.21, 84.75, 82.63
    assert table.loc["gate-share", "rounding"] == pytest.approx(0.5, abs=0.01)  # printed without decimals
    assert table.loc["table-a-sum", "rounding"] == pytest.approx(5 * 0.005)  # four parts and the total
    assert table.loc["largest-margins", "rounding"] == pytest.approx(4 * 0.005)


def test_a_table_of_them():
    table = claims_table()
    assert list(table.columns[:8]) == ["says", "place", "printed", "recomputed", "unit", "how", "holds", "rounding"]
    assert table.holds.dtype == bool
    assert (table[["says", "place", "unit", "how"]] != "").to_numpy().all()
