"""Which cells MaxViT's two attentions link: by counting places, and by the gradient through timm's own block."""

from __future__ import annotations

import numpy as np
import pytest

from msa2net_lib.errors import InputError
from msa2net_lib.lessons.l07_decoder_blocks.study import partners, reach


@pytest.mark.parametrize(
    ("shape", "size", "cell"), [((4, 4), (2, 2), (1, 2)), ((8, 8), (4, 4), (0, 7)), ((6, 9), (2, 3), (3, 4))]
)
def test_neighbors_in_a_window_and_fixed_steps_on_a_grid(shape, size, cell):
    found = reach(shape, size, cell)
    rows, columns = np.indices(shape)
    same_window = (rows // size[0] == cell[0] // size[0]) & (columns // size[1] == cell[1] // size[1])
    steps = [whole // part for whole, part in zip(shape, size, strict=True)]
    same_grid = (rows % steps[0] == cell[0] % steps[0]) & (columns % steps[1] == cell[1] % steps[1])
    assert np.array_equal(found["window"], same_window)
    assert np.array_equal(found["grid"], same_grid)
    assert found["window"].sum() == found["grid"].sum() == size[0] * size[1]


def test_both_reach_every_cell_where_a_group_spans_the_steps():
    assert reach((4, 4), (2, 2), (0, 3))["both"].all()
    assert reach((32, 32), (4, 4), (0, 3))["both"].sum() == 16 * 16


def test_an_unknown_kind():
    with pytest.raises(InputError, match="kind='row' is unknown: use window or grid"):
        partners("row", (4, 4), (2, 2), np.ones((4, 4), bool))
