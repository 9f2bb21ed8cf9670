"""Every published table says where it stands, and every method whose it is."""

from __future__ import annotations

import pytest

from msa2net_lib.baselines.table import NETWORKS
from msa2net_lib.paper import tables


@pytest.mark.parametrize(("name", "place"), [("table_1", "Table 1"), ("table_2", "Table 2"),
                                             ("table_3", "Table 3"), ("table_a", "Table A")])  # fmt: skip
def test_a_table_names_its_place_in_the_paper(name, place):
    source = getattr(tables, name)().attrs["source"]
    assert source == tables.SOURCES[name]
    assert place in source
    assert "arXiv:2407.21640" in source


def test_every_method_has_a_reference():
    methods = {*tables.table_1().index, *tables.table_2().index}
    assert methods == {entry.row for entry in NETWORKS.values() if entry.paper}


def test_each_table_has_the_paper_s_number_of_entries():
    """Nine networks by twelve numbers, eight by four, six rows by two, five parts."""
    assert tables.table_1().shape == (9, 12)
    assert tables.table_2().shape == (8, 4)
    assert tables.table_3()[["dsc", "hd95"]].shape == (6, 2)
    assert tables.table_a().shape == (5,)


def test_the_best_of_a_column_are_those_that_the_text_names():
    """Section 4.3 claims spleen, aorta, liver and pancreas for its own method; HD95 is its own too."""
    table = tables.table_1()
    for organ in ("spleen", "aorta", "liver", "pancreas"):
        assert table[organ].idxmax() == "MSA²Net"
    assert table["hd95"].idxmin() == "MSA²Net"
