"""Cards of the ledger: all that an entry says is on it, escaped, and a difference not seen is shouted."""

from __future__ import annotations

from dataclasses import replace
from html import escape

import pandas as pd

from msa2net_lib.lessons.l16_paper_audit.discrepancy_cards import card, source_line
from msa2net_lib.paper.discrepancies import COMMIT, NOT_MEASURED, Evidence, entry

EVIDENCE = Evidence("12 <b> gates", pd.DataFrame({"count": [0.1234561, 1234567.0]}, index=["a<b", "c"]), True)


def test_a_card_says_all_of_the_entry():
    one = entry("three-or-four-gates")
    page = card(one, EVIDENCE).data
    assert page is not None
    for text in (one.title, one.paper, one.place, one.file, one.advice, NOT_MEASURED, "12 <b> gates"):
        assert escape(text) in page
    assert "0.123456" in page
    assert "1234567" in page
    assert "a&lt;b" in page
    assert "NO DIFFERENCE" not in page


def test_a_difference_not_seen_is_not_hidden():
    assert "NO DIFFERENCE SEEN: 12" in str(card(entry("three-or-four-gates"), replace(EVIDENCE, differs=False)).data)


def test_entries_without_code_and_the_source():
    assert "not a matter of code" in str(card(entry("claims-of-the-text"), EVIDENCE).data)
    assert COMMIT in source_line()
