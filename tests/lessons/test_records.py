"""Records: what is written is what was measured, and holds no path of the machine."""

from __future__ import annotations

import hashlib
import json

import pandas as pd
import pytest

from msa2net_lib.errors import InputError
from msa2net_lib.lessons.records import BUSY, LOCK, Recorder, read_record
from msa2net_lib.lessons.registry import LESSONS, QUICK
from msa2net_lib.utils.locks import exclusive
from msa2net_lib.viz.plots import figure_grid


def namespace(tmp_path, **more):
    return {"PROFILE": "smoke", "DATASET": "virtual", "DATA_DIR": "../data", "OUTPUT_DIR": str(tmp_path),
            "SEED": 3, "DEVICE": "cpu", "_HIDDEN": 1, "MASAG": object, "lower": 2} | more  # fmt: skip


def test_a_record_holds_what_was_given(tmp_path):
    data = tmp_path / "scan.nii.gz"
    data.write_bytes(b"voxels")
    record = Recorder.start("00_start_here", namespace(tmp_path))
    record.number("mean DSC", 0.5, "DSC", "a note")
    record.number("on the GPU", None, "s")
    record.number("nowhere", float("nan"), "s")
    record.figure(figure_grid(1, 1)[0], "figure", "A figure.", headline=True)
    record.table(pd.DataFrame({"a": [1]}), "numbers")
    record.used([data])
    written = json.loads(record.finish().read_text())
    assert written == read_record(tmp_path, "smoke", "00_start_here")
    assert written["numbers"]["mean DSC"] == {"value": 0.5, "unit": "DSC", "note": "a note"}
    assert written["numbers"]["on the GPU"]["value"] == written["numbers"]["nowhere"]["value"] == "not measured"
    assert written["data_sha256"] == {"scan.nii.gz": hashlib.sha256(b"voxels").hexdigest()}
    assert written["seed"] == 3
    assert sorted(written["parameters"]) == ["DATASET", "DATA_DIR", "DEVICE", "OUTPUT_DIR", "PROFILE", "SEED"]
    assert {p.name for p in record.folder.glob("[a-z]*")} == {"record.json", "figure.png", "numbers.csv"}


def test_a_misspelt_parameter_in_the_notebook_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"SEEED is no parameter of 00_start_here \(did you mean SEED\?\)"):
        Recorder.start("00_start_here", namespace(tmp_path, SEEED=4))


@pytest.mark.parametrize("more", [{"seed": 4}, {"Seed": 4}, {"SEEDS": [1, 2]}, {"seeed": 4}])
def test_other_letters_and_other_types_are_refused_too(tmp_path, more):
    with pytest.raises(InputError, match=r"is no parameter of 00_start_here \(did you mean SEED\?\)"):
        Recorder.start("00_start_here", namespace(tmp_path) | more)


def test_a_quick_run_takes_the_lessons_short_settings_and_says_so(tmp_path, monkeypatch, capsys):
    def start():
        more = {"STEPS": 700, "BATCH_SIZE": 0, "SELECTION": "last", "GPUS": 0, "RESUME": False, "SCORED": "trained"}
        notebook = namespace(tmp_path, BENCHMARKS="", **more)
        return notebook, Recorder.start("10_training", notebook)

    quick = LESSONS["10_training"].quick
    assert start()[0]["STEPS"] == 700
    monkeypatch.setenv(QUICK, "1")
    notebook, record = start()
    assert notebook["STEPS"] == record.parameters["STEPS"] == quick["STEPS"]
    assert f"quick run: STEPS = {quick['STEPS']}" in capsys.readouterr().out


def test_one_kernel_at_a_time_writes_a_lessons_results(tmp_path):
    """Its own setup cell may run again; the folder is free after `finish`."""
    first = Recorder.start("00_start_here", namespace(tmp_path))
    again = Recorder.start("00_start_here", namespace(tmp_path))
    refused = pytest.raises(InputError, match=r"00_start_here: another kernel or run is at work on this lesson; end it")
    with refused, exclusive(first.folder, lock=first.folder / LOCK, busy=BUSY):
        pass
    again.finish()
    with exclusive(first.folder, lock=first.folder / LOCK, busy=BUSY):
        pass
