"""Data that are prepared are opened without writing: they may lie on a disk that is mounted to be read only."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from msa2net_lib.data.scans.own import prepare_pairs
from msa2net_lib.data.skin.prepare import prepare_skin
from msa2net_lib.data.virtual.cohort import write_virtual_cohort
from msa2net_lib.data.volumes import Volume, write_volume


def scans(home):
    for kind in ("images", "labels"):
        for case in ("a", "b"):
            if not (path := home / kind / f"{case}.nii.gz").exists():
                path.parent.mkdir(exist_ok=True)
                array = np.full((3, 40, 40), -1000, np.int16)
                array[:, 5:30, 5:30] = 1 if kind == "labels" else 60
                write_volume(
                    Volume(np.maximum(array, 0).astype(np.uint8) if kind == "labels" else array, (5, 2, 2)), path
                )
    folders = home / "images", home / "labels", home / "prepared"
    return prepare_pairs(*folders, classes={"ball": 1}, test=["b"], workers=1, progress=False).counts()


def skin(home):
    return prepare_skin(home, count=4, size=32, workers=1, progress=False).counts()


def patients(home):
    """One patient of the smallest scan that is deformed as it is."""
    for kind in ("img", "label"):
        if not (path := home / "source" / kind / f"{kind}0001.nii.gz").exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            array = np.zeros((4, 24, 24), np.int16)
            array[:, 4:20, 4:20] = 6 if kind == "label" else 60
            write_volume(Volume(array.astype(np.uint8) if kind == "label" else array, (5, 8, 8)), path)
    return write_virtual_cohort(home / "source", home / "raw", train=1, test=0, workers=1, progress=False)


@pytest.mark.parametrize("prepare", [scans, skin, patients])
def test_opened_again_nothing_is_written_nor_locked(tmp_path, prepare):
    found = prepare(tmp_path)
    for lock in tmp_path.rglob(".*lock"):
        lock.unlink()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path, *tmp_path.rglob("*"))}
    assert prepare(tmp_path) == found
    assert {path: path.stat().st_mtime_ns for path in (tmp_path, *tmp_path.rglob("*"))} == before


@pytest.mark.parametrize("prepare", [scans, skin])
def test_a_disk_mounted_read_only(small_disk, prepare):
    found = prepare(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert prepare(small_disk) == found
