"""`msa2net compare`: from scores by case to a table, a file and a figure."""

from __future__ import annotations

import pandas as pd
import pytest
from PIL import Image

from msa2net_lib.cli.main import main


@pytest.fixture
def files(tmp_path):
    for name, shift in (("a", 0.0), ("b", 0.01), ("c", -0.02)):
        rows = [
            {
                "protocol": "paper",
                "case": f"case{case}",
                "organ": organ,
                "dsc": 0.8 + shift * (1 + case % 3) + case / 100,
            }
            for case in range(6)
            for organ in ("liver", "spleen")
        ]
        pd.DataFrame(rows).to_csv(tmp_path / f"{name}.csv", index=False)
    return [tmp_path / f"{name}.csv" for name in "abc"]


def run(capsys, *arguments, code=0):
    assert main(["compare", *map(str, arguments)]) == code
    return capsys.readouterr()


def test_the_table_is_printed_written_and_drawn(files, tmp_path, capsys):
    outputs = ("--output", tmp_path / "table.csv", "--figure", tmp_path / "figure.png")
    out = run(capsys, *files, "--names", "MSA2Net", "U-Net", "Other", *outputs).out
    assert "differences are other minus MSA2Net, case by case (6 cases" in out
    assert "corrected for the 6 tests" in out
    table = pd.read_csv(tmp_path / "table.csv").set_index(["system", "organ"])
    assert table.loc[("U-Net", "mean"), "difference"] == pytest.approx(0.02)
    assert table.loc[("Other", "liver"), "difference"] == pytest.approx(-0.04)
    with Image.open(tmp_path / "figure.png") as figure:
        assert figure.width > 800


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--names", "one"], "--names one: give one name for each"),
        (["--column", "hd95"], "has no score 'hd95'"),
        (["--protocol", "strict"], "holds no protocol 'strict'"),
    ],
)
def test_wrong_options_get_one_line(files, capsys, options, message):
    err = run(capsys, *files, *options, code=2).err
    assert message in err
    assert err.count("\n") == 1


def test_nothing_is_written_over_what_is_read_or_is_something_else(files, tmp_path, capsys):
    own = tmp_path / "notes.txt"
    own.write_text("my notes\n")
    (tmp_path / "weights.safetensors").write_bytes(b'\x08\0\0\0\0\0\0\0{"a":1,')
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for option, path, message in (
        ("--output", files[1], "is one of the files to be read"),
        ("--figure", files[0], "is one of the files to be read"),
        ("--output", own, "is there already and no table"),
        ("--output", tmp_path / "weights.safetensors", "is there already and no table"),
    ):
        assert message in run(capsys, *files, option, path, code=2).err
    same = ("--output", tmp_path / "x", "--figure", tmp_path / "x")
    assert "name a file for each" in run(capsys, *files, *same, code=2).err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    for _ in range(2):  # an earlier table is replaced
        run(capsys, *files, "--output", tmp_path / "table.csv")
