"""The explorer: each control redraws, an error is raised where the control was moved, odd controls are refused."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from msa2net_lib.data.datasets import Case
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l16_paper_audit.widget import isic_audit_widget
from msa2net_lib.viz.browsers import volume_browser
from msa2net_lib.viz.explorer import STILL, explorer, slider


def draw(**values):
    figure = Figure(figsize=(9, 1))
    figure.text(0.1, 0.5, repr(values))
    return figure


def test_every_control_redraws_the_figure():
    organs = {"the liver": "liver", "the aorta": "aorta"}
    box = explorer(draw, level=[0, 1, 2], organ=organs, scale=(0.0, 2.0, 0.1), row=(0, 9), outlines=True)
    *controls, shown = box.children
    assert [type(control).__name__ for control in controls] == [
        "Dropdown", "Dropdown", "FloatSlider", "IntSlider", "Checkbox",
    ]  # fmt: skip
    for control, value in zip(controls, (2, "aorta", 1.7, 3, False), strict=True):
        before = shown.value
        control.value = value
        assert shown.value != before
    assert [control.description for control in controls] == ["level", "organ", "scale", "row", "outlines"]
    assert box._repr_mimebundle_()["text/plain"] == STILL  # what a committed page keeps of it


def test_a_slider_starts_where_it_is_told():
    box = explorer(draw, row=slider(49, 1, 127, 4), factor=slider(3.0, 0.0, 3.0, 0.25))
    assert [(type(control).__name__, control.value) for control in box.children[:2]] == [
        ("IntSlider", 49),
        ("FloatSlider", 3.0),
    ]


def test_an_error_is_raised_at_once_and_on_a_move():
    def broken(level):
        if level:
            raise RuntimeError("drawing failed")
        return draw(level=level)

    box = explorer(broken, level=[0, 1])
    with pytest.raises(RuntimeError, match="drawing failed"):
        box.children[0].value = 1
    with pytest.raises(RuntimeError, match="drawing failed"):
        explorer(broken, level=[1])


def test_no_control_is_named():
    with pytest.raises(InputError, match="level=None gives no control"):
        explorer(draw, level=None)


def test_without_ipywidgets_a_line_stands_in_its_place(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    case = Case("a", np.zeros((2, 8, 8), np.float32), np.zeros((2, 8, 8), np.uint8), None)
    for shown in (explorer(draw, level=slider(2, 0, 9)), volume_browser(case), isic_audit_widget()):
        assert shown.data.endswith("needs ipywidgets: run pip install 'msa2net-workbook[notebooks]'*")
