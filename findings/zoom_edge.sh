#!/usr/bin/env bash
# SciPy's ndimage.zoom leaves the last row and column of an image empty at some sizes.
#
# One would guess that zoom samples from the first pixel to the last: that is how its grid is laid (corner to corner).
# But the place of the last pixel is computed in floating point, and for 512 -> 224 it comes out a hair beyond 511.
# The default mode, "constant", takes that for outside of the image and writes 0 there, at every order. Every slice of
# the field's 224 x 224 recipe has such an edge, image and label; on the way back from 224, 90 of the sizes 200 to 1100.
# mode="nearest" does not. Fails if a later SciPy samples otherwise.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 scipy==1.17.1
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import scipy
from scipy import ndimage

print("scipy", scipy.__version__, "numpy", np.__version__)
ones = np.ones((512, 512), np.float32)
for order in (0, 1, 3):
    small = ndimage.zoom(ones, 224 / 512, order=order)
    empty = np.argwhere(small == 0)
    print(f"512 -> 224, order {order}: {len(empty)} of {small.size} pixels are 0")
    assert small.shape == (224, 224)
    assert len(empty) == 447, "no longer the last row and column alone"
    assert (empty == 223).any(axis=1).all()
    assert ndimage.zoom(ones, 224 / 512, order=order, mode="nearest").min() > 0.99
lost = [new for new in range(200, 1101) if ndimage.zoom(np.ones(224), new / 224, order=0)[-1] == 0]
print(f"back from 224: {len(lost)} of the sizes 200 to 1100 lose their last pixel, 576 {'is' if 576 in lost else 'is not'} one of them")
assert len(lost) == 90
assert 576 in lost
assert 512 not in lost
PYTHON
