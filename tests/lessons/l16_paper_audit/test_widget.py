"""Cards show all that an entry says, escaped, and shout a difference not seen; sliders redraw the audit."""

from __future__ import annotations

from dataclasses import replace
from html import escape

import pandas as pd
import pytest

from msa2net_lib.lessons.l16_paper_audit import widget
from msa2net_lib.lessons.l16_paper_audit.widget import card, isic_audit_widget, overview, source_line
from msa2net_lib.paper.discrepancies import ABOUT, COMMIT, DISCREPANCIES, IMPORTANCE, NOT_MEASURED, discrepancy
from msa2net_lib.paper.discrepancies.evidence import Evidence

EVIDENCE = Evidence("12 <b> gates", pd.DataFrame({"count": [0.1234561, 1234567.0]}, index=["a<b", "c"]), True)


def test_a_card_says_all_of_the_entry():
    one = discrepancy("three-or-four-gates")
    page = card(one, EVIDENCE).data
    assert page is not None
    for text in (one.title, one.paper, one.place, one.file, one.advice, NOT_MEASURED, "12 <b> gates"):
        assert escape(text) in page
    assert "0.123456" in page
    assert "1234567" in page
    assert "a&lt;b" in page
    assert "NO DIFFERENCE" not in page


def test_a_folded_card_tells_what_was_found_on_its_first_line():
    one = discrepancy("notation")
    page = str(card(one, EVIDENCE, folded=True).data)
    first = page.split("</summary>")[0]
    assert page.startswith("<details><summary>")
    for text in (one.title, "claim of the text, good to know", "12 <b> gates"):
        assert escape(text) in first
    assert escape(one.advice) in page
    assert (
        "NO DIFFERENCE SEEN"
        in str(card(one, replace(EVIDENCE, differs=False), folded=True).data).split("</summary>")[0]
    )


def test_the_overview_names_every_entry_once():
    page = str(overview().data)
    for one in DISCREPANCIES:
        assert page.count(f". {escape(one.title)}<") == 1
    assert page.count("<th") == 1 + len(ABOUT) + len(IMPORTANCE)


def test_a_difference_not_seen_is_not_hidden():
    one = discrepancy("three-or-four-gates")
    assert "NO DIFFERENCE SEEN: 12" in str(card(one, replace(EVIDENCE, differs=False)).data)


def test_entries_without_code_and_the_source():
    assert "not a matter of code" in str(card(discrepancy("claims-of-the-text"), EVIDENCE).data)
    assert COMMIT in source_line()


def test_the_widget_starts_at_the_papers_row_and_redraws():
    box = isic_audit_widget()
    *sliders, image = box.children
    assert [slider.value for slider in sliders] == pytest.approx((0.2134, 0.8840, 0.9557))
    before = image.value
    assert bytes(before).startswith(b"\x89PNG")
    for slider in sliders:
        shown, start = image.value, slider.value
        slider.value = start - 0.02
        assert image.value != shown
    slider.value = start
    assert image.value == shown


def test_an_error_while_drawing_surfaces(monkeypatch):
    slider = isic_audit_widget().children[0]

    def broken(**_):
        raise RuntimeError("drawing failed")

    monkeypatch.setattr(widget, "plot_isic_audit", broken)
    with pytest.raises(RuntimeError, match="drawing failed"):
        slider.value = 0.3
    with pytest.raises(RuntimeError, match="drawing failed"):
        isic_audit_widget()
