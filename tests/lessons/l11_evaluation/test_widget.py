"""Browsing a prediction: slices off a page, NiiVue on one, and the reference only where there is one."""

from __future__ import annotations

import ipywidgets
import numpy as np
import pytest
from ipyniivue import NiiVue

from msa2net_lib.data.labels import ORGANS
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l11_evaluation.widget import prediction_browser
from msa2net_lib.prediction.result import Prediction, volume_rows


@pytest.fixture
def prediction(monkeypatch):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    return predicted(ORGANS)


def predicted(names, spacing=(3.0, 1.5, 1.0)):
    image = np.random.default_rng(0).random((5, 20, 24), dtype=np.float32)
    label = np.zeros((5, 20, 24), np.uint8)
    label[3, 5:15, 5:15] = 2
    rows = volume_rows(label, spacing, names) if spacing else {}
    return Prediction("scan", image, label, spacing, None, names, rows, "tiny", (), {})


def menu_of(box):
    return next(child for child in box.children if isinstance(child, ipywidgets.Dropdown))


def is_niivue(box):
    return any(isinstance(child, NiiVue) for child in box.children)


def test_off_a_page_slices_begin_at_the_busiest(prediction):
    box = prediction_browser(prediction)
    assert not is_niivue(box)
    (slider,) = (child for child in box.children if isinstance(child, ipywidgets.IntSlider))
    assert (slider.value, slider.max) == (3, 4)
    before = box.children[-1].value
    slider.value = 0
    assert box.children[-1].value != before


def test_on_a_page_niivue_shows_the_prediction_only(prediction, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "11_evaluation.ipynb")
    box = prediction_browser(prediction)
    assert is_niivue(box)
    assert menu_of(box).options == ("prediction", "none")
    assert not is_niivue(prediction_browser(prediction, viewer="slices"))


def test_classes_are_the_networks_own(prediction):
    box = prediction_browser(predicted(("lung", "tumor")), viewer="niivue")
    (caption,) = (child for child in box.children if isinstance(child, ipywidgets.HTML))
    assert "tumor" in caption.value
    assert "liver" not in caption.value


def test_reference_is_shown_where_there_is_one(prediction):
    box = prediction_browser(prediction, np.zeros_like(prediction.label), viewer="niivue")
    assert menu_of(box).options == ("reference label", "prediction", "none")


def test_images_and_other_viewers_are_refused(prediction):
    with pytest.raises(InputError, match="is an image"):
        prediction_browser(predicted(ORGANS, spacing=None))
    with pytest.raises(InputError, match="use auto, niivue or slices"):
        prediction_browser(prediction, viewer="3d")
