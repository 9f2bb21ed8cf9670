#!/usr/bin/env bash
# Two well-known packages give the 95th percentile Hausdorff distance (HD95) of the same two masks as 0 and as 30 mm.
#
# One would guess that HD95 has one definition. medpy, which the field's scripts call, pools the surface distances of
# both directions and takes one percentile of them all. DeepMind's surface-distance takes a percentile of each direction
# and then the larger one (and weighs by surface area). A false island of 7 % of the prediction's surface is 4 % of
# both surfaces: beyond the 95th percentile for one, well within it for the other. It matters here because tables of
# HD95 from different papers are compared as if they were one measure.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    medpy==0.5.2 ctg-surface-distance==0.1 numpy==2.4.6 scipy==1.17.1
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import numpy as np
import surface_distance
from medpy.metric.binary import hd95

target = np.zeros((64, 64, 64), bool)
target[4:24, 4:24, 4:24] = True  # a cube of 20 voxels
pred = target.copy()
pred[54:60, 4:9, 4:9] = True  # and an island beside it, 30 voxels away

pooled = hd95(pred, target, voxelspacing=(1, 1, 1))
distances = surface_distance.compute_surface_distances(target, pred, (1, 1, 1))
larger = surface_distance.compute_robust_hausdorff(distances, 95)
print(f"medpy {version('medpy')}: HD95 {pooled:g} mm")
print(f"surface-distance {version('ctg-surface-distance')}: HD95 {larger:g} mm")
assert pooled == 0, "medpy no longer pools both directions"
assert larger == 30, "surface-distance no longer takes the larger direction"
PYTHON
