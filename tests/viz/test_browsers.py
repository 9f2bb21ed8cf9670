"""The volume browser: which viewer opens where, and that NiiVue is handed the voxels, their place and colors."""

from __future__ import annotations

import gzip
import sys
from html import escape

import ipywidgets
import nibabel
import numpy as np
import pytest
from ipyniivue import NiiVue
from matplotlib.colors import to_hex

from msa2net_lib.data.datasets import Case
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.errors import InputError
from msa2net_lib.viz.browsers import volume_browser
from msa2net_lib.viz.colors import ORGAN_COLORS


@pytest.fixture
def case():
    rng = np.random.default_rng(0)
    label = np.zeros((5, 20, 24), np.uint8)
    label[3, 5:15, 5:15] = 5
    return Case("case0001", rng.random((5, 20, 24), dtype=np.float32), label, (3.0, 1.5, 1.0))


@pytest.fixture
def on_a_page(monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "01_data.ipynb")


@pytest.fixture
def off_page(monkeypatch):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)


def is_niivue(box):
    return any(isinstance(child, NiiVue) for child in box.children)


def read_nifti(volume):
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(volume.data))


@pytest.mark.usefixtures("on_a_page")
def test_a_page_gets_niivue_unless_slices_are_asked_for(case):
    assert is_niivue(volume_browser(case))
    assert not is_niivue(volume_browser(case, viewer="slices"))


@pytest.mark.usefixtures("off_page")
def test_a_batch_run_gets_slices_unless_niivue_is_asked_for(case):
    box = volume_browser(case)
    assert isinstance(box.children[-1], ipywidgets.Image)
    assert is_niivue(volume_browser(case, viewer="niivue"))


@pytest.mark.usefixtures("on_a_page")
def test_without_ipyniivue_there_are_slices(case, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipyniivue", None)
    assert not is_niivue(volume_browser(case))
    with pytest.raises(InputError, match="viewer='niivue' needs ipyniivue: run pip install"):
        volume_browser(case, viewer="niivue")


def test_an_unknown_viewer_is_refused(case):
    with pytest.raises(InputError, match="viewer='napari' is unknown: use auto, niivue or slices"):
        volume_browser(case, viewer="napari")


def test_niivue_is_handed_the_voxels_in_their_place(case):
    prediction = np.roll(case.label, 1, axis=2)
    _, view, _ = volume_browser(case, {"prediction": prediction}, viewer="niivue").children
    image, reference, predicted = map(read_nifti, view.volumes)
    for nifti, array in ((image, np.rint(255 * case.image)), (reference, case.label), (predicted, prediction)):
        assert nifti.get_data_dtype() == np.uint8
        np.testing.assert_array_equal(np.asarray(nifti.dataobj), array.T)  # (x, y, z)
        assert nibabel.aff2axcodes(nifti.affine) == ("L", "P", "S")
        assert nifti.header.get_zooms() == (1.0, 1.5, 3.0)
    assert view.scene.crosshair_pos[2] == pytest.approx(3.5 / 5)


def test_a_case_without_spacing_is_shown_in_voxels(case):
    box = volume_browser(Case(case.name, case.image, case.label, None), viewer="niivue")
    assert read_nifti(box.children[1].volumes[0]).header.get_zooms() == (1.0, 1.0, 1.0)


def test_organs_have_the_colors_of_the_figures(case):
    _, view, caption = volume_browser(case, viewer="niivue").children
    colors = np.reshape(view.volumes[1].colormap_label.lut, (-1, 4))
    assert colors[0, 3] == 0
    for index, organ in enumerate(ORGANS, start=1):
        assert to_hex(colors[index, :3] / 255) == ORGAN_COLORS[organ].lower()
        assert colors[index, 3] == 255
    assert "liver" in caption.value
    assert "spleen" not in caption.value


@pytest.mark.parametrize("name", ["<b>bold</b>", "<img src=nowhere>", "a & 'b' \"c\""])
def test_markup_in_a_name_is_shown_and_not_read(case, name):
    shown = Case(name, case.image, case.label, case.spacing, class_names=tuple(f"{name}{organ}" for organ in ORGANS))
    caption = volume_browser(shown, viewer="niivue").children[2].value
    assert caption.count(escape(name)) == 2  # the case, and the one organ that is there
    assert name not in caption


def test_the_menu_shows_one_label_at_a_time_or_none(case):
    menu, view, _ = volume_browser(case, {"prediction": case.label}, viewer="niivue").children
    assert menu.options == ("reference label", "prediction", "none")
    for name, visible in (("none", [0, 0]), ("prediction", [0, 1]), ("reference label", [1, 0])):
        menu.value = name
        assert [overlay.opacity > 0 for overlay in view.volumes[1:]] == visible
    assert view.volumes[0].opacity == 1
