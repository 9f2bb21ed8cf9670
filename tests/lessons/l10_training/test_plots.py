"""The figure of the augmentation: every panel shows what its title says, with the strengths that were drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from msa2net_lib.data.augment import INTENDED_NOISE, TRANSFORMS, ReleasedAugmentation
from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l10_training.plots import plot_transforms


@pytest.fixture(scope="module")
def slice_and_label():
    """A smooth slice of 40 x 60 with a liver and an aorta."""
    y, x = torch.meshgrid(torch.linspace(0, 3, 40), torch.linspace(0, 4, 60), indexing="ij")
    label = torch.zeros(40, 60, dtype=torch.int64)
    label[8:24, 10:30], label[28:34, 40:48] = 5, 1
    return (torch.sin(x) * torch.cos(y))[None], label


def test_panels_are_the_slice_ten_transforms_and_a_whole_draw(slice_and_label):
    image, label = slice_and_label
    augment = ReleasedAugmentation(INTENDED_NOISE)
    axes = plot_transforms(image, label, "noise of this test", augment, seed=3).axes
    titles, shown = [ax.get_title() for ax in axes], [np.asarray(ax.images[0].get_array()) for ax in axes]
    assert titles[0] == "the slice"
    assert [title.split("\n")[0] for title in titles[1:11]] == list(TRANSFORMS)
    assert titles[11].startswith("one whole draw\n1. ")
    assert [line[:2] for line in titles[11].split("\n")[1:]] == ["1.", "2.", "3.", "4."]
    unit = (image[0].numpy() + 1) / 2
    np.testing.assert_allclose(shown[0], unit, atol=1e-6)
    np.testing.assert_allclose(shown[1], unit[::-1], atol=1e-6)
    np.testing.assert_allclose(shown[2], unit[:, ::-1], atol=1e-6)
    assert (shown[3] - unit).std() == pytest.approx(INTENDED_NOISE, rel=0.1)
    assert f"σ {INTENDED_NOISE:g}" in titles[3]


def test_strengths_in_titles_are_those_used(slice_and_label):
    """The contrast's factor, read from the title, is the one between the panels; the rotation changes with the seed."""
    image, label = slice_and_label
    titles = []
    for seed in (1, 2):
        axes = plot_transforms(image, label, "noise of this test", seed=seed).axes
        factor = float(axes[5].get_title().split("x ")[1])
        before, after = (np.asarray(axes[panel].images[0].get_array()) for panel in (0, 5))
        np.testing.assert_allclose(after, factor * before, atol=0.006)
        titles.append(axes[7].get_title())
    assert titles[0] != titles[1]


def test_sides_are_marked_on_the_slice_only_and_the_random_state_is_left_alone(slice_and_label):
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    image, label = slice_and_label
    figure = plot_transforms(image, label, "noise of this test")
    assert torch.equal(torch.rand(3), expected)
    marked = [[text.get_text() for text in ax.texts] for ax in figure.axes]
    assert marked == [["R", "L"]] + [[]] * 11
    assert figure.get_suptitle() == "noise of this test"


def test_a_label_of_another_size_is_refused(slice_and_label):
    image, label = slice_and_label
    with pytest.raises(InputError, match=r"give \(c, h, w\) and \(h, w\)"):
        plot_transforms(image, label[:-1], "noise of this test")
