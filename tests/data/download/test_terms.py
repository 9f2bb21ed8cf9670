"""The terms of the data sets: complete, in one block, and in agreement with the files that ship."""

from __future__ import annotations

from dataclasses import fields

import pytest

from msa2net_lib.data.download.terms import TERMS, show_terms


def test_every_data_set_has_all_of_its_terms():
    assert set(TERMS) == {"synapse", "synapse-prepared", "isic2018", "example_ct", "virtual", "skin"}
    for name, terms in TERMS.items():
        assert terms.name == name
        for field in fields(terms):
            text = getattr(terms, field.name)
            assert text
            assert "\n" not in text


@pytest.mark.parametrize("name", TERMS)
def test_what_is_shown_holds_every_fact(name):
    shown = show_terms(name)
    terms = TERMS[name]
    assert shown.startswith(f"{name}: {terms.title}\n")
    for text in (terms.license, terms.access, terms.forbidden, terms.citation, terms.page):
        assert text in shown
    _, license, *_, page = shown.splitlines()
    assert license.index(terms.license) == page.index(terms.page)  # in columns


def test_unknown_name(refused):
    refused(["'btcv'", "synapse-prepared"], show_terms, "btcv")


def test_terms_of_the_shipped_scans_are_those_of_their_readme(root):
    readme = (root / TERMS["example_ct"].page).read_text(encoding="utf-8")
    assert TERMS["example_ct"].license in readme
    assert "Keep this notice with the files" in readme
    assert "Radiology: Artificial Intelligence 2023" in readme
    assert "Radiology: Artificial Intelligence 2023" in TERMS["example_ct"].citation


def test_prepared_data_bear_the_terms_of_their_source():
    assert TERMS["synapse-prepared"].page == TERMS["synapse"].page
    assert TERMS["synapse"].citation in TERMS["synapse-prepared"].citation
    assert "Apache-2.0" in TERMS["virtual"].license
