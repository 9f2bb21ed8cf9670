"""Atomic writing, recognizing a full disk, checksums."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import stat
import subprocess
import sys

import h5py
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch

from msa2net_lib.data.catalog import open_prepared
from msa2net_lib.data.scans.nnunet import read_description
from msa2net_lib.errors import InputError
from msa2net_lib.evaluation.experiments import read_measurement
from msa2net_lib.paper.reproduced.runs import read_training
from msa2net_lib.utils.files import (
    DiskFullError,
    atomic_path,
    is_disk_full,
    read_json,
    remove_partials,
    sha256,
    tell_disk_full,
    writable_folder,
    write_text,
)

FULL = [OSError(number, os.strerror(number)) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)]


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_atomic_path_puts_the_whole_file_in_place(tmp_path):
    target = tmp_path / "new" / "scan.nii.gz"
    with atomic_path(target) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == target.parent
        assert temporary.name.endswith(".nii.gz")
        assert str(os.getpid()) in temporary.name
        assert not target.exists()
    assert contents(target.parent) == {"scan.nii.gz": "whole"}


@pytest.mark.parametrize("error", [RuntimeError("bug"), KeyboardInterrupt(), SystemExit(1), InputError("wrong")])
@pytest.mark.parametrize("begun", [True, False])
def test_atomic_path_keeps_what_was_there(tmp_path, error, begun):
    target = write_text(tmp_path / "scores.csv", "old")
    with pytest.raises(type(error)) as caught:
        write_and_raise(target, begun, error)
    assert caught.value is error
    assert contents(tmp_path) == {"scores.csv": "old"}


def write_and_raise(target, begun, error, **options):
    with atomic_path(target, **options) as temporary:
        if begun:
            temporary.write_text("half")
        raise error


def test_text_is_stored_as_it_is(tmp_path):
    path = write_text(tmp_path / "a.txt", "\u00e4\nb\r\n")
    assert path.read_bytes() == b"\xc3\xa4\nb\r\n"
    assert stat.S_IMODE(path.stat().st_mode) & 0o400


@pytest.mark.parametrize("error", FULL, ids=lambda error: errno.errorcode[error.errno])
def test_a_full_disk_becomes_one_line(tmp_path, error):
    target = write_text(tmp_path / "scores.csv", "old")
    with pytest.raises(InputError) as caught:
        write_and_raise(target, True, error, size=12_300_000)
    message = str(caught.value)
    assert "\n" not in message
    for words in (str(target), "the disk is full", "free 13 MB", "run the same command again"):
        assert words in message
    assert caught.value.__cause__ is error
    assert contents(tmp_path) == {"scores.csv": "old"}


def test_a_full_disk_is_told_once(tmp_path):
    with pytest.raises(DiskFullError) as caught, tell_disk_full(tmp_path / "outer"), atomic_path(tmp_path / "inner"):
        raise FULL[0]
    assert str(caught.value).startswith(f"{tmp_path / 'inner'}:")
    again = pickle.loads(pickle.dumps(caught.value))  # as it comes from a worker process
    assert isinstance(again, DiskFullError)
    assert is_disk_full(again)
    assert str(again) == str(caught.value)


# What libraries raised when a disk filled under them (recorded on a small tmpfs and with a file size limit).
RECORDED = [
    OSError("2097152 requested and 524256 written"),  # numpy.save
    RuntimeError("[enforce fail at inline_container.cc:671] . unexpected pos 576 vs 534"),  # torch.save
    RuntimeError("Can't decrement id ref count (unable to extend file properly, errno = 27, error message = 'File too "
                 "large')"),
    RuntimeError("ITK ERROR: MetaImageIO(0x55c5): File cannot be written: b.mha\n  Reason: No space left on device"),
    ValueError("Error while serializing: I/O error: No space left on device (os error 28)"),  # safetensors
]  # fmt: skip


@pytest.mark.parametrize("error", [*FULL, *RECORDED], ids=repr)
def test_full_disks_in_other_words(error):
    """Also below the error that was raised from it, and below one that cleaning up raised."""
    assert is_disk_full(error)
    wrapped = InputError("scan.mha: cannot be written")
    wrapped.__cause__ = error
    assert is_disk_full(wrapped)
    cleaning_up = FileNotFoundError("half a file")
    cleaning_up.__context__ = error
    assert is_disk_full(cleaning_up)


def raised_by(function, *arguments):
    with pytest.raises((OSError, RuntimeError, ValueError)) as caught:
        function(*arguments)
    return caught.value


def test_other_errors_are_no_full_disk(tmp_path):
    """Errors of the same libraries, with other causes; the first was raised after a full disk had been dealt with."""
    dealt_with = InputError("another thing")
    dealt_with.__context__, dealt_with.__suppress_context__ = FULL[0], True  # raise ... from None
    (tmp_path / "text.h5").write_text("no HDF5")
    image = sitk.Image(2, 2, 2, sitk.sitkUInt8)
    for error in (
        dealt_with,
        MemoryError(),
        PermissionError(errno.EACCES, "Permission denied"),
        raised_by(h5py.File, tmp_path / "text.h5", "r"),
        raised_by(np.load, tmp_path / "text.h5"),
        raised_by(torch.save, {}, tmp_path / "none" / "x.pt"),
        raised_by(sitk.WriteImage, image, str(tmp_path / "none" / "x.mha")),
    ):
        assert not is_disk_full(error)


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "folder" / "x.txt"):
        pass  # a writer that writes nothing is a mistake of ours, not the user's


@pytest.mark.parametrize("name", ["folder", "file/x.txt", "file/deeper/x.txt", "/proc/x.txt", "/proc/none/x.txt"])
def test_where_no_file_can_be_written(tmp_path, name):
    """One line that names it, before the writer is asked. /proc takes no files, whoever asks."""
    if name.startswith("/proc") and not sys.platform.startswith("linux"):
        pytest.skip("no /proc here")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("old")
    with pytest.raises(InputError) as caught:
        write_text(tmp_path / name, "new")
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "old"


def test_file_that_may_not_be_replaced(tmp_path, monkeypatch):
    target = write_text(tmp_path / "x.txt", "old")

    def denied(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "replace", denied)
    with pytest.raises(InputError, match=r"x\.txt: cannot be written \(Permission denied\)"):
        write_text(target, "new")
    assert contents(tmp_path) == {"x.txt": "old"}


@pytest.mark.parametrize("name", ["a" * 251 + ".nii", "é" * 120 + ".png", "b" * 255])
def test_names_as_long_as_a_file_system_takes(tmp_path, name):
    other = write_text(tmp_path / ("c" + name[1:]), "other")
    with atomic_path(tmp_path / name) as temporary:
        assert temporary.suffix == (tmp_path / name).suffix
        write_text(other, "still another")
        temporary.write_text("whole")
    assert ((tmp_path / name).read_text(), other.read_text()) == ("whole", "still another")


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_permissions_are_those_of_the_umask_whatever_the_writer_sets(tmp_path, umask):
    before = os.umask(umask)
    try:
        with atomic_path(tmp_path / "weights") as temporary:
            temporary.touch(mode=0o600)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "weights").stat().st_mode) == 0o666 & ~umask


def test_leftovers_of_killed_processes_go_and_what_others_write_stays(tmp_path):
    """A process of another machine may have any number: what it writes is its own, unless the folder is claimed."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with atomic_path(tmp_path / "now.csv") as mine:
        mine.touch()
        dead = mine.with_name(mine.name.replace(str(os.getpid()), str(gone.pid)).replace("now", "then"))
        elsewhere = tmp_path / f".partial-{gone.pid}-far-then.csv"
        for path in (dead, elsewhere, tmp_path / "partial-1.csv"):
            path.touch()
        writable_folder(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {mine.name, elsewhere.name, "partial-1.csv"}
    remove_partials(tmp_path, claimed=True)
    assert {path.name for path in tmp_path.iterdir()} == {"now.csv", "partial-1.csv"}


def test_sha256(tmp_path):
    first, second = write_text(tmp_path / "series" / "1.dcm", "one"), write_text(tmp_path / "series" / "sub" / "2", "2")
    assert sha256(first) == hashlib.sha256(b"one").hexdigest()
    before = sha256(tmp_path / "series")
    assert len(before) == 64
    assert sha256(tmp_path / "series") == before
    second.rename(second.with_name("3"))
    renamed = sha256(tmp_path / "series")
    write_text(second.with_name("3"), "other")
    assert len({before, renamed, sha256(tmp_path / "series")}) == 3


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000, "[{}," * 100_000])
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("dataset.json", lambda path: open_prepared(path.parent)),
        ("dataset.json", lambda path: read_description(path.parent)),
        ("run.json", read_training),
        ("runs.json", read_measurement),
    ],
)
def test_json_nested_beyond_reading_is_told_in_one_line(tmp_path, refused, name, read, text):
    path = write_text(tmp_path / name, text)
    refused(path, read, path)


def test_json_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "run.json").write_bytes(b'\xef\xbb\xbf{"a": [1, NaN]}')
    assert read_json(tmp_path / "run.json")["a"][0] == 1
