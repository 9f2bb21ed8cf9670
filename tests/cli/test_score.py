"""`msa2net score`: what it prints and writes, and one line for what is wrong."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image

from msa2net_lib.cli.main import main


@pytest.fixture
def folders(tmp_path):
    """Two cases of a cube of id 1; the second prediction lacks a slice of it."""
    for folder, missing in (("predictions", 1), ("references", 0)):
        (tmp_path / folder).mkdir()
        for case in (0, 1):
            labels = np.zeros((6, 16, 16), np.uint8)
            labels[1 : 5 - case * missing, 4:12, 4:12] = 1
            image = sitk.GetImageFromArray(labels)
            image.SetSpacing((1.0, 1.0, 2.0))
            sitk.WriteImage(image, str(tmp_path / folder / f"case{case}.nii.gz"))
    return tmp_path / "predictions", tmp_path / "references"


def run(capsys, folders, *options, code=0):
    given = ("score", "--predictions", folders[0], "--references", folders[1], *options)
    assert main([str(part) for part in given]) == code
    return capsys.readouterr()


def test_scores_are_printed_and_written(folders, tmp_path, capsys):
    out = run(capsys, folders, "--classes", "cube=1", "--interval", "--output", tmp_path / "scores.csv").out
    assert "2 of 2 references have a prediction" in out
    for part in ("paper protocol", "strict protocol", "Student's t over"):
        assert part in out
    table = pd.read_csv(tmp_path / "scores.csv")
    rows = table[table.case == "case1"].set_index("protocol")
    assert rows.dsc.tolist() == pytest.approx([2 * 3 / 7] * 2)  # three of four slices
    assert rows.hd95_unit.tolist() == ["voxels", "mm"]
    assert rows.hd95.tolist() == [1.0, 2.0]  # one slice of 2 mm
    assert table.columns.tolist()[:3] == ["protocol", "case", "organ"]


def test_masks_are_printed_and_written(tmp_path, capsys):
    for folder in ("p", "r"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.eye(4, dtype=np.uint8) * 200).save(tmp_path / folder / "a.png")
    message = run(capsys, (tmp_path / "p", tmp_path / "r"), code=2).err
    assert "give a threshold" in message
    assert "0.2500 of the pixels lesion" in run(capsys, (tmp_path / "p", tmp_path / "r"), "--threshold", 127).out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--classes", "cube"], "--classes cube: write NAME=ID"),
        (["--threshold", 5], "--threshold: is for PNG masks"),
        (["--output", "."], ".: is a folder"),
        (["--reference-name", "{id}_gt"], "holds no label map named {id}_gt"),
    ],
)
def test_wrong_options_get_one_line(folders, capsys, options, message):
    err = run(capsys, folders, *options, code=2).err
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["references/case0.nii.gz", "predictions/case1.nii.gz", "predictions/plans.json"])
def test_scores_are_not_written_over_label_maps_nor_what_lies_beside_them(folders, tmp_path, capsys, name):
    (tmp_path / "predictions" / "plans.json").write_text("{\n}\n")
    before = (tmp_path / name).read_bytes()
    err = run(capsys, folders, "--classes", "cube=1", "--output", tmp_path / name, code=2).err
    assert name in err
    assert err.count("\n") == 1
    assert (tmp_path / name).read_bytes() == before


def test_a_folder_that_is_not_there(tmp_path, capsys):
    err = run(capsys, (tmp_path / "none", tmp_path), code=2).err
    assert err == f"msa2net: {tmp_path / 'none'}: no such folder; check the path\n"
