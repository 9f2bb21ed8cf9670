"""Which way volumes are turned: found from the organs, on patients turned in all sixteen ways."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from msa2net_lib.data.contract.detection import detect_orientation, scheme_organs
from msa2net_lib.data.contract.flips import FLIPS, undo_flip
from msa2net_lib.data.contract.shapes import CaseShapes, measure
from msa2net_lib.data.labels import ORGANS, raw_to_scheme
from msa2net_lib.data.volumes import read_pair

A = scheme_organs("A")


@pytest.fixture(scope="module")
def labels(virtual_labels):
    return {name: raw_to_scheme(label) for name, label in virtual_labels.items()}


@pytest.fixture(scope="module")
def cohort(labels):
    return {name: measure(label) for name, label in labels.items()}


def turned(labels, flip):
    """Measure volumes stored so that ``flip`` brings them back."""
    return {name: measure(undo_flip(label, flip)) for name, label in labels.items()}


def without(cases, *organs):
    kept = {label for label, organ in A.items() if organ not in organs}
    return {
        name: CaseShapes(case.slices, {label: shape for label, shape in case.organs.items() if label in kept})
        for name, case in cases.items()
    }


@pytest.mark.parametrize("flip", FLIPS)
def test_every_flip_is_found(labels, flip):
    finding = detect_orientation(turned(labels, flip), A)
    assert (finding.best, finding.in_plane) == (flip, flip.replace("z", "") or "none")
    assert finding.against(flip) is None
    assert ("no flip" if flip == "none" else f"flip {flip}") in finding.reason
    wrong = [other for other in FLIPS if other.replace("z", "") != flip.replace("z", "")]
    wrong = [other for other in wrong if (other.replace("z", "") or "none") != finding.in_plane]
    assert all(finding.against(other) for other in wrong)


def test_evidence_counts_what_lies_where(labels):
    """All six patients, against their centroids by scipy."""
    finding = detect_orientation(turned(labels, "none"), A)
    spleen, liver = ([ndimage.center_of_mass(v == n) for v in labels.values()] for n in (7, 5))
    count = sum(a[2] > b[2] for a, b in zip(spleen, liver, strict=True))
    assert count == 6
    assert "read with no flip, the spleen is to the left of the liver in 6 of 6" in finding.evidence
    assert len(finding.evidence) == 6


@pytest.mark.parametrize("flip", ["none", "x", "ty", "txyz"])
@pytest.mark.parametrize("factors", [(0.6, 2.0, 2.0), (2.0, 0.9, 0.9)])
def test_other_spacings_change_nothing(labels, flip, factors):
    finer = {name: ndimage.zoom(labels[name], factors, order=0) for name in list(labels)[:4]}
    assert detect_orientation(turned(finer, flip), A).best == flip


@pytest.mark.parametrize("organ", ORGANS)
def test_one_organ_missing(cohort, organ):
    assert detect_orientation(without(cohort, organ), A).best == "none"


@pytest.mark.parametrize("scheme", ["B", "C", "raw"])
def test_organs_by_other_labels(virtual_labels, scheme):
    labels = {n: v if scheme == "raw" else raw_to_scheme(v, scheme) for n, v in list(virtual_labels.items())[:3]}
    assert detect_orientation(turned(labels, "ty"), scheme_organs(scheme)).in_plane == "ty"


def test_what_one_patient_and_few_organs_tell(cohort):
    one = {"virtual0": cohort["virtual0"]}
    finding = detect_orientation(one, A)
    assert finding.in_plane == "none"
    assert finding.best is None
    assert "slices go up or down" in finding.reason
    assert finding.against("none") is finding.against("z") is None
    assert finding.against("y")
    for organs in [("left kidney", "right kidney"), ("spleen",)]:
        kept = without(cohort, *(organ for organ in ORGANS if organ not in organs))
        finding = detect_orientation(kept, A)
        assert finding.in_plane is None
        assert finding.against("none") is None


def test_the_other_real_patient(example_ct):
    """A slab of 20 slices: its rows and columns are clear, up and down cannot be."""
    _, label = read_pair(example_ct / "img" / "img0002.nii.gz", example_ct / "label" / "label0002.nii.gz")
    for flip in ("none", "x", "ty", "txy"):
        finding = detect_orientation(turned({"patient 2": raw_to_scheme(label.array)}, flip), A)
        assert (finding.best, finding.in_plane) == (None, flip)


def test_volumes_that_are_not_turned_alike(labels):
    cases = turned(labels, "none") | turned({"virtual3": labels["virtual3"]}, "y")
    finding = detect_orientation(cases, A)
    assert finding.best is None
    assert "not all turned alike: virtual3 differ" in finding.reason
    assert all(finding.against(flip) for flip in FLIPS)


def test_noise_tells_nothing():
    rng = np.random.default_rng(2)
    noise = {"noise": measure(rng.integers(0, 9, (20, 40, 40)).astype(np.uint8))}
    assert detect_orientation(noise, A).in_plane is None
    assert detect_orientation({}, A).best is None
    assert "no organ" in detect_orientation(noise, {1: "tumour"}).reason
