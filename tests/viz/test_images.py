"""Sheets of photographs: each with its name, the lesion outlined where there is an outline, and what they are."""

from __future__ import annotations

import numpy as np
import pytest

from msa2net_lib.data.images.dataset import LesionImage
from msa2net_lib.viz.images import SYNTHETIC, plot_images


@pytest.mark.parametrize(("rows", "outlined"), [(slice(4, 9), True), (slice(0, 0), False), (slice(0, 16), False)])
def test_a_lesion_is_outlined_at_its_edge(rows, outlined):
    mask = np.zeros((16, 16), np.uint8)
    mask[rows] = 1
    figure = plot_images([LesionImage("one", np.zeros((16, 16, 3), np.float32), mask)], SYNTHETIC)
    (ax,) = [ax for ax in figure.axes if ax.get_title()]
    edges = [path.vertices[:, 1] for lines in ax.collections for path in lines.get_paths() if len(path.vertices)]
    assert bool(edges) is outlined
    if outlined:
        assert {*np.round(np.concatenate(edges), 1)} == {3.5, 8.5}


def test_a_sheet_has_a_place_for_each_image_and_says_what_they_are():
    images = [
        LesionImage(f"image {i}", np.full((8, 8, 3), 0.5, np.float32), np.zeros((8, 8), np.uint8)) for i in range(7)
    ]
    figure = plot_images(images, SYNTHETIC, columns=3)
    assert [ax.get_title() for ax in figure.axes if ax.get_title()] == [image.id for image in images]
    assert len(figure.axes) == 9
    assert SYNTHETIC in " ".join(text.get_text() for text in figure.texts)
