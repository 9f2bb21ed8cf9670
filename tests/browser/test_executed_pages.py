"""The browser run's judgment of a page, which needs no browser: what was printed, and which fault is not ours."""

from __future__ import annotations

import json

import nbformat
import pytest
from executed_pages import KNOWN_FAULT, is_known_fault, printed_otherwise, unclaimed

COMPARED = "# NBVAL_CHECK_OUTPUT\n"


def stream(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": text}


def data(**kinds):
    return {"output_type": "display_data", "metadata": {}, "data": {k.replace("_", "/"): v for k, v in kinds.items()}}


def notebook(*cells):
    made = [nbformat.v4.new_markdown_cell("words"), nbformat.v4.new_code_cell("")]
    for source, outputs in cells:
        made.append(nbformat.v4.new_code_cell(source, outputs=[nbformat.from_dict(output) for output in outputs]))
    return nbformat.v4.new_notebook(cells=made)


def saved(*cells):
    """A page as JupyterLab would save it: lines of a text may be in a list."""
    return json.dumps(notebook(*cells))


PAGE = (COMPARED, [stream("one\n"), data(text_html="<b>2</b>", image_png="AAAA")])


@pytest.mark.parametrize(
    "outputs",
    [
        [stream(["o", "ne\n"]), data(text_html="<b>2</b>", image_png="BBBB")],
        [stream("o"), data(text_html=["<b>", "2</b>"]), stream("ne\n")],
        [data(text_html="<b>2</b>"), stream("one\n")],
    ],
    ids=["other picture", "in pieces", "other order of kinds"],
)
def test_what_prints_the_same_passes(outputs):
    assert printed_otherwise(notebook(PAGE), saved((COMPARED, outputs))) is None


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ([], "stdout: prints 'nothing', the committed page has 'one'"),
        ([stream("one\ntwo\n"), data(text_html="<b>2</b>")], "stdout: prints 'two', the committed page has ''"),
        ([stream("one\n"), data(text_html="<b>3</b>")], "text/html: prints '<b>3</b>', the committed page has '<b>2"),
        ([stream("one\n"), data(text_html="<b>2</b>"), stream("!", "stderr")], "stderr: prints '!', the committed"),
        (
            [stream("one\n"), data(text_html="<b>2</b>"), data(text_html="<b>2</b>")],
            "text/html: prints '<b>2</b>', the",
        ),
    ],
    ids=["nothing", "another line", "another table", "a warning", "twice"],
)
def test_what_prints_otherwise_is_named(outputs, said):
    executed = saved(("other()", []), (COMPARED, outputs))
    found = printed_otherwise(notebook(("other()", []), PAGE), executed)
    assert found is not None
    assert found.startswith(f"cell 3, {said}")


def test_one_output_in_two_is_named():
    page, executed = (COMPARED, [data(text_html="a\nb")]), (COMPARED, [data(text_html="a"), data(text_html="b")])
    said = printed_otherwise(notebook(page), saved(executed))
    assert said == "cell 2, text/html: comes 2 times, on the committed page 1"


def test_cells_without_the_mark_are_not_compared():
    assert printed_otherwise(notebook(("a", [stream("one")])), saved(("a", [stream("two")]))) is None


@pytest.mark.parametrize("other", [[("b", [])], [], [("a", []), ("a", [])]])
def test_another_notebook_is_not_compared(other):
    assert printed_otherwise(notebook(("a", [])), saved(*other)) == "its cells are not the committed ones"


@pytest.mark.parametrize(
    ("error", "version", "known"),
    [
        (f"error on the page: {KNOWN_FAULT} (before=64, after=58)", (3, 11, 7), True),
        (f"error in the kernel: {KNOWN_FAULT} (before=64, after=58)", (3, 11, 9), True),
        (f"error on the page: {KNOWN_FAULT} (before=64, after=58)", (3, 12, 1), False),
        ("error on the page: SystemError: something else", (3, 11, 7), False),
        (f"error on the page: RuntimeError: {KNOWN_FAULT}", (3, 11, 7), False),
        (f"level was moved and the picture did not change within 10 s: {KNOWN_FAULT}", (3, 11, 7), False),
        ("the cells were not done within 600 s", (3, 11, 7), False),
        (None, (3, 11, 7), False),
    ],
)
def test_one_fault_only_gets_a_second_attempt(error, version, known):
    assert is_known_fault(error, version) is known


def test_each_page_is_checked_by_one_process(tmp_path):
    """Whoever is done takes the next."""
    names = ["a", "b", "c", "d"]
    one, other = unclaimed(names, tmp_path), unclaimed(names, tmp_path)
    assert [next(one), next(other), next(other), next(one)] == names
    assert [*one, *other] == []
    assert [*unclaimed(names, None)] == names
