"""Cases that tests of lesson 11 share."""

from __future__ import annotations

import numpy as np
import pytest

from msa2net_lib.data.datasets import Case


@pytest.fixture
def cases():
    """Three cases of nine slices: a body of 30 x 40 pixels, one organ below, three in the middle, two on top."""
    made = []
    for number in range(3):
        image = np.zeros((9, 60, 64), np.float32)
        image[:, 10:40, 12:52] = 0.5
        label = np.zeros(image.shape, np.uint8)
        label[1, 20:26, 20:26] = 1
        for index, organ in enumerate((5, 7, 8)):
            label[4, 15:25, 16 + 11 * index : 25 + 11 * index] = organ
        label[7, 20:28, 20:28], label[7, 30:36, 30:36] = 5, 4
        made.append(Case(f"case{number}", image, label, (5.0, 2.0, 1.0)))
    return made
