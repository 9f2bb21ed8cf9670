"""The command: what it prints where, its exit codes, and its options."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from msa2net_lib.cli.main import _parser
from msa2net_lib.errors import InputError


def run(*arguments):
    """Run the command as the command line does, but let errors through."""
    parsed = _parser("predict").parse_args(["predict", *map(str, arguments)])
    return parsed.run(parsed)


@pytest.fixture
def scan_file(tmp_path, scan_hu):
    path = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image(scan_hu().T, np.diag([-15.0, -16, 3, 1])), path)
    return path


def test_default_checkpoint_and_folder(scan_file, threshold, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("scan.nii.gz") == 0
    out, err = capsys.readouterr()
    assert "image: scan, 5 slices of 24 x 20 pixels, 16 x 15 mm each, 3 mm apart" in out
    assert "tiny.safetensors, which ships (trained on virtual patients made from one real CT); no --checkpoint" in out
    assert "liver" in out
    assert "not for clinical use" in out
    for name in ("scan_labels.nii.gz", "scan_overlay.png", "scan_volumes.csv", "scan_prediction.json"):
        assert f"predictions/{name}" in out
        assert (tmp_path / "predictions" / name).is_file()
    (resampled,) = (line for line in err.splitlines() if "resampled" in line)
    assert resampled.startswith("warning: slices of 384 x 300 mm")


def test_volumes_that_are_printed(tmp_path, threshold, capsys):
    array = np.full((6, 24, 20), -1000, np.int16)
    array[2:4, 8:18, 6:16] = 250
    nib.save(nib.Nifti1Image(array.T, np.diag([-10.0, -10, 5, 1])), tmp_path / "box.nii")
    run(tmp_path / "box.nii", "--output", tmp_path / "out", "--field-of-view", "as-is")
    lines = capsys.readouterr().out.splitlines()
    assert ["liver", "100.0", "200"] in [line.split() for line in lines]  # 2 x 10 x 10 voxels of 500 mm3


@pytest.mark.parametrize(
    ("options", "window"),
    [
        ([], [-125.0, 275.0]),
        (["--window", "-100", "240"], [-100.0, 240.0]),
        (["--window", "0", "1.5"], [0.0, 1.5]),
        (["--window", "-1e2", "24E1"], [-100.0, 240.0]),
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_window(scan_file, threshold, tmp_path, capsys, options, window, last):
    arguments = [*options, scan_file] if last and options else [scan_file, *options]
    run(*arguments, "--output", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "scan_prediction.json").read_text())["window"] == window


MISTAKES = {
    "no image": ([], "IMAGE is missing"),
    "no image, a window": (["--window", "1", "2"], "IMAGE is missing"),
    "half a window": (["scan.nii", "--window", "1"], "give LOW and HIGH"),
    "a window of words": (["scan.nii", "--window", "soft", "tissue"], "give LOW and HIGH"),
    "an empty window": (["scan.nii", "--window", "2", "1"], "is empty"),
    "an endless window": (["scan.nii", "--window", "-inf", "200"], "give two numbers"),
    "a negative field": (["scan.nii", "--field-of-view", "-1e3"], "width in mm"),
    "a field of words": (["scan.nii", "--field-of-view", "wide"], "--field-of-view wide"),
    "a tiny field": (["scan.nii", "--field-of-view", "3"], "width in mm"),
    "none for HU": (["scan.nii", "--window", "none"], "no such file"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_mistakes(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, words = MISTAKES[kind]
    with pytest.raises(InputError, match=words) as caught:
        run(*arguments)
    assert "\n" not in str(caught.value)
