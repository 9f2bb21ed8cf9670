"""Exercises on data: independent right answers pass, stubs do not."""

from __future__ import annotations

import itertools

import numpy as np
import SimpleITK

from msa2net_lib.data.labels import BTCV_IDS, raw_to_scheme, scheme_ids
from msa2net_lib.lessons.l01_data.checks import orient, relabel


def test_volumes_turned_by_simpleitk_pass():
    """SimpleITK names the axes in the order x, y, z, and turns what lies otherwise."""

    def by_simpleitk(array, runs):
        image = SimpleITK.GetImageFromArray(array)
        image.SetDirection(np.diag([1 if side in "LPS" else -1 for side in runs[::-1]]).astype(float).ravel().tolist())
        return SimpleITK.GetArrayFromImage(SimpleITK.DICOMOrient(image, "LPS"))

    assert orient.diagnosis(by_simpleitk) is None


def test_every_way_to_lie_is_drawn():
    drawn = {runs for _, runs in orient._inputs()}
    for axis, pair in enumerate(("SI", "PA", "LR")):
        assert {runs[axis] for runs in drawn} == set(pair)


def test_labels_by_a_loop_over_voxels_and_by_the_library_pass():
    def by_voxels(label, ids):
        new = label.copy()
        for place in itertools.product(*map(range, label.shape)):
            new[place] = ids.get(int(label[place]), 0)
        return new

    def by_library(label, ids):
        return raw_to_scheme(label, next(s for s in "ABC" if ids[BTCV_IDS["aorta"]] == scheme_ids(s)["aorta"]))

    assert relabel.diagnosis(by_voxels) is None
    assert relabel.diagnosis(by_library) is None


def test_stubs_are_refused():
    assert "not yet" in str(orient.diagnosis(lambda array, runs: array))
    assert "not yet" in str(relabel.diagnosis(lambda label, ids: label))
