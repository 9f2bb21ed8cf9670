"""A disk that fills up: one line, nothing half written, and the same call finishes once there is space.

The same attempts run on a real full disk (a tmpfs of a few MB, where mounting is permitted) and, everywhere but
on Windows, in a process that may not write files beyond some size.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import h5py
import nibabel as nib
import numpy as np
import pytest

from msa2net_lib.data.scans.own import prepare_pairs
from msa2net_lib.data.volumes import Volume, write_volume
from msa2net_lib.errors import InputError
from msa2net_lib.utils.files import atomic_path, write_text

LARGE = np.random.default_rng(0).integers(-30000, 30000, (3, 512, 1024)).astype(np.int16)  # 3 MB, incompressible


def save_npz(path):
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, image=LARGE)


def save_npy(path):
    with atomic_path(path) as temporary:
        np.save(temporary, LARGE)


def save_nifti_file(path):
    write_volume(Volume(LARGE, (1.0, 1.0, 1.0)), path)


def save_json(path):
    write_text(path, json.dumps(LARGE[0].tolist()))


WRITERS = {
    "a.npz": save_npz,
    "a.npy": save_npy,
    "a.nii.gz": save_nifti_file,
    "a.nii": save_nifti_file,
    "a.mha": save_nifti_file,
    "a.nrrd": save_nifti_file,
    "a.json": save_json,
}


def opened(path):
    """Read a file with another tool than the one that wrote it, where there is one."""
    if path.suffix in (".npz", ".npy"):
        return np.load(path)
    if ".nii" in path.suffixes:
        return np.asarray(nib.load(path).dataobj)
    return path.read_bytes() if path.suffix != ".json" else json.loads(path.read_text())


def refused_line(function, *arguments, **options):
    with pytest.raises(InputError) as caught:
        function(*arguments, **options)
    line = str(caught.value)
    assert "\n" not in line
    assert re.search(r"the disk is full.*; free (\d+ MB|some space) and run the same command again$", line)
    return line


@pytest.mark.parametrize("name", WRITERS)
def test_writers_on_a_full_disk(small_disk, name):
    path = small_disk / name
    path.write_bytes(b"what was there")
    line = refused_line(WRITERS[name], path)
    assert line.startswith(f"{path}: ")
    assert {file.name: file.read_bytes() for file in small_disk.iterdir()} == {name: b"what was there"}
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    WRITERS[name](path)
    assert opened(path) is not None
    assert path.stat().st_size > 2 << 20


def test_a_disk_too_full_for_a_folder(small_disk, fill_disk):
    filler = fill_disk(small_disk)
    try:
        (small_disk / "probe").mkdir()  # some systems give a folder no space of its own
        (small_disk / "probe").rmdir()
    except OSError:
        refused_line(write_text, small_disk / "new" / "a.txt", "text")
    assert "the disk is full" in refused_line(write_text, small_disk / "a.txt", "text")
    filler.unlink()
    write_text(small_disk / "new" / "a.txt", "text")


@pytest.fixture
def pairs(tmp_path, save_nifti):
    """Two cases of 6 slices, 128 x 128, of noise; "b" is to be tested on."""
    rng = np.random.default_rng(1)
    for case in ("a", "b"):
        label = rng.integers(0, 3, (6, 128, 128)).astype(np.uint8)
        image = rng.integers(-125, 275, label.shape).astype(np.int16)
        image[:, 0] = -1000
        save_nifti(tmp_path / "images" / f"{case}.nii.gz", image)
        save_nifti(tmp_path / "labels" / f"{case}.nii.gz", label)
    return tmp_path / "images", tmp_path / "labels"


def prepare(pairs, destination, **options):
    chosen = {"classes": {"one": 1, "two": 2}, "test": ["b"], "workers": 1, "progress": False}
    return prepare_pairs(*pairs, destination, **chosen | options)


@pytest.mark.parametrize(("keep", "workers"), [(0, 1), (200_000, 1), (400_000, 2)])
def test_preparing_onto_a_full_disk(pairs, tmp_path, small_disk, fill_disk, tree, keep, workers):
    """Whatever does not fit first is named, also from a worker process, with the space that the rest needs."""
    out = small_disk / "out"
    filler = fill_disk(small_disk, keep)
    line = refused_line(prepare, pairs, out, workers=workers)
    assert line.startswith(str(out))
    if keep:
        assert re.search(r"_slice00\d\.npz|b\.npy\.h5", line)
    assert not list(small_disk.rglob(".partial-*"))
    for path in out.rglob("*.npz"):  # what is there is whole
        with np.load(path) as stored:
            assert stored["image"].shape == (128, 128)
    for path in out.rglob("*.h5"):
        with h5py.File(path) as stored:
            assert sorted(stored) == ["image", "label"]
    assert not (out / "dataset.json").exists()
    filler.unlink()
    prepare(pairs, out, workers=workers)
    prepare(pairs, tmp_path / "clean")
    assert tree(out) == tree(tmp_path / "clean")


def test_the_advice_covers_all_that_is_left(tmp_path, save_nifti, small_disk):
    """Seven cases, of which one or two fit: the space to free is for the others, not for the file that failed."""
    noise = np.random.default_rng(2).integers(-125, 275, (12, 160, 160)).astype(np.int16)
    noise[:, 0] = -1000
    for case in "abcdefg":
        save_nifti(tmp_path / "images" / f"{case}.nii.gz", noise)
        save_nifti(tmp_path / "labels" / f"{case}.nii.gz", np.ones(noise.shape, np.uint8))
    folders = tmp_path / "images", tmp_path / "labels"
    line = refused_line(prepare, folders, small_disk / "out", test=[], classes={"one": 1})
    left = int(re.search(r"free (\d+) MB", line)[1])
    subprocess.run(["mount", "-o", f"remount,size={(2 << 20) + left * 1_000_000}", str(small_disk)], check=True)
    assert len(prepare(folders, small_disk / "out", test=[], classes={"one": 1}).train_slices) == 7 * 12


LIMITED = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_disk_full as tests
folder, pairs = Path(sys.argv[2]), (Path(sys.argv[3]), Path(sys.argv[4]))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[5]), resource.RLIM_INFINITY))
for name, write in tests.WRITERS.items():
    (folder / name).write_bytes(b"what was there")
    print(tests.refused_line(write, folder / name))
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
for workers in (1, 2):
    print(tests.refused_line(tests.prepare, pairs, folder / "out", workers=workers))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of file sizes")
def test_writers_and_preparing_under_a_file_size_limit(pairs, tmp_path, tree):
    script, folder = tmp_path / "limited.py", tmp_path / "files"
    script.write_text(f"if __name__ == '__main__':\n    exec({LIMITED!r})\n")
    folder.mkdir()
    command = [sys.executable, str(script), os.path.dirname(__file__), str(folder), *map(str, pairs), "1000000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(WRITERS) + 2
    for name, line in zip(WRITERS, lines, strict=False):
        assert line.startswith(f"{folder / name}: ")
        assert (folder / name).read_bytes() == b"what was there"
        WRITERS[name](folder / name)
        assert opened(folder / name) is not None
    assert not list(folder.rglob(".partial-*"))
    prepare(pairs, folder / "out")
    prepare(pairs, tmp_path / "clean")
    assert tree(folder / "out") == tree(tmp_path / "clean")
