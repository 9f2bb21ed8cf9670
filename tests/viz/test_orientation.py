"""The orientation panel: what is drawn is what is read, right way round, in the house's colors."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

from msa2net_lib.data.contract.flips import IN_PLANE_FLIPS, apply_flip, undo_flip
from msa2net_lib.data.datasets import Case, PreparedDataset
from msa2net_lib.data.labels import ORGANS
from msa2net_lib.errors import InputError
from msa2net_lib.viz.colors import ORGAN_COLORS
from msa2net_lib.viz.orientation import plot_orientation


def volume():
    """Liver on the patient's right in front and high up, left kidney at the back on the left and low."""
    image, label = np.zeros((12, 30, 40), np.float32), np.zeros((12, 30, 40), np.uint8)
    label[6:11, 5:15, 5:15], label[1:8, 20:26, 28:34] = 5, 3
    image[label > 0] = 0.6
    return image, label


@pytest.fixture
def foreign(tmp_path):
    """That volume as others stored it: scheme C, turned; three training cases without lists."""
    (tmp_path / "train_npz").mkdir()
    image, label = (undo_flip(array, "tyz") for array in volume())
    table = np.array([0, 0, 0, 3, 0, 6], np.uint8)
    for case in range(4):
        for z in range(12):
            path = tmp_path / "train_npz" / f"case{case}_slice{z:03d}.npz"
            np.savez(path, image=image[z], label=table[label[z]])
    return PreparedDataset.open(tmp_path)


def titles(figure):
    return [ax.get_title() for ax in figure.axes if ax.get_title()]


def centers(figure, organ):
    """Where an organ's color lies within each axis: (from the left, from the top), 0 to 1; None where it is not."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = np.asarray(canvas.buffer_rgba())[..., :3] / 255
    found = []
    for ax in figure.axes:
        box = ax.get_window_extent()
        top = drawn.shape[0] - int(box.y1)
        part = drawn[top : top + int(box.height), int(box.x0) : int(box.x1)]
        y, x = np.nonzero(np.abs(part - to_rgb(ORGAN_COLORS[organ])).sum(-1) < 0.1)
        found.append((x.mean() / part.shape[1], y.mean() / part.shape[0]) if len(x) else None)
    return found


def test_read_right_the_liver_is_on_the_left_and_up(foreign):
    figure = plot_orientation(foreign.read_as("C", "tyz"))
    assert titles(figure)[:3] == ["case0, slice 6", "case1, slice 6", "case2, slice 6"]
    assert sum(title.startswith("from the front") for title in titles(figure)) == 3
    liver, kidney = centers(figure, "liver"), centers(figure, "left kidney")
    assert liver[0][0] < 0.5 < kidney[0][0]
    assert liver[0][1] < 0.5 < kidney[0][1]
    assert liver[3][1] < 0.5  # high up in the patient, high up in the picture from the front
    assert {text.get_text() for text in figure.axes[0].texts} == {"R", "L"}
    assert "scheme C, flip tyz" in figure.get_suptitle()


def test_read_wrong_it_shows(foreign):
    assert centers(plot_orientation(foreign.read_as("C", "ty")), "liver")[3][1] > 0.5  # head down
    assert centers(plot_orientation(foreign.read_as("C", "txyz")), "liver")[0][0] > 0.5  # mirrored


def test_alternatives_stand_under_their_values(foreign):
    figure = plot_orientation(foreign.read_as("C", "ty"), alternatives=True)
    drawn = centers(figure, "liver")
    with np.load(foreign.slice_path("case0_slice005")) as arrays:
        stored = arrays["label"]
    checked = []
    for ax, place in zip(figure.axes, drawn, strict=True):
        if not ax.get_title().startswith("--flip"):
            continue
        value = ax.get_title().split()[1]
        assert ("as above" in ax.get_title()) == (value == "ty")
        turned = apply_flip(stored == 6, value)  # liver in scheme C
        y, x = (axis.mean() / length for axis, length in zip(np.nonzero(turned), turned.shape, strict=True))
        assert place == pytest.approx((x, y), abs=0.1)
        checked.append(value)
    assert checked == list(IN_PLANE_FLIPS)


def test_cases_instead_of_a_data_set():
    image, label = volume()
    case = Case("mine", image, label, (5.0, 1.0, 0.8))
    figure = plot_orientation([case], flip="x")
    assert titles(figure) == ["mine, slice 6", figure.axes[1].get_title()]
    assert "flip x" in figure.get_suptitle()
    assert figure.axes[1].get_aspect() == pytest.approx(5.0 / 0.8)


def test_organs_of_another_data_set(tmp_path):
    """Colors go by the name: an organ's own, and for others those that no organ here has."""
    image, label = volume()
    (tmp_path / "train_npz").mkdir()
    (tmp_path / "lists").mkdir()
    for z in range(12):
        np.savez(tmp_path / "train_npz" / f"a_slice{z:03d}.npz", image=image[z], label=label[z] // 2)  # 3 -> 1, 5 -> 2
    (tmp_path / "lists" / "train.txt").write_text("".join(f"a_slice{z:03d}\n" for z in range(12)))
    (tmp_path / "dataset.json").write_text('{"organs": {"tumour": 1, "liver": 2}}')
    figure = plot_orientation(PreparedDataset.open(tmp_path))
    assert centers(figure, "liver")[0][0] < 0.5 < centers(figure, ORGANS[0])[0][0]
    assert centers(figure, ORGANS[1])[0] is None
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["tumour", "liver"]


def test_nothing_to_draw(foreign):
    with pytest.raises(InputError) as caught:
        plot_orientation([])
    assert "no case" in str(caught.value)
    with pytest.raises(InputError) as caught:
        plot_orientation(foreign)
    assert "nobody has checked" in str(caught.value)
