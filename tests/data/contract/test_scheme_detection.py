"""Which numbering labels follow: right or undecided, on whatever can be done to real and virtual patients.

The virtual patients are bent copies of one real one; patient 2 is another. How it does on the BTCV scans is not
known here.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage

from msa2net_lib.data.contract.detection import detect_scheme, scheme_organs
from msa2net_lib.data.contract.flips import FLIPS, undo_flip
from msa2net_lib.data.contract.shapes import CaseShapes, measure
from msa2net_lib.data.labels import BTCV_IDS, ORGANS, SCHEMES, raw_to_scheme
from msa2net_lib.data.volumes import read_pair


@pytest.fixture(scope="module")
def cohort(virtual_labels):
    """Shapes of the six virtual patients in scheme A."""
    return {name: measure(raw_to_scheme(label)) for name, label in virtual_labels.items()}


@pytest.fixture(scope="module")
def two(virtual_labels):
    """Label volumes of two of them in scheme A."""
    return {name: raw_to_scheme(virtual_labels[name]) for name in ("virtual0", "virtual1")}


def renumbered(cases, table):
    """Give shapes other labels; labels that the table lacks are dropped."""
    return {
        name: CaseShapes(case.slices, {table[label]: shape for label, shape in case.organs.items() if label in table})
        for name, case in cases.items()
    }


def as_scheme(cases, scheme, organs=ORGANS):
    """Renumber shapes of scheme A to another scheme, keeping the given organs only."""
    return renumbered(cases, {SCHEMES["A"][organ]: SCHEMES[scheme][organ] for organ in organs})


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_each_scheme_is_found_with_evidence(virtual_labels, scheme):
    finding = detect_scheme({name: measure(raw_to_scheme(label, scheme)) for name, label in virtual_labels.items()})
    assert finding.best == scheme
    assert [finding.against(other) is None for other in "ABC"] == [scheme == other for other in "ABC"]
    assert finding.against("raw") is not None
    words = {line.split(": ")[1]: line for line in finding.evidence}
    assert words[f"aorta in {scheme}"].startswith(f"label {SCHEMES[scheme]['aorta']} is tubular, ")
    assert "right in front" in words[f"liver in {scheme}"]
    assert "left at the back" in words[f"spleen in {scheme}"]


def test_evidence_in_numbers(two):
    """The percentages, counted by hand from the voxels."""
    finding = detect_scheme({name: measure(label) for name, label in two.items()})
    shares = [100 * np.mean(label == 3) / np.mean(label == 5) for label in two.values()]
    assert f"label 3 is oval, {np.median(shares):.0f} % of the liver" in finding.evidence[2]


def test_raw_labels(virtual_labels):
    finding = detect_scheme({name: measure(label) for name, label in virtual_labels.items()})
    assert finding.best == "raw"
    assert finding.against("raw") is None
    assert finding.against("A") is not None


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_one_patient_is_enough_if_all_organs_are_there(cohort, scheme):
    for name, case in cohort.items():
        assert detect_scheme(as_scheme({name: case}, scheme)).best == scheme


@pytest.mark.parametrize("flip", FLIPS)
def test_turning_and_mirroring_change_nothing(two, flip):
    assert detect_scheme({name: measure(undo_flip(label, flip)) for name, label in two.items()}).best == "A"


@pytest.mark.parametrize("factors", [(0.6, 2.0, 2.0), (1.2, 0.7, 0.7), (2.0, 0.9, 0.9)])
def test_other_spacings_change_nothing(two, factors):
    """3 mm voxels resampled, in the plane and between slices by different factors."""
    cases = {name: measure(ndimage.zoom(label, factors, order=0)) for name, label in two.items()}
    for scheme in SCHEMES:
        assert detect_scheme(as_scheme(cases, scheme)).best == scheme


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_one_organ_missing_everywhere(cohort, scheme):
    """Without a pancreas to compare with, this patient's small stomach might be one: undecided, not wrong."""
    for organ in ORGANS[1 :: 2 if scheme == "A" else 4]:
        kept = [other for other in ORGANS if other != organ]
        finding = detect_scheme(as_scheme(cohort, scheme, kept))
        assert finding.best == scheme or (finding.best is None and organ == "pancreas"), organ
        assert finding.against(scheme) is None


def test_several_organs_missing_is_right_or_undecided(cohort):
    found = []
    for number in (3, 4, 5, 6):
        for organs, scheme in zip(list(itertools.combinations(ORGANS, number))[::9], itertools.cycle(SCHEMES)):
            finding = detect_scheme(as_scheme(cohort, scheme, organs))
            assert finding.best in (scheme, None), (organs, scheme, finding)
            assert finding.against(scheme) is None, (organs, scheme, finding)
            found.append(finding.best)
    assert found.count(None) < len(found) / 2


def test_organs_missing_here_and_there(cohort):
    rng = np.random.default_rng(8)
    for scheme in SCHEMES:
        cases = {}
        for name, case in cohort.items():
            kept = list(rng.permutation(ORGANS))[:5]
            cases |= as_scheme({name: case}, scheme, kept)
        assert detect_scheme(cases).best == scheme


