"""What a preparation asks people to look at: remarks from records, and from a whole preparation of drawn bodies."""

from __future__ import annotations

import numpy as np
import pytest

from msa2net_lib.cli.main import main
from msa2net_lib.data.contract.look_at import dropped_ids, equal_files, look_at, scan_remarks, unusual


def record(split="train", digest="", **facts):
    return {"split": split, "sources": {"image": {"sha256": digest}}} | facts


def test_equal_images_are_named_those_across_parts_first():
    cases = {"a": record(digest="1"), "b": record(digest="1"), "c": record(digest="2"), "d": record("test", "2")}
    across, within = equal_files(cases)
    assert "c (train), d (test)" in across
    assert "training data" in across
    assert "a (train), b (train)" in within
    assert "training data" not in within
    assert equal_files({"a": record(digest="1"), "b": record(digest="2"), "c": record(), "d": record()}) == []


@pytest.mark.parametrize("odd", [0.1, 60.0, 1e-3])
def test_an_amount_far_from_the_others_is_named(odd):
    usual = {"a": 10.0, "b": 11.0, "c": 9.0, "d": 10.5}
    assert unusual(usual, "liver", "ml") == []
    (line,) = unusual(usual | {"e": odd}, "liver", "ml")
    assert f"e {odd:.3g} ml" in line
    assert f"median {np.median([*usual.values(), odd]):.3g} ml" in line
    assert unusual({"a": 1.0, "b": 1.0, "e": odd}, "liver", "ml") == []  # too few to say


def test_dropped_ids_are_counted():
    cases = {"a": record(dropped={"3": 5, "12": 1}), "b": record(dropped={"3": 7}), "c": record()}
    assert dropped_ids(cases) == ["label ids that became background: 3 (12 in 2 of 3), 12 (1 in 1 of 3)"]
    assert dropped_ids({"a": record()}) == []


def test_nothing_to_look_at_is_nothing_said():
    assert look_at([]) == ""
    assert look_at(["one", "two"]) == "look at these:\n- one\n- two"
    assert scan_remarks({}) == []  # of data that others prepared


def bodies(folder, save_nifti, count=4, change=lambda case, label: label):
    """Prepare scans of a body with its kidneys, their label maps changed by a function, and return the output."""
    rng = np.random.default_rng(0)
    for case in range(count):
        image = np.full((6, 32, 32), -1000, np.int16)
        image[:, 4:28, 4:28] = rng.integers(-60, 300, (6, 24, 24))
        label = np.zeros(image.shape, np.uint8)
        label[1:5, 18:22, 20:24], label[1:5, 18:22, 8:12] = 1, 2  # x grows to the patient's left
        save_nifti(folder / "images" / f"c{case}.nii.gz", image)
        save_nifti(folder / "labels" / f"c{case}.nii.gz", change(case, label))
    arguments = ["prepare", "scans", "--images", folder / "images", "--labels", folder / "labels", "--workers", 1]
    arguments += ["--destination", folder / "out", "--classes", "kidney_left=1", "Right-Kidney=2", "--test-cases", "c0"]
    return [str(one) for one in arguments]


def test_a_preparation_without_remarks_ends_without_a_list(tmp_path, save_nifti, capsys):
    assert main(bodies(tmp_path, save_nifti)) == 0
    assert "look at these" not in capsys.readouterr().out


def of(number, change):
    """Change the label map of one case."""
    return lambda case, label: change(label) if case == number else label


def index(label, axis=None):
    return np.indices(label.shape).max(0) if axis is None else np.indices(label.shape)[axis]


CHANGES = {
    "swapped labels": (of(2, lambda label: (3 - label) * (label > 0)), "left of the right", "c2"),
    "mirrored": (of(1, lambda label: label[:, :, ::-1]), "left of the right kidney", "c1"),
    "inverted": (of(3, lambda label: np.where(label, 0, 2)), "more than half", "c3"),
    "a speck": (of(3, lambda label: label * (index(label) < 21)), "unlike", "c3"),
    "other ids": (lambda case, label: label + 7 * (index(label, 1) < 3), "7 (2304 in 4 of 4)", "background"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_what_is_odd_is_named_at_the_end(tmp_path, save_nifti, capsys, kind):
    change, *words = CHANGES[kind]
    arguments = bodies(tmp_path, save_nifti, change=lambda case, label: change(case, label).astype(np.uint8))
    assert main([*arguments, "--others-are-background"]) == 0
    found = capsys.readouterr().out.partition("look at these:\n")[2].splitlines()
    assert any(all(word in line for word in words) for line in found), found


def test_voxel_sizes_and_grays_that_no_scan_has(tmp_path, save_nifti, capsys):
    arguments = bodies(tmp_path, save_nifti)
    flat = np.full((6, 32, 32), -1000, np.int16)
    flat[:, 4:28, 4:28] = -60
    save_nifti(tmp_path / "images" / "c1.nii.gz", flat)
    for kind in ("images", "labels"):
        path = tmp_path / kind / "c2.nii.gz"
        image = np.zeros((6, 32, 32), np.int16) if kind == "labels" else flat + np.arange(32, dtype=np.int16) * 40
        image[2:4, 18:22, 20:24] = 1 if kind == "labels" else 40
        save_nifti(path, image, spacing=(30.0, 8.0, 7.0))
    assert main(arguments) == 0
    found = capsys.readouterr().out
    assert "voxels unlike the others' (median 1.4 mm\u00b3): c2 1.68e+03 mm\u00b3" in found
    (told,) = [line for line in found.splitlines() if line.startswith("- c2: ")]
    assert "7 x 8 x 30 mm" in told
    assert "little of 0 to 1 is used, another window or values scaled twice? c1 0 to 0.163" in found