@pytest.mark.parametrize(
    ("first", "last", "decided"), [(0.0, 0.5, False), (0.25, 0.75, True), (0.4, 1.0, True), (0.45, 0.6, False)]
)
def test_cut_scans_are_right_or_undecided(virtual_labels, first, last, decided):
    cut = {}
    for name, label in virtual_labels.items():
        part = label[round(first * len(label)) : round(last * len(label))]
        cut[name] = measure(raw_to_scheme(part, "B"))
    finding = detect_scheme(cut)
    assert finding.best == "B" or (finding.best is None and not decided), finding
    assert finding.against("B") is None
    assert finding.against("A")


def test_the_other_real_patient(example_ct):
    _, label = read_pair(example_ct / "img" / "img0002.nii.gz", example_ct / "label" / "label0002.nii.gz")
    for scheme in SCHEMES:
        finding = detect_scheme({"patient 2": measure(raw_to_scheme(label.array, scheme))})
        assert finding.best in (scheme, None)
        assert [finding.against(other) is None for other in "ABC"] == [scheme == other for other in "ABC"]


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_no_made_up_numbering_is_taken_for_a_scheme(two, scheme):
    """Exchange two labels: every other pair in scheme A, every sixth in the others, whose organs are the same."""
    cases = as_scheme({name: measure(label) for name, label in two.items()}, scheme)
    for one, other in list(itertools.combinations(range(1, 9), 2))[:: 2 if scheme == "A" else 6]:
        table = {label: label for label in range(1, 9)} | {one: other, other: one}
        finding = detect_scheme(renumbered(cases, table))
        assert finding.best is None
        assert finding.against(scheme) is not None or "clearly" in finding.reason


def test_exchanged_kidneys_are_named(cohort):
    table = {label: label for label in range(1, 9)} | {3: 4, 4: 3}
    finding = detect_scheme(renumbered(cohort, table))
    assert "label 3 is rather the right kidney, label 4 is rather the left kidney" in finding.reason
    assert finding.reason in (finding.against("A") or "")


def test_random_numberings_are_made_up(two):
    cases = {name: measure(label) for name, label in two.items()}
    named = {tuple(table[organ] for organ in ORGANS) for table in SCHEMES.values()}
    rng = np.random.default_rng(0)
    for _ in range(6):
        numbers = tuple(int(n) for n in rng.permutation(8) + 1)
        finding = detect_scheme(renumbered(cases, dict(enumerate(numbers, start=1))))
        assert (finding.best is None) == (numbers not in named)


def test_made_up_raw_numberings(virtual_labels):
    cases = {name: measure(virtual_labels[name]) for name in ("virtual0", "virtual1")}
    for one, other in [
        ("liver", "spleen"),
        ("pancreas", "right adrenal gland"),
        ("stomach", "portal and splenic veins"),
    ]:
        table = {label: label for label in range(1, 14)}
        table |= {BTCV_IDS[one]: BTCV_IDS[other], BTCV_IDS[other]: BTCV_IDS[one]}
        assert detect_scheme(renumbered(cases, table)).best is None, (one, other)


def test_what_cannot_be_told_is_said(cohort):
    finding = detect_scheme(as_scheme(cohort, "A", ["left kidney", "liver"]))
    assert finding.best is None
    assert "labels 3, 5 mean the same in A and B" in finding.reason
    assert [finding.against(scheme) is None for scheme in "ABC"] == [True, True, False]


def test_contradicting_volumes(cohort):
    names = list(cohort)
    mixed = cohort | as_scheme({name: cohort[name] for name in names[:2]}, "B")
    finding = detect_scheme(mixed)
    assert finding.best is None
    assert "contradict" in finding.reason
    assert all(name in finding.reason for name in names[:2])
    assert all(finding.against(scheme) for scheme in "ABC")


def test_random_voxels_and_blobs():
    rng = np.random.default_rng(1)
    noise = {f"noise{n}": measure(rng.integers(0, 9, (20, 40, 40)).astype(np.uint8)) for n in range(3)}
    assert detect_scheme(noise).best is None
    blobs = {}
    for n in range(5):
        smooth = ndimage.gaussian_filter(rng.random((9, 24, 40, 40)), (0, 3, 4, 4))
        blobs[f"blobs{n}"] = measure(smooth.argmax(axis=0).astype(np.uint8))
        assert detect_scheme({"blobs": blobs[f"blobs{n}"]}).best is None
    assert detect_scheme(blobs).best is None


def test_no_label_or_too_many():
    assert "no volume has any label" in detect_scheme({"a": measure(np.zeros((3, 4, 4), np.uint8))}).reason
    finding = detect_scheme({"a": measure(np.full((3, 4, 4), 15, np.uint8))})
    assert finding.best is None
    assert "15" in finding.reason
    assert detect_scheme({"a": measure(np.full((3, 4, 4), 9, np.uint8))}).best is None


def test_tables_of_the_schemes():
    assert scheme_organs("raw")[6] == "liver"
    assert scheme_organs("C")[6] == "liver"
    assert list(scheme_organs("A").values()) == list(ORGANS)
